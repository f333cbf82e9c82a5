"""``--dry-run``: what is foretold is what then happens, and nothing is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from gandistill import forecast
from gandistill.features import extract
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler
from gandistill.heads.bank import Bank
from tests.commands import run, settings, succeed
from tests.corpora.fabricate import fabricate_ravdess

BANK = settings("heads=[superb, attentive]", "seeds=2", "updates=4", "half_trained=2", "batch=8", "window=8")
GAN = settings(
    "architecture.kind=gan-att",
    "architecture.channels=[4,4,4,4,4]",
    f"architecture.critic_channels={[4] * 8}",
    "architecture.frames=16",
    "training.updates=2",
    "training.batch=8",
    "training.evaluate_heads=[superb]",
    "training.evaluate_ppc=2",
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, features in several shards, and a bank."""
    work = tmp_path_factory.mktemp("forecast")
    root = fabricate_ravdess(work / "RAVDESS", limit=1, seconds=0.4)
    succeed("prepare", "ravdess", root, "--protocol", "ravdess-dyads", "--out", work / "manifest.csv")
    succeed("extract", work / "manifest.csv", *settings("shard=50"), "--out", work / "features")
    succeed("bank", work / "features", *BANK, "--out", work / "bank")
    return work


def foretold(*words: object) -> dict[str, Any]:
    lines = succeed(*words, "--dry-run").out.splitlines()
    return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines)}


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def size(*folders: Path) -> int:
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*.safetensors"))


def test_an_extraction(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extract, "TIMED", 4)
    before, whole = files(work), FeatureSet.open(work / "features")
    words = ("extract", work / "manifest.csv", *settings("shard=50"), "--out")
    found = foretold(*words, tmp_path / "new")
    frames = int(whole.lengths.sum())
    assert (found["utterances"], found["bad_files"], found["dims"]) == (len(whole), 0, 64)
    assert (found["shards"], found["shards_there"], found["clips_timed"]) == (-(-len(whole) // 50), 0, 4)
    assert (found["frames"], found["bytes"]) == (frames, 2 * 64 * frames), "every clip is as long as another"
    assert found["seconds"] >= 0
    assert found["memory_bytes"] > 2**20
    there = foretold(*words, work / "features")
    assert there["shards_there"] == there["shards"]
    assert (there["frames"], there["bytes"], there["seconds"], there["clips_timed"]) == (0, 0, 0, 0)
    assert files(work) == before
    assert not files(tmp_path)


def test_an_extraction_that_was_stopped(work: Path, tmp_path: Path):
    part = tmp_path / "features"
    part.mkdir()
    (part / "frames-00001.safetensors").write_bytes((work / "features" / "frames-00001.safetensors").read_bytes())
    found = foretold("extract", work / "manifest.csv", *settings("shard=50"), "--out", part)
    assert found["shards_there"] == 1
    whole = FeatureSet.open(work / "features")
    assert found["frames"] == pytest.approx(int(whole.lengths.sum()) * (len(whole) - 50) / len(whole), abs=1)


def test_an_extraction_without_bad_files(work: Path, tmp_path: Path):
    root = fabricate_ravdess(tmp_path / "RAVDESS", actors=2, limit=1, seconds=0.1)
    succeed("prepare", "ravdess", root, "--out", tmp_path / "manifest.csv")
    sorted(root.rglob("*.wav"))[0].write_bytes(b"")
    words = ("extract", tmp_path / "manifest.csv", "--out", tmp_path / "features")
    refused = run(*words, "--dry-run")
    assert (refused.code, refused.out) == (2, "")
    assert "1 of 16 files cannot be used" in refused.err
    before = files(tmp_path)
    found = foretold(*words, "--skip-bad")
    assert (found["utterances"], found["bad_files"]) == (15, 1)
    assert files(tmp_path) == before, "not even the list of bad files"


def test_a_bank(work: Path, tmp_path: Path):
    found = foretold("bank", work / "features", *BANK, "--out", tmp_path / "bank")
    built = Bank.open(work / "bank")
    assert (found["heads"], found["trainings"], found["updates"]) == (len(built.heads), 4, 16)
    assert found["bytes"] == pytest.approx(size(work / "bank"), rel=0.1)
    assert found["utterances"] == len(FeatureSet.open(work / "features").training_part())
    assert found["seconds"] >= 0
    assert found["memory_bytes"] > 0
    assert not files(tmp_path)


def test_a_training_and_the_rest_of_it(work: Path, tmp_path: Path):
    inputs = settings(f"features={work / 'features'}", f"bank={work / 'bank'}")
    out = tmp_path / "gan"
    found = foretold("train", *inputs, *GAN, "--out", out)
    assert not files(tmp_path)
    succeed("train", *inputs, *GAN, "--out", out)
    assert (found["updates"], found["scorings"]) == (2, 1)
    assert found["bytes"] == pytest.approx(size(out / "generator", out / "checkpoints"), rel=0.1)
    weights = Sampler.open(out).generator.parameters()
    assert found["parameters"] == sum(parameter.numel() for parameter in weights)
    before = files(tmp_path)
    assert foretold("train", "--resume", *settings("training.updates=5"), "--out", out)["updates"] == 3
    assert files(tmp_path) == before


def test_a_closed_form(work: Path, tmp_path: Path):
    closed = settings(f"features={work / 'features'}", "architecture.kind=class-gaussian", "architecture.noise=8")
    found = foretold("train", *closed, "--out", tmp_path / "gaussian")
    assert not files(tmp_path)
    succeed("train", *closed, "--out", tmp_path / "gaussian")
    weights = tmp_path / "gaussian" / "generator" / "generator.safetensors"
    assert found["updates"] == 0
    assert found["bytes"] == 4 * found["parameters"] == pytest.approx(weights.stat().st_size, rel=0.1)


def test_what_could_not_be_done_is_refused_as_it_would_be(work: Path, tmp_path: Path):
    for words, why in (
        (("train", "--out", tmp_path / "gan"), "Training needs a feature set: --set features=DIR"),
        (("train", *GAN, "--out", tmp_path / "gan"), "Training needs a feature set and a bank"),
        (("bank", work / "nothing"), "No feature set at"),
        (("bank", work / "features", "--out", work / "features"), "holds a gandistill feature set"),
        (("extract", work / "manifest.csv", "--out", work / "bank"), "holds a gandistill bank"),
    ):
        refused = run(*words, "--dry-run")
        assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
        assert why in refused.err
    assert not files(tmp_path)


def test_updates_are_timed_after_the_first(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 0.5, 3.0, 11.0, 12.0])
    monkeypatch.setattr(forecast.time, "monotonic", lambda: next(clock))
    made = iter(range(100))
    assert forecast._seconds(made) == 6.0, "two updates until enough time has passed"
    assert next(made) == forecast.WARM_UP + 2
