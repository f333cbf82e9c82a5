"""Rows of a plan of trajectory matching, what shares a trial or a process, and how rows are compared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.controls.select import select
from gandistill.experiments.differences import uar_difference
from gandistill.experiments.inputs import Inputs
from gandistill.experiments.store import Store
from gandistill.experiments.trajectory.rows import DISTILLED, RANDOM, STEP_0, Measured, Row, measured
from gandistill.features.featureset import FeatureSet
from gandistill.trajectory.distillation import distil
from tests.trajectory.conftest import LABELS, clips, configured  # noqa: F401

ROOT = Path(__file__).parents[3]


def of(rows: list[Row], **facts: Any) -> list[Row]:
    return [row for row in rows if all(row.facts.get(key) == value for key, value in facts.items())]


def shape(row: Row) -> tuple[int, ...]:
    return len(row.trials), *{len(some) for some in row.trials}


class TestRows:
    def test_steps_and_shapes(self, rows: Callable[..., list[Row]]):
        every = rows()
        cnn = of(every, matched="cnn", student="cnn", start="scratch", ppc=2)
        assert [row.facts["step"] for row in cnn] == [0, 10, 20, 25]
        assert [row.facts["last"] for row in cnn] == [False, False, False, True]
        assert {shape(row) for row in cnn} == {(3, 2)}
        assert [row.facts["step"] for row in of(every, matched="pool", student="superb", ppc=2)] == [0, 25]
        assert not of(every, matched="pool", ppc=1)
        assert [shape(row) for row in of(every, **{"training set": RANDOM}, ppc=1)] == [(4, 2), (4, 1)]
        assert {shape(row) for row in of(every, **{"training set": "real, herding"})} == {(1, 6), (1, 3)}
        assert [shape(row) for row in every if row.table == "full"] == [(1, 6), (1, 3)]

    def test_students_start_from_teachers_only_where_there_are_some(self, rows: Callable[..., list[Row]]):
        taught = of(rows(), start="teacher")
        assert {row.facts["student"] for row in taught} == {"cnn"}
        assert {row.facts["step"] for row in taught} == {0, 25}

    def test_step_0_of_hard_labels_is_the_random_control(self, rows: Callable[..., list[Row]]):
        """One trial serves both, and all guides; that of learned labels is its own."""
        every = rows()
        (random,) = of(every, **{"training set": RANDOM}, ppc=2, student="cnn")
        starts = [
            [
                [one.key for one in some]
                for some in of(every, matched=name, student="cnn", start="scratch", ppc=2)[0].trials
            ]
            for name in ("cnn", "pool", "soft")
        ]
        assert starts[0] == starts[1] == [[one.key for one in some] for some in random.trials][:3]
        assert {key for some in starts[2] for key in some}.isdisjoint(key for some in starts[0] for key in some)

    def test_step_0_is_the_random_control_to_the_bit(self, configured: Any, clips: FeatureSet, tmp_path: Path):  # noqa: F811
        distil(configured(distil={"steps": 1, "seed": 3}), tmp_path / "run")
        control = select(clips, "random", dict.fromkeys(LABELS, 2), 3, tmp_path / "random")
        mine = FeatureSet.open(tmp_path / "run" / "distilled-0000")
        assert mine.targets.tolist() == control.targets.tolist()
        assert all(torch.equal(mine.frames(row), control.frames(row)) for row in range(len(control)))

    def test_the_same_students_for_every_set(self, rows: Callable[..., list[Row]]):
        for row in of(rows(), student="cnn", start="scratch"):
            seeds = [one.student.seed for some in row.trials for one in some]
            assert seeds == list(range(len(seeds)))

    def test_more_steps_keep_what_is_judged(self, rows: Callable[..., list[Row]]):
        """Only the steps that come to it are new."""
        keys = [
            {one.key for row in rows(settings=settings) for some in row.trials for one in some}
            for settings in ([], ["distil.steps=30"])
        ]
        last = {one.key for row in of(rows(), last=True) for some in row.trials for one in some}
        assert keys[0] - keys[1] == last
        (other,) = of(rows(settings=["evaluate.epochs=7"]), **{"training set": "real, all of it"}, student="cnn")
        assert other.trials[0][0].key not in keys[0]


def result(dev: float, test: float, count: int = 18) -> dict[str, Any]:
    """What a student found that takes every test utterance for the first class."""
    cost = {"seconds": 1.0, "drawing_seconds": 0.0, "peak_bytes": 1}
    scores = {"dev": dev, "test": test}
    said = {"uar": scores, "accuracy": scores, "predicted": {"test": [0] * count}, "cost": cost}
    return said | {"points": {"angry": 2, "calm": 2}, "updates": 4}


class TestMeasured:
    def test_pairs_and_what_is_chosen_on_dev(
        self, rows: Callable[..., list[Row]], inputs: list[Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Step 20 is best on dev, the last one on test: dev decides, and both are compared with their step 0."""
        every = [row for row in rows(ppc=[2], students=[{"kind": "cnn"}], starts=["scratch"]) if row.table == DISTILLED]
        features = FeatureSet.open(inputs[0].features)
        dev, test = {0: 0.3, 10: 0.4, 20: 0.6, 25: 0.5}, {0: 0.3, 10: 0.2, 20: 0.4, 25: 0.5}
        of_key = {}
        for row in every:
            step = row.facts.get("step", 0)
            for s, some in enumerate(row.trials):
                of_key |= {one.key: result(dev[step] + s / 100, test[step] + s / 10) for one in some}
        monkeypatch.setattr(Store, "result", lambda _, trial: of_key[trial.key])
        found = [entry for _, entry in measured(every, Store(tmp_path), features)]
        (chosen,) = [entry for entry in found if "chosen" in entry]
        assert (chosen["matched"], chosen["step"]) == ("cnn", 20)
        assert chosen["dev"]["uars"] == [[0.6], [0.61], [0.62]]
        compared = chosen["differences"][STEP_0]["test"]
        assert compared["paired"]
        assert compared["uar_difference"] == pytest.approx(0.1)
        assert compared["low"] == pytest.approx(0.1), "by seed the difference is always the same"
        assert compared["bootstrap"]["interval"] == [0.0, 0.0], "both say the same of every utterance"
        (random,) = [entry for entry in found if entry["training set"] == RANDOM]
        against = chosen["differences"][RANDOM]["test"]
        assert not against["paired"]
        assert against["uar_difference"] == pytest.approx(chosen["test"]["uar"] - random["test"]["uar"])
        assert [entry["step"] for entry in found if "differences" in entry] == [25, 25, 25, 20]

    def test_paired_by_seed(self, rows: Callable[..., list[Row]], inputs: list[Inputs]):
        row = rows()[-1]
        features = FeatureSet.open(inputs[0].features)
        results = [[[result(0.5, a)] for a in uars] for uars in ([0.5, 0.7], [0.4, 0.2])]
        mine, start = (Measured(row, each, features) for each in results)
        found = uar_difference(mine, start, "test", paired=True)
        assert found["uar_difference"] == pytest.approx(0.3)
        assert found["high"] == pytest.approx(0.3 + 12.706204736 * 0.2)
        assert "bootstrap" not in uar_difference(mine, replace(start, results=results[0]), "dev", paired=True)
