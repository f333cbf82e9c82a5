"""Figures: panels, points with intervals, one legend."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gandistill.experiments.differences import bounds
from gandistill.experiments.names import Facts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def grid(panels: int, columns: int) -> "tuple[Figure, list[Axes]]":
    """A figure of so many panels in rows of so many columns."""
    from matplotlib.figure import Figure

    rows = -(-panels // columns)
    figure = Figure(figsize=(4.5 * min(columns, panels), 3.5 * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, min(columns, panels), place + 1) for place in range(panels)]


def points(
    panel: "Axes", x: Sequence[float], rows: Sequence[Facts], name: str, key: str = "uar", line: str = "-"
) -> None:
    """Points in per cent with their intervals."""
    mean = np.array([row[key] for row in rows])
    low, high = (np.array([bounds(row)[side] for row in rows]) for side in (0, 1))
    errors = np.nan_to_num(100 * np.array([mean - low, high - mean]))
    panel.errorbar(x, 100 * mean, errors, marker=".", linestyle=line, label=name, linewidth=0.8, elinewidth=0.4)


def curves(panel: "Axes", lines: Mapping[str, Sequence[tuple[int, Facts]]]) -> None:
    """UAR against points per class, a line for each name."""
    for nth, (name, line) in enumerate(lines.items()):
        aside = 1.02 ** (nth - len(lines) / 2)  # so that intervals do not hide each other
        points(panel, [ppc * aside for ppc, _ in line], [row for _, row in line], name)
    panel.set(xscale="log", xlabel="points per class", ylim=(0, 100))
    panel.set(xticks=sorted({ppc for line in lines.values() for ppc, _ in line}))
    panel.xaxis.set_major_formatter("{x:.0f}")
    panel.minorticks_off()


def legend(figure: "Figure", axes: "Sequence[Axes]") -> None:
    """One for all panels, below them."""
    handles = {
        label: handle for panel in axes for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=6)
