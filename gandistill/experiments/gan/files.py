"""The files of a table: all of it as JSON and CSV, what a person reads as Markdown and as a figure, predictions, costs.

But for ``costs.csv`` they are the same bits whenever the same plan is run again on the same machine.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gandistill import artifacts
from gandistill.evaluate.predictions import Predictions
from gandistill.experiments import canvas
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.gan import printed, reference
from gandistill.experiments.gan.measured import Measured
from gandistill.experiments.gan.rows import Row, Rows
from gandistill.experiments.gan.tables import TABLES
from gandistill.experiments.names import Facts
from gandistill.experiments.results import as_csv, made_by, read_csv, rows_of, sizes_of_parts, write_table
from gandistill.experiments.store import Store
from gandistill.features.featureset import FeatureSet

COSTS = "costs.csv"


def write(number: int, name: str, study: Rows, rows: Sequence[Row], store: Store, checkout: Checkout, out: Path) -> str:
    """Write the files of Table ``number`` of the plan ``name`` into ``out``; give what of it says most, for a document.

    ``rows`` are the table's of a ``study``, their results in the store.
    """
    out.mkdir(parents=True, exist_ok=True)
    table, plan, stem = TABLES[number], study.plan, f"table{number}"
    published = checkout.reference(f"gan_paper_{stem}")
    measured = [
        reference.beside(row, table.paper_key(row), published, plan)
        for row in table.measure(rows, study.folds, store, plan)
    ]
    predictions = [Measured.of(row, study.folds, store) for row in rows] if table.has_predictions else []
    kept: list[Facts] = [{"row": place} | row for place, row in enumerate(measured)]
    costs = [{"table": number, "row": row["row"]} | row.pop("cost") for row in kept if "cost" in row]
    results = (store.result(trial) for row in rows for trial in row.all_trials())
    facts = described(number, study) | made_by(name, plan.resolved(), results, checkout)
    caption = printed.caption(facts, plan.note)
    text = "\n".join([caption, table.text(measured, plan), reference.table(measured)])
    write_table(out, stem, facts, kept, text)
    canvas.write({stem: table.figures(facts, measured, [row.every for row in predictions])}, out)
    if predictions:
        artifacts.write_text(out / f"{stem}-predictions.csv", as_csv(predicted(predictions, study)))
    if costs:
        others = [row for row in read_csv(out / COSTS) if row["table"] != str(number)]
        together = sorted([*others, *costs], key=lambda row: (int(row["table"]), int(row["row"])))
        artifacts.write_text(out / COSTS, as_csv(together))
    digest = table.digest(measured, plan)
    return f"{caption}\n{digest}" if digest else ""


def described(number: int, study: Rows) -> Facts:
    """What was run: corpus, protocol, folds and their parts."""
    sets = [FeatureSet.open(fold.inputs.features) for fold in study.folds]
    return {
        "table": number,
        "corpus": sets[0].config["corpus"],
        "protocol": study.plan.protocol,
        "folds": dict(zip(map(str, study.plan.folds), map(sizes_of_parts, sets), strict=True)),
    }


def predicted(measured: Sequence[Measured], study: Rows) -> list[Facts]:
    """A row for each test utterance; what each head said of it, in columns named by row, source and head: ``3.0.2``."""
    first = measured[0].every[0]
    fold_of = {name: n for n, fold in zip(study.plan.folds, study.folds, strict=True) for name in fold.test.index["id"]}
    columns: dict[str, Any] = {"id": first.ids, "fold": [fold_of[name] for name in first.ids]}
    columns |= {"speaker": first.speakers, "label": first.labels}
    for place, row in enumerate(measured):
        for s, heads in enumerate(row.predictions):
            columns |= {f"{place}.{s}.{h}": head.in_order_of(first).predicted for h, head in enumerate(heads)}
    return rows_of(columns)


def said_by(table: Path, rows: Sequence[Facts]) -> list[list[Predictions]]:
    """The predictions of each row, of all its sources and heads, that are kept beside a table's JSON; none without."""
    kept = read_csv(table.with_name(f"{table.stem}-predictions.csv"))
    if not kept:
        return []
    columns = {name: np.array([row[name] for row in kept]) for name in kept[0]}
    ids, speakers, labels = (columns[name] for name in ("id", "speaker", "label"))
    of_rows: dict[int, list[Predictions]] = {row["row"]: [] for row in rows}
    for name in [*columns][4:]:
        predictions = Predictions(ids, speakers, labels, columns[name], source=str(table))
        of_rows[int(name.split(".")[0])].append(predictions)
    return [*of_rows.values()]
