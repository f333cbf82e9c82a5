"""The predictions file: what a head made of each utterance, a row each, with its posterior.

``id,speaker,label,predicted`` and one ``p_<class>`` column for each class. N utterances.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandistill.errors import InputError

COLUMNS = ("id", "speaker", "label", "predicted")
POSTERIOR = "p_"
Strings = NDArray[np.str_]


def file_name(split: str) -> str:
    """The file for a split: ``predictions.csv`` for test, ``predictions-dev.csv`` and so on for the others."""
    return "predictions.csv" if split == "test" else f"predictions-{split}.csv"


@dataclass(frozen=True)
class Predictions:
    """Ids, speakers, true labels and predicted ones, each [N], of one file."""

    path: Path
    ids: Strings
    speakers: Strings
    labels: Strings
    predicted: Strings

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
        return cls(path, *(np.array(column) for column in zip(*rows.values(), strict=True)))
