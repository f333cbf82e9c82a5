"""Figures of the GAN paper's tables: sizes, UAR against points, confusions, speakers.

They are drawn from what is kept of a table: ``facts`` that say what it is of, and its rows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gandistill import charts
from gandistill.charts import Chart, Look, Point, Row
from gandistill.evaluate.predictions import Predictions
from gandistill.experiments import canvas
from gandistill.experiments.canvas import CHANCE, family
from gandistill.experiments.differences import bounds
from gandistill.experiments.gan.measured import GROUPS
from gandistill.experiments.gan.rows import TIME_POOLED
from gandistill.experiments.names import REAL, Facts
from gandistill.metrics import confusion_matrix

MARKS: dict[str, str] = dict(zip(GROUPS, ("circle", "square", "triangle"), strict=True))
"""Of all, seen and unseen speakers."""


def place(facts: Facts) -> str:
    """Corpus, folds and upstream that a table is of."""
    extract = facts["plan"]["extract"]
    upstream = extract["upstream"]
    layer = extract.get(upstream, {}).get("layer")
    folds = [*facts["folds"]]
    counted = f"fold {folds[0]} alone" if len(folds) == 1 else f"{len(folds)} folds"
    return f"{facts['corpus']}, {counted}, {upstream}" + ("" if layer is None else f" layer {layer}")


def judged_by(facts: Facts, row: Facts) -> str:
    """What a row's head was judged on, and the head."""
    return f"{place(facts)}; head {row['head']}, {row['labels']} labels"


def colour(facts: Facts, name: str) -> str:
    """The family of what is named after a generator of the plan, or of what is none."""
    named = [(generator, kinds) for generator, kinds in facts["plan"]["generators"].items() if generator in name]
    if not named:
        return "real"
    generator, kinds = max(named, key=lambda pair: len(pair[0]))
    kind = next(iter(kinds.values()))["architecture"]["kind"]
    return family({"training set": name, "generator": generator, "kind": kind})


def sizes(facts: Facts, table: Sequence[Facts]) -> Chart:
    """Bytes of every form, and the UAR of what was judged."""
    rows = []
    for row in table:
        look = Look("other" if row["what"].startswith("audio") else colour(facts, row["what"]), hollow="uar" not in row)
        reached = f", UAR {100 * row['uar']:.1f} %" if "uar" in row else ""
        label = f"{charts.short(row['bytes'], 3)}B{reached}"
        rows.append(Row(row["what"], [(look, Point(row["bytes"], 0))], label))
    title = f"Bytes, and UAR of heads trained on them; {place(facts)}"
    return charts.dots(title, rows, "bytes; filled: judged by a head", logarithmic=True)


def curves(facts: Facts, table: Sequence[Facts]) -> list[Chart]:
    """UAR against points per class with intervals, all real data as a line; a chart for each head and labels."""
    judges = dict.fromkeys((row["head"], row["labels"]) for row in table)
    return [_curves(facts, [row for row in table if (row["head"], row["labels"]) == judge]) for judge in judges]


def _curves(facts: Facts, rows: Sequence[Facts]) -> Chart:
    named = {row["training set"]: row for row in rows}
    lines: dict[str, list[tuple[int, Facts]]] = {}
    for row in rows:
        if row.get("ppc"):
            lines.setdefault(row["training set"], []).append((row["ppc"], row))
    drawn = canvas.lines(lines, named)
    for name, dash in ((REAL, ""), (TIME_POOLED, canvas.DOTTED)):
        if name in named:
            drawn.append(canvas.level(name, named[name], Look("real", dash=dash)))
    ticks, chance = sorted({ppc for line in lines.values() for ppc, _ in line}), 1 / rows[0]["classes"]
    title = judged_by(facts, rows[0])
    return canvas.uars(title, drawn, chance, "points per class", ticks=ticks, key=canvas.key(rows))


def confusions(facts: Facts, table: Sequence[Facts], every: Sequence[Sequence[Predictions]]) -> list[Chart]:
    """What the first head takes each class for, in per cent, means over all seeds: real data beside generated.

    ``every``: the predictions of each row.
    """
    shown = [(row, of_row) for row, of_row in zip(table, every, strict=True) if row["head"] == table[0]["head"]]
    shown = [(row, of_row) for row, of_row in shown if row["labels"] == table[0]["labels"]]
    shown = [(row, of_row) for row, of_row in shown if row["training set"] == REAL or "generator" in row]
    drawn = []
    for row, of_row in shown:
        classes, shares = taken_for(of_row)
        title = f"{row['training set']}, balanced: {row['balance']}, UAR {100 * row['uar']:.1f} %"
        drawn.append(charts.shares(f"{title}; {judged_by(facts, row)}", classes, shares))
    return drawn


def taken_for(every: Sequence[Predictions]) -> tuple[list[str], NDArray[np.float64]]:
    """Classes that occur or are predicted, and what each [C] was taken for [C], in per cent, means over predictions."""
    classes = sorted({name for p in every for name in (*p.labels.tolist(), *p.predicted.tolist())})
    numbers = [(np.searchsorted(classes, p.labels), np.searchsorted(classes, p.predicted)) for p in every]
    shares = np.mean([confusion_matrix(*pair, len(classes)) for pair in numbers], axis=0)
    return classes, 100 * shares / shares.sum(axis=1, keepdims=True).clip(min=1)  # a class may not occur


def speakers(facts: Facts, table: Sequence[Facts]) -> list[Chart]:
    """Accuracy and equal error rate of each first layer, for all, seen and unseen speakers."""
    return [_speakers(facts, table, what) for what in ("accuracy", "equal_error_rate")]


def _speakers(facts: Facts, table: Sequence[Facts], what: str) -> Chart:
    groups = [group for group in GROUPS if any(group in row for row in table)]
    rows = []
    for row in table:
        name = row["first layer of"]
        family = colour(facts, name) if name.startswith("emotion") else "other"
        of_groups = {group: row[group][what] for group in groups if group in row}
        points = [(_look(family, group), _across(value)) for group, value in of_groups.items()]
        label = ", ".join(f"{group} {100 * value['mean']:.1f}" for group, value in of_groups.items())
        rows.append(Row(name, points, label))
    key = [(f"{group} speakers", _look("ink", group)) for group in groups]
    name = what.replace("_", " ")
    title = f"Speakers told by a head's first layer: {name}; {place(facts)}"
    return charts.dots(title, rows, f"{name}, %", levels=[(CHANCE, 100 * table[0]["chance"][what])], key=key)


def _look(family: str, group: str) -> Look:
    return Look(family, MARKS[group], hollow=group != GROUPS[0])


def _across(value: Facts) -> Point:
    low, high = bounds(value)
    return Point(100 * value["mean"], 0, 100 * low, 100 * high)
