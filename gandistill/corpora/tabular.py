"""A corpus of the user's own, described by a table: CSV, its cells apart by commas, semicolons or tabs.

Source and licence: the user's. The columns path (or file), emotion and speaker are needed; id, gender, session, text,
duration (seconds), split (train, dev, test or empty, for the protocol ``custom``), channel (from 1), start and end are
read where there are any. The last two say where in its file an utterance lies, in seconds or as pandas and audformat
write time (``0 days 00:00:01.5``); an empty end is the file's:

    path,emotion,speaker,split
    clips/anna-01.wav,happy,anna,train              (.wav or .flac, relative to the table's folder, or absolute)
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.folders import Folders
from gandistill.corpora.manifest import COLUMNS, EXCERPT, Entry, Row, read_table, seconds_in, to_entries
from gandistill.errors import InputError, choices

NAME = "tabular"
LICENCE = "as the corpus's owner says"
NEEDED = ("path", "emotion", "speaker")
ALIASES = {"file": "path"}


def read(root: Path, columns: dict[str, str] | None = None) -> list[Entry]:
    """The utterances of the table ``root``, in its order. ``columns`` gives the table's name for one of ours.

    Spaces around a cell do not count. Where the table has no id, it is the file's name without suffix, or its path
    without suffix where names of files repeat; behind it @ and the start in seconds where that is not the file's.

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
    if unused := sorted(set(table[0].cells) - set(names.values())):
        say(f"{root}: the columns [{', '.join(unused)}] are not used")
    rows = with_files(root, [replace(row, cells=_renamed(row.cells, names)) for row in table])
    return to_entries(root, rows if names["id"] in table[0].cells else with_ids(root, rows))


def _renamed(cells: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    return {ours: cells[theirs].strip() for ours, theirs in names.items() if theirs in cells}


def with_files(root: Path, rows: list[Row]) -> list[Row]:
    """The rows, with the path of a file where theirs is written otherwise and exactly one file fits it."""
    folders, found, near = Folders(), dict[int, Path](), dict[int, list[Path]]()
    for number, row in enumerate(rows):
        path = root.parent / row.cells["path"]
        if row.cells["path"] and not _is_file(path):
            fits = folders.fitting(path)
            if len(fits) == 1:
                found[number] = fits[0]
            elif others := fits or folders.fitting(path, any_case=True):
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


def _is_file(path: Path) -> bool:
    try:
        return path.exists()
    except ValueError:  # a name that no file can have, which the check of the audio says
        return True


def with_ids(root: Path, rows: list[Row]) -> Iterator[Row]:
    """The rows, each with an id made of its path, and of its start where that is not the file's. Raises InputError."""
    paths = [Path(row.cells["path"]) for row in rows]
    unique = len({path.stem for path in paths}) == len(set(paths))
    for row, path in zip(rows, paths, strict=True):
        name = path.stem if unique else path.with_suffix("").as_posix()
        start = seconds_in(row.cells.get("start", ""), "start", f"{root}, line {row.line}")
        yield replace(row, cells=row.cells | {"id": f"{name}@{start!r}" if start else name})
