"""What a page says of a folder of tables, from what is kept of them."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from gandistill.artifacts import read_json
from gandistill.errors import InputError
from gandistill.experiments.gan import printed
from gandistill.experiments.gan.files import COSTS, said_by
from gandistill.experiments.gan.tables import TABLES
from gandistill.experiments.names import Facts
from gandistill.experiments.printed import uar_of, wide
from gandistill.experiments.report import page
from gandistill.experiments.results import costs_of

NAMES = {
    2: "UAR against points",
    1: "Bytes",
    3: "Balance, and what is taken for what",
    4: "Speakers",
}
CAPTIONS = {
    1: "What a corpus weighs as audio, as features and as a generator, and what heads reach that learned from it.",
    2: "UAR of heads that learned from so many points of each class alone, with 95 % t intervals over draws; across, "
    "all real data and what of it fits in the generator's bytes. The axis begins at chance where nothing is below it.",
    3: "What a head that learned from real or generated points takes each class for.",
    4: "How well a linear probe of a head's first layer tells speakers apart. Low rates of error mean that they can "
    "be told apart; it is not a measure of privacy.",
}
SECONDS = {
    "head_seconds": "training a head",
    "drawing_seconds": "drawing or reading",
    "generator_seconds": "making the generator",
    "bank_seconds": "its bank",
}


def kept(folder: Path) -> list[Path]:
    """The tables of a folder, those first that say most."""
    return [path for number in NAMES if (path := folder / f"table{number}.json").is_file()]


def described(paths: Sequence[Path]) -> str:
    """A part for each table. Raises InputError for a file that is none."""
    captions: dict[str, None] = {}
    parts = [_table(path, captions) for path in paths]
    return "".join(map(page.paragraph, captions)) + "".join(parts)


def _table(path: Path, captions: dict[str, None]) -> str:
    """A part for a table; what it is of is added to the captions, which most tables of a folder share."""
    facts = opened(path, TABLES, {"protocol", "folds"})
    rows, number = facts.pop("rows"), facts["table"]
    every = said_by(path, rows) if number == 3 else []
    charts = TABLES[number].figures(facts, rows, every)
    caption = f"{CAPTIONS[number]} {origin(facts, path.name)}"
    captions[printed.caption(facts, facts["plan"]["note"]).replace("`", "")] = None
    costs = _costs(path.with_name(COSTS), rows) if number == 2 else ""
    return page.part(NAMES[number], page.figure(charts, caption, _numbers(number, rows)), costs)


def opened(path: Path, tables: Container[Any], keys: set[str]) -> Facts:
    """What is kept of one of these ``tables``, which have these ``keys``. Raises InputError for a file of another."""
    facts = read_json(path)
    if facts.get("table") not in tables or not {"corpus", "plan", "rows", *keys} <= facts.keys():
        raise InputError(f"{path}: not a table that 'gandistill tables' wrote")
    return facts


def origin(facts: Facts, files: str) -> str:
    """Where numbers come from."""
    return f"From {files}, plan {facts['plan']['name']}, commit {facts.get('commit')}."


def _numbers(number: int, rows: Sequence[Facts]) -> list[dict[str, Any]]:
    """The numbers behind a figure."""
    if number == 1:
        return printed.sizes(rows)
    if number == 4:
        return printed.probed(rows)
    return wide(rows, ("training set", "head", "labels"), ("ppc", "balance"), uar_of)


def _costs(path: Path, rows: Sequence[Facts]) -> str:
    """Seconds of the rows of the first head and labels that have the most points, and of all real data."""
    costs = costs_of(path, "2")
    most = max((row.get("ppc") or 0 for row in rows), default=0)
    first = [row for row in rows if (row["head"], row["labels"]) == (rows[0]["head"], rows[0]["labels"])]
    shown = [
        {"training set": row["training set"], "points": row["points"]} | seconds(costs[row["row"]], SECONDS)
        for row in first
        if row["row"] in costs and row.get("ppc") in (None, most)
    ]
    return costly("Seconds", f"Processor seconds, from {path.name}: means over folds and seeds.", shown)


def seconds(cost: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """The seconds that are known of a row, by the words for each."""
    return {heading: f"{float(cost[key]):.2f}" for key, heading in names.items() if cost.get(key)}


def costly(title: str, note: str, rows: Sequence[Facts]) -> str:
    """A part of costs, if any are kept."""
    return page.part(title, page.paragraph(note), page.table(rows)) if rows else ""
