"""Files of tables: what made them, and rows as CSV.

But for costs they are the same bits whenever the same plan is run again on the same machine.
"""

import csv
import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.console import say
from gandistill.corpora.manifest import SPLITS
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.names import Facts
from gandistill.experiments.store import digest
from gandistill.features.featureset import FeatureSet
from gandistill.files import dump_compact


def made_by(name: str, resolved: Facts, results: Iterable[Facts], checkout: Checkout) -> Facts:
    """The plan with its hash; commit and versions that wrote the files; ``computed_with``: those that computed the
    ``results`` in them, each once, since results are kept whatever becomes of the code."""
    plan = {"name": name, "sha256": digest(resolved)} | resolved
    computed = [json.loads(versions) for versions in sorted({dump_compact(result["versions"]) for result in results})]
    if len(computed) > 1:
        say(f"These results were computed with {len(computed)} different versions or sources: see computed_with")
    return {"plan": plan, "commit": checkout.commit(), "versions": artifacts.versions(), "computed_with": computed}


def size(speakers: Collection[str]) -> dict[str, int]:
    """Utterances and speakers, by the speaker of each utterance."""
    return {"utterances": len(speakers), "speakers": len({*speakers})}


def sizes_of_parts(features: FeatureSet) -> dict[str, dict[str, int]]:
    """Utterances and speakers of those parts that there are."""
    there = {*features.index["split"]}
    return {part: size([*features.part(part).index["speaker"]]) for part in SPLITS if part in there}


def flat(row: Facts, prefix: str = "") -> Facts:
    """One level of keys, ``a.b`` for what was within; lists joined by blanks."""
    cells: Facts = {}
    for key, value in row.items():
        if isinstance(value, dict):
            cells |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            cells[prefix + key] = " ".join(map(dump_compact, value))
        else:
            cells[prefix + key] = value
    return cells


def as_csv(rows: Sequence[Facts]) -> str:
    """Rows as CSV, columns in order of first appearance."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_table(out: Path, stem: str, facts: Facts, rows: Sequence[Facts], text: str) -> None:
    """Write what a table is and its rows as JSON, the rows as CSV, and what a person reads as Markdown."""
    artifacts.write_text(out / f"{stem}.json", json.dumps(facts | {"rows": rows}, indent=1) + "\n")
    artifacts.write_text(out / f"{stem}.csv", as_csv([flat(row) for row in rows]))
    artifacts.write_text(out / f"{stem}.md", text.rstrip() + "\n")


def rows_of(columns: Mapping[str, Iterable[Any]]) -> list[Facts]:
    """Rows of columns of the same length, by name."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def costs_of(path: Path, table: str) -> dict[int, dict[str, str]]:
    """What a file of costs says of the rows of a table, by their numbers."""
    return {int(row["row"]): row for row in read_csv(path) if row["table"] == table}


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
