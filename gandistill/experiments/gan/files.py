"""The files of a table: all of it as JSON and CSV, what a person reads as Markdown and as a figure, predictions, costs.

But for ``costs.csv`` they are the same bits whenever the same plan is run again on the same machine.
"""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.corpora.manifest import SPLITS
from gandistill.experiments.canvas import write_figure
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.gan import printed, reference
from gandistill.experiments.gan.measured import Measured
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import Fold, Row
from gandistill.experiments.gan.tables import Table
from gandistill.experiments.names import Facts
from gandistill.experiments.results import as_csv, flat, made_by, read_csv, size
from gandistill.features.featureset import FeatureSet

COSTS = "costs.csv"


def write(
    number: int, name: str, table: Table, rows: Sequence[Row], results: Iterable[Facts], checkout: Checkout, out: Path
) -> str:
    """Write the files of Table ``number`` of the plan ``name`` into ``out``; give what of it says most, for a document.

    ``results`` are what its trials found.
    """
    out.mkdir(parents=True, exist_ok=True)
    plan, folds, stem = table.plan, table.folds, f"table{number}"
    published = checkout.reference(f"gan_paper_{stem}")
    measured = [reference.beside(row, table.words(row), published, plan) for row in table.measured(rows)]
    predictions = table.predictions(rows)
    kept, costs = [], []
    for place, row in enumerate(measured):
        kept.append({"row": place} | {key: value for key, value in row.items() if key != "cost"})
        if "cost" in row:
            costs.append({"table": number, "row": place} | row["cost"])
    facts = described(number, plan, folds) | made_by(name, plan.resolved(), results, checkout)
    artifacts.write_text(out / f"{stem}.json", json.dumps(facts | {"rows": kept}, indent=1) + "\n")
    artifacts.write_text(out / f"{stem}.csv", as_csv([flat(row) for row in kept]))
    caption = printed.caption(facts, plan.note)
    text = "\n".join([caption, table.text(measured), reference.table(measured)])
    artifacts.write_text(out / f"{stem}.md", text.rstrip() + "\n")
    write_figure(partial(table.figure, measured, predictions), out / f"{stem}.svg")
    if predictions:
        artifacts.write_text(out / f"{stem}-predictions.csv", as_csv(predicted(predictions, plan, folds)))
    if costs:
        others = [row for row in read_csv(out / COSTS) if row["table"] != str(number)]
        together = sorted([*others, *costs], key=lambda row: (int(row["table"]), int(row["row"])))
        artifacts.write_text(out / COSTS, as_csv(together))
    digest = table.digest(measured)
    return f"{caption}\n{digest}" if digest else ""


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
