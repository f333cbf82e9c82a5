"""What tables of every paper are printed by."""

from collections.abc import Callable, Sequence
from typing import Any

from gandistill.evaluate.markdown import percent
from gandistill.experiments.differences import bounds
from gandistill.experiments.names import Facts


def uar_of(entry: Facts) -> str:
    """UAR in per cent with its interval."""
    return percent(entry["uar"], *bounds(entry))


def beyond(difference: Facts) -> str:
    """A difference of UARs in percentage points: its t interval, in round brackets that of a bootstrap."""
    text = percent(difference["uar_difference"], *bounds(difference))
    if "bootstrap" in difference:
        low, high = difference["bootstrap"]["interval"]
        text += f" ({100 * low:.1f}, {100 * high:.1f})"
    return text


def wide(
    table: Sequence[Facts], down: Sequence[str], across: Sequence[str], show: Callable[[Facts], str]
) -> list[Facts]:
    """A table to read: a row for each value of the keys ``down``, a column for each of the keys ``across``."""
    rows: dict[tuple[Any, ...], Facts] = {}
    columns = list(dict.fromkeys(_heading(entry, across) for entry in table))
    for entry in table:
        named = {key: entry.get(key) for key in down}
        row = rows.setdefault(tuple(named.values()), named | dict.fromkeys(columns))
        row[_heading(entry, across)] = show(entry)
    return list(rows.values())


def _heading(entry: Facts, across: Sequence[str]) -> str:
    named = (f"{entry[key]} {key}" if key == "ppc" else f"{key} {entry[key]}" for key in across if entry.get(key))
    return ", ".join(named) or "all"
