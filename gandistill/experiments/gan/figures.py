"""Figures of the GAN paper's tables: sizes, UAR against points, confusions, speakers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gandistill.evaluate.predictions import Predictions
from gandistill.experiments import canvas
from gandistill.experiments.gan.measured import GROUPS, Measured
from gandistill.experiments.names import REAL, Facts
from gandistill.metrics import confusion_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sizes(table: Sequence[Facts]) -> "Figure":
    """Bytes against UAR, where a row's form was judged."""
    shown = [row for row in table if "uar" in row]
    figure, (axes,) = canvas.grid(1, 1)
    for row in shown:
        axes.plot(row["bytes"], 100 * row["uar"], "o", markersize=4)
        axes.annotate(row["what"], (row["bytes"], 100 * row["uar"]), (3, 3), textcoords="offset points", fontsize=6)
    axes.set(xscale="log", xlabel="bytes", ylabel="UAR, %")
    axes.margins(x=0.4)
    return figure


def curves(table: Sequence[Facts]) -> "Figure":
    """UAR against points per class with intervals, all real data as a line; a panel for each head and labels."""
    panels = list(dict.fromkeys((row["head"], row["labels"]) for row in table))
    figure, axes = canvas.grid(len(panels), 2)
    for panel, place in zip(axes, panels, strict=True):
        shown = [row for row in table if (row["head"], row["labels"]) == place]
        lines: dict[str, list[tuple[int, Facts]]] = {}
        for row in shown:
            if row.get("ppc"):
                lines.setdefault(row["training set"], []).append((row["ppc"], row))
        canvas.curves(panel, lines)
        for row in shown:
            if row["training set"] == REAL:
                panel.axhline(100 * row["uar"], color="black", linewidth=0.8, label=REAL)
        panel.set(ylabel="UAR, %", title=f"{place[0]}, {place[1]} labels")
    canvas.legend(figure, axes)
    return figure


def confusions(table: Sequence[Facts], measured: Sequence[Measured]) -> "Figure":
    """What the first head takes each class for, in per cent, means over all seeds: real data beside generated."""
    shown = [(row, judged) for row, judged in zip(table, measured, strict=True) if row["head"] == table[0]["head"]]
    shown = [(row, judged) for row, judged in shown if row["labels"] == table[0]["labels"]]
    shown = [(row, judged) for row, judged in shown if row["training set"] == REAL or "generator" in row]
    figure, axes = canvas.grid(len(shown), 3)
    for panel, (row, judged) in zip(axes, shown, strict=True):
        classes, shares = taken_for(judged.every)
        panel.imshow(shares, vmin=0, vmax=100, cmap="Blues")
        for i, j in np.ndindex(shares.shape):
            panel.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=6)
        ticks = range(len(classes))
        panel.set_xticks(ticks, classes, rotation=45)
        panel.set_yticks(ticks, classes)
        panel.set(title=f"{row['training set']}\nbalanced: {row['balance']}", xlabel="recognised as", ylabel="is")
    return figure


def taken_for(every: Sequence[Predictions]) -> tuple[list[str], NDArray[np.float64]]:
    """Classes that occur or are predicted, and what each [C] was taken for [C], in per cent, means over predictions."""
    classes = sorted({name for p in every for name in (*p.labels.tolist(), *p.predicted.tolist())})
    numbers = [(np.searchsorted(classes, p.labels), np.searchsorted(classes, p.predicted)) for p in every]
    shares = np.mean([confusion_matrix(*pair, len(classes)) for pair in numbers], axis=0)
    return classes, 100 * shares / shares.sum(axis=1, keepdims=True).clip(min=1)  # a class may not occur


def speakers(table: Sequence[Facts]) -> "Figure":
    """Accuracy and equal error rate of each first layer, for all, seen and unseen speakers."""
    figure, axes = canvas.grid(2, 2)
    for panel, what in zip(axes, ("accuracy", "equal_error_rate"), strict=True):
        for nth, group in enumerate(GROUPS):
            rows = [row[group][what] for row in table if group in row]
            canvas.points(panel, [i + nth / 5 for i in range(len(rows))], rows, f"{group} speakers", "mean", "none")
        panel.axhline(100 * table[0]["chance"][what], color="black", linewidth=0.8, label="chance")
        panel.set(ylabel=f"{what.replace('_', ' ')}, %")
        panel.set_xticks(
            range(len(table)), [row["first layer of"] for row in table], rotation=30, ha="right", fontsize=5
        )
    canvas.legend(figure, axes)
    return figure
