"""How rows are drawn in every figure: colour says the family, mark and line the variant; lines, levels, chance."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gandistill import artifacts, charts
from gandistill.charts import MARKS, Chart, Look, Point, Series
from gandistill.controls.draws import INDEPENDENT
from gandistill.experiments.differences import bounds
from gandistill.experiments.names import DRAWN, Facts

FAMILIES = {
    "real": "real speech",
    "closed": "closed form",
    "gan": "GAN",
    "flow": "flow",
    "distilled": "distilled by trajectories",
}
"""Colours, and what they stand for."""
CLOSED = (DRAWN["class-gaussian"], DRAWN["class-gaussian-mean"])
DASHES = {"untrained": "1 3", "baseline": "7 3", "div": "7 2 2 2", "sml": "4 2"}
"""Lines of a generator by its losses: one with all of them has a whole line."""
DOTTED = "2 3"
CHANCE = "chance"
ASIDE = 1.015
"""By how much lines stand beside each other, so that intervals do not hide each other."""


def family(row: Facts) -> str:
    """A name of ``FAMILIES``, by a row's own facts."""
    kind = row.get("kind", "")
    if kind.startswith("class-gaussian") or row.get("training set", "").startswith(CLOSED):
        return "closed"
    if row.get("matched") and row["step"]:
        return "distilled"
    if "generator" not in row:
        return "real"
    return "flow" if "flow" in kind else "gan"


def looks(named: Mapping[str, Facts]) -> dict[str, Look]:
    """The look of each line, by a row of it: a mark for each variant of a family, hollow for independent draws."""
    variants: dict[str, list[str]] = {}
    styles: dict[str, Look] = {}
    for name, row in named.items():
        colour, independent = family(row), row.get("draws") == INDEPENDENT
        variant = row.get("generator") or name.removesuffix(f", {INDEPENDENT}")
        of_family = variants.setdefault(colour, [])
        if variant not in of_family:
            of_family.append(variant)
        mark = [*MARKS][of_family.index(variant) % len(MARKS)]
        losses = row.get("losses", "" if row.get("trained", True) else "untrained")
        styles[name] = Look(colour, mark, DASHES.get(losses, "5 3" if independent else ""), independent)
    return styles


def key(rows: Iterable[Facts]) -> list[tuple[str, Look]]:
    """The families that there are among rows."""
    there = {family(row) for row in rows}
    return [(name, Look(colour)) for colour, name in FAMILIES.items() if colour in there]


def lines(named: Mapping[str, Sequence[tuple[int, Facts]]], rows: Mapping[str, Facts]) -> list[Series]:
    """UAR against points per class, a line for each name; ``rows`` say what each is."""
    styles, drawn = looks({name: rows[name] for name in named}), []
    for nth, (name, line) in enumerate(named.items()):
        aside = ASIDE ** (nth - len(named) / 2)
        drawn.append(Series(name, styles[name], [in_per_cent(uar, ppc * aside) for ppc, uar in line]))
    return drawn


def level(name: str, uar: Facts, look: Look) -> Series:
    """A UAR all across, with its interval."""
    return Series(name, look, [in_per_cent(uar, 0)], across=True)


def uars(title: str, drawn: Sequence[Series], chance: float, x: str, y: str = "UAR, %", **more: Any) -> Chart:
    """Lines of UAR, from what whoever guesses reaches: ``chance``, 0 to 1; ``more`` as ``charts.curves`` has it."""
    guessed = Series(CHANCE, Look("faint"), [Point(0, 100 * chance)], across=True)
    return charts.curves(title, [*drawn, guessed], x, y, least=100 * chance, **more)


def in_per_cent(value: Facts, x: float) -> Point:
    """A UAR with its interval, at a place."""
    low, high = bounds(value)
    return Point(x, 100 * value["uar"], 100 * low, 100 * high)


def write(figures: Mapping[str, Sequence[Chart]], out: Path) -> None:
    """Write the charts of each figure together, as ``NAME.svg``; a figure that has none is left out."""
    for name, drawn in figures.items():
        if drawn:
            artifacts.write_text(out / f"{name}.svg", charts.together(drawn, columns=2).file())
