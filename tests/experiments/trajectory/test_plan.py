"""Plans of trajectory matching: those that are kept can be run, others are refused in a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gandistill.errors import InputError
from gandistill.experiments.trajectory.plan import TrajectoryPlan

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", sorted((ROOT / "eval" / "plans" / "trajectory").glob("*.yaml")), ids=lambda p: p.stem)
def test_plans_are_read_with_their_recipes(path: Path):
    text = path.read_text()
    assert text.startswith(f"# python eval/trajectory.py eval/plans/trajectory/{path.name} path/to/")
    plan = TrajectoryPlan.load(path).rooted(ROOT / "recipes")
    assert plan.note
    frames = 373 if path.stem == "demos" else 112
    for name in plan.generators:
        assert plan.generator_config(name, 0).architecture.frames == frames


def test_the_papers_settings():
    plan = TrajectoryPlan.load(ROOT / "eval" / "plans" / "trajectory" / "demos.yaml").rooted(ROOT / "recipes")
    assert plan.ppc == (1, 5, 10, 50, 100, 150)
    assert plan.guides == [student.kind for student in plan.students] == ["cnn6", "resnet9", "vgg15"]
    assert plan.steps("cnn6") == [0, 10, 20, 30, 40, 50, 60]
    assert plan.whole.evaluate.epoch_updates is None, "the paper's 30 epochs are passes"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ppc": [2, 2]}, "ppc: 2 is named twice"),
        ({"students": [{"kind": "cnn"}, {"kind": "cnn"}]}, "students: 'cnn' is named twice"),
        ({"matched": {"a": {"guides": ["cnn"], "ppc": [9]}}}, "matched 'a': its ppc must be some of the plan's"),
        ({"matched": {"a": {"guides": []}}}, "matched.a.guides"),
        ({"controls": ["pooled"]}, "bad control 'pooled'"),
        ({"starts": ["teacher"]}, "starts lack 'scratch'"),
        ({"extract": "bank.yaml"}, "unknown key|has no 'clip'"),
        ({"recipe": "none.yaml"}, "No config file"),
        ({"generators": {"g": {"recipe": "mtt.yaml"}}}, "unknown key 'teach'"),
    ],
)
def test_a_bad_plan_is_refused(changes: dict[str, Any], said: str, planned: Callable[..., TrajectoryPlan]):
    with pytest.raises(InputError, match=said):
        planned(**changes)


def test_steps_that_are_judged_are_those_that_are_kept(planned: Callable[..., TrajectoryPlan]):
    """25 steps, of which every tenth is kept; without a curve the first and the last."""
    plan = planned()
    assert plan.steps("cnn") == [0, 10, 20, 25]
    assert plan.steps("pool") == [0, 25]
    whole = planned(settings=["distil.keep_every=25"])
    assert whole.steps("cnn") == [0, 25]


def test_settings_of_the_plan_and_of_one_way_both_count(planned: Callable[..., TrajectoryPlan]):
    ways = {"a": {"guides": ["cnn"], "settings": ["distil.matches=3"]}, "b": {"guides": ["cnn"]}}
    plan = planned(matched=ways, settings=["distil.matches=2", "distil.updates=7"])
    a, b = (plan.matched_config(name, 2, 5).distil for name in ways)
    assert (a.matches, a.updates, b.matches, b.updates) == (3, 7, 2, 7)
    assert {(each.ppc, each.seed, each.choose) for each in (a, b)} == {(2, 5, "last")}


def test_what_is_resolved_is_all_that_decides_and_no_place_on_a_disk(
    planned: Callable[..., TrajectoryPlan], tmp_path: Path
):
    plan = planned(generators={"GAN": {"recipe": "gan.yaml", "seeds": 2}})
    resolved = plan.resolved()
    assert str(tmp_path) not in str({key: resolved[key] for key in ("extract", "bank", "recipe", "matched")})
    assert resolved["extract"]["clip"] == 8000
    assert resolved["recipe"]["teach"]["epochs"] == 4
    assert resolved["matched"]["soft"]["distil"]["labels"] == "soft"
    assert resolved["generators"]["GAN"]["seeds"] == 2
    assert resolved == planned(generators={"GAN": {"recipe": "gan.yaml", "seeds": 2}}).resolved()
    assert resolved["matched"] != planned(settings=["distil.rate=0.5"]).resolved()["matched"]


def test_teachers_of_a_kind_are_the_recipes(planned: Callable[..., TrajectoryPlan]):
    plan = planned()
    assert plan.guides == ["cnn", "attentive"]
    assert [plan.teaching(kind).head for kind in plan.guides] == ["cnn", "attentive"]
    assert {(plan.teaching(kind).epochs, plan.teaching(kind).features) for kind in plan.guides} == {(4, None)}
