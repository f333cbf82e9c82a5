"""Rows as CSV, and what a table says of what made it."""

import json
from pathlib import Path

import pytest

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.results import as_csv, flat, made_by, read_csv, rows_of, write_table

ROOT = Path(__file__).parents[2]


def test_rows_as_csv_and_back(tmp_path: Path):
    rows = [{"name": "a", "dev": {"uar": 0.5}, "seeds": [1, [2, 3]]}, {"name": "b, c", "more": None}]
    assert flat(rows[0]) == {"name": "a", "dev.uar": 0.5, "seeds": "1 [2,3]"}
    (tmp_path / "rows.csv").write_text(as_csv([flat(row) for row in rows]), encoding="utf-8")
    assert read_csv(tmp_path / "rows.csv") == [
        {"name": "a", "dev.uar": "0.5", "seeds": "1 [2,3]", "more": ""},
        {"name": "b, c", "dev.uar": "", "seeds": "", "more": ""},
    ]
    assert read_csv(tmp_path / "none.csv") == []


def test_a_table_says_its_plan_and_every_version_that_computed_it():
    versions = [{"torch": "2"}, {"torch": "1"}, {"torch": "2"}]
    said = made_by("tiny", {"seeds": 3}, ({"versions": each} for each in versions), Checkout(ROOT))
    assert said["plan"]["name"] == "tiny"
    assert said["plan"]["seeds"] == 3
    assert len(said["plan"]["sha256"]) == 64
    assert said["computed_with"] == [{"torch": "1"}, {"torch": "2"}]


def test_a_table_is_the_same_rows_in_each_form(tmp_path: Path):
    write_table(tmp_path, "table", {"table": 1}, [{"uar": 0.5, "low": [1]}], "Read me.\n\n")
    assert json.loads((tmp_path / "table.json").read_text()) == {"table": 1, "rows": [{"uar": 0.5, "low": [1]}]}
    assert read_csv(tmp_path / "table.csv") == [{"uar": "0.5", "low": "1"}]
    assert (tmp_path / "table.md").read_text() == "Read me.\n"


def test_columns_become_rows():
    assert rows_of({"id": ["a", "b"], "said": (1, 2)}) == [{"id": "a", "said": 1}, {"id": "b", "said": 2}]
    with pytest.raises(ValueError, match="shorter"):
        rows_of({"id": ["a", "b"], "said": [1]})
