from collections import Counter
from pathlib import Path

import pytest

from gandistill.corpora import emodb
from gandistill.corpora.manifest import read_origin
from gandistill.corpora.prepare import prepare
from tests.corpora.fabricate import fabricate_emodb, write_names


def test_the_fabricated_corpus(tmp_path: Path) -> None:
    entries = emodb.read(fabricate_emodb(tmp_path, seconds=0.03))
    assert len({entry.id for entry in entries}) == len(entries) == 10 * 10 * 7
    assert {entry.emotion for entry in entries} == {
        "anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness",
    }  # fmt: skip
    people = {(entry.speaker, entry.gender) for entry in entries}
    assert Counter(gender for _, gender in people) == {"female": 5, "male": 5}


def test_what_is_not_speech_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_names(
        tmp_path,
        "wav/03a01Fa.wav",
        "wav/._03a01Fa.wav",
        "wav/04a01Fa.wav",  # no such speaker
        "wav/03a01Xa.wav",  # no such emotion
        "wav/03a01F.wav",
        "laryngo/03a01Fa.wav",
        "lablaut/03a01Fa.lablaut",
        "erklaerung.txt",
    )
    assert [entry.path for entry in emodb.read(root)] == [root / "wav" / "03a01Fa.wav"]
    assert capsys.readouterr().err.splitlines() == [
        "EMO-DB: left out 4 files not named as EMO-DB names them, the first is " + f"{root}/wav/._03a01Fa.wav",
        f"EMO-DB: left out 1 laryngograms, the first is {root}/laryngo/03a01Fa.wav",
    ]


def test_prepared_for_unseen_speakers(tmp_path: Path) -> None:
    root = fabricate_emodb(tmp_path / "EMO-DB", limit=1)
    entries = prepare("emodb", root, tmp_path / "m.csv", protocol="speaker-independent", fold=2)
    assert Counter(entry.split for entry in entries) == {"train": 42, "dev": 14, "test": 14}
    assert read_origin(tmp_path / "m.csv")["corpus"] == "EMO-DB"
    assert read_origin(tmp_path / "m.csv")["licence"] == "CC0 1.0 as its publication with audb says"
    header = (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "id,path,emotion,speaker,gender,session,text,duration,split"
