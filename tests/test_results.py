"""Tables that are kept say what their own predictions say."""

import csv
import json
import runpy
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from gandistill.evaluate.predictions import Predictions
from gandistill.experiments import canvas
from gandistill.experiments.gan.files import said_by
from gandistill.experiments.gan.tables import TABLES as TABLES_OF_KIND
from gandistill.experiments.names import REAL
from gandistill.experiments.selfdistill import figures as exit_figures
from gandistill.experiments.trajectory import figures as trajectory_figures

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "eval" / "results"
TABLES = sorted(RESULTS.glob("*/table[23].json"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_uar_can_be_recomputed(path: Path):
    table = json.loads(path.read_text())
    with path.with_name(f"{path.stem}-predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(sizes["test"]["utterances"] for sizes in table["folds"].values())
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    ids, folds, speakers, labels = (columns.pop(key) for key in ("id", "fold", "speaker", "label"))
    for row in table["rows"]:
        for s, heads in enumerate(row["uars"]):
            for h, uar in enumerate(heads):
                predicted = columns.pop(f"{row['row']}.{s}.{h}")
                of_folds = [folds == fold for fold in table["folds"]]
                uars = [Predictions(ids[one], speakers[one], labels[one], predicted[one]).uar for one in of_folds]
                assert fmean(uars) == pytest.approx(uar)
        assert row["uar"] == pytest.approx(fmean(fmean(heads) for heads in row["uars"]))
    assert not columns, "predictions of no row"


@pytest.mark.parametrize(
    "path", sorted(RESULTS.glob("*/table?.json")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_a_table_says_what_made_it_and_comes_in_every_form(path: Path):
    table = json.loads(path.read_text())
    assert len(table["plan"]["sha256"]) == 64
    assert table["commit"] != "unknown"
    assert (ROOT / "eval" / "plans" / f"{table['plan']['name']}.yaml").is_file()
    for form in ("md", "csv", "svg"):
        assert path.with_suffix(f".{form}").stat().st_size > 0
    if path.stem != "table1":
        costs = csv.DictReader(path.with_name("costs.csv").read_text().splitlines())
        assert {row["row"] for row in costs if row["table"] == path.stem[-1]} == {str(r["row"]) for r in table["rows"]}
    note = table["plan"]["note"]
    assert path.with_suffix(".md").read_text().startswith(note)


@pytest.mark.parametrize(
    ("script", "document"),
    [
        ("eval/short.py", "README.md"),
        ("eval/privacy.py", "eval/results/README.md"),
        ("eval/budget.py", "eval/results/README.md"),
        ("eval/benchmarks/summary.py", "eval/results/benchmarks/README.md"),
    ],
)
def test_a_document_shows_what_the_kept_files_give(script: str, document: str):
    """If not, the script writes it."""
    table = runpy.run_path(str(ROOT / script))["table"]()
    for kept in RESULTS.glob(f"{Path(script).stem}/tables.md"):
        assert kept.read_text() == table
    assert f"<!-- table: {script} -->\n\n{table}\n<!-- end of table -->\n" in (ROOT / document).read_text()


@pytest.mark.parametrize(
    "path", sorted(RESULTS.glob("*/table?.json")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_a_figure_is_drawn_from_what_is_kept(path: Path, tmp_path: Path):
    table = json.loads(path.read_text())
    rows, of_kind = table.pop("rows"), TABLES_OF_KIND[table["table"]]
    every = said_by(path, rows) if of_kind.has_predictions else []
    canvas.write({path.stem: of_kind.figures(table, rows, every)}, tmp_path)
    assert path.with_suffix(".svg").read_text() == (tmp_path / f"{path.stem}.svg").read_text()


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("trajectory-*")), ids=lambda folder: folder.name)
def test_a_figure_of_trajectories_is_drawn_from_what_is_kept(folder: Path, tmp_path: Path):
    full, distilled = (json.loads((folder / f"{name}.json").read_text()) for name in ("full", "distilled"))
    canvas.write(trajectory_figures.drawn(full, [*full["rows"], *distilled["rows"]]), tmp_path)
    check_same_figures(folder, tmp_path)


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("selfdistill-*")), ids=lambda folder: folder.name)
def test_a_figure_of_exits_is_drawn_from_what_is_kept(folder: Path, tmp_path: Path):
    tables = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    facts = next(iter(tables.values()))
    rows = {name: table["rows"] for name, table in tables.items()}
    canvas.write(exit_figures.drawn(facts, rows, facts["plan"]["parts"]), tmp_path)
    check_same_figures(folder, tmp_path)


def check_same_figures(folder: Path, drawn: Path) -> None:
    kept = {path.name: path.read_text() for path in folder.glob("*.svg")}
    assert kept
    assert {path.name: path.read_text() for path in drawn.iterdir()} == kept


def test_readme_says_what_five_hundred_points_are_worth():
    gaps = dict[tuple[str, str], dict[str, Any]]()
    for plan in ("whisper_many", "nemo_whisper_many"):
        for row in json.loads((RESULTS / plan / "table2.json").read_text())["rows"]:
            if (row.get("generator"), row["labels"], row.get("ppc")) == ("class-Gaussian", "hard", 500):
                gaps[plan, row["head"]] = row["differences"][REAL]
    assert len(gaps) == 6, "three heads on two corpora"
    assert all(gap["interval"][0] < 0 < gap["interval"][1] for gap in gaps.values()), "none is shown to learn less"
    seeing_time = [100 * gap["uar_difference"] for (_, head), gap in gaps.items() if head != "superb"]
    said = f"from {-min(seeing_time):.1f} points below all real clips to {max(seeing_time):.1f} above, with 0 in"
    assert said in " ".join((ROOT / "README.md").read_text().split())
    assert sum(gap["equivalence"]["equivalent"] for gap in gaps.values()) == 1, "on par: one head alone, on one corpus"
