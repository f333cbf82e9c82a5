"""Rows as measured: means, intervals, differences, tests and costs, as plain JSON values.

S seeds of a source, H seeds of a head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Any

import numpy as np

from gandistill.controls.select import CLOSED_FORMS, REAL_DESIGNED, RECENTRED
from gandistill.evaluate.predictions import Predictions, pooled
from gandistill.evaluate.significance import difference, holm, mcnemar
from gandistill.experiments.differences import Floats, predictions_of, spread
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import (
    ADDED,
    BASELINE,
    BOTH,
    SML,
    TIME_POOLED,
    UNTRAINED,
    WEIGHTED,
    Fold,
    Row,
)
from gandistill.experiments.gan.storage import storage_rows
from gandistill.experiments.gan.variants import WITH_REAL
from gandistill.experiments.inputs import MANIFEST
from gandistill.experiments.names import DRAWN, FIXED, REAL, Facts, called
from gandistill.experiments.store import Store
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import WITHOUT_BANK
from gandistill.heads.bank import Bank
from gandistill.precision import FULL

SIGNIFICANT = 0.05
UNBALANCED = "as many, not balanced"
BALANCED = {"yes": "no", "yes, full size": "no, full size"}
"""Of Table 3: how rows with as many points in the corpus's own proportions say so."""
GROUPS = ("all", "seen", "unseen")


@dataclass(frozen=True)
class Measured:
    """UARs of a row [folds, S, H], and its predictions [S][H], folds pooled."""

    row: Row
    fold_uars: Floats
    predictions: list[list[Predictions]]

    @classmethod
    def of(cls, row: Row, folds: Sequence[Fold], store: Store) -> "Measured":
        """From what the store holds of the row's trials."""
        tests = [fold.test for fold in folds]
        uars, predictions = [], []
        for source in zip(*row.trials, strict=True):
            results = [[store.result(trial) for trial in trials] for trials in zip(*source, strict=True)]  # [H][folds]
            uars.append([[result["uar"] for result in head] for head in results])
            predicted = [[result["predicted"] for result in head] for head in results]
            predictions.append([pooled([*map(predictions_of, tests, head)]) for head in predicted])
        return cls(row, np.moveaxis(np.array(uars), -1, 0), predictions)

    @property
    def uars(self) -> Floats:
        """Means over folds [S, H]."""
        return self.fold_uars.mean(axis=0)

    @property
    def by_seeds(self) -> Iterator[tuple[tuple[int, int | None], Predictions]]:
        """Seeds of source and head, and predictions, in the order of ``every``."""
        for trials, predictions in zip(self.row.trials[0], self.predictions, strict=True):
            for trial, of_head in zip(trials, predictions, strict=True):
                yield (trial.source.seed, None if trial.head is None else trial.head.seed), of_head

    @property
    def every(self) -> list[Predictions]:
        """Predictions of all sources and heads, one after another."""
        return [*chain(*self.predictions)]


def judged(rows: Sequence[Row], folds: Sequence[Fold], store: Store, plan: Plan) -> list[Facts]:
    """What Tables 2 and 3 say of each row.

    ``uar`` in 0..1 with its 95 % t interval ``low`` to ``high`` (over sources where there are several, since heads of
    one source are not independent; else over heads), ``uars`` [S][H] and ``fold_uars`` [folds], ``points``, ``cost``
    in processor seconds and bytes; of what no corpus holds also ``differences`` to what it must beat, and of a trained
    generator ``mcnemar`` against the losses it adds to and against those rivals.
    """
    measured = [Measured.of(row, folds, store) for row in rows]
    table = [_summary(row, store) for row in measured]
    named = {_place(row.row.facts): row for row in measured}
    for row, entry in zip(measured, table, strict=True):
        for rival, facts in _rivals(row.row.facts):
            if (other := named.get(_place(row.row.facts | facts))) is not None:
                margin = plan.margin if rival == REAL else None
                compared = difference(row.every, other.every, margin=margin)
                entry.setdefault("differences", {})[rival] = compared
    _add_tests(measured, table, named, plan)
    _add_returns(table)
    return table


def _place(facts: Facts) -> tuple[Any, ...]:
    """What tells a row from the others."""
    return tuple(facts.get(key) for key in ("training set", "head", "labels", "ppc", "balance"))


def _rivals(facts: Facts) -> list[tuple[str, Facts]]:
    """What a row that no corpus holds is compared with, and how that row's facts differ from it.

    Generators after their training with all they must beat, by the same kind of draws; samples of closed forms, and
    real clips that were moved, with random real clips and with all of them; variants of samples with what they vary.
    """
    whole = {"ppc": None} | ({"balance": "no"} if "balance" in facts else {})
    random = (DRAWN["random"], {"training set": DRAWN["random"]})
    if "variant" in facts:
        if facts["variant"] == WITH_REAL:
            return [(REAL, {"training set": REAL} | whole)]
        return [("frames in order", {"training set": facts["of"]})]
    if facts.get("losses") in (None, UNTRAINED):
        moved = "generator" in facts or facts.get("method") in (RECENTRED, REAL_DESIGNED, *CLOSED_FORMS)
        return [random, (REAL, {"training set": REAL} | whole)] if moved else []
    oversampled = facts["balance"] if facts.get("balance") in BALANCED else "yes"
    gaussian, start = (
        called(name, facts["draws"]) for name in (DRAWN["class-gaussian"], f"{facts['generator']} {ADDED[UNTRAINED]}")
    )
    return [
        (ADDED[UNTRAINED], {"training set": start}),
        random,
        *((name, {"training set": name}) for name in (DRAWN["real-recentred"], DRAWN["real-designed"])),
        *((name, {"training set": name}) for name in (*FIXED.values(), gaussian)),
        *((name, {"training set": name} | whole) for name in (REAL, WEIGHTED, TIME_POOLED)),
        (DRAWN["random-oversampled"], {"training set": DRAWN["random-oversampled"], "balance": oversampled}),
        *((UNBALANCED, {"balance": natural}) for even, natural in BALANCED.items() if facts.get("balance") == even),
    ]


def _add_tests(measured: Sequence[Measured], table: list[Facts], named: dict[Any, Measured], plan: Plan) -> None:
    """McNemar's test of each generator against its baseline and its +SML, per seed of generator and head; and against
    what it must beat.

    Holm's correction is over all tests of the table that have the same seeds; the paper's two, which put the daggers,
    are a family of their own.
    """
    tests: dict[tuple[str, int, int], list[tuple[int, str, float, int]]] = {}
    for number, row in enumerate(measured):
        facts = row.row.facts
        if facts.get("losses") in (None, UNTRAINED):
            continue
        pairs = [
            ("losses", losses, {"training set": called(f"{facts['generator']} {ADDED[losses]}", facts["draws"])})
            for losses in (BASELINE, SML)
            if facts["losses"] not in (BASELINE, losses) and "variant" not in facts
        ]
        pairs += [("rivals", name, differing) for name, differing in _rivals(facts)]
        for family, name, differing in pairs:
            if (rival := named.get(_place(facts | differing))) is None:
                continue
            for s, h, a, b in _of_same_seeds(row, rival):
                test = number, name, mcnemar(a, b)["p_value"], int(a.right.sum()) - int(b.right.sum())
                tests.setdefault((family, s, h), []).append(test)
    for (_, s, h), same_seeds in sorted(tests.items()):
        adjusted = holm([p for _, _, p, _ in same_seeds])
        for (number, name, p, gain), corrected in zip(same_seeds, adjusted, strict=True):
            against = table[number].setdefault("mcnemar", {}).setdefault(name, [])
            against.append({"seed": s, "head_seed": h, "p_value": p, "holm": corrected, "more_right": gain})


def _of_same_seeds(mine: Measured, rival: Measured) -> Iterator[tuple[int, int, Predictions, Predictions]]:
    """Places [s, h] and predictions of a row beside a rival's by the same seeds of source and head, or where the rival
    has no such source, of the head; a head that it has not is left out."""
    theirs = dict(rival.by_seeds)
    by_head = {head: predictions for (_, head), predictions in theirs.items()}
    for (s, h), ((source, head), predictions) in zip(np.ndindex(mine.uars.shape), mine.by_seeds, strict=True):
        other = theirs.get((source, head), by_head.get(head))
        if other is not None:
            yield s, h, predictions, other


def _summary(row: Measured, store: Store) -> Facts:
    uars = spread(row.uars)
    results = [store.result(trial) for source in chain(*row.row.trials) for trial in source]
    cost: Facts = {
        "head_seconds": fmean(result["cost"]["seconds"] for result in results),
        "drawing_seconds": fmean(result["cost"]["drawing_seconds"] for result in results),
        "process_peak_bytes": max(result["cost"]["peak_bytes"] for result in results),
    }
    trained = [store.result(trial) for trial in row.row.costs]
    if trained and all("seconds" in result for result in trained):
        cost["generator_seconds"] = fmean(result["seconds"] for result in trained)
    banks = [fold[0][0].inputs.bank_seconds for fold in row.row.trials]
    if _needs_bank(row.row.facts) and None not in banks:
        cost["bank_seconds"] = fmean(seconds for seconds in banks if seconds is not None)
    kept = {}
    if "losses" in row.row.facts and trained:  # a closed form has no updates of which some could be kept
        kept = {"updates_kept": [result["trained"]["updates"] for result in trained]}
    uars["uars"] = row.uars.tolist()
    uars["fold_uars"] = row.fold_uars.mean(axis=(1, 2)).tolist()
    points = max(sum(result["points"].values()) for result in results)
    classes = len(results[0]["points"])
    return row.row.facts | {"points": points, "classes": classes} | kept | uars | {"cost": cost}


def _add_returns(table: list[Facts]) -> None:
    """After how many trainings of a head a generator has paid for itself; none: real data trains it as fast.

    A training on samples includes drawing them, one on real data reading them. The bank's own training counts where
    the generator or its soft labels need one.
    """
    whole = {(e["head"], e["labels"]): _seconds(e) for e in table if e["training set"] == REAL}
    for entry in table:
        cost = entry["cost"]
        if "generator_seconds" in cost and ("bank_seconds" in cost or not _needs_bank(entry)):
            saved = whole[entry["head"], entry["labels"]] - _seconds(entry)
            spent = cost["generator_seconds"] + cost.get("bank_seconds", 0.0)
            cost["pays_after_heads"] = spent / saved if saved > 0 else None


def _needs_bank(facts: Facts) -> bool:
    """Whether a row's points need a bank: for their generator's softmax matching loss, or for soft labels."""
    guided = facts.get("losses") in (SML, BOTH) and facts["kind"] not in WITHOUT_BANK
    return guided or facts["labels"] == "soft"


def _seconds(entry: Facts) -> float:
    return entry["cost"]["head_seconds"] + entry["cost"]["drawing_seconds"]


def weighed(rows: Sequence[Row], folds: Sequence[Fold], store: Store, plan: Plan) -> list[Facts]:
    """What Table 1 says: as ``storage_rows``, with what forms reach that heads were trained on, as ``judged`` has it.

    Features with soft labels and generators with their bank are worth what soft labels teach, others what hard ones do.
    """
    made = {row.facts["training set"]: row for row in rows if not row.trials}
    inputs = folds[0].inputs
    runs = {name: store.run(row.costs[0].source.run_facts(inputs)) for name, row in made.items()}
    whole, bank = FeatureSet.open(inputs.features), None if inputs.bank is None else Bank.open(inputs.bank)
    sizes = storage_rows(inputs.features.with_name(MANIFEST), whole, runs, store.folder, bank)
    worth = {_form(row): row for row in judged([row for row in rows if row.trials], folds, store, plan)}
    for size in sizes:
        reached = worth.get(size["what"], {})
        if reached.get("training set") == TIME_POOLED and reached["points"] < sum(folds[0].train.values()):
            continue  # as many as fit, not all that are weighed here
        size |= {key: reached[key] for key in ("uar", "low", "high", "labels", "ppc") if key in reached}
        if size.get("generator") in made and size["form"] == FULL:
            facts = made[size["generator"]].facts
            size |= {key: facts[key] for key in ("kind", "start") if key in facts}
    return sizes


def _form(row: Facts) -> str:
    """What of Table 1 a row of judged heads was trained on."""
    soft = row["labels"] == "soft"
    if "precision" in row:
        bank = "" if soft or "losses" not in row else ", without bank"  # a closed form has none
        return f"{row['training set']}, {row['precision']}{bank}"
    pooled = "time-pooled, " if row["training set"] == TIME_POOLED else ""
    return f"features, {pooled}float16{', soft labels' if soft else ''}"


def probed(rows: Sequence[Row], store: Store) -> list[Facts]:
    """What Table 4 says of each row: ``accuracy`` and ``equal_error_rate`` of all, of seen and of unseen speakers.

    Each with its mean over folds, sources and heads in 0..1, and its 95 % t interval as ``judged`` has it; ``chance``,
    and ``cost`` of the probe.
    """
    table = []
    for row in rows:
        results = [[[store.result(trial)["speakers"] for trial in source] for source in fold] for fold in row.trials]
        entry: Facts = row.facts | {"chance": results[0][0][0]["chance"], "speakers": results[0][0][0]["speakers"]}
        costs = [store.result(trial)["cost"] for source in chain(*row.trials) for trial in source]
        seconds, peak = fmean(c["seconds"] for c in costs), max(c["peak_bytes"] for c in costs)
        entry["cost"] = {"probe_seconds": seconds, "process_peak_bytes": peak}
        for group in GROUPS:
            if any(result[group] is None for fold in results for source in fold for result in source):
                continue
            for what in ("accuracy", "equal_error_rate"):
                values = np.array([[[result[group][what] for result in source] for source in fold] for fold in results])
                mean = values.astype(np.float64).mean(axis=0)
                bounds = spread(mean)
                facts = {"mean": bounds.pop("uar")} | bounds | {"values": mean.tolist()}
                entry.setdefault(group, {})[what] = facts
        table.append(entry)
    return table
