"""Where the paper's values stand beside ours, and which row of its tables a row is."""

from pathlib import Path
from typing import Any

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.gan import reference
from gandistill.experiments.gan.plan import Plan

ROOT = Path(__file__).parents[3]
ROW = {"head": "superb", "labels": "hard", "start": "random", "kind": "gan-att", "losses": "both", "ppc": 50}


def beside(name: str, row: dict[str, Any]) -> dict[str, Any]:
    plan = Plan.load(ROOT / "eval" / "plans" / f"{name}.yaml").rooted(ROOT / "recipes")
    published = Checkout(ROOT).reference("gan_paper_table2")
    return reference.beside(row, reference.of_losses(row), published, plan)


def test_our_value_of_the_papers_fold_stands_beside_its_own():
    folds = [0.5] * 5
    assert beside("iemocap", ROW | {"fold_uars": folds})["paper"] == {"uar": 60.27, "ours": 50.0}


def test_of_another_corpus_the_papers_value_says_so():
    value = beside("ravdess", ROW | {"fold_uars": [0.5]})["paper"]
    assert value == {"uar": 60.27, "other_corpus": "iemocap, hubert facebook/hubert-base-ls960"}


def test_rows_that_the_paper_has_not_have_no_value():
    for change in ({"ppc": 51}, {"head": "cnn"}, {"labels": "soft"}, {"start": "closed-form"}, {"losses": None}):
        assert "paper" not in beside("iemocap", ROW | change)
    assert reference.table([ROW]) == ""
