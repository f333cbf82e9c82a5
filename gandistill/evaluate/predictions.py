"""Predictions: what a head made of each utterance, in memory or in a file of a row each.

The file has ``id,speaker,label,predicted`` and, with the posterior, one ``p_<class>`` column for each class.
N utterances.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.metrics import scores

COLUMNS = ("id", "speaker", "label", "predicted")
POSTERIOR = "p_"
Strings = NDArray[np.str_]


def file_name(split: str) -> str:
    """The file for a split: ``predictions.csv`` for test, ``predictions-dev.csv`` and so on for the others."""
    return "predictions.csv" if split == "test" else f"predictions-{split}.csv"


def write_predictions(path: Path, known: pd.DataFrame, p: NDArray[np.floating], classes: list[str]) -> None:
    """Write a predictions file from ``id``, ``speaker`` and ``label`` of N utterances and posteriors [N, C]."""
    table = known.assign(predicted=[classes[c] for c in p.argmax(axis=1)])[list(COLUMNS)]
    posterior = pd.DataFrame(p, columns=[POSTERIOR + label for label in classes], index=known.index)
    text = pd.concat([table, posterior], axis=1).to_csv(index=False, lineterminator="\n", float_format="%.7g")
    artifacts.write_text(path, text)


@dataclass(frozen=True)
class Predictions:
    """Ids, speakers (empty: unknown), true labels and predicted ones, each [N]; an id occurs once.

    ``source`` is what messages call them: the file's path, or the name of what predicted. ``classes`` are those that
    could be predicted, where that is known. Raises InputError for an id that occurs twice, ValueError for columns of
    different lengths.
    """

    ids: Strings
    speakers: Strings
    labels: Strings
    predicted: Strings
    source: str = "predictions in memory"
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len({len(column) for column in (self.ids, self.speakers, self.labels, self.predicted)}) > 1:
            raise ValueError(f"{self.source}: ids, speakers, labels and predicted differ in length")
        if len(np.unique(self.ids)) < len(self.ids):
            repeated = next(name for name, times in Counter(self.ids.tolist()).items() if times > 1)
            raise InputError(f"{self.source}: the id {repeated!r} occurs twice")

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which utterances are recognised rightly, [N]."""
        return self.predicted == self.labels

    @property
    def uar(self) -> float:
        """UAR in 0..1, over the classes that occur in ``labels``."""
        classes, (labels, predicted) = np.unique([self.labels, self.predicted], return_inverse=True)
        return scores(labels, predicted, len(classes))["uar"]

    @property
    def absent(self) -> list[str]:
        """The classes that could be predicted, or were, and that no utterance has: the UAR is over the others."""
        return sorted({*self.classes, *self.predicted.tolist()} - set(self.labels.tolist()))

    def take(self, rows: Sequence[int]) -> "Predictions":
        """The predictions of these rows, in their order."""
        i = np.asarray(rows, np.int64)
        return Predictions(self.ids[i], self.speakers[i], self.labels[i], self.predicted[i], self.source, self.classes)

    def in_order_of(self, other: "Predictions") -> "Predictions":
        """The same predictions, their utterances in the order of ``other``.

        Raises InputError naming the first utterance that only one of them has, or whose label or speaker differs.
        """
        row = {name: i for i, name in enumerate(self.ids.tolist())}
        for has, lacks in ((other, self), (self, other)):
            strangers = ~np.isin(has.ids, lacks.ids)
            for name in has.ids[strangers].tolist():
                raise InputError(
                    f"{has.source} holds the utterance {name!r}, {lacks.source} does not: expected the same"
                )
        moved = self.take([row[name] for name in other.ids.tolist()])
        for what, left, right in (("label", other.labels, moved.labels), ("speaker", other.speakers, moved.speakers)):
            for i in np.flatnonzero(left != right):
                name, x, y = (str(column[i]) for column in (other.ids, left, right))
                raise InputError(f"The {what} of {name!r} is {x!r} in {other.source} but {y!r} in {self.source}")
        return moved

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Read a predictions file. Raises InputError naming file and line of what is wrong."""
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                return cls._parse(path, csv.reader(file, strict=True))
        except FileNotFoundError:
            raise InputError(f"{path}: no such predictions file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as text ({error})") from None

    @classmethod
    def _parse(cls, path: Path, reader: Any) -> "Predictions":
        rows: dict[str, tuple[str, ...]] = {}
        try:
            header = next(reader, [])
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                raise InputError(f"{path}, line 1: lacks the columns [{', '.join(missing)}]")
            places = [header.index(column) for column in COLUMNS]
            classes = [column.removeprefix(POSTERIOR) for column in header if column.startswith(POSTERIOR)]
            for fields in reader:
                where = f"{path}, line {reader.line_num}"
                if len(fields) != len(header):
                    raise InputError(f"{where}: {len(fields)} fields, expected {len(header)}")
                entry = tuple(fields[place] for place in places)
                for column, value in zip(COLUMNS, entry, strict=True):
                    if not value and column != "speaker":
                        raise InputError(f"{where}: {column!r} is empty")
                    if classes and column in ("label", "predicted") and value not in classes:
                        raise InputError(f"{where}: bad {column} {value!r}, expected one of [{', '.join(classes)}]")
                if entry[0] in rows:
                    raise InputError(f"{where}: the id {entry[0]!r} occurs twice")
                rows[entry[0]] = entry
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from None
        if not rows:
            raise InputError(f"{path}, line 2: holds no prediction")
        return cls(
            *(np.array(column) for column in zip(*rows.values(), strict=True)), source=str(path), classes=tuple(classes)
        )


def pooled(folds: Sequence[Predictions]) -> Predictions:
    """Predictions of different folds as one, each utterance tested in one fold only; the order is that of the folds.

    A speaker's name means the same speaker in every fold. Raises InputError naming an utterance that two folds hold.
    """
    fold_of: dict[str, str] = {}
    for fold in folds:
        for name in fold.ids.tolist():
            if name in fold_of:
                raise InputError(f"The utterance {name!r} is in {fold_of[name]} and in {fold.source}: expected it once")
            fold_of[name] = fold.source
    columns = zip(*((fold.ids, fold.speakers, fold.labels, fold.predicted) for fold in folds), strict=True)
    return Predictions(*map(np.concatenate, columns), source=" + ".join(fold.source for fold in folds))
