"""A database in audformat, as audb gives them out: ``db.yaml``, tables of labels, and the audio that they name.

Source and licence: the database's, which its header says. Needs ``pip install gandistill[audformat]``. Under ROOT:

    db.yaml                             (header: schemes, tables, splits)
    db.TABLE.csv or db.TABLE.parquet    (by file, or by file, start and end)
    wav/anna-01.wav                     (whatever the tables name)

A column of one or more tables is the emotion; a row without one is left out. A table of a split is that split, for the
protocol ``custom``. Speaker, gender and what else a manifest has are the columns of these names, in the same table or
another, and gender what the speakers' scheme says of them. Pickled tables are not read: those could run anything.
"""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from gandistill.console import say
from gandistill.corpora.manifest import COLUMNS, SPLITS, Entry, Row, to_entries
from gandistill.corpora.tabular import with_files, with_ids
from gandistill.errors import InputError, choices

NAME = "audformat"
LICENCE = "as the database's owner says"
HEADER = "db.yaml"
FORMATS = ("parquet", "csv")
LABELS = ("str", "int", "bool", "object")
"""Types of schemes whose values can be classes."""
FURTHER = tuple(column for column in COLUMNS if column not in ("id", "path", "emotion", "duration", "split"))
SPEAKER, GENDER = "speaker", "gender"


def origin(root: Path) -> tuple[str, str]:
    """Name and licence of the database. Raises InputError if there is no header, or it is not readable."""
    header = _header(root)
    return str(header.get("name") or NAME), str(header.get("license") or LICENCE)


def read(
    root: Path, tables: Sequence[str] = (), column: str | None = None, columns: Mapping[str, str] | None = None
) -> list[Entry]:
    """The utterances of these tables, in their order, whose emotion a ``column`` says; none: ``emotion``.

    ``columns`` gives the database's name for one of ours, such as ``speaker``. Where a scheme names its labels, those
    names are the classes. Raises InputError for a table or a column that is not there (the choices are named), values
    that are no classes, an utterance in two tables, and what a manifest refuses.
    """
    database = _database(root)
    if not tables:
        raise InputError(f"{root}: which labels? Say --table, one or more of [{', '.join(database.tables)}]")
    names = {ours: ours for ours in FURTHER} | dict(columns or {})
    if unknown := sorted(set(names) - {*FURTHER}):
        raise choices("column", unknown[0], FURTHER)
    if strange := [table for table in tables if table not in database.tables]:
        raise choices(f"table of {root}:", strange[0], list(database.tables))
    with TemporaryDirectory() as scratch:
        reader = _Reader(root, database, Path(scratch), names, columns or {})
        rows = {reader.path(table): reader.rows(table, column or "emotion") for table in tables}
    found = [with_files(path, some) for path, some in rows.items()]
    named = with_ids(root / HEADER, [row for some in found for row in some])
    entries = [
        entry for path, some in zip(rows, found, strict=True) for entry in to_entries(path, [next(named) for _ in some])
    ]
    for name, count in Counter(entry.id for entry in entries).items():
        if count > 1:
            raise InputError(f"{root}: {name!r} is in more than one of the tables [{', '.join(tables)}]: choose one")
    return entries


class _Reader:
    """Tables of a database as rows of ours."""

    def __init__(self, root: Path, database: Any, scratch: Path, names: Mapping[str, str], asked: Mapping[str, str]):
        self.root, self.database, self.scratch, self.names, self.asked = root, database, scratch, names, asked
        for table in database.misc_tables:  # which schemes may take their labels from
            self._load(table)

    def path(self, table: str) -> Path:
        """The file of a table. Raises InputError if there is none, or only a pickled one."""
        files = [self.root / f"db.{table}.{format}" for format in FORMATS]
        there = [file for file in files if file.is_file()]
        if there:
            return there[0]
        pickled = (self.root / f"db.{table}.pkl").is_file()
        why = "is pickled, which could run anything: save it as parquet or csv" if pickled else "is not there"
        raise InputError(f"{files[0].with_suffix('')}: the table {why}")

    def rows(self, table: str, column: str) -> list[Row]:
        """The rows that have a label, numbered as lines of a CSV."""
        if column not in self.database[table].columns:
            raise choices(f"column of table {table}:", column, list(self.database[table].columns))
        frame, labels = self._load(table).df, self._labels(table, column)
        split = self.database[table].split
        part = split.type if split is not None and split.type in SPLITS else ""
        cells = {"emotion": [labels.get(label, label) for label in _texts(frame[column])]}
        cells |= {ours: self._values(table, ours, theirs) for ours, theirs in self.names.items()}
        rows = []
        for number, place in enumerate(frame.index):
            file, *times = place if isinstance(place, tuple) else (place,)
            ours = {name: of[number] for name, of in cells.items()} | {"path": str(file), "split": part}
            ours |= {name: _seconds(time) for name, time in zip(("start", "end"), times, strict=False)}
            rows.append(Row(number + 2, ours))
        labelled = [row for row in rows if row.cells["emotion"]]
        without = f", {len(rows) - len(labelled)} of them without a label" if len(labelled) < len(rows) else ""
        say(f"{self.path(table)}: {len(rows)} rows{without}")
        if not labelled:
            raise InputError(f"{self.path(table)}: no row has a label in the column {column}")
        return labelled

    def _load(self, table: str) -> Any:
        """The table, from a folder where the library finds no pickle. Raises InputError if it is damaged."""
        file, loaded = self.path(table), self.database[table]
        link = self.scratch / file.name
        if not link.is_symlink():
            link.symlink_to(file.resolve())
            try:
                with warnings.catch_warnings(action="ignore"):  # of the library's, about its own calls
                    loaded.load(str(link.with_suffix("")))
            except Exception as error:  # whatever a damaged table makes of the libraries that read it
                raise InputError(f"{file}: not a readable table of audformat ({_line(error)})") from None
        return loaded

    def _labels(self, table: str, column: str) -> Mapping[str, str]:
        """Names of a scheme's labels, where it names them. Raises InputError for values that are no classes."""
        scheme = self.database[table][column].scheme
        if scheme is None:
            return {}
        if scheme.dtype not in LABELS:
            raise InputError(f"{self.path(table)}: the column {column} holds values of type {scheme.dtype}, no classes")
        labels = scheme.labels if isinstance(scheme.labels, dict) else {}
        return {str(label): name for label, name in labels.items() if name and isinstance(name, str)}

    def _values(self, table: str, ours: str, theirs: str) -> list[str]:
        """What a column says of each row of a table, in it or another; "" where nothing does."""
        index = self._load(table).index
        holders = sorted(self.database.tables, key=lambda name: (name != table, name))
        for holder in holders:
            if theirs in self.database[holder].columns:
                return _aligned(self._load(holder).df[theirs], index)
        if ours in self.asked:
            known = sorted({column for name in holders for column in self.database[name].columns})
            raise choices(f"column in --columns {ours}=", theirs, known)
        for holder in holders if ours == GENDER else ():
            speaker = self.database[holder].columns.get(self.names[SPEAKER])
            if speaker is not None and speaker.scheme is not None and _says_gender(speaker.scheme.labels):
                self._load(holder)
                return _aligned(speaker.get(map=GENDER), index)
        if ours == SPEAKER:
            say(f"{self.root}: no table has a column {theirs}: speakers are unknown (--columns speaker=NAME)")
        return [""] * len(index)


def _header(root: Path) -> dict[str, Any]:
    path = root / HEADER
    try:
        header = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file, expected the folder of a database in audformat") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable header of audformat ({_line(error)})") from None
    if not isinstance(header, dict):
        raise InputError(f"{path}: not a readable header of audformat")
    return header


def _database(root: Path) -> Any:
    header = _header(root)
    try:
        library: Any = import_module("audformat")
    except ImportError:
        raise InputError(
            "Databases in audformat need a library of theirs: pip install 'gandistill[audformat]'"
        ) from None
    try:
        return library.Database.load_header_from_yaml(header)
    except Exception as error:  # whatever a damaged header makes of the library
        raise InputError(f"{root / HEADER}: not a readable header of audformat ({_line(error)})") from None


def _aligned(values: Any, index: Any) -> list[str]:
    """Values [N] of an index, by file alone where theirs is of files. The first counts where one has several."""
    known = dict(reversed([*zip(values.index, _texts(values), strict=True)]))
    places = [place[0] if isinstance(place, tuple) and values.index.nlevels == 1 else place for place in index]
    return [known.get(place, "") for place in places]


def _texts(values: Any) -> list[str]:
    return ["" if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)]


def _seconds(time: Any) -> str:
    """Of a timedelta; "" where there is none."""
    seconds = time.total_seconds()
    return "" if math.isnan(seconds) else repr(seconds)


def _says_gender(labels: Any) -> bool:
    return isinstance(labels, dict) and any(isinstance(of, dict) and GENDER in of for of in labels.values())


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
