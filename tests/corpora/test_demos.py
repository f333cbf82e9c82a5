"""DEMoS: the reader on a fabricated tree of all real names, and the split that meets Table 1."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from gandistill.corpora import demos
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError
from tests.corpora.fabricate import fabricate_demos


@pytest.fixture(scope="module")
def entries(names_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    return demos.read(
        fabricate_demos(tmp_path_factory.mktemp("demos"), names_root / "demos" / "files.txt", seconds=0.03)
    )


@pytest.fixture(scope="module")
def split(entries: list[Entry]) -> list[Entry]:
    return demos.mtt_table1(entries, 1, seed=0)


def test_reads_all_9697_files(entries: list[Entry], names_root: Path) -> None:
    listed = (names_root / "demos" / "files.txt").read_text().split()
    assert ["/".join(entry.path.parts[-2:]) for entry in entries] == listed
    assert len({entry.id for entry in entries}) == len(entries) == 9697
    assert Counter(entry.emotion for entry in entries) == {
        "anger": 1477, "disgust": 1678, "fear": 1156, "guilt": 1129, "happiness": 1395, "sadness": 1530,
        "surprise": 1000, "neutral": 332,
    }  # fmt: skip
    people = {(entry.speaker, entry.gender) for entry in entries}
    assert Counter(gender for _, gender in people) == {"female": 23, "male": 45}
    assert {speaker for speaker, _ in people} == {f"{n:02d}" for n in range(1, 70)} - {"35"}


def test_reads_from_the_parent_folder_too(tmp_path: Path) -> None:
    fabricate_demos(tmp_path / "DEMoS", limit=1)
    assert demos.read(tmp_path) == demos.read(tmp_path / "DEMoS")
    assert len(demos.read(tmp_path)) == 6 * 8


def test_table_1_is_met_exactly(split: list[Entry]) -> None:
    counts = Counter((entry.emotion, entry.split) for entry in split)
    # Table 1 of arXiv 2406.15119, by hand
    assert [counts["anger", part] for part in ("train", "dev", "test")] == [586, 531, 360]
    assert [counts["disgust", part] for part in ("train", "dev", "test")] == [666, 608, 404]
    assert [counts["fear", part] for part in ("train", "dev", "test")] == [461, 404, 291]
    assert [counts["guilt", part] for part in ("train", "dev", "test")] == [453, 395, 281]
    assert [counts["happiness", part] for part in ("train", "dev", "test")] == [561, 471, 363]
    assert [counts["sadness", part] for part in ("train", "dev", "test")] == [606, 543, 381]
    assert [counts["surprise", part] for part in ("train", "dev", "test")] == [396, 358, 246]
    assert Counter(entry.split for entry in split) == {"train": 3729, "dev": 3310, "test": 2326}
    people = {(entry.speaker, entry.split) for entry in split}
    assert Counter(part for _, part in people) == {"train": 27, "dev": 25, "test": 16}
    assert len(people) == len({speaker for speaker, _ in people})


def test_the_seed_chooses_the_split(entries: list[Entry], split: list[Entry]) -> None:
    assert demos.mtt_table1(entries, 1, seed=0) == split
    other = demos.mtt_table1(entries, 1, seed=2)
    assert {e.speaker for e in other if e.split == "test"} != {e.speaker for e in split if e.split == "test"}
    assert Counter((e.emotion, e.split) for e in other) == Counter((e.emotion, e.split) for e in split)


def test_says_what_it_leaves_out_and_that_the_split_is_not_the_authors(
    entries: list[Entry], split: list[Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(split) == 9365
    assert {entry.emotion for entry in split} == set(demos.TABLE1)
    demos.mtt_table1(entries, 1, seed=2)
    said = capsys.readouterr().err
    assert "left out 332 utterances" in said
    assert "not the authors'" in said


def test_a_corpus_other_than_the_papers_is_refused(entries: list[Entry]) -> None:
    fewer = list(entries)
    fewer.remove(next(entry for entry in entries if entry.emotion == "guilt"))
    with pytest.raises(InputError, match="needs 1129 utterances of guilt, found 1128"):
        demos.mtt_table1(fewer, 1, seed=0)
    merged = [replace(entry, speaker="01") if entry.speaker == "02" else entry for entry in entries]
    with pytest.raises(InputError, match="needs 68 speakers, found 67"):
        demos.mtt_table1(merged, 1, seed=0)


def test_an_impossible_table_is_refused(entries: list[Entry]) -> None:
    """All utterances of all emotions but one from each speaker go to speaker 01: no part can hold them."""
    first = {speaker: next(e for e in entries if e.speaker == speaker and e.emotion in demos.TABLE1).id
             for speaker in {e.speaker for e in entries}}  # fmt: skip
    hoard = [e if first[e.speaker] == e.id else replace(e, speaker="01") for e in entries]
    with pytest.raises(InputError, match="no split of these speakers meets the paper's Table 1"):
        demos.mtt_table1(hoard, 1, seed=0)
