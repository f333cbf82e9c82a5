"""Figures 2 and 3 of the trajectory-matching paper, as SVG: UAR against distillation steps, and against points."""

from collections.abc import Sequence

from gandistill.charts import Chart, Look, Series
from gandistill.experiments import canvas
from gandistill.experiments.names import REAL, Facts
from gandistill.experiments.trajectory.rows import CONTROLS, HARD, RANDOM, TAUGHT
from gandistill.experiments.trajectory.trials import PARTS


def drawn(facts: Facts, table: Sequence[Facts]) -> dict[str, list[Chart]]:
    """The charts of each figure by its name, such as ``figure2-dev``; ``facts`` say what the rows are of."""
    rows = [row for row in table if row["start"] == "scratch" and "chosen" not in row]
    figures = {"figure2": steps, "figure3": curves}
    parts = [part for part in PARTS if part in rows[0]]
    return {f"{name}-{part}": make(facts, rows, part) for part in parts for name, make in figures.items()}


def place(facts: Facts, student: str) -> str:
    """Corpus, fold, upstream and student."""
    return f"{facts['corpus']}, fold {facts['fold']} alone, {facts['plan']['extract']['upstream']}; student {student}"


def steps(facts: Facts, rows: Sequence[Facts], part: str) -> list[Chart]:
    """A chart for each way to distil, points and student that has a curve; step 0 and random real points across."""
    shown = [row for row in rows if "matched" in row]
    named = [(row["matched"], row["ppc"], row["student"]) for row in shown]
    drawn, chance = [], 1 / len(facts["labels"])
    for matched, ppc, student in [key for key in dict.fromkeys(named) if named.count(key) > 2]:
        curve = [row for row, of in zip(shown, named, strict=True) if of == (matched, ppc, student)]
        points = [canvas.in_per_cent(row[part], row["step"]) for row in curve]
        series = [Series("distilled", Look("distilled"), points)]
        series.append(canvas.level("step 0", curve[0][part], Look("real", dash="7 3")))
        for row in rows:
            if _is_random(row, ppc, student):
                series.append(canvas.level(RANDOM, row[part], Look("real", dash=canvas.DOTTED)))
        title = f"{place(facts, student)}; {matched}, {ppc} per class"
        drawn.append(canvas.uars(title, series, chance, "distillation step", f"UAR on {part}, %"))
    return drawn


def _is_random(row: Facts, ppc: int, student: str) -> bool:
    return (row["training set"], row["labels"], row.get("ppc"), row["student"]) == (RANDOM, HARD, ppc, student)


def curves(facts: Facts, rows: Sequence[Facts], part: str) -> list[Chart]:
    """UAR against points per class, a chart for each student; all real data across."""
    students = dict.fromkeys(row["student"] for row in rows)
    return [_curves(facts, [row for row in rows if row["student"] == student], part) for student in students]


def _curves(facts: Facts, rows: Sequence[Facts], part: str) -> Chart:
    lines: dict[str, list[Facts]] = {}
    for row in rows:
        if row.get("ppc") and (name := _line(row)):
            line = lines.setdefault(name, [])
            if all(row["trials"] != other["trials"] for other in line):  # several ways start alike
                line.append(row)
    points = {name: [(row["ppc"], row[part]) for row in line] for name, line in lines.items()}
    drawn = canvas.lines(points, {name: line[0] for name, line in lines.items()})
    for row in rows:
        if (name := row["training set"]) in (REAL, TAUGHT):
            drawn.append(canvas.level(name, row[part], Look("real", dash="" if name == REAL else canvas.DOTTED)))
    return canvas.uars(
        place(facts, rows[0]["student"]),
        drawn,
        1 / len(facts["labels"]),
        "points per class",
        f"UAR on {part}, %",
        ticks=sorted({ppc for line in points.values() for ppc, _ in line}),
        key=canvas.key(row for line in lines.values() for row in line),
    )


def _line(row: Facts) -> str:
    """The line of Figure 3 that a row is on, if it is on one."""
    soft = "" if row["labels"] == HARD else f", {row['labels']} labels"
    if "matched" in row:
        return f"{row['training set']}, last step" if row["last"] else f"step 0{soft}" if row["step"] == 0 else ""
    kept = row["training set"] in CONTROLS or "generator" in row
    return row["training set"] + soft if kept else ""
