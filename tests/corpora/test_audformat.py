"""Databases are written by the library itself, which is the judge of its format."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.manifest import read_manifest, read_origin
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError

library: Any = pytest.importorskip(
    "audformat", reason="audformat is not installed: pip install 'gandistill[audformat]'"
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library's own calls of pandas
FILES = [f"wav/{name}.wav" for name in ("anna1", "anna2", "ben1", "ben2")]
SECONDS = 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four recordings of two speakers, labelled as a whole and in parts."""
    root, rng = tmp_path / "database", np.random.default_rng(0)
    (root / "wav").mkdir(parents=True)
    for file in FILES:
        soundfile.write(root / file, rng.normal(0, 0.1, SECONDS * SAMPLE_RATE), SAMPLE_RATE)
    database = library.Database("moods", license="CC0-1.0")
    database.schemes["emotion"] = library.Scheme(labels=["anger", "joy"])
    database.schemes["code"] = library.Scheme("int", labels={0: "calm", 1: "loud"})
    database.schemes["arousal"] = library.Scheme("float")
    people = {"anna": {"gender": "female"}, "ben": {"gender": "male"}}
    database.schemes["speaker"] = library.Scheme(labels=people)
    for part in ("train", "test"):
        database.splits[part] = library.Split(part)
    whole = library.filewise_index(FILES)
    add(database, "files", whole, speaker=("speaker", ["anna", "anna", "ben", "ben"]))
    moods = ("emotion", ["anger", "joy", None, "joy"])
    add(database, "emotion", whole, emotion=moods, code=("code", [0, 1, 1, None]), arousal=("arousal", [0.5] * 4))
    add(database, "emotion.train", whole[:2], "train", emotion=("emotion", ["anger", "joy"]))
    add(database, "emotion.test", whole[2:], "test", emotion=("emotion", ["anger", "joy"]))
    parts = library.segmented_index(
        ["wav/anna1.wav", "wav/anna1.wav", "wav/ben1.wav"], [0, "0.75s", "0.5s"], ["0.75s", "1.5s", pd.NaT]
    )
    add(database, "segments", parts, emotion=("emotion", ["joy", "anger", "anger"]))
    database.save(str(root), storage_format="csv")
    return root


def add(database: Any, name: str, index: Any, split: str | None = None, **columns: tuple[str, list[Any]]) -> None:
    database[name] = library.Table(index, split_id=split)
    for column, (scheme, values) in columns.items():
        database[name][column] = library.Column(scheme_id=scheme)
        database[name][column].set(values)


def prepared(root: Path, *tables: str, column: str | None = None, **options: Any) -> list[tuple[str, str, str, str]]:
    entries = prepare("audformat", root, root.parent / "m.csv", tables=tables, column=column, **options)
    assert read_manifest(root.parent / "m.csv") == entries
    return [(entry.id, entry.emotion, entry.speaker, entry.gender) for entry in entries]


def test_a_table_by_files(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepared(root, "emotion") == [
        ("anna1", "anger", "anna", "female"),
        ("anna2", "joy", "anna", "female"),
        ("ben2", "joy", "ben", "male"),
    ]
    said = capsys.readouterr().err
    assert f"{root / 'db.emotion.csv'}: 4 rows, 1 of them without a label\n" in said
    assert "Of 4 audio files on disk 3 read as they are, 0 put right and read, 0 refused, " in said
    assert "1 left aside by the reader\n" in said
    origin = read_origin(root.parent / "m.csv")
    assert (origin["corpus"], origin["licence"]) == ("moods", "CC0-1.0")


def test_a_table_by_segments(root: Path) -> None:
    assert [row[:3] for row in prepared(root, "segments")] == [
        ("anna1", "joy", "anna"),
        ("anna1@0.75", "anger", "anna"),
        ("ben1@0.5", "anger", "ben"),
    ]
    places = [(entry.start, entry.end, entry.duration) for entry in read_manifest(root.parent / "m.csv")]
    assert places == [(None, 0.75, 0.75), (0.75, 1.5, 0.75), (0.5, None, 1.5)]


def test_tables_of_splits(root: Path) -> None:
    entries = prepare(
        "audformat", root, root.parent / "m.csv", tables=["emotion.train", "emotion.test"], protocol="custom"
    )
    assert [(entry.id, entry.split) for entry in entries] == [
        ("anna1", "train"),
        ("anna2", "train"),
        ("ben1", "test"),
        ("ben2", "test"),
    ]


def test_names_of_labels(root: Path) -> None:
    assert [row[1] for row in prepared(root, "emotion", column="code")] == ["calm", "loud", "loud"]


@pytest.mark.parametrize("storage", ["parquet", "pkl"])
def test_parquet_is_read_and_pickle_is_not(root: Path, storage: str) -> None:
    database = library.Database.load(str(root), load_data=True)
    expected = prepared(root, "emotion")
    for file in root.glob("db.*.csv"):
        file.unlink()
    database.save(str(root), storage_format=storage)
    if storage == "parquet":
        assert prepared(root, "emotion") == expected
        (root / "db.emotion.pkl").write_bytes(b"whatever")  # as audb leaves it beside the others
        assert prepared(root, "emotion") == expected
        return
    with pytest.raises(InputError, match=r"db\.emotion: the table is pickled, which could run anything: save it as "):
        prepared(root, "emotion")


def test_speakers_of_another_name_or_of_none(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {row[2] for row in prepared(root, "emotion", columns={"speaker": "code"})} == {"0", "1", ""}
    with pytest.raises(InputError, match=r"^Bad column in --columns speaker= 'who', expected one of \[arousal, code, "):
        prepared(root, "emotion", columns={"speaker": "who"})
    database = library.Database.load(str(root))
    database.drop_tables("files")
    database.save(str(root), storage_format="csv")
    assert {row[2] for row in prepared(root, "emotion")} == {""}
    assert "no table has a column speaker: speakers are unknown (--columns speaker=NAME)\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tables", "column", "message"),
    [
        ([], None, r"database: which labels\? Say --table, one or more of \[.*emotion.*\]$"),
        (["mood"], None, r"^Bad table of .*database: 'mood', expected one of \[.*emotion.*\]$"),
        (["emotion"], "mood", r"^Bad column of table emotion: 'mood', expected one of \[emotion, code, arousal\]$"),
        (["emotion"], "arousal", r"emotion\.csv: the column arousal holds values of type float, no classes$"),
        (["emotion", "emotion.train"], None, r"'anna1' is in more than one of the tables \[emotion, emotion\.train\]"),
    ],
)
def test_what_cannot_be_read_is_said(root: Path, tables: list[str], column: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(root, *tables, column=column)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("db.yaml", "[", r"db\.yaml: not a readable header of audformat \(ParserError"),
        ("db.yaml", "- a", r"db\.yaml: not a readable header of audformat$"),
        ("db.yaml", "name: x\nlanguages: [xxx]", r"db\.yaml: not a readable header of audformat \("),
        ("db.yaml", "!!python/object/apply:os.getcwd []", r"db\.yaml: not a readable header of audformat \(Constr"),
        ("db.emotion.csv", "file,emotion\n", r"db\.emotion\.csv: no row has a label in the column emotion$"),
        ("db.emotion.csv", "", r"db\.emotion\.csv: not a readable table of audformat \("),
    ],
)
def test_damaged_files_are_named(root: Path, file: str, text: str, message: str) -> None:
    (root / file).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        prepared(root, "emotion")


def test_what_is_no_database(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"db\.yaml: no such file, expected the folder of a database in audformat$"):
        prepared(root.parent, "emotion")
    (root / "db.emotion.csv").unlink()
    with pytest.raises(InputError, match=r"db\.emotion: the table is not there$"):
        prepared(root, "emotion")
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(InputError, match=r"^Databases in audformat need .*: pip install 'gandistill\[audformat\]'$"):
        prepared(root, "emotion")
    with pytest.raises(InputError, match=r"^Tables and their column can be given for audformat, not for ravdess$"):
        prepare("ravdess", root, root.parent / "m.csv", tables=["emotion"])
