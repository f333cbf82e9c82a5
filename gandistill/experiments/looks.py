"""How rows are drawn in every figure: colour says the family, mark and line the variant."""

from collections.abc import Iterable

from gandistill.charts import MARKS, Look
from gandistill.controls.draws import INDEPENDENT
from gandistill.experiments.names import DRAWN, REAL, Facts

FAMILIES = {"real": "real speech", "closed": "closed form", "gan": "GAN", "flow": "flow"}
"""Colours, and what they stand for."""
CLOSED = (DRAWN["class-gaussian"], DRAWN["class-gaussian-mean"])
DASHES = {"untrained": "1 3", "baseline": "7 3", "div": "7 2 2 2", "sml": "4 2"}
"""Lines of a generator by its losses: one with all of them has a whole line."""
DOTTED = "2 3"


def family(row: Facts) -> str:
    """Real, closed form, GAN or flow, by a row's own facts; a name of ``FAMILIES``."""
    kind = row.get("kind", "")
    if kind.startswith("class-gaussian") or row.get("training set", "").startswith(CLOSED):
        return "closed"
    if "generator" not in row:
        return "real"
    return "flow" if "flow" in kind else "gan"


def looks(rows: Iterable[Facts]) -> dict[str, Look]:
    """The look of each training set: a mark for each variant of a family, hollow where draws are independent."""
    variants: dict[str, list[str]] = {}
    found: dict[str, Look] = {}
    for row in rows:
        name, colour = row["training set"], family(row)
        independent = row.get("draws") == INDEPENDENT
        variant = row.get("generator") or name.removesuffix(f", {INDEPENDENT}")
        of_family = variants.setdefault(colour, [])
        if name == REAL:
            found[name] = Look(colour)
            continue
        if variant not in of_family:
            of_family.append(variant)
        mark = [*MARKS][of_family.index(variant) % len(MARKS)]
        dash = DASHES.get(row.get("losses", ""), "5 3" if independent else "")
        found[name] = Look(colour, mark, dash, independent)
    return found
