import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.corpora import audio
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError
from gandistill.selfdistill import clips
from gandistill.selfdistill.backbone import backbone_of
from gandistill.selfdistill.clips import Utterances, epoch_batches
from gandistill.selfdistill.inference import hear
from gandistill.selfdistill.model import Network
from tests.features.test_hubert import LAYERS, make_model

EMOTIONS = ["anger", "fear", "happiness", "neutral", "sadness", "surprise"]


def network(clip: int, normalise: bool = True) -> Network:
    return Network(backbone_of(make_model("wav2vec2")), {LAYERS: None}, EMOTIONS, normalise, clip)


def test_a_part_of_a_manifest(manifest: Path):
    part = Utterances.read(manifest, "train")
    assert part.labels == EMOTIONS
    assert [part.labels[target] for target in part.targets] == [entry.emotion for entry in part.entries]
    assert {entry.split for entry in part.entries} == {"train"}
    assert len(part) + len(Utterances.read(manifest, "dev")) + len(Utterances.read(manifest, "test")) == 53
    assert part.samples.tolist() == [6400] * len(part)
    other = Utterances.read(manifest, "train", [*reversed(EMOTIONS), "more"])
    assert [other.labels[target] for target in other.targets] == [entry.emotion for entry in other.entries]


def test_lengths_come_from_the_files_where_the_manifest_has_none(manifest: Path, tmp_path: Path):
    lines = [line.replace(",0.400,", ",,") for line in manifest.read_text().splitlines()]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    part = Utterances.read(tmp_path / "manifest.csv", "dev")
    assert part.entries[0].duration is None
    assert set(part.samples) == {6400}


def test_the_fingerprint_tells_segments(manifest: Path):
    part = Utterances.read(manifest, "dev")
    first, *others = part.entries
    prints = {
        Utterances([replace(first, **place), *others], part.labels).fingerprint
        for place in ({}, {"start": 0.1}, {"end": 0.3}, {"start": 0.1, "end": 0.3}, {"channel": 1})
    }
    assert len(prints) == 5


def test_the_fingerprint_tells_content_not_place(manifest: Path, tmp_path: Path):
    here = Utterances.read(manifest, "dev")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for entry in here.entries:
        (moved / entry.path.name).write_bytes(entry.path.read_bytes())
    lines = manifest.read_text().replace(str(here.entries[0].path.parent), str(moved))
    (tmp_path / "manifest.csv").write_text(lines)
    there = Utterances.read(tmp_path / "manifest.csv", "dev")
    assert there.fingerprint == here.fingerprint != Utterances.read(manifest, "test").fingerprint
    (moved / there.entries[0].path.name).write_bytes(there.entries[1].path.read_bytes())
    assert Utterances.read(tmp_path / "manifest.csv", "dev").fingerprint != here.fingerprint


@pytest.mark.parametrize(
    ("split", "labels", "words"),
    [
        ("training", None, r"Bad split 'training', expected one of \[train, dev, test\]"),
        ("dev", None, r"has no dev part, its splits are \[train\]"),
        ("train", ["anger"], r"Bad emotion of .* 'fear', expected one of \[anger\]"),
    ],
)
def test_what_a_manifest_has_not(manifest: Path, tmp_path: Path, split: str, labels: list[str] | None, words: str):
    lines = manifest.read_text().splitlines()
    kept = [line for line in lines if not re.search(",(dev|test),", line)]
    (tmp_path / "manifest.csv").write_text("\n".join(kept))
    with pytest.raises(InputError, match=words):
        Utterances.read(tmp_path / "manifest.csv", split, labels)


def test_clips_of_one_length(manifest: Path):
    part = Utterances.read(manifest, "dev")
    clips, lengths = part.batch([3, 1], network(8000, normalise=False))
    assert lengths is None
    sound = torch.from_numpy(audio.load(part.entries[1].path))
    torch.testing.assert_close(clips[1], torch.cat([sound, sound[:1600]]))


def test_clips_of_their_own_length(manifest: Path, monkeypatch: pytest.MonkeyPatch):
    part = Utterances.read(manifest, "dev")
    clips, lengths = part.batch(np.array([0, 2]), network(0))
    assert lengths is None, "all are equally long"
    assert clips.shape == (2, 6400)


def test_clips_too_short_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lengths, entries = {"a": 479, "b": 6400, "c": 477, "d": 480}, []
    for name, samples in lengths.items():
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.linspace(-0.1, 0.1, samples), 16_000)
        entries.append(Entry(name, path, "fear", "one", duration=round(samples / 16_000, 3)))  # of a: 0.03, too long
    part = Utterances(entries, EMOTIONS)
    part.check_lengths(network(0))
    monkeypatch.setattr(clips, "shortest_of", lambda _: 480)
    with pytest.raises(InputError) as error:
        part.check_lengths(network(0))
    why = "too short for the upstream ({} samples at 16 kHz, it takes at least 480)"
    assert str(error.value).splitlines() == [f"{tmp_path / n}.wav: {why.format(lengths[n])}" for n in ("a", "c")]
    with pytest.raises(InputError, match=r"a\.wav: too short for the upstream"):
        hear(network(0), part)
    part.check_lengths(network(480))
    with pytest.raises(InputError, match=r"^Bad training\.clip 479: the upstream takes at least 480 samples$"):
        part.check_lengths(network(479))


def test_padding_is_silence(manifest: Path, monkeypatch: pytest.MonkeyPatch):
    part = Utterances.read(manifest, "dev")
    whole = audio.load_utterance
    monkeypatch.setattr(audio, "load_utterance", lambda entry: whole(entry)[: 3000 if entry == part.entries[0] else -1])
    clips, lengths = part.batch([0, 1], network(0))
    assert lengths is not None
    assert lengths.tolist() == [3000, 6399]
    assert not clips[0, 3000:].any()
    assert clips[0, :3000].mean().abs() < 1e-6, "normalised without the padding"


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 10**6), min_size=1, max_size=60),
    batch=st.integers(1, 20),
    bucketed=st.booleans(),
    epoch=st.integers(1, 10**6),
)
def test_an_epoch_is_every_row_once_and_whole_batches(lengths: list[int], batch: int, bucketed: bool, epoch: int):
    samples = np.array(lengths) if bucketed else None
    batches = epoch_batches(len(lengths), batch, samples, 7, epoch)
    assert all(len(rows) == batch for rows in batches)
    counts = np.bincount(np.concatenate(batches), minlength=len(lengths))
    assert counts.min() >= 1
    assert counts.sum() == -(-len(lengths) // batch) * batch
    assert counts.max() - counts.min() <= 1
    for rows, again in zip(batches, epoch_batches(len(lengths), batch, samples, 7, epoch), strict=True):
        assert rows.tolist() == again.tolist()


@pytest.mark.parametrize("bucketed", [False, True])
def test_epochs_and_seeds_differ(bucketed: bool):
    samples = np.random.default_rng(0).integers(1000, 100_000, 64) if bucketed else None
    orders = [
        np.concatenate(epoch_batches(64, 8, samples, seed, epoch)).tolist() for seed in (0, 1) for epoch in (1, 2)
    ]
    assert len({tuple(order) for order in orders}) == 4


def test_buckets_spare_padding():
    samples = np.random.default_rng(0).integers(1000, 100_000, 320)
    plain, bucketed = (
        sum(len(rows) * samples[rows].max() for rows in epoch_batches(320, 16, lengths, 0, 1)) / samples.sum()
        for lengths in (None, samples)
    )
    assert plain > 1.5
    assert bucketed < 1.15
