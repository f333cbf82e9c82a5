"""Figures of the self-distillation paper, as SVG: UAR against the student's layer (its Figure 2), and against cost."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gandistill.experiments import canvas
from gandistill.experiments.names import Facts
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.selfdistill.rows import CHANCE, DEEPEST, EXITS, LAYERS, NETWORKS, SELF
from gandistill.selfdistill.inference import FUSION
from gandistill.svg import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(tables: Mapping[str, Sequence[Facts]], plan: ExitPlan, out: Path) -> None:
    """Write ``layers.svg``, if the plan has Figure 2, and ``cost.svg``."""
    if LAYERS in tables:
        write_figure(partial(layers, tables[LAYERS], plan), out / "layers.svg")
    write_figure(partial(cost, [*tables[NETWORKS], *tables[EXITS]], plan), out / "cost.svg")


def layers(rows: Sequence[Facts], plan: ExitPlan) -> "Figure":
    """Figure 2: a panel for each part; the student behind each layer, and its teacher."""
    figure, axes = canvas.grid(len(plan.parts), 2)
    for panel, part in zip(axes, plan.parts, strict=True):
        shown = [row for row in rows if row["network"] != CHANCE]
        for name, of_teacher in (("student", False), ("its teacher", True)):
            line = [row for row in shown if (row["exit"] == DEEPEST) == of_teacher]
            canvas.points(panel, [row["layer"] for row in line], [row[part] for row in line], name)
        chance(panel, rows, part)
        panel.set(xlabel="student's layer", ylabel=f"UAR on {part}, %", xticks=[row["layer"] for row in shown])
    canvas.legend(figure, axes)
    return figure


def cost(rows: Sequence[Facts], plan: ExitPlan) -> "Figure":
    """UAR against multiply-accumulates, a panel for each part: exits of one training are joined.

    Networks that were trained apart are not, and fusion, which is no exit, stands alone.
    """
    lines: dict[str, list[Facts]] = {}
    for row in rows:
        if "multiply_accumulates" in row:
            words = [row[key] for key in ("network", "block", "similarity") if key in row]
            line = lines.setdefault(", ".join([*words, *([FUSION] if row["exit"] == FUSION else [])]), [])
            if all(row["exit"] != other["exit"] for other in line):  # Table 2 takes some of Table 1's
                line.append(row)
    figure, axes = canvas.grid(len(plan.parts), 2)
    for panel, part in zip(axes, plan.parts, strict=True):
        for name, line in lines.items():
            rising = sorted(line, key=lambda row: row["multiply_accumulates"])
            work = [row["multiply_accumulates"] / 1e6 for row in rising]
            joined = "-" if rising[0]["network"] == SELF else ""
            canvas.points(panel, work, [row[part] for row in rising], name, line=joined)
        chance(panel, rows, part)
        panel.set(xlabel="million multiply-accumulates per second heard", ylabel=f"UAR on {part}, %")
    canvas.legend(figure, axes)
    return figure


def chance(panel: "Axes", rows: Sequence[Facts], part: str) -> None:
    """A line at the UAR of whoever says one class always."""
    level = next(row[part]["uar"] for row in rows if row["network"] == CHANCE)
    panel.axhline(100 * level, color="black", linewidth=0.8, linestyle=":", label=CHANCE)
