"""What a page says of tables of trajectory matching and of self-distillation, from what is kept of them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from gandistill.charts import Chart
from gandistill.experiments.gan.files import COSTS
from gandistill.experiments.names import Facts
from gandistill.experiments.printed import uar_of
from gandistill.experiments.report import page
from gandistill.experiments.report.tables import costly, opened, origin, seconds
from gandistill.experiments.results import costs_of
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
SET_COSTS = {
    "student_seconds": "training a student",
    "drawing_seconds": "drawing or choosing",
    "run_seconds": "distilling or training what draws",
    "teachers_seconds": "its teachers",
}
COSTS_OF_SETS = (
    "Processor seconds, means over sets and students, of what students of the first kind learned from at the most "
    f"points, and the bytes of such a set. From {COSTS}."
)
COSTS_OF_EXITS = (
    "Bytes of the weights that answer, seconds of one core for a second that is heard, and processor seconds of "
    f"training the whole network, means over trainings. From {COSTS}."
)


def kept(folder: Path) -> bool:
    """Whether a folder holds tables of either paper."""
    return any((folder / f"{name}.json").is_file() for name in (*MATCHED, *EXITED))


def described(folder: Path) -> str:
    """A part for each paper that has tables in a folder. Raises InputError for a file that is none."""
    matched, exited = (_read(folder, names) for names in (MATCHED, EXITED))
    parts = ""
    if matched:
        facts, *_ = matched.values()
        rows = [row for table in matched.values() for row in table["rows"]]
        parts += _part("Trajectory matching", MATCHED, matched, of_sets.drawn(facts, rows), map(_set, rows))
        costs = _costs_of_sets(folder, matched.get(DISTILLED, {}).get("rows", []))
        parts += costly("Bytes and seconds", COSTS_OF_SETS, costs)
    if exited:
        facts, *_ = exited.values()
        rows = [row for table in exited.values() for row in table["rows"] if row["network"] != CHANCE]
        drawn = of_exits.drawn(facts, {name: table["rows"] for name, table in exited.items()}, [*facts["parts"]])
        parts += _part("Self-distillation", EXITED, exited, drawn, map(_exit, rows))
        parts += costly("Bytes and seconds", COSTS_OF_EXITS, _costs_of_exits(folder, facts))
    return parts


def _read(folder: Path, names: Sequence[str]) -> dict[str, Facts]:
    paths = {name: folder / f"{name}.json" for name in names}
    return {name: opened(path, [name], {"fold", "parts"}) for name, path in paths.items() if path.is_file()}


def _part(
    title: str,
    names: tuple[str, ...],
    tables: Mapping[str, Facts],
    drawn: Mapping[str, Sequence[Chart]],
    numbers: Iterable[Facts],
) -> str:
    facts, *_ = tables.values()
    caption = f"{CAPTIONS[names]} {origin(facts, ', '.join(f'{name}.json' for name in tables))}"
    note = page.paragraph(facts["plan"]["note"]) if facts["plan"].get("note") else ""
    return page.part(title, note, page.figure([*chain(*drawn.values())], caption, [*numbers]))


def _set(row: Facts) -> Facts:
    """A row of trajectory matching: what students learned from."""
    keys = ("training set", "student", "labels", "start", "ppc", "step", "chosen", "points")
    return {key: row.get(key) for key in keys} | _uars(row)


def _exit(row: Facts) -> Facts:
    """A row of self-distillation: what answered, and what that takes."""
    costs = {"bytes": row.get("bytes"), WORK: row.get("multiply_accumulates")}
    form = {"bytes": "{:,}".format, WORK: lambda count: f"{count / 1e6:,.0f}"}
    return named(row) | _uars(row) | {key: None if value is None else form[key](value) for key, value in costs.items()}


def _uars(row: Facts) -> Facts:
    return {f"{part} UAR, %": uar_of(row[part]) for part in PARTS if part in row}


def _costs_of_sets(folder: Path, rows: Sequence[Facts]) -> list[Facts]:
    """Of the sets of most points after their last step, beside their rivals, by students from weights of their own."""
    costs, most = costs_of(folder / COSTS, DISTILLED), max((row.get("ppc") or 0 for row in rows), default=0)
    shown = []
    for row in rows:
        of_first = (row["student"], row["start"]) == (rows[0]["student"], "scratch") and "chosen" not in row
        if of_first and row.get("last", True) and row.get("ppc") in (None, most) and row["row"] in costs:
            cost = costs[row["row"]]
            named = {key: row[key] for key in ("training set", "labels", "points")}
            weight = {"bytes": f"{int(cost['set_bytes']):,}"} if cost.get("set_bytes") else {}
            shown.append(named | weight | seconds(cost, SET_COSTS))
    return shown


def _costs_of_exits(folder: Path, table: Facts) -> list[Facts]:
    """Of every answer of one table's networks."""
    costs = costs_of(folder / COSTS, table["table"])
    return [
        named(row)
        | {"bytes": f"{int(cost['bytes']):,}", "an answer": f"{float(cost['seconds']):.4f}"}
        | ({"training": f"{float(cost['training_seconds']):.1f}"} if cost.get("training_seconds") else {})
        for row in table["rows"]
        if (cost := costs.get(row["row"]))
    ]
