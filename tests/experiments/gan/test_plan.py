"""A plan that cannot be run is refused in one line, before any work; those that are kept can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gandistill.corpora import splits
from gandistill.corpora.prepare import READERS
from gandistill.errors import InputError
from gandistill.experiments.gan.plan import LOSSES, Plan
from gandistill.heads.head import MODELS

ROOT = Path(__file__).parents[3]
PLANS = sorted((ROOT / "eval" / "plans").glob("*.yaml"))
HEAD = {"kind": "superb", "seeds": 2}
GENERATOR = {"recipe": "gan.yaml"}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a key": ({"seed": 1}, "unknown key 'seed', expected one of [note, corpus, protocol, folds, "),
    "a key of a head": ({"heads": [HEAD | {"kinds": 1}]}, "unknown key 'heads.0.kinds', expected one of [kind, seeds,"),
    "losses": ({"generators": {"cold": GENERATOR | {"losses": ["both", "dvi"]}}}, "some of [baseline, div, sml, both]"),
    "no losses": ({"generators": {"cold": GENERATOR | {"losses": []}}}, "some of [baseline, div, sml, both]"),
    "without both": ({"generators": {"cold": GENERATOR | {"losses": ["div"]}}}, "'cold' lacks the losses 'both'"),
    "a head": ({"heads": [{"kind": "supreb"}]}, f"expected one of [{', '.join(MODELS)}]"),
    "no head": ({"heads": []}, "heads"),
    "a control": ({"controls": ["random", "k-center"]}, "bad control 'k-center', expected some of [random, "),
    "labels": ({"labels": ["hard", "firm"]}, "'labels.1'"),
    "balanced": ({"balanced": "GAN"}, "bad balanced 'GAN', expected one of [cold, warm]"),
    "no points": ({"ppc": [0]}, "'ppc.0'"),
    "points twice": ({"ppc": [2, 5, 2]}, "ppc: 2 is named twice"),
    "a head twice": ({"heads": [HEAD, HEAD]}, "heads: 'superb' is named twice"),
    "a fold twice": ({"folds": [1, 1]}, "folds: 1 is named twice"),
    "dagger": ({"dagger_seed": 2}, "dagger_seed 2 is not among the seeds of every head and generator"),
    "dagger of a head": ({"dagger_seed": 1, "heads": [HEAD | {"seeds": 1}]}, "dagger_seed 1 is not among"),
    "repeats of a head": ({"heads": [HEAD | {"repeats": 4}]}, "head superb: its repeats 4 are more than the plan's 3"),
    "draws": ({"draws": ["designed", "random"]}, "'draws.1'"),
    "as many draws as there were": ({"draws": 3}, "'draws'"),
    "no draws": ({"draws": []}, "'draws'"),
    "draws twice": ({"draws": ["designed", "designed"]}, "draws: 'designed' is named twice"),
    "ppc of a head": ({"heads": [HEAD | {"ppc": [5, 7]}]}, "head superb: its ppc must be some of the plan's [2, 5]"),
    "labels of a head": (
        {"labels": ["hard"], "heads": [HEAD | {"labels": ["soft"]}]},
        "head superb: its labels must be some of the plan's ['hard']",
    ),
    "a head without projector": ({"speakers": {"head": "cnn"}}, "expected one of [superb, attentive, cnn-attention]"),
    "margin": ({"margin": 3}, "margin"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_plan_is_refused_in_one_line(name: str, planned: Callable[..., Plan]):
    changes, said = BAD[name]
    with pytest.raises(InputError) as refused:
        planned(**changes)
    assert str(refused.value).startswith("plan: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["extract", "bank", "head", "generators", "speakers"])
def test_a_recipe_that_is_missing_or_bad_is_refused_before_any_work(key: str, planned: Callable[..., Plan]):
    def with_recipe(path: str) -> dict[str, Any]:
        whole: dict[str, Any] = {"generators": {"cold": {"recipe": path}}, "speakers": {"config": path}}
        return {key: whole.get(key, path)}

    with pytest.raises(InputError, match=r"No config file .*none\.yaml"):
        planned(**with_recipe("none.yaml"))
    with pytest.raises(InputError, match="unknown key"):
        planned(**with_recipe("gan.yaml" if key != "generators" else "bank.yaml"))


def test_settings_of_a_generator_are_read_before_any_work(planned: Callable[..., Plan]):
    with pytest.raises(InputError, match=r"unknown key 'training\.update'"):
        planned(generators={"cold": GENERATOR | {"settings": ["training.update=3"]}})
    with pytest.raises(InputError, match=r"gan\.yaml: its diversity is 0, expected the recipe of both losses"):
        planned(generators={"cold": GENERATOR | {"settings": ["losses.diversity=0"]}})


def test_losses_are_the_papers_and_nothing_else_differs(planned: Callable[..., Plan]):
    plan = planned(generators={"cold": GENERATOR | {"settings": ["training.seed=9", "training.updates=3"]}})
    configs = {losses: plan.generator_config("cold", losses, 1) for losses in LOSSES}
    on = {losses: (c.losses.diversity > 0, c.losses.softmax_matching > 0) for losses, c in configs.items()}
    assert on == {"baseline": (False, False), "div": (True, False), "sml": (False, True), "both": (True, True)}
    assert len({str(c.to_dict() | {"losses": ""}) for c in configs.values()}) == 1
    assert {(c.training.seed, c.training.updates) for c in configs.values()} == {(1, 3)}
    assert {(c.features, c.bank) for c in configs.values()} == {(None, None)}


def test_the_student_budget_is_the_recipes_for_every_kind_of_head(planned: Callable[..., Plan]):
    configs = [planned().head_config(kind, 4, "soft", "balanced") for kind in ("superb", "cnn")]
    assert [(c.head, c.seed, c.labels, c.class_weights, c.updates, c.batch) for c in configs] == [
        ("superb", 4, "soft", "balanced", 6, 8),
        ("cnn", 4, "soft", "balanced", 6, 8),
    ]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_kept_plans_can_be_run(path: Path):
    plan = Plan.load(path).rooted(ROOT / "recipes")  # which reads every recipe
    assert path.read_text().startswith(f"# python eval/tables.py eval/plans/{path.name} ")
    for corpus, protocol in [(plan.corpus, plan.protocol)] + [(s.corpus, s.protocol) for s in [plan.speakers] if s]:
        if corpus is not None:
            assert corpus in READERS
            known = splits.PROTOCOLS[str(protocol)]
            assert not known.corpora or corpus in known.corpora
            assert plan.corpus != corpus or set(plan.folds) <= {*range(1, known.folds + 1)}
