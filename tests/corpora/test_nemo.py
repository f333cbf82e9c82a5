from pathlib import Path

import pytest

from gandistill.corpora import nemo
from gandistill.corpora.verdicts import scan
from gandistill.errors import InputError
from tests.corpora.fabricate import described, expected

HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"
LISTED = (
    "WR0_fear_7.wav\tfear\tEcho.\techo\t        WR0\tmale\t23",
    "EB0_anger_1.wav\tanger\tEcho.\techo\tEB0\tfemale\t27",
)


def tree(folder: Path, *names: str, listed: tuple[str, ...] = LISTED) -> Path:
    (folder / "samples").mkdir()
    for name in names:
        (folder / "samples" / name).write_bytes(name.encode())
    (folder / "data.tsv").write_text("\n".join([HEADER, *listed]) + "\n", encoding="utf-8")
    return folder


def test_the_real_corpus_equals_expected_csv(nemo_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries, errors = scan(nemo.read(nemo_root))
    assert errors == []
    assert [described(entry) for entry in entries] == expected(nemo_root)
    assert len(entries) == 2753
    assert "nEMO: 1728 of the 4481 files that data.tsv lists are not in" in capsys.readouterr().err


def test_spaces_around_a_speaker_do_not_count(tmp_path: Path) -> None:
    entries = nemo.read(tree(tmp_path, "WR0_fear_7.wav", "EB0_anger_1.FLAC"))
    assert [(e.id, e.speaker, e.gender, e.emotion, e.text) for e in entries] == [
        ("EB0_anger_1", "EB0", "female", "anger", "1"),
        ("WR0_fear_7", "WR0", "male", "fear", "7"),
    ]


def test_files_in_one_of_the_two_places_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path, "WR0_fear_7.wav", "XX0_fear_8.wav")
    assert [entry.id for entry in nemo.read(root)] == ["WR0_fear_7"]
    assert capsys.readouterr().err.splitlines() == [
        f"nEMO: left out 1 files that data.tsv does not list, the first is {root}/samples/XX0_fear_8.wav",
        f"nEMO: 1 of the 2 files that data.tsv lists are not in {root}/samples",
    ]


def test_a_table_that_contradicts_a_name_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, "WR0_fear_7.wav", listed=(LISTED[0].replace("\tfear", "\tanger"),))
    with pytest.raises(InputError, match=r"data\.tsv, line 2: says WR0 anger of WR0_fear_7\.wav"):
        nemo.read(root)


def test_an_emotion_that_nemo_does_not_have(tmp_path: Path) -> None:
    root = tree(tmp_path, "WR0_awe_7.wav", listed=(LISTED[0].replace("fear", "awe"),))
    with pytest.raises(InputError, match=r"line 2: Bad emotion 'awe', expected one of \[anger, fear, .*, surprised\]"):
        nemo.read(root)


def test_the_classes_are_the_fields_words(tmp_path: Path) -> None:
    listed = (LISTED[0].replace("fear", "surprised"),)
    assert [e.emotion for e in nemo.read(tree(tmp_path, "WR0_surprised_7.wav", listed=listed))] == ["surprise"]


def test_a_folder_without_nemo(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected the folder samples/ and the file data\.tsv"):
        nemo.read(tmp_path)
    with pytest.raises(InputError, match=r"holds no file of data\.tsv, expected files such as WR0_fear_7\.wav"):
        nemo.read(tree(tmp_path, "other.wav"))
