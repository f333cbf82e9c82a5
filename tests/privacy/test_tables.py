"""Rows of the tables of privacy: what they hold, and how they are shown."""

from pathlib import Path

import pytest

from gandistill.features.featureset import FeatureSet
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train
from gandistill.privacy.tables import Question, Row, listed, shown, statistics_row
from tests.privacy.conftest import genders_of, write_speakers


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory, public: FeatureSet) -> Question:
    folk = write_speakers(tmp_path_factory.mktemp("table") / "features", each=2, gendered=3.0)
    return Question(folk, public, 6, 2, 8, genders_of(folk))


def row(**facts: object) -> Row:
    attack = {"utterance": {"auc": 0.6, "interval": None, "tpr": {"0.01": 0.05}}}
    attack["speaker"] = {"auc": 0.7, "interval": [0.5, 0.9], "tpr": {}}
    release = {"speaker": {"auc": 0.8, "interval": None, "tpr": {}}}
    return {"speakers": 16, "membership": {"nearest": attack, "release": release}} | facts


def test_a_row_shows_the_strongest_attack_and_whether_genders_are_told():
    advantage = {
        "nearest": {"advantage": 0.1, "chance": [-0.3, 0.3]},
        "density": {"advantage": 0.4, "chance": [-1, 0.2]},
    }
    epsilon = {"epsilon": None, "uar at 10 ppc": [0.5, 0.5], "uar at 50 ppc": [0.4, 0.6]}
    assert shown(row(generator="class-Gaussian", genders=advantage, **epsilon)) == {
        "speakers": 16,
        "generator": "class-Gaussian",
        "epsilon": "none",
        "UAR, 10 ppc": "50.0 ± 0.0",
        "UAR, 50 ppc": "50.0 ± 14.1",
        "AUC, speaker": "0.80 (release)",
        "AUC, utterance": "0.60 (nearest)",
        "TPR at FPR 1.0%": "5.0%",
        "gender, by chance": "+0.40 [-1.00, +0.20]",
    }


def test_rows_that_lack_a_column_leave_it_empty():
    lines = listed([row(generator="planted"), row(generator="class-Gaussian", epsilon=4.0)]).splitlines()
    assert lines[0] == "| speakers | generator | epsilon | AUC, speaker | AUC, utterance | TPR at FPR 1.0% |"
    assert lines[2].startswith("| 16 | planted |  | 0.80 (release) | ")
    assert lines[3].startswith("| 16 | class-Gaussian | 4 | ")


def test_class_means_alone_tell_the_more_the_fewer_they_are_of(question: Question):
    few, many = (statistics_row(question.features, speakers, 40, 4) for speakers in (4, 64))
    best = [max(found["speaker"]["auc"] for found in one["membership"].values()) for one in (few, many)]
    assert best[0] > best[1] + 0.1
    assert few["membership"].keys() == {"tracing", "likelihood ratio"}
    assert (few["speakers"], few["others"], few["generator"]) == (4, 40, "class means alone")


def test_a_price_is_told_without_an_attack(question: Question):
    rows = list(question.prices())
    assert [one["epsilon"] for one in rows] == [4.0, None]
    columns = listed(rows).splitlines()[0].strip("| ").split(" | ")
    assert columns == ["speakers", "generator", "epsilon", "UAR, 10 ppc", "UAR, 50 ppc"]
    plain = next(one for one in question.rows() if one["epsilon"] is None)
    assert plain["uar at 50 ppc"] == rows[1]["uar at 50 ppc"], "of the same generators and heads"


def test_controls_are_attacked_too(question: Question):
    rows = list(question.controls())
    assert [one["generator"] for one in rows] == ["real, random", "real, recentred", "real, designed means"]
    assert rows[0]["membership"]["nearest"]["utterance"]["auc"] > 0.95, "real utterances are their own nearest"
    assert {"nearest", "density"} == rows[0]["genders"].keys()


def test_a_private_row_is_attacked_by_its_release_and_trained_generators_have_rows(question: Question, tmp_path: Path):
    rows = list(question.rows())
    assert [one.get("epsilon") for one in rows] == [1.0, 4.0, 16.0, None, None]
    assert all("release" in one["membership"] for one in rows[:3])
    assert "release" not in rows[3]["membership"]
    assert rows[4]["generator"] == "planted"
    assert rows[4]["membership"]["nearest"]["speaker"]["auc"] > 0.95
    architecture = {"kind": "class-gaussian", "frames": 6, "noise": 4}
    train(
        GanConfig.model_validate({"features": question.features.folder, "architecture": architecture}), tmp_path / "g"
    )
    found = list(question.trained([tmp_path / "g" / "generator"]))
    assert [one["generator"] for one in found] == ["class-gaussian"]
