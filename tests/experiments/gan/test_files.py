"""The files of a table, from results written by hand: what is kept says what was found, and other tables stay."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.gan import files
from gandistill.experiments.gan.rows import Rows
from tests.experiments.gan.conftest import Written, hits

ROOT = Path(__file__).parents[3]
PLAN: dict[str, Any] = {
    "note": "Tiny.",
    "generators": {"cold": {"recipe": "gan.yaml", "losses": ["both"]}},
    "controls": ["random"],
    "heads": [{"kind": "superb", "seeds": 2}],
    "labels": ["hard"],
    "ppc": [2],
    "draws": ["designed"],
    "repeats": 2,
}
TablesOf = Callable[..., Any]


@pytest.fixture
def write(tables_of: TablesOf, tmp_path: Path) -> Callable[[int], Written]:
    """``write(2)``: Table 2 of a plan of two folds, in ``out``."""

    def made(number: int) -> Written:
        written = Written(tables_of(folds=2, **PLAN), number, tmp_path / "work", hits)
        study = Rows(written.plan, written.folds, within=4000)
        files.write(number, "tiny", study, written.rows, written.store, Checkout(ROOT), tmp_path / "out")
        return written

    return made


def test_a_table_says_what_it_is_of(write: Callable[[int], Written], tmp_path: Path):
    write(2)
    table = json.loads((tmp_path / "out" / "table2.json").read_text())
    assert (table["table"], table["corpus"], table["plan"]["name"]) == (2, "toy", "tiny")
    assert table["folds"].keys() == {"1", "2"}
    train = {"utterances": 36, "speakers": 4}
    assert table["folds"]["2"] == {"train": train, "test": {"utterances": 18, "speakers": 2}}
    assert [row["row"] for row in table["rows"]] == [*range(len(table["rows"]))]
    assert all("cost" not in row for row in table["rows"]), "times are no part of what is the same bits"
    assert (tmp_path / "out" / "table2.md").read_text().startswith("Tiny.\n\ntoy, `speaker-independent` fold 1, 2;")


def test_predictions_that_are_kept_are_those_of_the_trials(write: Callable[[int], Written], tmp_path: Path):
    """Of both folds, one after the other; each row's UAR could be computed again."""
    written = write(2)
    path = tmp_path / "out" / "table2.json"
    rows = json.loads(path.read_text())["rows"]
    every = files.said_by(path, rows)
    assert len(every) == len(rows) == len(written.rows)
    labels = np.array(["angry", "calm", "sad"])
    for place, (row, said) in enumerate(zip(rows, every, strict=True)):
        pairs = [(s, h) for s, uars in enumerate(row["uars"]) for h in range(len(uars))]
        assert len(said) == len(pairs)
        for (s, h), predictions in zip(pairs, said, strict=True):
            assert predictions.predicted.tolist() == labels[written.predicted(place, s, h)].tolist()
    first = every[0][0]
    assert first.labels.tolist() == labels[written.targets].tolist()
    with (tmp_path / "out" / "table2-predictions.csv").open(newline="") as file:
        assert [row["fold"] for row in csv.DictReader(file)] == ["1"] * 18 + ["2"] * 18


def test_costs_of_other_tables_stay_and_its_own_are_new(write: Callable[[int], Written], tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / files.COSTS).write_text("table,row,older\n1,7,x\n2,0,x\n2,999,x\n3,4,x\n")
    written = write(2)
    with (tmp_path / "out" / files.COSTS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    mine = [("2", str(row)) for row in range(len(written.rows))]
    assert [(row["table"], row["row"]) for row in rows] == [("1", "7"), *mine, ("3", "4")]
    assert [row["older"] for row in rows] == ["x", *[""] * len(mine), "x"]
    assert {row["head_seconds"] for row in rows} == {"", "4.0"}


def test_of_a_table_without_predictions_nobody_is_quoted(tmp_path: Path):
    (tmp_path / "table1.json").write_text("{}")
    assert files.said_by(tmp_path / "table1.json", [{"row": 0}]) == []
