"""Results as a table: Markdown for a document, aligned plain text for a terminal."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gandistill.errors import InputError
from gandistill.files import write_text

Row = dict[str, Any]


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; columns in order of first appearance, numbers to the right."""
    header, body, numeric = cells(rows)
    rule = ["---:" if right else "---" for right in numeric]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [header, *body]]
    return "".join(f"| {' | '.join(row)} |\n" for row in [escaped[0], rule, *escaped[1:]])


def plain(rows: Sequence[Row]) -> str:
    """Rows as text whose columns line up, numbers to the right."""
    header, body, numeric = cells(rows)
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    lines = []
    for row in [header, ["-" * width for width in widths], *body]:
        fields = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True))
        lines.append("  ".join(fields).rstrip() + "\n")
    return "".join(lines)


def percent(mean: float, low: float = math.nan, high: float = math.nan) -> str:
    """A share in 0..1 as per cent with its interval where there is one: ``52.4 [48.1, 56.7]``."""
    bounds = "" if math.isnan(low) or math.isnan(high) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * mean:.1f}{bounds}"


def put_table(document: Path, maker: str, table: str | None = None) -> None:
    """Put a table between the marks ``table: MAKER`` and ``end of table`` of a Markdown document.

    Without a table only see that there is a place for it, before long work. Raises InputError if there is none.
    """
    begin, end = f"<!-- table: {maker} -->\n", "<!-- end of table -->\n"
    before, marks, rest = document.read_text(encoding="utf-8").partition(begin)
    if not marks or end not in rest:
        raise InputError(f"{document} has no place for a table: {begin.strip()} and {end.strip()}")
    if table is not None:
        write_text(document, f"{before}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}")


def cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]], list[bool]]:
    """Header, text of every cell, and which columns hold only numbers; what a row lacks is empty."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    body = [["" if row.get(key) is None else str(row[key]) for key in header] for row in rows]
    numeric = [all(text[:1] in "-0123456789" for text in column) for column in zip(*body, strict=True)]
    return header, body, numeric
