"""Rows of a plan of self-distillation, what shares a process, what they cost, and where the paper's values stand."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandistill import evaluate, experiments, selfdistill
from gandistill.experiments.selfdistill.costs import has_costs
from gandistill.experiments.selfdistill.further import Early, Stored
from gandistill.experiments.selfdistill.rows import EARLY, EXITS, LAYERS, NETWORKS, PRECISIONS, Rows, measured
from gandistill.experiments.selfdistill.trials import ExitInputs, Trial, jobs_of
from gandistill.experiments.store import Store, digest
from tests.experiments.selfdistill.conftest import of, planned


def test_the_papers_networks_are_trained_once_each(inputs: ExitInputs):
    rows = Rows(planned("demos"), inputs).all()
    assert [len(of(rows, table)) for table in (EXITS, NETWORKS, LAYERS)] == [1 + 15 * 5, 1 + 4 + 3 + 4, 1 + 11 * 2]
    series = jobs_of(trial for row in rows for trial in row.trials)
    assert len(series) == 15 + 4 + 3 + 11
    stored = {str(row.trials[0].config) for row in of(rows, PRECISIONS) if row.trials}
    lengths = [len(one) for one in series if str(one.trials[0].config) not in stored]
    assert lengths == [2 * 3] * (len(series) - 2), "both parts, three seeds"
    named = {str(one.trials[0]) for one in series}
    assert len(named) == len(series)
    assert "fine-tuning of 3 layers, seed 0, judged on dev" in named
    assert "layer-wise distillation gru, seed 0, judged on dev" in named
    layerwise = [one.trials[0].config.layerwise is not None for one in series]
    assert layerwise == [True] * 3 + [False] * (len(series) - 3), "what takes longest is not left to the end"
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


def test_a_trials_name_is_not_its_precisions(inputs: ExitInputs):
    """Kept work stays of use: what the names of trials are made of has not changed."""
    trained = Trial(inputs, "dev", planned("demos").self_distillation("lstm", "l1", (3, 8, 10), 0))
    code = [room.VERSION for room in (experiments, evaluate, selfdistill)]
    facts = {"code": code, "upstream": "0" * 64, "part": "dev", "data": ["a", "b"]}
    assert trained.key == digest(facts | {"config": trained.config.shareable()})
    stored = [Stored(inputs, "dev", trained.config, precision) for precision in ("float32", "float16", "int8")]
    assert len({trained.key, *(one.key for one in stored)}) == 4
    assert all(one.trained == trained for one in stored)
    assert str(stored[2]) == f"{trained}, stored in int8"


def test_each_exit_of_both_competing_runs_is_stored_after_its_training(inputs: ExitInputs):
    plan = planned("demos")
    rows = Rows(plan, inputs).all()
    named = [tuple(row.facts[key] for key in ("similarity", "exit", "precision")) for row in of(rows, PRECISIONS)[1:]]
    wanted = (("l1", "l2+cosine"), ("3", "8", "10", "deepest"), ("float32", "float16", "int8"))
    assert named == [*product(*wanted)]
    (series,) = [
        one for one in jobs_of(trial for row in rows for trial in row.trials) if len(one) > 6 and "l1," in str(one)
    ]
    assert [type(trial) for trial in series.trials] == [Trial] * 6 + [Stored] * 18 + [Early] * 3
    trained = {trial.key for trial in series.trials[:6]}
    assert {trial.trained.key for trial in series.trials if isinstance(trial, Stored)} == trained
    assert not any(map(has_costs, of(rows, PRECISIONS)))
    without = Rows(plan.model_copy(update={"precisions": ()}), inputs).all()
    assert without == [row for row in rows if row.table != PRECISIONS]


def test_what_a_precision_changes_by_hand(inputs: ExitInputs, monkeypatch: pytest.MonkeyPatch):
    """Of 14 utterances float32 finds 7, 8 and 9; float16 the same; int8 2, 1 and 3 fewer, in folders of 90 to 92."""
    fewer = {"float32": (0, 0, 0), "float16": (0, 0, 0), "int8": (2, 1, 3)}

    def result(_: Store, trial: Stored) -> dict[str, Any]:
        seed = trial.config.training.seed
        said = answering(7 + seed - fewer[trial.precision][seed])
        return {"exits": {name: said | {"bytes": 90 + seed} for name in ("3", "8", "10", "12")}}

    monkeypatch.setattr(Store, "result", result)
    rows = of(Rows(planned("demos"), inputs).all(), PRECISIONS)[:4]
    chance, full, half, eighth = [entry for _, entry in measured(rows, Store(Path()), inputs)]
    assert "bytes" not in chance
    assert full["bytes"] == 92
    assert list(full["differences"]) == ["chance"]
    assert half["differences"]["float32"]["dev"] == {"paired": True, "uar_difference": 0.0, "low": 0.0, "high": 0.0}
    assert list(eighth["differences"]) == ["chance", "float32"]
    gap = eighth["differences"]["float32"]["test"]
    assert gap["uar_difference"] == pytest.approx(-2 / 14)
    assert gap["low"] == pytest.approx(-2 / 14 - 4.302652729911275 * (1 / 14) / 3**0.5)


def answering(count: int) -> dict[str, Any]:
    """What an exit is worth that is right of the first ``count`` of 14 utterances."""
    truth = np.repeat(np.arange(7), 2)
    predicted = np.where(np.arange(14) < count, truth, (truth + 1) % 7)
    return {"uar": count / 14, "accuracy": count / 14, "predicted": predicted.tolist()}


def test_measured_by_hand(inputs: ExitInputs, monkeypatch: pytest.MonkeyPatch):
    """Three trainings: the exit behind layer 3 finds 3 of 14, then 5, then 7 more than the deepest's none."""

    def result(_: Store, trial: Trial) -> dict[str, Any]:
        right = {"3": 3 + 2 * trial.config.training.seed}
        return {"exits": {name: answering(right.get(name, 0)) for name in ("3", "8", "10", "12", "fusion")}}

    monkeypatch.setattr(Store, "result", result)
    rows = of(Rows(planned("demos"), inputs).all(), EXITS)[:6]
    chance, third, *_, deepest, _ = [entry for _, entry in measured(rows, Store(Path()), inputs)]
    assert chance["dev"] == {"uar": pytest.approx(1 / 7)}
    assert third["dev"]["uars"] == [3 / 14, 5 / 14, 7 / 14]
    assert third["dev"]["uar"] == pytest.approx(5 / 14)
    assert third["dev"]["high"] == pytest.approx(5 / 14 + 4.302652729911275 * (2 / 14) / 3**0.5)
    gap = third["differences"]["its deepest exit"]
    assert gap["test"]["uar_difference"] == pytest.approx(5 / 14)
    assert gap["test"]["bootstrap"]["over"] == "utterance", "two speakers"
    assert "bootstrap" not in gap["dev"]
    beyond = third["differences"]["chance"]["dev"]
    assert beyond["uar_difference"] == pytest.approx(5 / 14 - 1 / 7)
    assert beyond["low"] == pytest.approx(third["dev"]["low"] - 1 / 7)
    assert list(deepest["differences"]) == ["chance"]
    assert deepest["answer"] == "12"


def test_leaving_early_is_judged_on_test_by_networks_that_train_alone_taught(inputs: ExitInputs):
    plan = planned("demos").model_copy(update={"uar_losses": (0.0, 0.02)})
    rows = of(Rows(plan, inputs).all(), EARLY)
    named = [(row.facts["uar_loss"], row.answer) for row in rows[1:]]
    assert named == [(0.0, "auto"), (0.0, "12"), (0.02, "auto"), (0.02, "12")]
    trials = [trial for row in rows for trial in row.trials]
    assert {trial.part for trial in trials} == {"test"}
    assert all(isinstance(trial, Early) and trial.trained.part == "dev" for trial in trials)
    assert len({trial.key for trial in trials}) == 2 * 3
    for less in ({"parts": ("test",)}, {"uar_losses": ()}):
        assert not of(Rows(plan.model_copy(update=less), inputs).all(), EARLY)
