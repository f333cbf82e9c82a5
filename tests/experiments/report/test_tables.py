"""What a page says of tables that are kept: those first that say most, their numbers and seconds."""

import json
import shutil
from pathlib import Path

import pytest

from gandistill.errors import InputError
from gandistill.experiments.report import tables
from gandistill.experiments.report.tables import NAMES, described, kept

RESULTS = Path(__file__).parents[3] / "eval" / "results"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of tables that are kept."""
    return Path(shutil.copytree(RESULTS / "quick", tmp_path / "quick"))


def parts(text: str) -> list[str]:
    return [part.split("</h3>")[0] for part in text.split("<h3>")[1:]]


def test_those_come_first_that_say_most(folder: Path):
    assert [path.name for path in kept(folder)] == [f"table{number}.json" for number in (2, 1, 3, 4)]
    (folder / "table2.json").unlink()
    assert [path.name for path in kept(folder)] == [f"table{number}.json" for number in (1, 3, 4)]
    assert kept(folder.parent) == []


def test_what_tables_share_is_said_once(folder: Path):
    text = described(kept(folder))
    assert parts(text) == [NAMES[2], "Seconds", *(NAMES[number] for number in (1, 3, 4))]
    facts = json.loads((folder / "table2.json").read_text())
    assert text.count(f"{facts['corpus']}, {facts['protocol']} fold") == 1
    for number in NAMES:
        commit = json.loads((folder / f"table{number}.json").read_text()).get("commit")
        assert f"From table{number}.json, plan {facts['plan']['name']}, commit {commit}." in text


def test_seconds_are_those_of_the_first_head_at_most_points_and_of_all_real_data(folder: Path):
    rows = json.loads((folder / "table2.json").read_text())["rows"]
    most = max(row.get("ppc") or 0 for row in rows)
    judge = rows[0]["head"], rows[0]["labels"]
    shown = [row for row in rows if (row["head"], row["labels"]) == judge and row.get("ppc") in (None, most)]
    assert 1 < len(shown) < len(rows)
    lines = ["table,row,head_seconds,drawing_seconds,generator_seconds,bank_seconds"]
    lines += [f"2,{row['row']},{row['row']}.125,1,,3" for row in rows]
    (folder / "costs.csv").write_text("\n".join([*lines, "3,0,77.125,1,1,1", ""]))
    seconds = described([folder / "table2.json"]).split("<h3>Seconds</h3>")[1]
    for row in rows:
        assert (f">{row['row']}.12<" in seconds) == (row in shown)
    assert "77.12" not in seconds
    assert tables.SECONDS["bank_seconds"] in seconds
    assert tables.SECONDS["generator_seconds"] not in seconds, "nobody has any"


def test_without_costs_no_seconds_are_said(folder: Path):
    (folder / "costs.csv").unlink()
    assert parts(described([folder / "table2.json"])) == [NAMES[2]]


@pytest.mark.parametrize("lacking", ["table", "corpus", "protocol", "folds", "plan", "rows"])
def test_a_file_that_lacks_anything_is_refused(folder: Path, lacking: str):
    path = folder / "table2.json"
    facts = json.loads(path.read_text())
    del facts[lacking]
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"table2\.json: not a table that 'gandistill tables' wrote"):
        described([path])


def test_a_table_of_another_number_is_refused(folder: Path):
    path = folder / "table2.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"table": 5}))
    with pytest.raises(InputError, match="not a table"):
        described([path])
