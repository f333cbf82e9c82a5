from collections import Counter
from pathlib import Path

from gandistill.corpora import emodb
from gandistill.corpora.manifest import read_origin
from gandistill.corpora.prepare import prepare
from tests.corpora.fabricate import fabricate_emodb


def test_the_fabricated_corpus(tmp_path: Path) -> None:
    entries = emodb.read(fabricate_emodb(tmp_path, seconds=0.03))
    assert len({entry.id for entry in entries}) == len(entries) == 10 * 10 * 7
    assert {entry.emotion for entry in entries} == {
        "anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness",
    }  # fmt: skip
    people = {(entry.speaker, entry.gender) for entry in entries}
    assert Counter(gender for _, gender in people) == {"female": 5, "male": 5}


def test_prepared_for_unseen_speakers(tmp_path: Path) -> None:
    root = fabricate_emodb(tmp_path / "EMO-DB", limit=1)
    entries = prepare("emodb", root, tmp_path / "m.csv", protocol="speaker-independent", fold=2)
    assert Counter(entry.split for entry in entries) == {"train": 42, "dev": 14, "test": 14}
    assert read_origin(tmp_path / "m.csv")["corpus"] == "EMO-DB"
    assert read_origin(tmp_path / "m.csv")["licence"] == "CC0 1.0 as its publication with audb says"
    header = (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "id,path,emotion,speaker,gender,session,text,duration,split,checked"
