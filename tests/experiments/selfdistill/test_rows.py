"""Rows of a plan of self-distillation, what shares a process, what they cost, and where the paper's values stand."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandistill import evaluate, experiments, selfdistill
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.selfdistill import files
from gandistill.experiments.selfdistill.costs import depths_of, has_costs, shape_of, sizes, timed, weightless
from gandistill.experiments.selfdistill.further import Early, Stored
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.selfdistill.rows import EARLY, EXITS, LAYERS, NETWORKS, PRECISIONS, Row, Rows, measured
from gandistill.experiments.selfdistill.trials import ExitInputs, Trial, jobs_of
from gandistill.experiments.store import Store, digest
from gandistill.selfdistill.backbone import Backbone
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.model import Network, transformer
from tests.selfdistill.conftest import TINY

ROOT = Path(__file__).parents[3]
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
    series = jobs_of(trial for row in rows for trial in row.trials)
    assert len(series) == 15 + 4 + 3 + 11
    stored = {str(row.trials[0].config) for row in of(rows, PRECISIONS) if row.trials}
    lengths = [len(one) for one in series if str(one.trials[0].config) not in stored]
    assert lengths == [2 * 3] * (len(series) - 2), "both parts, three seeds"
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


def test_the_papers_values_stand_beside_ours_on_its_corpus_alone(inputs: ExitInputs):
    plan, checkout = planned("demos"), Checkout(ROOT)
    rows = Rows(plan, inputs).all()
    beside = [files.beside(row.facts, row.table, plan, checkout) for row in rows]
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
        values = [files.beside(row.facts, row.table, quick, checkout).get("paper") for row in Rows(quick, inputs).all()]
        assert any(values)
        assert all(each["other_corpus"] == "demos, facebook/wav2vec2-base" for each in values if each)


def test_costs_are_those_that_the_paper_counts(inputs: ExitInputs):
    plan = planned("demos")
    for row in of(Rows(plan, inputs).all(), NETWORKS):
        published = Checkout(ROOT).reference(files.PAPER[NETWORKS])["rows"]
        key = "block" if row.facts["network"].startswith("layer") else "exit"
        values = [
            each["parameters"]
            for each in published
            if each["network"] == row.facts["network"] and each[key] == row.facts[key]
        ]
        cost = sizes(row, inputs)
        if not row.trials:
            assert cost == {}
            continue
        assert [round(cost["parameters_paper"] / 1e6, 1)] == values
        assert cost["parameters_deployed"] < cost["parameters_paper"]


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


def test_deeper_exits_take_longer_to_answer():
    settings = TINY | {"hidden_size": 64, "intermediate_size": 1024, "num_hidden_layers": 6}
    backbone = Backbone(transformer(settings, 6, "test"))
    network = Network(backbone, {1: "cnn", 6: None}, ["a", "b"]).eval()
    found = timed({depth: (network, [depth]) for depth in (1, 6)})
    assert 0 < found[1] < found[6]


def test_fusion_costs_the_deepest_student_and_the_other_exits(inputs: ExitInputs):
    """By hand: a GRU of 768 and two linear layers behind layers 3 and 8, over a clip of 48,000 samples."""
    plan = ExitPlan.build(planned("demos").to_dict() | {"settings": ["training.clip=48000"]}, "here")
    rows = [row for row in of(Rows(plan, inputs).all(), EXITS)[1:] if row.facts["block"] == "gru"]
    *_, tenth, _, fusion = rows[:5]
    assert depths_of(fusion) == (3, 8, 10)
    recurrence, head = 2 * 3 * 768 * 768, 768 * 256 + 256 * 7
    parameters = 2 * (recurrence + 6 * 768 + 2 * 768 + head + 256 + 7)
    one, all_three = sizes(tenth, inputs), sizes(fusion, inputs)
    for key, more in (("parameters_paper", parameters), ("parameters_deployed", parameters), ("bytes", 4 * parameters)):
        assert all_three[key] - one[key] == more
    frames = 149
    more = all_three["multiply_accumulates"] - one["multiply_accumulates"]
    assert more == pytest.approx(2 * (frames * recurrence + head) / 3, abs=1)
    _, work = weightless(inputs.upstream, shape_of(tenth.trials[0]), 7, 48_000)
    assert work.until(10) == pytest.approx(all_three["multiply_accumulates"], abs=1)
    assert work.until(3) == work.alone[3]


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
