"""The manifest: one CSV that says what a corpus holds, whatever its layout on disk."""

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.errors import InputError, choices

COLUMNS = ("id", "path", "emotion", "speaker", "gender", "session", "text", "duration", "split")
EXCERPT = ("channel", "start", "end")
"""Columns that only the manifest of a corpus has of which some utterance is not a whole file."""
CHECKED = "checked"
"""The column that ``prepare`` adds of what it has listened to."""
FILLED = ("id", "path", "emotion")
SPLITS = ("train", "dev", "test")
GENDERS = {"f": "female", "m": "male"}
"""What the first letters stand for that some corpora have in their names."""
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How files of Excel and LibreOffice begin: zip archives, and the older ones."""
TIMEDELTA = re.compile(r"(?:(?P<days>\d+) days?)?\s*(?P<clock>\d+:\d\d:\d\d(?:\.\d+)?)?", re.ASCII)
WHOLLY_QUOTED = re.compile(r'"(?:[^"]|"")*"')
TABBED_CELL = re.compile(rf"({WHOLLY_QUOTED.pattern}|[^\t]*)\t")


@dataclass(frozen=True)
class Entry:
    """One utterance of a corpus. ``duration`` in seconds; "" where a corpus does not say; split train, dev or test.

    ``channel`` is which of the file's channels is the utterance, 1 for the first; None for the average of all. It is
    heard from second ``start`` of the file to second ``end``; None for the file's own start and end. ``checked`` is a
    hash of what was found good when it was decoded: its file's content, excerpt and duration. Known once a file was
    looked at, and in no manifest: ``sha256`` of its content, ``sound``, the hash of its samples, mono at 16 kHz, and
    ``mended``, whether it had to be put right.
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
    start: float | None = None
    end: float | None = None
    checked: str = field(default="", compare=False)
    sha256: str = field(default="", compare=False)
    sound: str = field(default="", compare=False)
    mended: bool = field(default=False, compare=False)

    @property
    def excerpt(self) -> tuple[str, ...]:
        """What of the file it is, in words for each restriction: its channel, its seconds. Empty for all of it."""
        channel = () if self.channel is None else (f"channel {self.channel}",)
        return channel if self.segment is None else (*channel, self.segment)

    @property
    def segment(self) -> str | None:
        """Which seconds of the file it is, in words; None for all of them."""
        if self.start is None and self.end is None:
            return None
        return f"seconds {self.start or 0.0!r} to {'the end' if self.end is None else repr(self.end)}"


@dataclass(frozen=True)
class Row:
    """One line of a table: the number of the line it ends on, and its cells by column name."""

    line: int
    cells: dict[str, str]


def write_manifest(path: Path, entries: Iterable[Entry]) -> None:
    """Write a manifest, whole or not at all, its paths absolute. Raises InputError if a path is not UTF-8."""
    entries = list(entries)
    used = [column for column in (*EXCERPT, CHECKED) if any(getattr(entry, column) for entry in entries)]
    columns = (*COLUMNS, *used)
    write_table(path, columns, ([_cell(entry, column) for column in columns] for entry in entries))


def read_manifest(path: Path) -> list[Entry]:
    """The utterances of a manifest, in its order; relative paths are taken from the manifest's own folder.

    Raises InputError, naming the line, for what is missing, empty, double or malformed.
    """
    return to_entries(path, read_table(path, COLUMNS, multiline=True))


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
    dev, test or none, a duration that is not a positive number, a channel that is not a number from 1, or a start and
    an end that are no seconds or stand the wrong way round.
    """
    entries, lines = [], {}
    for row in rows:
        entry = _entry(row, path)
        if entry.id in lines:
            raise InputError(f"{path}, line {row.line}: id {entry.id!r} is already on line {lines[entry.id]}")
        lines[entry.id] = row.line
        entries.append(entry)
    return entries


def seconds_in(cell: str, column: str, place: str) -> float | None:
    """Seconds in a cell, where pandas and audformat write ``0 days 00:00:01.5``; None for NaT or nothing.

    Raises InputError, naming the column and the place, for anything else or less than 0.
    """
    if cell in ("", "NaT"):
        return None
    parts = TIMEDELTA.fullmatch(cell)
    if parts is not None and (parts["days"] or parts["clock"]):
        clock = [float(part) for part in (parts["clock"] or "0").split(":")]
        return 86_400.0 * int(parts["days"] or 0) + math.fsum(60**n * part for n, part in enumerate(reversed(clock)))
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{place}: bad {column} {cell!r}, expected seconds such as 1.5, or 0 days 00:00:01.5")
    return value


def duration_cell(entry: Entry) -> str:
    """Seconds as a manifest has them, to a thousandth."""
    return "" if entry.duration is None else f"{entry.duration:.3f}"


def read_table(
    path: Path, required: Collection[str], multiline: bool = False, aliases: Mapping[str, str] | None = None
) -> list[Row]:
    """The rows of a UTF-8 table with a header line; spaces around a column's name do not count.

    Cells are apart by commas, semicolons or tabs, whichever give the header the required columns. Among tabs a quote is
    a quote, unless a cell stands in quotes as a whole. A cell of several lines is read with ``multiline`` alone: in a
    table that others wrote it is a quote that was never closed, and all rows up to the next one. Rows whose cells are
    all empty are none. ``aliases`` are further names of columns, each for one that the header lacks.

    Raises InputError if it cannot be read, a required column is missing, a row has more or fewer cells than the
    header, a quote is not closed in its line, or there is no row.
    """
    lines = _lines(path)
    delimiter = _delimiter(path, lines[0], required)
    records = _tabbed(path, lines) if delimiter == "\t" else _quoted_cells(path, lines, delimiter, multiline)
    _, names = next(records, (1, []))
    header = [name.strip() for name in names]
    further = {name: column for name, column in (aliases or {}).items() if column not in header}
    header = [further.get(name, name) for name in header]
    _check_header(path, header, required)
    rows = []
    for line, cells in records:
        if not any(map(str.strip, cells)):  # what spreadsheets write below and between
            continue
        if len(cells) != len(header):
            raise InputError(f"{path}, line {line}: has more or fewer cells than the header's {len(header)}")
        rows.append(Row(line, dict(zip(header, cells, strict=True))))
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


def _lines(path: Path) -> list[str]:
    """The lines of a text file with their ends; one that is empty if the file is."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if content.startswith(SPREADSHEETS):
        raise InputError(f"{path}: a spreadsheet, expected text: export it as CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text: export it as CSV in UTF-8") from None
    return list(io.StringIO(text, newline="")) or [""]


def _delimiter(path: Path, header: str, required: Collection[str]) -> str:
    """What the columns of a header are apart by: what gives the most of those required, else what the suffix says."""

    def found(delimiter: str) -> int:
        return len({name.strip().strip('"') for name in header.split(delimiter)} & set(required))

    return max("\t,;" if path.suffix.lower() == ".tsv" else ",;\t", key=found)


def _tabbed(path: Path, lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not empty, of tab-separated lines."""
    width, before = len(lines[0].split("\t")), list[str]()
    for number, line in enumerate(lines, 1):
        row = line.rstrip("\r\n")
        if not row:
            continue
        cells = row.split("\t")
        if len(cells) != width:  # tabs in a quoted cell?
            cells = TABBED_CELL.findall(row + "\t")
        if len(cells) != width:
            # A cell of several lines is the last of a whole row, or breaks off within one.
            opened = next((at for at, some in ((number - 1, before), (number, cells)) if any(map(_opens, some))), None)
            if opened is not None:
                raise _open_quote(path, opened)
        yield number, [cell[1:-1].replace('""', '"') if WHOLLY_QUOTED.fullmatch(cell) else cell for cell in cells]
        before = cells


def _opens(cell: str) -> bool:
    """Whether a tab-separated cell begins with a quote and does not end with its like."""
    return cell.startswith('"') and not WHOLLY_QUOTED.fullmatch(cell)


def _quoted_cells(path: Path, lines: list[str], delimiter: str, multiline: bool) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line and cells of each row, of lines in which a quoted cell may hold anything."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if first == 1 and not multiline:
                raise InputError(
                    f"{path}, line 1: no header, expected names of columns apart by commas, semicolons or tabs"
                ) from None
            if any('"' in line for line in lines[first - 1 : reader.line_num]):
                raise _open_quote(path, first) from None
            raise InputError(f"{path}, line {first}: not a readable table ({error})") from None
        if cells is None:
            return
        if reader.line_num > first and not multiline:
            raise _open_quote(path, first, f", and closes on line {reader.line_num}")
        if cells:
            yield reader.line_num, cells


def _open_quote(path: Path, line: int, where: str = "") -> InputError:
    return InputError(
        f"{path}, line {line}: a quote opens there that does not end its cell{where}; a row is one line, and in a cell "
        'in quotes a quote is written twice: "so ""to say"""'
    )


def _check_header(path: Path, names: Sequence[str], required: Iterable[str]) -> None:
    missing = [column for column in required if column not in names]
    if missing:
        there = ", ".join(name if name.isprintable() else ascii(name) for name in names)
        raise InputError(f"{path}, line 1: lacks the columns [{', '.join(missing)}], it has [{there}]")
    double = next((column for column in names if column and names.count(column) > 1), None)
    if double is not None:
        raise InputError(f"{path}, line 1: has the column {double!r} twice")


def _quoted(cell: str) -> str:
    # csv.writer leaves a lone carriage return unquoted, and then cannot read its own file (Python before 3.13).
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


def _cell(entry: Entry, column: str) -> str:
    if column == "path":
        return str(entry.path.absolute())
    if column == "duration":
        return duration_cell(entry)
    value = getattr(entry, column)
    return "" if value is None else str(value)


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
        "channel": _channel(row.cells.get("channel", ""), path, row.line),
    }
    start, end = _segment(row, f"{path}, line {row.line}")
    return Entry(**fields, start=start, end=end, checked=row.cells.get(CHECKED, ""))


def _segment(row: Row, place: str) -> tuple[float | None, float | None]:
    """Start and end of a row, None where they are the file's."""
    start, end = (seconds_in(row.cells.get(column, ""), column, place) for column in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise InputError(f"{place}: its end, {end!r} s, is not behind its start, {start or 0.0!r} s")
    return start or None, end


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
