"""Rows of a plan of self-distillation, what shares a process, what they cost, and where the paper's values stand."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError
from gandistill.evaluate.exit_costs import sizes, timed
from gandistill.evaluate.exit_plan import ExitPlan
from gandistill.evaluate.exit_rows import EXITS, LAYERS, NETWORKS, Row, Rows, measured
from gandistill.evaluate.exit_trials import ExitInputs, Trial, TrialStore, series_of
from gandistill.selfdistill.backbone import Backbone
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.model import Network, transformer
from tests.selfdistill.conftest import TINY

ROOT = Path(__file__).parents[2]
PLANS = ROOT / "eval" / "plans" / "selfdistill"
CLASSES = ["anger", "disgust", "fear", "guilt", "happiness", "sadness", "surprise"]


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> ExitInputs:
    """As of DEMoS and wav2vec 2.0 base: seven classes, two utterances of each in a part."""
    entries = [Entry(f"{c}{i}", Path(f"{c}{i}.wav"), c, f"s{i}") for c in CLASSES for i in (0, 1)]
    monkeypatch.setattr(ExitInputs, "judged", lambda *_: Utterances(entries, CLASSES))
    monkeypatch.setattr(ExitInputs, "fingerprints", {"dev": ["a", "b"], "test": ["c", "d"]})
    manifests = {part: Path(f"{part}.csv") for part in ("dev", "test")}
    return ExitInputs(manifests, "facebook/wav2vec2-base", 12, "0" * 64)


def planned(name: str) -> ExitPlan:
    return ExitPlan.load(PLANS / f"{name}.yaml").rooted(ROOT / "recipes")


def of(rows: list[Row], table: str) -> list[Row]:
    return [row for row in rows if row.table == table]


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_kept_plans_can_be_run(path: Path):
    plan = planned(path.stem)
    plan.check_layers(12 if plan.random is None else plan.random.settings["num_hidden_layers"])
    assert path.read_text().startswith(f"# python eval/selfdistill.py eval/plans/selfdistill/{path.name} ")
    assert plan.resolved()["recipe"]["training"]["select"] == "last"
    with pytest.raises(InputError, match="is too deep"):
        plan.check_layers(2)


def test_the_papers_networks_are_trained_once_each(inputs: ExitInputs):
    rows = Rows(planned("demos"), inputs).all()
    assert [len(of(rows, table)) for table in (EXITS, NETWORKS, LAYERS)] == [1 + 15 * 5, 1 + 4 + 3 + 4, 1 + 11 * 2]
    series = series_of(trial for row in rows for trial in row.of_all)
    assert len(series) == 15 + 4 + 3 + 11
    assert {len(one) for one in series} == {2 * 3}, "both parts, three seeds"
    named = {str(one.trials[0]) for one in series}
    assert len(named) == len(series)
    assert "fine-tuning of 3 layers, seed 0, judged on dev" in named
    assert "layer-wise distillation gru, seed 0, judged on dev" in named
    taken = [(row.facts["similarity"], row.answer) for row in of(rows, NETWORKS)[-4:]]
    assert taken == [("l1", "3"), ("l1", "8"), ("l1", "10"), ("l2+cosine", "12")]


def test_what_a_trial_is_decides_its_name(inputs: ExitInputs):
    config = planned("demos").fine_tuning(3, 0)
    keys = {
        Trial(inputs, "dev", config).key,
        Trial(inputs, "test", config).key,
        Trial(inputs, "dev", planned("demos").fine_tuning(3, 1)).key,
        Trial(inputs, "dev", planned("demos").fine_tuning(None, 0)).key,
        Trial(ExitInputs(inputs.manifests, "elsewhere", 12, "1" * 64), "dev", config).key,
    }
    assert len(keys) == 5
    moved = ExitInputs(inputs.manifests, "moved", 12, inputs.upstream_sha256)
    assert Trial(moved, "dev", config).key in keys, "where it lies does not matter"


def files(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "eval"))
    sys.modules.pop("selfdistill_files", None)
    return import_module("selfdistill_files")


def test_the_papers_values_stand_beside_ours_on_its_corpus_alone(inputs: ExitInputs, monkeypatch: pytest.MonkeyPatch):
    written, plan = files(monkeypatch), planned("demos")
    rows = Rows(plan, inputs).all()
    beside = [written.beside(row.facts, row.table, plan) for row in rows]
    found = [row["paper"] for row in beside if "paper" in row]
    assert len(found) == 75 + 11
    assert all(set(each) == {"dev", "test"} for each in found)
    of_table_2 = [row for row, one in zip(beside, rows, strict=True) if one.table == NETWORKS]
    (layer_10,) = [
        row["paper"] for row in of_table_2 if (row["network"], row.get("exit")) == ("self-distillation", "10")
    ]
    assert layer_10 == {"dev": 91.8, "test": 90.5}
    for other in ("ravdess_quick", "nemo_quick"):
        quick = planned(other)
        values = [written.beside(row.facts, row.table, quick).get("paper") for row in Rows(quick, inputs).all()]
        assert any(values)
        assert all(each["other_corpus"] == "demos, facebook/wav2vec2-base" for each in values if each)


def test_costs_are_those_that_the_paper_counts(inputs: ExitInputs, monkeypatch: pytest.MonkeyPatch):
    plan = planned("demos")
    for row in of(Rows(plan, inputs).all(), NETWORKS):
        published = files(monkeypatch).expected(NETWORKS)["rows"]
        key = "block" if row.facts["network"].startswith("layer") else "exit"
        values = [
            each["parameters"]
            for each in published
            if each["network"] == row.facts["network"] and each[key] == row.facts[key]
        ]
        cost = sizes(row, inputs)
        if row.trials is None:
            assert cost == {}
            continue
        assert [round(cost["parameters_paper"] / 1e6, 1)] == values
        assert cost["parameters_deployed"] < cost["parameters_paper"]


def test_measured_by_hand(inputs: ExitInputs, monkeypatch: pytest.MonkeyPatch):
    """Three trainings: the exit behind layer 3 finds 3 of 14, then 5, then 7 more than the deepest's none."""

    def result(_: TrialStore, trial: Trial) -> dict[str, Any]:
        right = {"3": 3 + 2 * trial.config.training.seed}
        said = {}
        for name in ("3", "8", "10", "12", "fusion"):
            count = right.get(name, 0)
            truth = np.repeat(np.arange(7), 2)
            predicted = np.where(np.arange(14) < count, truth, (truth + 1) % 7)
            said[name] = {"uar": count / 14, "accuracy": count / 14, "predicted": predicted.tolist()}
        return {"exits": said}

    monkeypatch.setattr(TrialStore, "result", result)
    rows = of(Rows(planned("demos"), inputs).all(), EXITS)[:6]
    chance, third, *_, deepest, _ = [entry for _, entry in measured(rows, TrialStore(Path()), inputs)]
    assert chance["dev"] == {"uar": pytest.approx(1 / 7)}
    assert third["dev"]["uars"] == [3 / 14, 5 / 14, 7 / 14]
    assert third["dev"]["uar"] == pytest.approx(5 / 14)
    assert third["dev"]["high"] == pytest.approx(5 / 14 + 4.302652729911275 * (2 / 14) / 3**0.5)
    gap = third["differences"]["its deepest exit"]
    assert gap["test"]["uar_difference"] == pytest.approx(5 / 14)
    assert gap["test"]["bootstrap"]["over"] == "utterance", "two speakers"
    assert "bootstrap" not in gap["dev"]
    assert "differences" not in deepest
    assert deepest["answer"] == "12"


def test_deeper_exits_take_longer_to_answer():
    settings = TINY | {"hidden_size": 64, "intermediate_size": 1024, "num_hidden_layers": 6}
    backbone = Backbone(transformer(settings, 6, "test"))
    found = timed(Network(backbone, {1: "cnn", 6: None}, ["a", "b"]).eval())
    assert 0 < found["1"] < found["6"]
