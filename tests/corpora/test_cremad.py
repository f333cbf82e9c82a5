import shutil
from collections import Counter
from pathlib import Path

import pytest

from gandistill.corpora import cremad
from gandistill.corpora.manifest import read_manifest
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from tests.corpora.fabricate import fabricate_cremad, write_names

HEADER = '"ActorID","Age","Sex","Race","Ethnicity"'
ACTORS = (HEADER, '1001,51,"Male","Caucasian","Not Hispanic"', '1002,21,"Female","Caucasian","Not Hispanic"')


def tree(folder: Path, *names: str, actors: tuple[str, ...] = ACTORS) -> Path:
    (write_names(folder, *names) / "VideoDemographics.csv").write_text("\n".join(actors) + "\n", encoding="utf-8")
    return folder


def test_the_fabricated_corpus(tmp_path: Path) -> None:
    entries = cremad.read(fabricate_cremad(tmp_path, actors=3, seconds=0.03))
    assert len({entry.id for entry in entries}) == len(entries) == 3 * 82
    assert Counter(entry.emotion for entry in entries if entry.speaker == "1001") == {
        "anger": 14, "disgust": 14, "fear": 14, "happiness": 14, "neutral": 12, "sadness": 14,
    }  # fmt: skip
    assert len({entry.text for entry in entries}) == 12
    people = {(entry.speaker, entry.gender) for entry in entries}
    assert Counter(gender for _, gender in people) == {"male": 2, "female": 1}


@pytest.mark.parametrize(("number", "known"), [(1000, False), (1001, True), (1090, True), (1091, True), (1092, False)])
def test_actors_are_1001_to_1091(tmp_path: Path, number: int, known: bool) -> None:
    root = tree(tmp_path, f"{number}_DFA_ANG_XX.wav", "1050_DFA_ANG_XX.wav")
    assert (str(number) in {entry.speaker for entry in cremad.read(root)}) == known


def test_unknown_genders_are_empty_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path, "1001_DFA_ANG_XX.wav", "1001_DFA_SAD_XX.wav", "1003_DFA_ANG_XX.wav")
    assert [entry.gender for entry in cremad.read(root)] == ["male", "male", ""]
    said = "CREMA-D: the gender of {} actors is unknown, no VideoDemographics.csv lists them\n"
    assert capsys.readouterr().err == said.format(1)
    (root / "VideoDemographics.csv").unlink()
    assert [entry.gender for entry in cremad.read(root)] == ["", "", ""]
    assert capsys.readouterr().err == said.format(2)


@pytest.mark.parametrize(
    ("actors", "message"),
    [
        ((HEADER.replace("Sex", "Gender"), ACTORS[1]), r"line 1: lacks the columns \[Sex\]"),
        ((*ACTORS, "1003,21,?,Caucasian,No"), r"line 4: Bad sex '\?', expected one of \[Female, Male\]"),
        ((*ACTORS, ACTORS[1]), "line 4: lists actor 1001 again, expected one line for each"),
        ((HEADER,), "holds no utterance"),
    ],
)
def test_a_bad_table_of_actors(tmp_path: Path, actors: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        cremad.read(tree(tmp_path, "1001_DFA_ANG_XX.wav", actors=actors))
    assert str(error.value).startswith(str(tmp_path / "VideoDemographics.csv"))
    assert "\n" not in str(error.value)


def test_a_second_copy_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path / "a", "AudioWAV/1001_DFA_ANG_XX.wav")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert [entry.path.parts[-3] for entry in cremad.read(tmp_path)] == ["a"]
    assert capsys.readouterr().err.count("exact copies") == 2  # the audio, and the table
    tree(tmp_path / "b", actors=ACTORS[:2])
    with pytest.raises(InputError, match=r"are both 'VideoDemographics\.csv' and differ"):
        cremad.read(tmp_path)


def test_prepared_for_unseen_speakers(tmp_path: Path) -> None:
    root = fabricate_cremad(tmp_path / "CREMA-D", actors=10, limit=1)
    entries = prepare("cremad", root, tmp_path / "m.csv", protocol="speaker-independent")
    assert Counter(entry.split for entry in entries) == {"train": 36, "dev": 12, "test": 12}
    assert read_manifest(tmp_path / "m.csv") == entries
    assert {entry.gender for entry in entries} == {"female", "male"}


def test_a_file_that_git_lfs_did_not_fetch_is_no_audio(tmp_path: Path) -> None:
    root = fabricate_cremad(tmp_path / "CREMA-D", actors=3, limit=1)
    (root / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"1 of 18 files cannot be used .*\n.*1001_DFA_ANG_XX\.wav: a Git LFS pointer"):
        prepare("cremad", root, tmp_path / "m.csv")
