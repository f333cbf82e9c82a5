import shutil
from collections import Counter
from pathlib import Path

import pytest

from gandistill.corpora import emodb
from gandistill.corpora.manifest import read_origin
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from tests.corpora.fabricate import fabricate_emodb


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wav/03a01Fa.wav", ("03a01Fa", "happiness", "03", "male", "a01")),
        ("wav/08b10Wd.WAV", ("08b10Wd", "anger", "08", "female", "b10")),
        ("16b03Lb.flac", ("16b03Lb", "boredom", "16", "female", "b03")),
        ("wav/12a07Ea.wav", ("12a07Ea", "disgust", "12", "male", "a07")),
        ("wav/09a04Ac.wav", ("09a04Ac", "fear", "09", "female", "a04")),
        ("wav/10b02Na.wav", ("10b02Na", "neutral", "10", "male", "b02")),
        ("wav/15a02Tc.wav", ("15a02Tc", "sadness", "15", "male", "a02")),
    ],
)
def test_a_name_is_read(tmp_path: Path, name: str, expected: tuple[str, ...]) -> None:
    (entry,) = emodb.read(tree(tmp_path, name))
    assert (entry.id, entry.emotion, entry.speaker, entry.gender, entry.text) == expected
    assert entry.path == tmp_path / name
    assert (entry.session, entry.duration, entry.split, entry.channel) == ("", None, "", None)


def test_the_fabricated_corpus(tmp_path: Path) -> None:
    entries = emodb.read(fabricate_emodb(tmp_path, seconds=0.03))
    assert len({entry.id for entry in entries}) == len(entries) == 10 * 10 * 7
    assert {entry.emotion for entry in entries} == {
        "anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness",
    }  # fmt: skip
    people = {(entry.speaker, entry.gender) for entry in entries}
    assert Counter(gender for _, gender in people) == {"female": 5, "male": 5}


def test_what_is_not_speech_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(
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


def test_a_second_copy_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path, "emodb/wav/03a01Fa.wav", "emodb/wav/03a01Na.wav")
    shutil.copytree(root / "emodb", root / "mirror")
    assert [entry.path.parts[-3] for entry in emodb.read(root)] == ["emodb", "emodb"]
    assert "Left out 2 files that are exact copies" in capsys.readouterr().err
    (root / "mirror" / "wav" / "03a01Na.wav").write_bytes(b"something else")
    with pytest.raises(InputError, match="are both '03a01Na' and differ"):
        emodb.read(root)


def test_a_folder_without_emodb(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: no such folder"):
        emodb.read(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no EMO-DB speech found, expected files such as wav/03a01Fa\.wav"):
        emodb.read(tree(tmp_path, "wav/03-01-05-01-01-01-01.wav", "laryngo/03a01Fa.wav"))


def test_prepared_for_unseen_speakers(tmp_path: Path) -> None:
    root = fabricate_emodb(tmp_path / "EMO-DB", limit=1)
    entries = prepare("emodb", root, tmp_path / "m.csv", protocol="speaker-independent", fold=2)
    assert Counter(entry.split for entry in entries) == {"train": 42, "dev": 14, "test": 14}
    assert read_origin(tmp_path / "m.csv")["corpus"] == "EMO-DB"
    assert read_origin(tmp_path / "m.csv")["licence"] == "CC0 1.0 as its publication with audb says"
    header = (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "id,path,emotion,speaker,gender,session,text,duration,split"
