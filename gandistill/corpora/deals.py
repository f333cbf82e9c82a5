"""Speakers dealt to parts: which parts lack a class, and the nearest deal that has every class in every part.

Units are what must stay together (a speaker, or a session). Of N utterances, ``units`` and ``classes`` name the unit
and the class of each; a deal gives each unit the number of its part.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def lacking(units: Sequence[str], classes: Sequence[str], deal: Mapping[str, int], parts: int) -> list[list[str]]:
    """The classes that each part lacks, sorted."""
    there = {(deal[unit], name) for unit, name in zip(units, classes, strict=True)}
    return [sorted(name for name in set(classes) if (part, name) not in there) for part in range(parts)]


def complete(units: Sequence[str], classes: Sequence[str], deal: Mapping[str, int], parts: int) -> dict[str, int]:
    """The deal in which parts lack as few classes as can be; of those, the one that moves the fewest utterances.

    Solved exactly, as an integer program, so that a deal without a gap is found wherever there is one. No part is
    empty, which takes as many units as parts.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    sizes, names, kinds = Counter(units), sorted(set(units)), sorted(set(classes))
    uttered = set(zip(units, classes, strict=True))
    # Variables: whether unit u is in part p, at u * parts + p; behind them, whether part p lacks class c.
    pairs = len(names) * parts
    rows = [[u * parts + p for p in range(parts)] for u in range(len(names))]
    for p in range(parts):
        rows.append([u * parts + p for u in range(len(names))])
        for c, kind in enumerate(kinds):
            utter = [u * parts + p for u, name in enumerate(names) if (name, kind) in uttered]
            rows.append([*utter, pairs + c * parts + p])
    least: Any = np.ones(len(rows))
    most: Any = np.full(len(rows), np.inf)
    most[: len(names)] = 1  # a unit is in one part; a part has some unit, and each class or a gap
    cost = np.full(pairs + len(kinds) * parts, len(units) + 1.0)  # a gap is worse than moving everything
    for u, name in enumerate(names):
        cost[u * parts : (u + 1) * parts] = sizes[name]
        cost[u * parts + deal[name]] = 0
    at = [row for row, variables in enumerate(rows) for _ in variables]
    entries = (np.ones(len(at)), (at, [variable for variables in rows for variable in variables]))
    solved = milp(
        cost,
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(csr_array(entries, shape=(len(rows), len(cost))), least, most),
        options={"mip_rel_gap": 0.0},
    )
    chosen = np.asarray(solved.x)[:pairs].reshape(len(names), parts).argmax(axis=1)
    return {name: int(part) for name, part in zip(names, chosen, strict=True)}
