"""The private kind's constants are chosen by public speech alone."""

from pathlib import Path

import pytest

from gandistill.controls.private import LEVEL, WEIGHTS
from gandistill.features.featureset import FeatureSet
from gandistill.files import read_json
from gandistill.gan.settings import Privacy
from gandistill.privacy import budget
from tests.privacy.conftest import genders_of

CHOICES = Path(__file__).parents[2] / "eval" / "results" / "budget" / "choices.json"


def test_every_choice_is_judged_and_the_best_comes_first(speakers: FeatureSet, monkeypatch: pytest.MonkeyPatch):
    for name, few in {"COVARIANCES": (("diagonal", 2), ("full", 3)), "SPEAKERS": (60,), "SHIFTS": (0.0, 1.0)}.items():
        monkeypatch.setattr(budget, name, few)
    monkeypatch.setattr(budget, "STRANGERS", 10)
    monkeypatch.setattr(budget, "LEVELS", (1.0, 1000.0))
    found = budget.rows(speakers, genders_of(speakers))
    assert len(found) == 2 * len(budget.SHARES) * 2
    uars = [row["uar"] for row in found]
    assert uars == sorted(uars, reverse=True)
    by_level = {level: max(row["uar"] for row in found if row["level"] == level) for level in (1.0, 1000.0)}
    assert by_level[1.0] > by_level[1000.0] + 0.1, "a norm that nobody reaches buys noise"
    assert found == budget.rows(speakers, genders_of(speakers))
    shown = budget.listed(found)
    assert "| level | 1000.0 |" in shown
    assert "| covariance | full |" in shown


def test_the_package_has_what_was_chosen():
    """By ``eval/budget.py``; whoever judges anew writes the constants anew."""
    best = read_json(CHOICES)["rows"][0]
    assert best["level"] == LEVEL
    assert best["weights"] == list(WEIGHTS.values())
    assert (best["covariance"], best["directions"]) == (Privacy().covariance, Privacy().directions)
