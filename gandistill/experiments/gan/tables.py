"""The GAN paper's tables 1 to 4: each knows its rows, what is measured of them, and how it is read and drawn."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from gandistill.experiments.gan import figures, printed, reference
from gandistill.experiments.gan.measured import Measured, judged, probed
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import TIME_POOLED, Fold, Row, Rows
from gandistill.experiments.gan.storage import storage_rows
from gandistill.experiments.inputs import MANIFEST
from gandistill.experiments.names import Facts
from gandistill.experiments.store import Store
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import CLOSED_FORMS
from gandistill.heads.bank import Bank
from gandistill.precision import FULL


@dataclass(frozen=True)
class Table(ABC):
    """A table of a plan that is run on some folds, its results in a store."""

    plan: Plan
    folds: Sequence[Fold]
    store: Store

    @abstractmethod
    def rows(self, rows: Rows) -> Iterator[Row]:
        """Its rows before they are measured."""

    @abstractmethod
    def measured(self, rows: Sequence[Row]) -> list[Facts]:
        """What it says of each row, as plain JSON values."""

    def predictions(self, rows: Sequence[Row]) -> list[Measured]:
        """Rows with the predictions that are kept beside the table; most tables keep none."""
        return []

    @abstractmethod
    def text(self, measured: Sequence[Facts]) -> str:
        """The table as Markdown."""

    def digest(self, measured: Sequence[Facts]) -> str:
        """What of it says most, for a document; most tables have no place in one."""
        return ""

    @abstractmethod
    def figure(self, measured: Sequence[Facts], predictions: Sequence[Measured]) -> Figure:
        """Its figure."""

    @abstractmethod
    def words(self, row: Facts) -> Facts:
        """What the paper's table calls a row."""


class Sizes(Table):
    """Table 1: bytes of the training part and of the generators, and what the forms that heads were trained on reach.

    Features with soft labels and generators with their bank are worth what soft labels teach, others what hard ones do.
    """

    def rows(self, rows: Rows) -> Iterator[Row]:
        """Generators to weigh, and rows of Table 2 that say what some of the sizes are worth."""
        return rows.sizes()

    def measured(self, rows: Sequence[Row]) -> list[Facts]:
        """What everything weighs."""
        weighing, judging = [row for row in rows if not row.trials], [row for row in rows if row.trials]
        made = {row.facts["training set"]: row for row in weighing}
        inputs = self.folds[0].inputs
        runs = {name: self.store.run(row.costs[0].source.run(inputs)) for name, row in made.items()}
        whole, bank = FeatureSet.open(inputs.features), None if inputs.bank is None else Bank.open(inputs.bank)
        weighed = storage_rows(inputs.features.with_name(MANIFEST), whole, runs, self.store.folder, bank)
        worth = {form(row): row for row in judged(judging, self.folds, self.store, self.plan)}
        for row in weighed:
            reached = worth.get(row["what"], {})
            if reached.get("training set") == TIME_POOLED and reached["points"] < sum(self.folds[0].train.values()):
                continue  # as many as fit, not all that are weighed here
            row |= {key: reached[key] for key in ("uar", "low", "high", "labels", "ppc") if key in reached}
            if row.get("generator") in made and row["form"] == FULL:
                facts = made[row["generator"]].facts
                row |= {key: facts[key] for key in ("kind", "start") if key in facts}
        return weighed

    def text(self, measured: Sequence[Facts]) -> str:
        """Bytes, how much smaller than what, and UAR."""
        return printed.sizes(measured)

    def figure(self, measured: Sequence[Facts], predictions: Sequence[Measured]) -> Figure:
        """Bytes against UAR."""
        return figures.sizes(measured)

    def words(self, row: Facts) -> Facts:
        """By form."""
        return reference.of_size(row)


def form(row: Facts) -> str:
    """What of Table 1 a row of judged heads was trained on."""
    soft = row["labels"] == "soft"
    if "precision" in row:
        bank = "" if soft or row["kind"] in CLOSED_FORMS else ", without bank"
        return f"{row['training set']}, {row['precision']}{bank}"
    pooled = "time-pooled, " if row["training set"] == TIME_POOLED else ""
    return f"features, {pooled}float16{', soft labels' if soft else ''}"


class Losses(Table):
    """Table 2: every generator with every kind of losses, beside what it must beat."""

    def rows(self, rows: Rows) -> Iterator[Row]:
        """By head, labels and points."""
        return rows.losses()

    def measured(self, rows: Sequence[Row]) -> list[Facts]:
        """UARs, differences and tests."""
        return judged(rows, self.folds, self.store, self.plan)

    def predictions(self, rows: Sequence[Row]) -> list[Measured]:
        """Of every row."""
        return [Measured.of(row, self.folds, self.store) for row in rows]

    def text(self, measured: Sequence[Facts]) -> str:
        """A table for each head, and differences."""
        return printed.judged(measured, self.plan)

    def digest(self, measured: Sequence[Facts]) -> str:
        """The main rows."""
        return printed.digest(measured, self.plan)

    def figure(self, measured: Sequence[Facts], predictions: Sequence[Measured]) -> Figure:
        """UAR against points."""
        return figures.curves(measured)

    def words(self, row: Facts) -> Facts:
        """By generator, losses and points."""
        return reference.of_losses(row)


class Balance(Losses):
    """Table 3: real against generated points, balanced and not."""

    def rows(self, rows: Rows) -> Iterator[Row]:
        """At as many points, and at full size."""
        return rows.balance()

    def digest(self, measured: Sequence[Facts]) -> str:
        """Of this table there is none."""
        return ""

    def figure(self, measured: Sequence[Facts], predictions: Sequence[Measured]) -> Figure:
        """Confusions."""
        return figures.confusions(measured, predictions)

    def words(self, row: Facts) -> Facts:
        """By data, balance and points."""
        return reference.of_balance(row)


@dataclass(frozen=True)
class Speakers(Table):
    """Table 4: what a first layer betrays of the speakers of a feature set, ``asked``; none: of the plan's own."""

    asked: Path | None = None

    def rows(self, rows: Rows) -> Iterator[Row]:
        """By what the layer was taught."""
        return rows.speakers(self.asked)

    def measured(self, rows: Sequence[Row]) -> list[Facts]:
        """Accuracy and equal error rate."""
        return probed(rows, self.store)

    def text(self, measured: Sequence[Facts]) -> str:
        """Of all, seen and unseen speakers."""
        return printed.probed(measured)

    def figure(self, measured: Sequence[Facts], predictions: Sequence[Measured]) -> Figure:
        """Beside chance."""
        return figures.speakers(measured)

    def words(self, row: Facts) -> Facts:
        """By system."""
        return reference.of_speakers(row)
