"""The private kind's constants are chosen by public speech alone."""

from pathlib import Path

import pytest

from gandistill.controls.private import AFAR, WEIGHTS
from gandistill.features.featureset import FeatureSet
from gandistill.files import read_json
from gandistill.privacy import budget
from tests.privacy.conftest import genders_of

CHOICES = Path(__file__).parents[2] / "eval" / "results" / "budget" / "choices.json"


def test_every_choice_is_judged_and_the_best_comes_first(
    speakers: FeatureSet, public: FeatureSet, monkeypatch: pytest.MonkeyPatch
):
    few = {"SPEAKERS": (60,), "STRANGERS": 10, "FAR": (1.0, 1000.0)}
    for name, values in few.items():
        monkeypatch.setattr(budget, name, values)
    found = budget.rows(speakers, genders_of(speakers), public)
    assert len(found) == 2 * len(budget.SHARES)
    uars = [row["uar"] for row in found]
    assert uars == sorted(uars, reverse=True)
    by_reach = {far: max(row["uar"] for row in found if row["afar"] == far) for far in (1.0, 1000.0)}
    assert by_reach[1.0] > by_reach[1000.0] + 0.1, "a norm that nobody reaches buys noise"
    assert found == budget.rows(speakers, genders_of(speakers), public)
    shown = budget.listed(found)
    assert "| afar | 1000.0 |" in shown
    assert "| weights | [0.25, 0.65, 0.1] |" in shown.replace("(", "[").replace(")", "]")


def test_the_package_has_what_was_chosen():
    """By ``eval/budget.py``; whoever judges anew writes the constants anew."""
    best = read_json(CHOICES)["rows"][0]
    assert (best["afar"], best["weights"]) == (AFAR, list(WEIGHTS.values()))
