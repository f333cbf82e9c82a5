"""The manifest: one CSV that says what a corpus holds, whatever its layout on disk."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.errors import InputError, choices

COLUMNS = ("id", "path", "emotion", "speaker", "gender", "session", "text", "duration", "split")
CHANNEL = "channel"
"""A column that only the manifest of a corpus that asks for a channel has."""
FILLED = ("id", "path", "emotion")
SPLITS = ("train", "dev", "test")
GENDERS = {"f": "female", "m": "male"}
"""What the first letters stand for that some corpora have in their names."""


@dataclass(frozen=True)
class Entry:
    """One utterance of a corpus. ``duration`` in seconds; "" where a corpus does not say; split train, dev or test.

    ``channel`` is which of the file's channels is the utterance, 1 for the first; None for the average of all.
    """

    id: str
    path: Path
    emotion: str
    speaker: str
    gender: str = ""
    session: str = ""
    text: str = ""
    duration: float | None = None
    split: str = ""
    channel: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table: the number of the line it ends on, and its cells by column name."""

    line: int
    cells: dict[str, str]


def write_manifest(path: Path, entries: Iterable[Entry]) -> None:
    """Write a manifest, whole or not at all, its paths absolute. Raises InputError if a path is not UTF-8."""
    entries = list(entries)
    columns = COLUMNS if all(entry.channel is None for entry in entries) else (*COLUMNS, CHANNEL)
    write_table(path, columns, ([_cell(entry, column) for column in columns] for entry in entries))


def read_manifest(path: Path) -> list[Entry]:
    """The utterances of a manifest, in its order; relative paths are taken from the manifest's own folder.

    Raises InputError, naming the line, for what is missing, empty, double or malformed.
    """
    return to_entries(path, read_table(path, COLUMNS))


def origin_path(manifest: Path) -> Path:
    """Where the manifest's origin (corpus, licence, protocol, fold, seed) is written: beside it, as JSON."""
    return manifest.with_suffix(".json")


def read_origin(manifest: Path) -> dict[str, Any]:
    """What ``prepare`` wrote of a manifest's origin; empty where nothing is known. Raises InputError if damaged."""
    path = origin_path(manifest)
    return artifacts.read_json(path) if path.exists() else {}


def to_entries(path: Path, rows: Iterable[Row]) -> list[Entry]:
    """Utterances from the rows of the table at ``path``, which need the columns id, path, emotion and speaker.

    Raises InputError, naming the line, for an empty id, path or emotion, an id given twice, a split other than train,
    dev, test or none, a duration that is not a positive number, or a channel that is not a number from 1.
    """
    entries, lines = [], {}
    for row in rows:
        entry = _entry(row, path)
        if entry.id in lines:
            raise InputError(f"{path}, line {row.line}: id {entry.id!r} is already on line {lines[entry.id]}")
        lines[entry.id] = row.line
        entries.append(entry)
    return entries


def read_table(path: Path, required: Iterable[str], delimiter: str = ",") -> list[Row]:
    """The rows of a UTF-8 table with a header line; spaces around a column's name do not count.

    Raises InputError if it cannot be read, a required column is missing, a row has more or fewer cells than the
    header, or there is no row.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        rows = [Row(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.reader.line_num}: not a readable table ({error})") from None
    _check_header(path, header, required)
    for row in rows:
        if None in row.cells or None in row.cells.values():
            raise InputError(f"{path}, line {row.line}: has more or fewer cells than the header's {len(header)}")
    if not rows:
        raise InputError(f"{path}: holds no utterance")
    return rows


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV, whole or not at all. Raises InputError if a cell cannot be written as UTF-8."""
    lines = [",".join(map(_quoted, row)) + "\n" for row in (columns, *rows)]
    try:
        artifacts.write_text(path, "".join(lines))
    except UnicodeEncodeError as error:
        wrong = error.object[max(error.start - 40, 0) : error.end]
        raise InputError(f"{path}: cannot write {wrong!r}, rename the file: its name is not UTF-8") from None


def _check_header(path: Path, names: Sequence[str], required: Iterable[str]) -> None:
    missing = [column for column in required if column not in names]
    if missing:
        raise InputError(f"{path}, line 1: lacks the columns [{', '.join(missing)}], it has [{', '.join(names)}]")
    if len(set(names)) < len(names):
        double = next(column for column in names if names.count(column) > 1)
        raise InputError(f"{path}, line 1: has the column {double!r} twice")


def _quoted(cell: str) -> str:
    # csv.writer leaves a lone carriage return unquoted, and then cannot read its own file (Python before 3.13).
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


def _cell(entry: Entry, column: str) -> str:
    if column == "path":
        return str(entry.path.absolute())
    if column == "duration":
        return "" if entry.duration is None else f"{entry.duration:.3f}"
    if column == CHANNEL:
        return "" if entry.channel is None else str(entry.channel)
    return getattr(entry, column)


def _entry(row: Row, path: Path) -> Entry:
    cells = {column: row.cells.get(column, "") for column in COLUMNS}
    for column in FILLED:
        if not cells[column].strip():
            raise InputError(f"{path}, line {row.line}: its {column} is empty")
    if cells["split"] not in ("", *SPLITS):
        raise InputError(f"{path}, line {row.line}: {choices('split', cells['split'], (*SPLITS, 'or empty'))}")
    fields: dict[str, Any] = cells | {
        "path": path.parent / cells["path"],
        "duration": _duration(cells["duration"], path, row.line),
        "channel": _channel(row.cells.get(CHANNEL, ""), path, row.line),
    }
    return Entry(**fields)


def _duration(cell: str, path: Path, line: int) -> float | None:
    if not cell:
        return None
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"{path}, line {line}: bad duration {cell!r}, expected seconds such as 3.271")
    return seconds


def _channel(cell: str, path: Path, line: int) -> int | None:
    if not cell:
        return None
    if not re.fullmatch("[1-9][0-9]{0,3}", cell):
        raise InputError(f"{path}, line {line}: bad channel {cell!r}, expected 1, 2, ... or nothing for all of them")
    return int(cell)
