"""IEMOCAP: the reader on a fabricated release with all names, SUPERB's folds against s3prl's own arithmetic."""

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gandistill.corpora import iemocap, splits
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError
from tests.corpora.fabricate import fabricate_iemocap


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate_iemocap(tmp_path_factory.mktemp("iemocap"))


@pytest.fixture(scope="module")
def entries(release: Path) -> list[Entry]:
    return iemocap.read(release)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return fabricate_iemocap(tmp_path, limit=1)


class Names(torch.utils.data.Dataset[str]):
    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def __len__(self) -> int:
        return len(self.names)


def s3prl_split(paths: list[str], fold: int) -> tuple[list[str], list[str]]:
    """What s3prl's ``downstream/emotion/expert.py`` does: the global seed, then ``random_split``."""
    rest = [Path(path).stem for path in paths if not path.startswith(f"Session{fold}/")]
    length = int((1 - 0.2) * len(rest))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        train, dev = torch.utils.data.random_split(Names(rest), [length, len(rest) - length])
    return [train[i] for i in range(len(train))], [dev[i] for i in range(len(dev))]


@pytest.mark.parametrize(
    "fold, sizes",
    [(1, (3556, 890, 1085)), (2, (3606, 902, 1023)), (3, (3504, 876, 1151)), (4, (3600, 900, 1031)),
     (5, (3432, 858, 1241))],
)  # fmt: skip
def test_superb_folds_are_s3prls(names_root: Path, entries: list[Entry], fold: int, sizes: tuple[int, ...]) -> None:
    with (names_root / "iemocap" / "four-class.csv").open(newline="") as file:
        listed = [row["path"] for row in csv.DictReader(file)]
    train, dev = s3prl_split(listed, fold)
    split = iemocap.superb(entries, fold, seed=0)
    members = {part: {entry.id for entry in split if entry.split == part} for part in ("train", "dev", "test")}
    assert members["train"] == set(train)
    assert members["dev"] == set(dev)
    assert members["test"] == {Path(path).stem for path in listed if path.startswith(f"Session{fold}/")}
    assert tuple(map(len, members.values())) == sizes
    assert len(split) == sum(sizes) == 5531


def test_first_fold_has_superbs_class_counts(entries: list[Entry]) -> None:
    train = [entry for entry in iemocap.superb(entries, 1, seed=7) if entry.split == "train"]
    assert Counter(entry.emotion for entry in train) == {"neu": 1037, "hap": 1078, "ang": 717, "sad": 724}


def test_the_shipped_list_is_the_published_one(names_root: Path) -> None:
    with (names_root / "iemocap" / "four-class.csv").open(newline="") as file:
        published = {Path(row["path"]).stem: row["emotion"] for row in csv.DictReader(file)}
    assert list(iemocap.superb_list().items()) == list(published.items())


def test_reads_every_utterance_of_the_four_classes(entries: list[Entry], release: Path) -> None:
    assert len(entries) == len({entry.id for entry in entries}) == 5531
    assert Counter(entry.emotion for entry in entries) == {"neu": 1708, "hap": 1636, "ang": 1103, "sad": 1084}
    assert Counter(entry.session for entry in entries) == {"1": 1085, "2": 1023, "3": 1151, "4": 1031, "5": 1241}
    women = {(f"Ses0{session}F", "female") for session in range(1, 6)}
    men = {(f"Ses0{session}M", "male") for session in range(1, 6)}
    assert {(entry.speaker, entry.gender) for entry in entries} == women | men
    assert all(entry.path.is_file() for entry in entries)
    assert entries == iemocap.read(release.parent)
    assert [e.id for e in entries] == [e.id for e in sorted(entries, key=lambda e: (e.session, e.text))]


def test_the_speaker_is_who_speaks_not_who_wears_the_sensors(small: Path) -> None:
    woman_wears = [entry for entry in iemocap.read(small) if entry.text.startswith("Ses01F")]
    man = next(entry for entry in woman_wears if entry.id.rpartition("_")[2].startswith("M"))
    assert (man.speaker, man.gender, man.session) == ("Ses01M", "male", "1")
    assert man.text == man.id.rpartition("_")[0]
    assert man.path == small / "Session1" / "sentences" / "wav" / man.text / f"{man.id}.wav"
    assert man.duration is None
    assert man.split == ""


def test_says_what_it_leaves_out(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = iemocap.read(small)
    dialogs = len({entry.text for entry in entries})
    assert len(entries) == 40
    said = capsys.readouterr().err
    assert f"left out {6 * dialogs} utterances of other labels than neu, hap, exc, ang, sad" in said
    assert f"dis {dialogs}, fea {dialogs}, fru {dialogs}, oth {dialogs}, sur {dialogs}, xxx {dialogs}" in said


def test_excited_counts_as_happy(tmp_path: Path) -> None:
    text = "% header\n[0.0000 - 1.5000]\tSes02M_impro03_F001\texc\t[4.0, 4.0, 3.0]\nC-E2:\tExcited;\t()\n"
    file = tmp_path / "Session2" / "dialog" / "EmoEvaluation" / "Ses02M_impro03.txt"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    (entry,) = iemocap.read(tmp_path)
    assert (entry.id, entry.emotion, entry.speaker) == ("Ses02M_impro03_F001", "hap", "Ses02F")


def test_missing_audio_stays_listed_and_flac_is_found(small: Path) -> None:
    before = iemocap.read(small)
    before[0].path.unlink()
    before[1].path.rename(before[1].path.with_suffix(".flac"))
    after = iemocap.read(small)
    assert after[0] == before[0]
    assert after[1] == replace(before[1], path=before[1].path.with_suffix(".flac"))
    assert after[2:] == before[2:]


@pytest.mark.parametrize("where", ["nowhere", ""])
def test_a_folder_without_iemocap_is_refused(tmp_path: Path, where: str) -> None:
    with pytest.raises(InputError, match="no IEMOCAP labels found, expected Session1"):
        iemocap.read(tmp_path / where)


def test_a_bad_label_line_is_named(small: Path) -> None:
    file = small / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_script02_2.txt"
    file.write_text("% header\n\n[1.0 - 2.0] Ses01F_script02_2_F000 neu\n")
    with pytest.raises(InputError, match=r"Ses01F_script02_2\.txt, line 3: expected"):
        iemocap.read(small)


def test_an_utterance_of_another_session_is_refused(small: Path) -> None:
    shutil.copytree(small / "Session1" / "dialog", small / "Session2" / "dialog", dirs_exist_ok=True)
    with pytest.raises(InputError, match=r"Session2: utterance 'Ses01\w+' is not named"):
        iemocap.read(small)


def test_superb_refuses_an_incomplete_corpus(entries: list[Entry]) -> None:
    lost = next(iter(iemocap.superb_list()))
    with pytest.raises(InputError, match=f"needs the 5531 utterances of its list, 1 are missing, the first is {lost}"):
        iemocap.superb([entry for entry in entries if entry.id != lost], 1, seed=0)


def test_superb_refuses_another_label(entries: list[Entry]) -> None:
    changed = [replace(entries[0], emotion="sad" if entries[0].emotion != "sad" else "ang"), *entries[1:]]
    with pytest.raises(InputError, match=f"1 labels differ from its list, the first is {entries[0].id}"):
        iemocap.superb(changed, 1, seed=0)


def test_superb_says_what_is_not_in_its_list(entries: list[Entry], capsys: pytest.CaptureFixture[str]) -> None:
    more = [*entries, replace(entries[0], id="Ses01F_impro01_F999")]
    assert iemocap.superb(more, 2, seed=0) == iemocap.superb(entries, 2, seed=0)
    assert "left out 1 utterances that are not in its list" in capsys.readouterr().err


@pytest.mark.parametrize("fold", [0, 6])
def test_superb_has_five_folds(entries: list[Entry], fold: int) -> None:
    with pytest.raises(InputError, match=f"Bad fold of superb {fold}, expected one of"):
        splits.apply("superb", "iemocap", entries, fold)
