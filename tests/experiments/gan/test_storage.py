"""Every figure of the table of bytes, computed again another way."""

import io
import math
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from gandistill import artifacts
from gandistill.controls.select import select
from gandistill.corpora.audio import load
from gandistill.corpora.faults import AudioError
from gandistill.corpora.manifest import Entry, read_manifest, write_manifest
from gandistill.errors import InputError
from gandistill.experiments.gan.storage import audio_bytes, feature_bytes, generator_bytes, opus_bytes, storage_rows
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.gan.compression import compress
from gandistill.gan.generator import Architecture, Generator
from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train
from gandistill.heads.bank import CONVERGED, Bank, frozen
from gandistill.heads.head import Head

LABELS, DIMS = ["calm", "sad"], 6
CLIPS = [  # id, class, split, samples at 16 kHz, frames
    ("a", "calm", "train", 8_000, 10),
    ("b", "sad", "train", 12_345, 7),
    ("c", "sad", "train", 16_000, 12),
    ("d", "calm", "dev", 9_000, 9),
    ("e", "sad", "test", 10_000, 8),
]
WAV = 3 * 44 + 2 * (8_000 + 12_345 + 16_000)
"""Of the training part: a header each, two bytes a sample."""
VALUES = (10 + 7 + 12) * DIMS


def total(folder: Path) -> int:
    return sum(len((Path(where) / name).read_bytes()) for where, _, names in os.walk(folder) for name in names)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, entries = tmp_path_factory.mktemp("corpus"), []
    for name, label, split, samples, _ in CLIPS:
        noise = np.random.default_rng(samples).normal(0, 0.05, samples)
        soundfile.write(folder / f"{name}.wav", noise, 16_000, "PCM_16")
        entries.append(Entry(name, folder / f"{name}.wav", label, "s", split=split, duration=samples / 16_000))
    write_manifest(folder / "manifest.csv", entries)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    draw, folder = torch.Generator().manual_seed(0), tmp_path_factory.mktemp("features") / "features"
    clips = [
        Utterance(name, label, torch.randn(frames, DIMS, generator=draw), "s", "", split)
        for name, label, split, _, frames in CLIPS
    ]
    write_feature_set(folder, clips, artifacts.describe(KIND, {}, labels=LABELS, dims=DIMS), "# Card\n")
    return FeatureSet.open(folder)


@pytest.fixture(scope="module")
def bank() -> Bank:
    torch.manual_seed(0)
    return Bank([frozen(Head("superb", LABELS, DIMS, {"seed": 0, "stage": CONVERGED, "train_uar": 0.5}))])


def save_generator(folder: Path, bank: Bank, counts: dict[str, int]) -> Path:
    architecture = Architecture(kind="gan-att", frames=12, noise=4, channels=(6, 6, 4), critic_channels=(4,) * 8)
    facts: dict[str, Any] = {"architecture": architecture.to_dict(), "trained": {}, "labels": LABELS, "dims": DIMS}
    generator = Generator(architecture, len(LABELS), DIMS).eval()
    sampler = Sampler(generator, torch.zeros(DIMS), torch.ones(DIMS), bank, facts | {"class_counts": counts})
    sampler.save(folder, {}, "# Card\n")
    return folder


@pytest.fixture(scope="module")
def generator(bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_generator(tmp_path_factory.mktemp("generator") / "g", bank, {"calm": 1, "sad": 2})


@pytest.fixture(scope="module")
def rows(
    manifest: Path, features: FeatureSet, generator: Path, bank: Bank, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    work = tmp_path_factory.mktemp("work") / "made"
    found = storage_rows(manifest, features, {"GAN-ATT": generator}, work, bank)
    assert list(work.iterdir()) == [], "nothing is kept"
    return {row["what"]: row for row in found}


def test_the_rows(rows: dict[str, dict[str, Any]], manifest: Path, features: FeatureSet):
    audio = audio_bytes(read_manifest(manifest)[:3])
    assert [row["bytes"] for row in rows.values()][:2] == [WAV, audio.opus]
    rate = audio.opus * 8 / (8_000 + 12_345 + 16_000) * 16
    assert list(rows) == [
        "audio, WAV",
        f"audio, Opus at 16 kbit/s (measured {rate:.1f})",
        "features, float32",
        "features, float16",
        "features, time-pooled, float16",
        "features, float32, soft labels",
        "features, float16, soft labels",
        "features, time-pooled, float16, soft labels",
        *(f"GAN-ATT, {p}{bank}" for p in ("float32", "float16", "int8") for bank in ("", ", without bank")),
    ]


def test_the_percentages(rows: dict[str, dict[str, Any]]):
    """Table 1 of the paper: 0.1 GB are 94.44 % less than 1.8 GB."""
    references = list(rows.values())[:3]
    for row in rows.values():
        for name, reference in zip(("WAV", "Opus", "features"), references, strict=True):
            assert row[f"smaller than {name}"] == pytest.approx(
                (reference["bytes"] - row["bytes"]) / reference["bytes"]
            )
    assert [references[i][f"smaller than {name}"] for i, name in enumerate(("WAV", "Opus", "features"))] == [0, 0, 0]


def test_wav_is_what_a_wav_file_takes(manifest: Path):
    for entry in read_manifest(manifest):
        file = io.BytesIO()
        soundfile.write(file, load(entry.path), 16_000, "PCM_16", format="WAV")
        found = audio_bytes([entry])
        assert found.wav == len(file.getvalue()) == entry.path.stat().st_size
        assert found.seconds == pytest.approx(entry.duration, abs=5e-4), "a manifest rounds to milliseconds"


def test_other_sample_rates_and_channels_count_as_16_khz_mono(tmp_path: Path):
    noise = np.random.default_rng(0).normal(0, 0.05, (48_000, 2))
    soundfile.write(tmp_path / "a.flac", noise, 48_000)
    found = audio_bytes([Entry("a", tmp_path / "a.flac", "sad", "s")])
    assert (found.seconds, found.wav) == (1.0, 44 + 2 * 16_000)


def test_opus_is_a_file_that_decodes(tmp_path: Path):
    samples = np.random.default_rng(0).normal(0, 0.05, 16_000 * 3).astype(np.float32)
    soundfile.write(tmp_path / "a.opus", samples, 16_000, "OPUS", format="OGG", compression_level=0.96)
    assert opus_bytes(samples) == (tmp_path / "a.opus").stat().st_size == opus_bytes(samples)
    decoded, rate = soundfile.read(tmp_path / "a.opus")
    assert (len(decoded), rate) == (len(samples), 16_000)


def test_opus_aims_at_16_kilobits_a_second():
    """A long clip, of which the container is a small part: within a quarter of the aim, and far from the default."""
    voice = np.random.default_rng(0).normal(0, 0.05, 16_000 * 20)
    voice *= 1 + np.sin(np.arange(len(voice)) * 2 * np.pi * 4 / 16_000)  # four syllables a second
    assert 12_000 < opus_bytes(voice.astype(np.float32)) * 8 / 20 < 20_000


def test_features_by_hand(features: FeatureSet, tmp_path: Path):
    sizes = feature_bytes(features, tmp_path)
    written = select(features, "random", {"calm": 1, "sad": 2}, 0, tmp_path / "random")
    assert sizes["features, float16"] == total(written.folder)
    pooled = select(features, "pooled", {"calm": 1, "sad": 2}, 0, tmp_path / "pooled")
    assert sizes["features, time-pooled, float16"] == total(pooled.folder)
    assert list(pooled.lengths) == [1, 1, 1]
    torch.testing.assert_close(pooled.means(), written.means(), atol=1e-3, rtol=1e-3)
    shard = written.folder / "frames-00000.safetensors"
    header = 8 + int.from_bytes(shard.read_bytes()[:8], "little")
    assert shard.stat().st_size == header + 2 * VALUES
    wide = {"frames": artifacts.load_tensors(shard)["frames"].float()}
    artifacts.save_tensors(shard, wide)
    assert sizes["features, float32"] == pytest.approx(total(written.folder), abs=8), "the header is padded to 8"


def test_soft_labels_take_the_bytes_of_their_columns(features: FeatureSet, bank: Bank, tmp_path: Path):
    sizes = feature_bytes(features, tmp_path / "work", bank)
    for method, form in (("random", "float16"), ("pooled", "time-pooled, float16")):
        hard = select(features, method, {"calm": 1, "sad": 2}, 0, tmp_path / method)
        soft = select(features, method, {"calm": 1, "sad": 2}, 0, tmp_path / f"{method}-soft", bank=bank)
        columns = ["q_calm", "q_sad"]
        text = [",".join(row.split(",")[-2:]) for row in (soft.folder / "index.csv").read_text().splitlines()]
        assert text[0] == ",".join(columns)
        index = sum(len(trials) + 1 for trials in text)  # and a comma before them
        assert (soft.folder / "index.csv").stat().st_size - (hard.folder / "index.csv").stat().st_size == index
        assert sizes[f"features, {form}, soft labels"] - sizes[f"features, {form}"] >= index
        assert sizes[f"features, {form}, soft labels"] == total(soft.folder)
    assert sizes["features, float32, soft labels"] - sizes["features, float16, soft labels"] == 2 * VALUES


def test_generators_by_hand(generator: Path, tmp_path: Path):
    sizes = generator_bytes(generator, tmp_path / "work")
    for precision in ("float32", "float16", "int8"):
        folder = tmp_path / precision
        if precision == "float32":
            folder = generator
        else:
            compress(generator, precision, folder)
        assert sizes[precision] == total(folder)
        bank = (folder / "bank.safetensors").stat().st_size
        assert sizes[f"{precision}, without bank"] == total(folder) - bank
        assert bank > 0
    whole = [sizes[precision] for precision in ("float32", "float16", "int8")]
    assert all(larger > smaller for larger, smaller in pairwise(whole))


def test_a_closed_form_without_bank_has_no_rows_without_it(features: FeatureSet, tmp_path: Path):
    values = {"features": str(features.folder), "architecture": {"kind": "class-gaussian", "frames": 9, "noise": 1}}
    train(GanConfig.build(values, "test"), tmp_path / "run")
    sizes = generator_bytes(tmp_path / "run", tmp_path / "work")
    assert list(sizes) == ["float32", "float16", "int8"]
    assert sizes["float32"] == total(tmp_path / "run" / "generator")


def test_a_generator_inside_a_run_folder(generator: Path, bank: Bank, tmp_path: Path):
    inside = save_generator(tmp_path / "run" / "generator", bank, {"calm": 1, "sad": 2})
    assert generator_bytes(tmp_path / "run", tmp_path / "work")["float32"] == total(inside)


def test_only_the_training_part_counts(manifest: Path, features: FeatureSet, tmp_path: Path):
    rows = storage_rows(manifest, features.training_part(), {}, tmp_path)
    assert rows[0]["bytes"] == WAV
    again = storage_rows(manifest, features, {}, tmp_path)
    assert [row["bytes"] for row in again] == [row["bytes"] for row in rows]
    assert all(math.isfinite(row["smaller than Opus"]) for row in rows)


def test_what_does_not_belong_together(
    manifest: Path, features: FeatureSet, generator: Path, bank: Bank, tmp_path: Path
):
    other = save_generator(tmp_path / "other", bank, {"calm": 2, "sad": 2})
    with pytest.raises(InputError, match=r"other replaces utterances .* of 6 dims, but the training part of"):
        storage_rows(manifest, features, {"a": generator, "b": other}, tmp_path / "work")
    compress(generator, "int8", tmp_path / "small")
    with pytest.raises(InputError, match="small is compressed already: weigh the float32 generator"):
        storage_rows(manifest, features, {"a": tmp_path / "small"}, tmp_path / "work")
    entries = read_manifest(manifest)
    write_manifest(tmp_path / "manifest.csv", entries[1:])
    with pytest.raises(InputError, match="lacks 'a', which is in the training part"):
        storage_rows(tmp_path / "manifest.csv", features, {}, tmp_path / "work")
    with pytest.raises(AudioError, match=r"nothing\.wav: no such file"):
        audio_bytes([Entry("x", tmp_path / "nothing.wav", "sad", "s")])
    assert not (tmp_path / "work").exists()
