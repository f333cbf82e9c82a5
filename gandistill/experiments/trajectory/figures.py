"""Figures 2 and 3 of the trajectory-matching paper, as SVG: UAR against distillation steps, and against points."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gandistill.experiments import canvas
from gandistill.experiments.differences import bounds
from gandistill.experiments.names import REAL, Facts
from gandistill.experiments.trajectory.rows import CONTROLS, HARD, RANDOM, TAUGHT
from gandistill.experiments.trajectory.trials import PARTS
from gandistill.svg import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(table: Sequence[Facts], out: Path) -> None:
    """Write ``figure2-dev.svg`` and so on."""
    rows = [row for row in table if row["start"] == "scratch" and "chosen" not in row]
    for part in [part for part in PARTS if part in rows[0]]:
        for name, figure in (("figure2", steps), ("figure3", curves)):
            write_figure(partial(figure, rows, part), out / f"{name}-{part}.svg")


def steps(rows: Sequence[Facts], part: str) -> "Figure":
    """A panel for each way to distil, points and student that has a curve; step 0 and random real points as bands."""
    shown = [row for row in rows if "matched" in row]
    named = [(row["matched"], row["ppc"], row["student"]) for row in shown]
    curves = [place for place in dict.fromkeys(named) if named.count(place) > 2]
    figure, axes = canvas.grid(max(1, len(curves)), 2)
    for panel, (matched, ppc, student) in zip(axes, curves, strict=False):
        curve = [row for row, place in zip(shown, named, strict=True) if place == (matched, ppc, student)]
        at = [row["step"] for row in curve]
        canvas.points(panel, at, [row[part] for row in curve], "distilled")
        band(panel, curve[0][part], "step 0", "C1")
        for row in rows:
            if (row["training set"], row["labels"], row.get("ppc")) == (RANDOM, HARD, ppc) and row[
                "student"
            ] == student:
                band(panel, row[part], RANDOM, "C2")
        panel.set(xlabel="distillation step", ylabel=f"UAR on {part}, %", ylim=(0, 100))
        panel.set(title=f"distilled, {matched}, {ppc} per class; student {student}", xticks=at)
    canvas.legend(figure, axes)
    return figure


def curves(rows: Sequence[Facts], part: str) -> "Figure":
    """UAR against points per class, a panel for each student; all real data as a line."""
    students = list(dict.fromkeys(row["student"] for row in rows))
    figure, axes = canvas.grid(len(students), 2)
    for panel, student in zip(axes, students, strict=True):
        shown = [row for row in rows if row["student"] == student]
        lines: dict[str, list[Facts]] = {}
        for row in shown:
            if row.get("ppc") and (name := _line(row)):
                line = lines.setdefault(name, [])
                if all(row["trials"] != other["trials"] for other in line):  # several ways start alike
                    line.append(row)
        canvas.curves(panel, {name: [(row["ppc"], row[part]) for row in line] for name, line in lines.items()})
        for row in shown:
            if (name := row["training set"]) in (REAL, TAUGHT):
                style = "-" if name == REAL else ":"
                panel.axhline(100 * row[part]["uar"], color="black", linewidth=0.8, linestyle=style, label=name)
        panel.set(ylabel=f"UAR on {part}, %", title=f"student {student}")
    canvas.legend(figure, axes)
    return figure


def _line(row: Facts) -> str:
    """The line of Figure 3 that a row is on, if it is on one."""
    soft = "" if row["labels"] == HARD else f", {row['labels']} labels"
    if "matched" in row:
        return f"{row['training set']}, last step" if row["last"] else f"step 0{soft}" if row["step"] == 0 else ""
    kept = row["training set"] in CONTROLS or "generator" in row
    return row["training set"] + soft if kept else ""


def band(panel: "Axes", uar: Facts, name: str, colour: str) -> None:
    """A line in per cent with its interval."""
    low, high = bounds(uar)
    panel.axhline(100 * uar["uar"], color=colour, linewidth=0.8, linestyle="--", label=name)
    panel.axhspan(100 * low, 100 * high, color=colour, alpha=0.15, linewidth=0)
