"""Figures of the self-distillation paper, as SVG: UAR against the student's layer (its Figure 2), and against cost."""

from collections.abc import Mapping, Sequence

from gandistill.charts import MARKS, Chart, Look, Series
from gandistill.experiments import canvas
from gandistill.experiments.names import Facts
from gandistill.experiments.selfdistill.rows import (
    CHANCE,
    DEEPEST,
    EXITS,
    FINE_TUNED,
    LAYER_WISE,
    LAYERS,
    NETWORKS,
    SELF,
)
from gandistill.selfdistill.inference import FUSION

COLOURS = {SELF: "class6", FINE_TUNED: "class4", LAYER_WISE: "class3"}
"""By how a network was taught: none that stands for a family of training sets."""
DASHES = ("", "5 3", "7 2 2 2", "1 3")
"""By similarity loss."""


def drawn(facts: Facts, tables: Mapping[str, Sequence[Facts]], parts: Sequence[str]) -> dict[str, list[Chart]]:
    """The charts of each figure by its name, of those tables that there are; ``facts`` say what tables are of."""
    costs = [row for name in (NETWORKS, EXITS) for row in tables.get(name, ())]
    return {
        "cost": [cost(facts, costs, part) for part in parts if costs],
        "layers": [layers(facts, tables[LAYERS], part) for part in parts if LAYERS in tables],
    }


def layers(facts: Facts, rows: Sequence[Facts], part: str) -> Chart:
    """Figure 2: the student behind each layer, and its teacher."""
    drawn = []
    for name, of_teacher, look in (
        ("student", False, Look("class6")),
        ("its teacher", True, Look("class4", "square", "5 3")),
    ):
        line = [row for row in rows if row["network"] != CHANCE and (row["exit"] == DEEPEST) == of_teacher]
        drawn.append(Series(name, look, [canvas.in_per_cent(row[part], row["layer"]) for row in line]))
    return _against(facts, rows, drawn, "student's layer", part)


def cost(facts: Facts, rows: Sequence[Facts], part: str) -> Chart:
    """UAR against multiply-accumulates: exits of one training are joined.

    Networks that were trained apart are not, and fusion, which is no exit, stands alone.
    """
    lines: dict[str, list[Facts]] = {}
    for row in rows:
        if "multiply_accumulates" in row:
            words = [row[key] for key in ("network", "block", "similarity") if key in row]
            line = lines.setdefault(", ".join([*words, *([FUSION] if row["exit"] == FUSION else [])]), [])
            if all(row["exit"] != other["exit"] for other in line):  # Table 2 takes some of Table 1's
                line.append(row)
    styles, drawn = looks({name: line[0] for name, line in lines.items()}), []
    for name, line in lines.items():
        rising = sorted(line, key=lambda row: row["multiply_accumulates"])
        points = [canvas.in_per_cent(row[part], row["multiply_accumulates"] / 1e6) for row in rising]
        drawn.append(Series(name, styles[name], points, joined=rising[0]["network"] == SELF and len(points) > 1))
    return _against(facts, rows, drawn, "million multiply-accumulates per second heard", part)


def looks(named: Mapping[str, Facts]) -> dict[str, Look]:
    """Colour says how a network was taught, the mark its block, the line its similarity loss; fusion is hollow."""
    blocks, losses = ([*dict.fromkeys(row.get(key) for row in named.values())] for key in ("block", "similarity"))
    marks = dict(zip(blocks, MARKS, strict=False))
    return {
        name: Look(
            COLOURS[row["network"]],
            marks[row.get("block")],
            DASHES[losses.index(row.get("similarity")) % len(DASHES)],
            hollow=row["exit"] == FUSION,
        )
        for name, row in named.items()
    }


def _against(facts: Facts, rows: Sequence[Facts], drawn: Sequence[Series], x: str, part: str) -> Chart:
    """Against x, from the UAR of whoever says one class always."""
    chance = next(row[part]["uar"] for row in rows if row["network"] == CHANCE)
    upstream = f"{facts['upstream']['name']}, {facts['upstream']['layers']} layers"
    title = f"{facts['corpus']}, fold {facts['fold']} alone, {upstream}; judged on {part}"
    return canvas.uars(title, drawn, chance, x)
