"""The index of a feature set, an utterance a row: read without trusting it, and held against the shards."""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gandistill import artifacts
from gandistill.errors import InputError

INDEX = "index.csv"
NAMED = ("id", "label", "speaker", "session", "split")
COLUMNS = (*NAMED, "frames", "shard", "offset")
SOFT = "q_"
"""How the names of columns begin that hold soft labels, before the class's."""
FRAMES = "frames"
"""The key of a shard's only tensor."""
LINE = 2**20
"""Characters of the longest line that is read of an index."""
WHOLE = ("frames", "offset")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}")


def read_index(folder: Path, labels: list[str], dims: int) -> pd.DataFrame:
    """The rows of an index, in its order, if they are of these labels, and of frames [T, D] that the shards have.

    Raises InputError naming the column, utterance or shard that is missing or wrong.
    """
    path = folder / INDEX
    rows = _rows(path)
    header, soft = next(rows, []), [SOFT + label for label in labels]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise InputError(f"{path}: lacks the columns [{', '.join(missing)}]")
    if header not in ([*COLUMNS], [*COLUMNS, *soft]):
        raise InputError(f"{path}: has other columns than [{', '.join((*COLUMNS, *soft))}], or in another order")
    columns: list[list[Any]] = [[] for _ in header]
    read = [_whole if column in WHOLE else _share if column in soft else str for column in header]
    for line, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise InputError(f"{path}: utterance {line} has {len(row)} cells, expected {len(header)}")
        try:
            for column, cell, value in zip(columns, row, read, strict=True):
                column.append(value(cell))
        except ValueError as error:
            raise InputError(f"{path}: utterance {line} has a number that is missing or bad ({error})") from None
    if not columns[0]:
        raise InputError(f"{path}: holds no utterance")
    index = pd.DataFrame(dict(zip(header, columns, strict=True))).astype(number_types(header))
    unknown = index.loc[~index["label"].isin(labels), "label"]
    if len(unknown):
        raise InputError(f"{path}: bad label {unknown.iloc[0]!r}, expected one of [{', '.join(labels)}]")
    for shard, entries in index.groupby("shard", sort=False):
        available = _shard_frames(folder, str(shard), dims)
        wrong = (entries["offset"] < 0) | (entries["frames"] < 1) | (entries["offset"] + entries["frames"] > available)
        outside = entries.loc[wrong, "id"].tolist()
        if outside:
            raise InputError(f"{path}: {outside[0]!r} lies outside {shard} ({available} frames)")
    return index


def number_types(columns: Iterable[str]) -> dict[str, Any]:
    """Of an index's columns that hold numbers."""
    return dict.fromkeys(WHOLE, np.int64) | {name: np.float32 for name in columns if name.startswith(SOFT)}


def header_bytes(path: Path) -> int:
    """Bytes of a shard before its frames, which are its only tensor: the header's length, eight bytes, and itself."""
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def _rows(path: Path) -> Iterator[list[str]]:
    """The cells of a table, row by row, its header first; however it is damaged, in the memory of a line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.reader(iter(lambda: file.readline(LINE), ""), strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({' '.join(str(error).split())})") from None


def _whole(cell: str) -> int:
    if not WHOLE_NUMBER.fullmatch(cell):
        raise ValueError(f"{cell[:20]!r}, expected a whole number")
    return int(cell)


def _share(cell: str) -> float:
    share = float(cell)
    if not 0 <= share <= 1:
        raise ValueError(f"{cell[:20]!r}, expected 0 to 1")
    return share


def _shard_frames(folder: Path, name: str, dims: int) -> int:
    path = folder / name
    if Path(name).name != name:
        raise InputError(f"{path}: no such shard")
    held = artifacts.header(path)
    if held.keys() != {FRAMES}:
        raise InputError(f"{path}: holds other tensors than {FRAMES!r}")
    dtype, shape = held[FRAMES]
    if dtype != "F16" or len(shape) != 2 or shape[1] != dims:
        raise InputError(f"{path}: frames are {dtype} {shape}, expected F16 [frames, {dims}]")
    return shape[0]
