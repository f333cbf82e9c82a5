"""What a page says of tables of trajectory matching and of self-distillation, from what is kept of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gandistill.artifacts import read_json
from gandistill.charts import Chart
from gandistill.errors import InputError
from gandistill.experiments.names import Facts
from gandistill.experiments.printed import uar_of
from gandistill.experiments.report import page
from gandistill.experiments.selfdistill import figures as of_exits
from gandistill.experiments.selfdistill.files import WORK, named
from gandistill.experiments.selfdistill.rows import CHANCE, EARLY, EXITS, LAYERS, NETWORKS, PRECISIONS
from gandistill.experiments.trajectory import figures as of_sets
from gandistill.experiments.trajectory.rows import DISTILLED, FULL
from gandistill.experiments.trajectory.trials import PARTS

MATCHED, EXITED = (FULL, DISTILLED), (NETWORKS, EXITS, PRECISIONS, EARLY, LAYERS)
CAPTIONS = {
    MATCHED: "UAR of students that learned from distilled sets, and from as many real clips, with 95 % t intervals "
    "over sets; across, step 0 (the real clips that a set started as), random clips and all real data.",
    EXITED: "UAR of exits of one network against the work that an answer takes, with 95 % t intervals over trainings. "
    "An exit is where the network can answer without the layers above it.",
}


def kept(folder: Path) -> bool:
    """Whether a folder holds tables of either paper."""
    return any((folder / f"{name}.json").is_file() for name in (*MATCHED, *EXITED))


def described(folder: Path) -> str:
    """A part for each paper that has tables in a folder. Raises InputError for a file that is none."""
    matched, exited = (_read(folder, names) for names in (MATCHED, EXITED))
    said = ""
    if matched:
        rows = [row for table in matched.values() for row in table["rows"]]
        drawn = of_sets.drawn(next(iter(matched.values())), rows)
        said += _part("Trajectory matching", MATCHED, matched, drawn, [_set(row) for row in rows])
    if exited:
        rows = [row for table in exited.values() for row in table["rows"] if row["network"] != CHANCE]
        tables = {name: table["rows"] for name, table in exited.items()}
        facts = next(iter(exited.values()))
        drawn = of_exits.drawn(facts, tables, [*facts["parts"]])
        said += _part("Self-distillation", EXITED, exited, drawn, [_exit(row) for row in rows])
    return said


def _read(folder: Path, names: Sequence[str]) -> dict[str, Facts]:
    paths = {name: path for name in names if (path := folder / f"{name}.json").is_file()}
    tables = {name: read_json(path) for name, path in paths.items()}
    for name, table in tables.items():
        if table.get("table") != name or not {"corpus", "fold", "parts", "plan", "rows"} <= table.keys():
            raise InputError(f"{paths[name]}: not a table that 'gandistill tables' wrote")
    return tables


def _part(
    title: str,
    names: tuple[str, ...],
    tables: Mapping[str, Facts],
    drawn: Mapping[str, Sequence[Chart]],
    numbers: Sequence[Facts],
) -> str:
    facts = next(iter(tables.values()))
    plan, files = facts["plan"], ", ".join(f"{name}.json" for name in tables)
    caption = f"{CAPTIONS[names]} From {files}, plan {plan['name']}, commit {facts.get('commit')}."
    charts = [chart for each in drawn.values() for chart in each]
    note = page.paragraph(plan["note"]) if plan.get("note") else ""
    return page.part(title, note, page.figure(charts, caption, numbers))


def _set(row: Facts) -> Facts:
    """A row of trajectory matching: what students learned from."""
    keys = ("training set", "student", "labels", "start", "ppc", "step", "chosen", "points")
    return {key: row.get(key) for key in keys} | _uars(row)


def _exit(row: Facts) -> Facts:
    """A row of self-distillation: what answered, and what that takes."""
    costs = {"bytes": row.get("bytes"), WORK: row.get("multiply_accumulates")}
    said = {"bytes": "{:,}".format, WORK: lambda count: f"{count / 1e6:,.0f}"}
    return named(row) | _uars(row) | {key: None if value is None else said[key](value) for key, value in costs.items()}


def _uars(row: Facts) -> Facts:
    return {f"{part} UAR, %": uar_of(row[part]) for part in PARTS if part in row}
