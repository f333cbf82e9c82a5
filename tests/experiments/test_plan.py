"""What plans of every paper say."""

from pathlib import Path

import pytest

from gandistill.experiments.plan import RecipePlan, check_distinct, seeded


def test_what_is_named_twice_is_refused_by_name():
    check_distinct({"ppc": (1, 2), "labels": ()})
    with pytest.raises(ValueError, match=r"^ppc: 2 is named twice$"):
        check_distinct({"labels": ("hard",), "ppc": (2, 1, 2)})


def test_a_generators_recipe_is_read_with_what_differs_and_without_inputs(tmp_path: Path):
    (tmp_path / "gan.yaml").write_text("training: {updates: 7}\nfeatures: somewhere\n")
    plan = RecipePlan(recipe=Path("gan.yaml"), settings=("training.batch=4",)).rooted(tmp_path)
    config = plan.config()
    assert (config.training.updates, config.training.batch) == (7, 4)
    assert (config.features, config.bank) == (None, None)
    assert seeded(config, 5).training == config.training.model_copy(update={"seed": 5})
