"""Files that are written otherwise than they are named, sought by hand and by names that hypothesis makes up."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gandistill.corpora.folders import Folders, same_form

COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


@given(st.text())
def test_every_form_of_a_name_is_the_same(name: str):
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    assert same_form(forms[0]) == same_form(forms[1]) == same_form(same_form(name))
    assert "\\" not in same_form(name)


def test_a_path_is_found_however_it_is_written(tmp_path: Path):
    (tmp_path / DECOMPOSED).mkdir()
    there = tmp_path / DECOMPOSED / f"{COMPOSED}.wav"
    there.touch()
    folders = Folders()
    for written in (
        f"{COMPOSED}/{DECOMPOSED}.wav",
        f"{DECOMPOSED}\\{COMPOSED}.wav",
        f"{COMPOSED}\\..\\{COMPOSED}/{COMPOSED}.wav",
    ):
        assert [path.resolve() for path in folders.fitting(tmp_path / written)] == [there.resolve()], written
    assert folders.fitting(tmp_path / f"{COMPOSED}/other.wav") == []
    assert folders.fitting(tmp_path / f"none/{COMPOSED}.wav") == []


def test_case_counts_unless_it_shall_not(tmp_path: Path):
    """Of several that fit in any case all are given, for whoever asks to choose."""
    for name in ("a.wav", "A.WAV", "b.wav"):
        (tmp_path / name).touch()
    folders = Folders()
    assert folders.fitting(tmp_path / "a.wav") == [tmp_path / "a.wav"]
    assert folders.fitting(tmp_path / "a.Wav") == []
    assert {*folders.fitting(tmp_path / "a.Wav", any_case=True)} == {tmp_path / "a.wav", tmp_path / "A.WAV"}
    assert folders.fitting(tmp_path / "B.wav", any_case=True) == [tmp_path / "b.wav"]


def test_names_of_both_forms_are_both_given(tmp_path: Path):
    for folder in (COMPOSED, DECOMPOSED):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    found = Folders().fitting(tmp_path / COMPOSED / "a.wav")
    assert {*found} == {tmp_path / COMPOSED / "a.wav", tmp_path / DECOMPOSED / "a.wav"}


def test_a_file_is_no_folder_and_a_folder_that_cannot_be_listed_may_be_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.wav").touch()
    assert Folders().fitting(tmp_path / "a.wav" / "b.wav") == []

    def refused(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", refused)
    assert Folders().fitting(tmp_path / "a.wav") == [tmp_path / "a.wav"]


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listed: list[Path] = []
    inner, folders = Path.iterdir, Folders()
    monkeypatch.setattr(Path, "iterdir", lambda folder: listed.append(folder) or inner(folder))
    for number in range(9):
        (tmp_path / f"{number}.wav").touch()
        folders.fitting(tmp_path / "0.wav")
    assert listed.count(tmp_path) == 1
