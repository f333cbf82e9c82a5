"""The files of a table: all of it as JSON and CSV, what a person reads as Markdown and as a figure, predictions, costs.

But for ``costs.csv`` they are the same bits whenever the same plan is run again on the same machine.
"""

import csv
import hashlib
import io
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import figures
import paper
import printed

from gandistill import artifacts
from gandistill.console import say
from gandistill.corpora.manifest import SPLITS
from gandistill.evaluate.plan import Plan
from gandistill.evaluate.rows import Facts, Fold
from gandistill.evaluate.tables import Measured
from gandistill.features.featureset import FeatureSet
from gandistill.files import dump_compact

ROOT = Path(__file__).parents[1]
COSTS = "costs.csv"
CODE = ("gandistill", "recipes", "eval/*.py", "eval/plans", "eval/expected")
"""What decides a result, in words that git takes."""


def keep(
    number: int,
    name: str,
    plan: Plan,
    folds: Sequence[Fold],
    found: list[Facts],
    made: list[Measured],
    results: Iterable[Facts],
    out: Path,
) -> str:
    """Write the files of Table ``number`` of the plan ``name`` into ``out``; give the caption.

    ``found`` are its rows, ``made`` the measured ones of Tables 2 and 3, ``results`` what its cells hold.
    """
    out.mkdir(parents=True, exist_ok=True)
    stem = f"table{number}"
    rows, costs = [], []
    for place, row in enumerate(found):
        rows.append({"row": place} | {key: value for key, value in row.items() if key != "cost"})
        if "cost" in row:
            costs.append({"table": number, "row": place} | row["cost"])
    facts = described(number, plan, folds) | made_by(name, plan.resolved(), results)
    artifacts.write_text(out / f"{stem}.json", json.dumps(facts | {"rows": rows}, indent=1) + "\n")
    artifacts.write_text(out / f"{stem}.csv", as_csv([flat(row) for row in rows]))
    caption = printed.caption(facts, plan.note)
    text = "\n".join([caption, printed.table(number, found, plan), paper.table(found)])
    artifacts.write_text(out / f"{stem}.md", text.rstrip() + "\n")
    figures.draw(number, found, made, out / f"{stem}.svg")
    if made:
        artifacts.write_text(out / f"{stem}-predictions.csv", as_csv(predicted(made, plan, folds)))
    if costs:
        others = [row for row in read_csv(out / COSTS) if row["table"] != str(number)]
        together = sorted([*others, *costs], key=lambda row: (int(row["table"]), int(row["row"])))
        artifacts.write_text(out / COSTS, as_csv(together))
    return caption


def described(number: int, plan: Plan, folds: Sequence[Fold]) -> Facts:
    """What was run: corpus, protocol, folds and their parts."""
    whole = [FeatureSet.open(fold.inputs.features) for fold in folds]
    parts = [{part: size(one.part(part)) for part in SPLITS if part in {*one.index["split"]}} for one in whole]
    return {
        "table": number,
        "corpus": whole[0].config["corpus"],
        "protocol": plan.protocol,
        "folds": dict(zip(map(str, plan.folds), parts, strict=True)),
    }


def made_by(name: str, resolved: Facts, results: Iterable[Facts]) -> Facts:
    """The plan with its hash; commit and versions that wrote the files; ``computed_with``: those that computed the
    ``results`` in them, each once, since results are kept whatever becomes of the code."""
    digest = hashlib.sha256(dump_compact(resolved).encode()).hexdigest()
    plan = {"name": name, "sha256": digest} | resolved
    computed = [json.loads(one) for one in sorted({dump_compact(result["versions"]) for result in results})]
    if len(computed) > 1:
        say(f"These results were computed with {len(computed)} different versions or sources: see computed_with")
    return {"plan": plan, "commit": commit(), "versions": artifacts.versions(), "computed_with": computed}


def commit() -> str:
    """Of this checkout, with a mark where it has changes; unknown where it is none."""

    def said(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    head, changed = said("rev-parse", "HEAD"), said("status", "--porcelain", "--", *CODE)
    return f"{head or 'unknown'}{', changed' if changed else ''}"


def size(part: FeatureSet) -> dict[str, int]:
    return {"utterances": len(part), "speakers": len(set(part.index["speaker"]))}


def predicted(made: Sequence[Measured], plan: Plan, folds: Sequence[Fold]) -> list[Facts]:
    """A row for each test utterance; what each head said of it, in columns named by row, source and head: ``3.0.2``."""
    first = made[0].every[0]
    tested = {name: number for number, fold in zip(plan.folds, folds, strict=True) for name in fold.test.index["id"]}
    columns: dict[str, Any] = {"id": first.ids, "fold": [tested[name] for name in first.ids]}
    columns |= {"speaker": first.speakers, "label": first.labels}
    for place, row in enumerate(made):
        for s, heads in enumerate(row.predictions):
            columns |= {f"{place}.{s}.{h}": one.in_order_of(first).predicted for h, one in enumerate(heads)}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


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


def read_csv(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
