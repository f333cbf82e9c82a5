"""A corpus of the user's own, described by a table: CSV, its cells apart by commas, semicolons or tabs.

Source and licence: the user's. The columns path (or file), emotion and speaker are needed; id, gender, session, text,
duration (seconds), split (train, dev, test or empty, for the protocol ``custom``), channel (from 1), start and end are
read where there are any. The last two say where in its file an utterance lies, in seconds or as pandas and audformat
write time (``0 days 00:00:01.5``); an empty end is the file's:

    path,emotion,speaker,split
    clips/anna-01.wav,happy,anna,train              (.wav or .flac, relative to the table's folder, or absolute)
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.audio import OTHER_SUFFIXES, SUFFIXES
from gandistill.corpora.folders import Folders
from gandistill.corpora.manifest import COLUMNS, EXCERPT, Entry, Row, read_table, seconds_in, to_entries
from gandistill.errors import InputError, choices

NAME = "tabular"
LICENCE = "as the corpus's owner says"
NEEDED = ("path", "emotion", "speaker")
ALIASES = {"file": "path"}
NOBODY = ("nan", "none", "null", "<na>", "n/a")
"""What programs write where there is no speaker: otherwise one person, whom a split would deal."""


def read(root: Path, columns: dict[str, str] | None = None) -> list[Entry]:
    """The utterances of the table ``root``, in its order. ``columns`` gives the table's name for one of ours.

    Spaces around a cell do not count, and a speaker who is written as ``NOBODY`` is none. A segment with a duration and
    no end is as long as that. Where the table has no id, it is the file's name without suffix, or its path where names
    of files repeat; behind it @ and the start in seconds where that is not the file's, and # and the channel where that
    alone tells rows apart.

    Raises InputError, naming the line where there is one, for a column that is missing, an empty cell among the
    needed ones, or what a manifest refuses as well.
    """
    ours = (*COLUMNS, *EXCERPT)
    names = {column: column for column in ours} | (columns or {})
    if unknown := sorted(set(names) - set(ours)):
        raise choices("column", unknown[0], ours)
    if root.is_dir():
        raise InputError(f"{root} is a folder, expected a CSV or TSV file that lists path, emotion and speaker")
    required = [names[column] for column in ours if column in NEEDED or column in (columns or {})]
    table = read_table(root, required, aliases={} if "path" in (columns or {}) else ALIASES)
    say(f"{root}: {len(table)} rows")
    if unused := sorted(set(table[0].cells) - {*names.values(), ""}):
        say(f"{root}: the columns [{', '.join(unused)}] are not used")
    rows = [replace(row, cells=_renamed(row.cells, names)) for row in table]
    rows = with_files(root, [_with_end(root, row) for row in rows])
    return to_entries(root, rows if names["id"] in table[0].cells else with_ids(root, rows))


def _renamed(cells: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    ours = {ours: cells[theirs].strip() for ours, theirs in names.items() if theirs in cells}
    return ours | ({"speaker": ""} if ours["speaker"].lower() in NOBODY else {})


def _with_end(root: Path, row: Row) -> Row:
    """A row whose end is its start and duration, if it says these alone."""
    start, end, length = (
        seconds_in(row.cells.get(column, ""), column, f"{root}, line {row.line}")
        for column in ("start", "end", "duration")
    )
    if start is None or end is not None or length is None:
        return row
    return replace(row, cells=row.cells | {"end": repr(start + length)})


def with_files(root: Path, rows: list[Row]) -> list[Row]:
    """The rows, with the path of a file where theirs is written otherwise and exactly one file fits it."""
    folders, found, near = Folders(), dict[int, Path](), dict[int, list[Path]]()
    for number, row in enumerate(rows):
        path = root.parent / row.cells["path"]
        if "://" in row.cells["path"]:
            said = f"{row.cells['path']!r} is an address, expected a file on this machine"
            raise InputError(f"{root}, line {row.line}: its path {said}")
        if row.cells["path"] and not path.exists():
            fits = folders.fitting(path)
            if len(fits) == 1:
                found[number] = fits[0]
            elif others := fits or folders.fitting(path, any_case=True) or _otherwise_encoded(folders, path):
                near[number] = others
    if found:
        number, file = next(iter(found.items()))
        what = f"{len(found)} paths are written otherwise than their files are named"
        say(f"{root}: {what}, such as {rows[number].cells['path']!a} for {str(file)!a}")
    if near:
        number, files = next(iter(near.items()))
        what = f"{len(near)} paths name no file but are near to one"
        names = " or ".join(ascii(str(file)) for file in files)
        say(f"{root}, line {rows[number].line}: {what}, such as {rows[number].cells['path']!a} to {names}")
    folder = root.parent.absolute()
    shown = {n: file.relative_to(folder) if file.is_relative_to(folder) else file for n, file in found.items()}
    return [replace(r, cells=r.cells | {"path": str(shown.get(n, r.cells["path"]))}) for n, r in enumerate(rows)]


def _otherwise_encoded(folders: Folders, path: Path) -> list[Path]:
    """Audio of a path's name with another suffix, or with any where it has none."""
    stem = str(path.with_suffix("")) if path.suffix.lower() in (*SUFFIXES, *OTHER_SUFFIXES) else str(path)
    return [fit for suffix in SUFFIXES for fit in folders.fitting(Path(stem + suffix), any_case=True)]


def with_ids(root: Path, rows: list[Row]) -> Iterator[Row]:
    """The rows, each with an id: its file, its start where that is not the file's, its channel where these repeat.

    Raises InputError for two rows of one sound.
    """
    paths = [Path(row.cells["path"]) for row in rows]
    forms = (
        [path.stem for path in paths],
        [path.with_suffix("").as_posix() for path in paths],
        [str(path) for path in paths],
    )
    names = next(form for form in forms if len(set(form)) == len(set(paths)))
    starts = [seconds_in(row.cells.get("start", ""), "start", f"{root}, line {row.line}") for row in rows]
    names = [f"{name}@{start!r}" if start else name for name, start in zip(names, starts, strict=True)]
    times, lines = Counter(names), dict[str, int]()
    for row, name, start in zip(rows, names, starts, strict=True):
        channel = row.cells.get("channel", "")
        own = f"{name}#{channel}" if times[name] > 1 and channel else name
        line = lines.setdefault(own, row.line)
        if line != row.line and row.cells["path"]:
            what = f"the file {row.cells['path']!r}" + (f" from second {start!r} on" if start else "")
            hint = "" if start else ", or columns start and end (--columns start=NAME,end=NAME)"
            raise InputError(f"{root}, line {row.line}: {what} is on line {line} already, expected one row{hint}")
        yield replace(row, cells=row.cells | {"id": own})
