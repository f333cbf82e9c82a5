import csv
import shutil
from pathlib import Path

import pytest

from gandistill.corpora import ravdess
from gandistill.corpora.audio import scan
from gandistill.errors import InputError


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.rpartition("/")[2].encode())
    return folder


def test_the_real_corpus_equals_expected_csv(ravdess_root: Path) -> None:
    entries, errors = scan(ravdess.read(ravdess_root))
    assert errors == []
    with (ravdess_root / "expected.csv").open(encoding="utf-8", newline="") as file:
        expected = [
            (ravdess_root / row["path"], row["speaker"], row["gender"], row["emotion"], row["text"], row["seconds"])
            for row in csv.DictReader(file)
        ]
    found = [(e.path, e.speaker, e.gender, e.emotion, e.text, f"{e.duration:.3f}") for e in entries]
    assert [row[:5] for row in found] == [row[:5] for row in expected]
    assert [float(row[5]) for row in found] == [float(row[5]) for row in expected]
    assert len({entry.id for entry in entries}) == 1440


def test_a_name_is_read(tmp_path: Path) -> None:
    root = tree(tmp_path, "Actor_12/03-01-06-01-02-01-12.WAV")
    assert [(e.id, e.emotion, e.speaker, e.gender, e.text, e.session, e.split) for e in ravdess.read(root)] == [
        ("03-01-06-01-02-01-12", "fear", "12", "female", "02", "", "")
    ]


def test_what_is_not_speech_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(
        tmp_path,
        "Actor_01/03-01-05-01-01-01-01.flac",
        "Actor_01/03-02-05-01-01-01-01.wav",
        "Actor_01/01-01-05-01-01-01-01.mp4",
        "Actor_01/02-01-05-01-01-01-01.mp4",
        "Actor_01/03-01-09-01-01-01-01.wav",
        "Actor_01/03-01-05-01-01-01-25.wav",
        "Actor_01/._03-01-05-01-01-01-01.wav",
        "Actor_01/notes.txt",
    )
    assert [entry.id for entry in ravdess.read(root)] == ["03-01-05-01-01-01-01"]
    assert capsys.readouterr().err.splitlines() == [
        "RAVDESS: left out 3 files not named as RAVDESS names them, "
        f"the first is {root}/Actor_01/._03-01-05-01-01-01-01.wav",
        f"RAVDESS: left out 1 song recordings, the first is {root}/Actor_01/03-02-05-01-01-01-01.wav",
        f"RAVDESS: left out 2 video files, the first is {root}/Actor_01/01-01-05-01-01-01-01.mp4",
    ]


def test_the_nested_second_copy_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path, "Actor_01/03-01-05-01-01-01-01.wav", "Actor_02/03-01-05-01-01-01-02.wav")
    nested = root / "audio_speech_actors_01-24" / "Actor_01"
    shutil.copytree(root / "Actor_01", nested)
    assert [entry.path.parent for entry in ravdess.read(root)] == [root / "Actor_01", root / "Actor_02"]
    assert "Left out 1 files that are exact copies" in capsys.readouterr().err
    (nested / "03-01-05-01-01-01-01.wav").write_bytes(b"something else")
    with pytest.raises(InputError, match="are both '03-01-05-01-01-01-01' and differ"):
        ravdess.read(root)


def test_a_folder_without_ravdess(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        ravdess.read(tmp_path / "absent")
    with pytest.raises(InputError, match="no RAVDESS speech found, expected files such as Actor_01/03-01"):
        ravdess.read(tree(tmp_path, "Actor_01/03-02-05-01-01-01-01.wav"))
