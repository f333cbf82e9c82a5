"""Folds share one extraction: what a resplit set gives is what an extraction under its own manifest would give."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gandistill import artifacts
from gandistill.corpora.manifest import Entry, origin_path, read_manifest, write_manifest
from gandistill.errors import InputError
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.features.resplit import resplit

CONFIG = ExtractConfig(shard=3)
SECONDS = [0.3, 0.5, 0.2, 0.4, 0.25, 0.6, 0.35]
ORIGIN = {"corpus": "noise", "licence": "CC0-1.0", "protocol": "folds", "seed": 0}


def write(folder: Path, entries: Iterable[Entry], fold: int, **more: str) -> Path:
    folder.mkdir()
    write_manifest(folder / "manifest.csv", entries)
    artifacts.write_json(origin_path(folder / "manifest.csv"), ORIGIN | {"fold": fold} | more)
    return folder / "manifest.csv"


@pytest.fixture
def entries(corpus: Callable[..., Path]) -> list[Entry]:
    return read_manifest(corpus(SECONDS))


@pytest.fixture
def whole(entries: list[Entry], tmp_path: Path) -> FeatureSet:
    extract(write(tmp_path / "fold1", entries, 1), CONFIG, tmp_path / "fold1" / "features")
    return FeatureSet.open(tmp_path / "fold1" / "features")


def other_fold(entries: list[Entry]) -> list[Entry]:
    """Other splits, sessions and names of speakers, one utterance left out, and one emotion called otherwise."""
    names = {"sad": "sorrowful"}
    return [
        replace(
            entry,
            split=("train", "test", "dev")[i % 3],
            session=str(i),
            speaker=f"{entry.speaker}!",
            emotion=names.get(entry.emotion, entry.emotion),
        )
        for i, entry in enumerate(entries)
        if entry.id != "u4"
    ]


def facts_of(features: FeatureSet) -> dict[str, Any]:
    """What ``config.json`` says, but for what identifies the set itself."""
    return {key: value for key, value in features.config.items() if key not in ("fingerprint", "resplit_of")}


def test_whether_the_dev_part_trains_is_for_the_manifest_to_say(
    entries: list[Entry], whole: FeatureSet, tmp_path: Path
):
    merged = resplit(whole, write(tmp_path / "merged", entries, 1, dev="counts as train"), tmp_path / "a")
    plain = resplit(merged, write(tmp_path / "plain", entries, 1), tmp_path / "b")
    assert [one.config.get("dev") for one in (whole, merged, plain)] == [None, "counts as train", None]


def test_it_gives_what_an_extraction_under_that_manifest_gives(entries: list[Entry], whole: FeatureSet, tmp_path: Path):
    manifest = write(tmp_path / "fold2", other_fold(entries), 2)
    shared = resplit(whole, manifest, tmp_path / "shared")
    extract(manifest, CONFIG, tmp_path / "direct")
    direct = FeatureSet.open(tmp_path / "direct")
    opened = FeatureSet.open(tmp_path / "shared")
    for found in (shared, opened):
        assert found.labels == direct.labels == ["angry", "happy", "sorrowful"]
        columns = ["id", "label", "speaker", "session", "split", "frames"]
        assert found.index[columns].equals(direct.index[columns])
        assert facts_of(found) == facts_of(direct)
        assert found.config["resplit_of"] == whole.fingerprint
        for split in ("train", "dev", "test"):
            part, same = found.part(split), direct.part(split)
            assert np.array_equal(part.targets, same.targets)
            for row in range(len(part)):
                assert torch.equal(part.frames(row), same.frames(row))
            rows, places = range(len(part)), torch.linspace(0, 0.99, len(part))
            assert torch.equal(part.windows(rows, 25, places), same.windows(rows, 25, places))
            assert torch.equal(part.means(), same.means())
        assert found.training_part().class_counts == direct.training_part().class_counts
        moments, same = found.training_part().moments(), direct.training_part().moments()
        assert all(torch.equal(a, b) for a, b in zip(moments, same, strict=True))


def test_frames_are_shared_on_disk_and_outlive_the_first_fold(entries: list[Entry], whole: FeatureSet, tmp_path: Path):
    shared = resplit(whole, write(tmp_path / "fold2", other_fold(entries), 2), tmp_path / "shared")
    shards = sorted(path.name for path in shared.folder.glob("frames-*"))
    assert shards == ["frames-00000.safetensors", "frames-00001.safetensors", "frames-00002.safetensors"]
    for name in shards:
        assert (shared.folder / name).samefile(whole.folder / name)
    frames = shared.frames(0)
    artifacts.open_artifact(shared.folder, "feature set")
    for path in whole.folder.iterdir():
        path.unlink()
    assert torch.equal(FeatureSet.open(shared.folder).frames(0), frames)


def test_a_shard_of_which_nothing_is_left_is_not_taken(entries: list[Entry], whole: FeatureSet, tmp_path: Path):
    shared = resplit(whole, write(tmp_path / "few", entries[3:6], 2), tmp_path / "shared")
    assert [path.name for path in shared.folder.glob("frames-*")] == ["frames-00001.safetensors"]
    assert [torch.equal(shared.frames(row), whole.frames(row + 3)) for row in range(3)] == [True] * 3


def test_without_hard_links_frames_are_copied(
    entries: list[Entry], whole: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr("os.link", refused)
    shared = resplit(whole, write(tmp_path / "fold2", other_fold(entries), 2), tmp_path / "shared")
    name = "frames-00000.safetensors"
    assert not (shared.folder / name).samefile(whole.folder / name)
    assert (shared.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_clips_of_one_length_are_shared_too(entries: list[Entry], tmp_path: Path):
    clipped = CONFIG.model_copy(update={"clip": 8000})
    extract(write(tmp_path / "fold1", entries, 1), clipped, tmp_path / "whole")
    manifest = write(tmp_path / "fold2", other_fold(entries), 2)
    shared = resplit(FeatureSet.open(tmp_path / "whole"), manifest, tmp_path / "shared")
    extract(manifest, clipped, tmp_path / "direct")
    assert facts_of(shared) == facts_of(FeatureSet.open(tmp_path / "direct"))
    assert shared.config["upstream"]["clip"] == 8000
    assert set(shared.lengths) == {14}
    assert "- clip: 8000\n" in (tmp_path / "shared" / "README.md").read_text()


def test_the_fingerprint_is_of_the_split_too_and_the_same_every_time(
    entries: list[Entry], whole: FeatureSet, tmp_path: Path
):
    first = resplit(whole, write(tmp_path / "a", other_fold(entries), 2), tmp_path / "elsewhere" / "first")
    again = resplit(whole, write(tmp_path / "b", other_fold(entries), 2), tmp_path / "again")
    assert first.fingerprint == again.fingerprint != whole.fingerprint
    other = resplit(whole, write(tmp_path / "c", other_fold(entries), 3), tmp_path / "again")
    assert other.fingerprint != first.fingerprint
    moved = [replace(entry, split="train") for entry in other_fold(entries)]
    assert resplit(whole, write(tmp_path / "d", moved, 2), tmp_path / "moved").fingerprint != first.fingerprint


def test_what_cannot_be_is_refused(entries: list[Entry], whole: FeatureSet, tmp_path: Path):
    stranger = replace(entries[0], id="u9")
    manifest = write(tmp_path / "more", [*entries, stranger], 2)
    with pytest.raises(InputError, match=r"has no features of 'u9', which .*more/manifest\.csv names: extract anew"):
        resplit(whole, manifest, tmp_path / "shared")
    assert not (tmp_path / "shared").exists()
    same = write(tmp_path / "same", entries, 2)
    with pytest.raises(InputError, match="is the feature set itself: choose another folder"):
        resplit(whole, same, whole.folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="exists and is not a gandistill feature set"):
        resplit(whole, same, tmp_path / "mine")
