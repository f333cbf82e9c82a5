from pathlib import Path

import pytest

from gandistill.corpora import ravdess
from gandistill.corpora.audio import scan
from tests.corpora.fabricate import described, expected, write_names


def test_the_real_corpus_equals_expected_csv(ravdess_root: Path) -> None:
    entries, errors = scan(ravdess.read(ravdess_root))
    assert errors == []
    assert [described(entry) for entry in entries] == expected(ravdess_root)
    assert len({entry.id for entry in entries}) == 1440


def test_what_is_not_speech_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_names(
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
