from collections import Counter
from pathlib import Path

import pytest

from gandistill.corpora.manifest import Entry
from gandistill.corpora.spellings import check_spellings, spelled_alike
from gandistill.errors import InputError


def entries(*rows: tuple[str, str, str]) -> list[Entry]:
    """Utterances of an emotion, a speaker and a part each."""
    return [Entry(str(n), Path(f"{n}.wav"), emotion, speaker, split=split) for n, (emotion, speaker, split) in
            enumerate(rows)]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Happy", "happy"),
        ("0", "00"),
        ("spk1", "spk01"),
        ("Anna", "anna "),
        ("very happy", "very  happy"),
        ("Zo\u00eb", "Zoe\u0308"),
        ("STRASSE", "stra\u00dfe"),
        ("\uff21", "a"),
    ],
)
def test_names_that_differ_in_spelling_alone(one: str, other: str) -> None:
    assert spelled_alike(Counter({one: 1, other: 2, "else": 9})) == [[other, one]]


@pytest.mark.parametrize(("one", "other"), [("1", "10"), ("1.1", "1.01"), ("s1", "t1"), ("0", "O"), ("f1", "f11")])
def test_names_that_differ_by_more(one: str, other: str) -> None:
    assert spelled_alike(Counter([one, other])) == []


def test_labels_and_speakers_of_two_spellings_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    check_spellings(entries(("Happy", "0", ""), ("happy", "00", ""), ("happy", "00", ""), ("sad", "", "")))
    assert capsys.readouterr().err.splitlines() == [
        "Perhaps one, but counted apart by their spelling are the classes 'happy' and 'Happy' (to merge them, write "
        "'happy')",
        "Perhaps one, but counted apart by their spelling are the speakers '00' and '0' (to merge them, write '00')",
    ]


def test_unicode_forms_are_shown_so_that_they_differ(capsys: pytest.CaptureFixture[str]) -> None:
    check_spellings(entries(("sad", "Zo\u00eb", ""), ("sad", "Zoe\u0308", "")))
    assert r"'Zoe\u0308' and 'Zo\xeb'" in capsys.readouterr().err


def test_a_speaker_in_train_and_test_under_two_spellings_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    corpus = entries(("sad", "Anna", "train"), ("sad", "anna ", "test"), ("sad", "Anna", "train"))
    with pytest.raises(
        InputError, match=r"^1 speakers are in both train and test under spellings .*'Anna' and 'anna '"
    ):
        check_spellings(corpus)
    check_spellings(corpus, known_speakers=True)
    check_spellings(entries(("sad", "Anna", "train"), ("sad", "anna", "dev"), ("sad", "bob", "test")))
    assert capsys.readouterr().err.count("the speakers 'Anna' and 'anna") == 2


def test_labels_that_look_like_none_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    check_spellings([Entry(str(n), Path("a"), label, "s") for n, label in enumerate(("sad", "nan", "N/A"))])
    said = capsys.readouterr().err
    assert said == "Perhaps no classes are [N/A, nan]: --drop N/A --drop nan leaves their utterances out\n"


def test_whole_numbers_are_spelled_alike() -> None:
    assert spelled_alike(Counter(["1", "1.0", "01", "1.5", "10"])) == [["01", "1", "1.0"]]
