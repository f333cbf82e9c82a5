"""What Python users import: the same sets as the command line's, in memory."""

import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import gandistill
from gandistill import Bank, FeatureSet, Generator, Recogniser, artifacts, train_bank, train_recogniser
from gandistill.api import ROUND
from gandistill.errors import InputError
from tests.commands import run, settings
from tests.heads.conftest import write_features

QUICK = ("updates=4", "batch=4")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return write_features(tmp_path_factory.mktemp("api") / "features")


@pytest.fixture(scope="module")
def fitted(features: FeatureSet) -> Generator:
    return Generator.fit(features)


def test_the_shipped_generator_draws_what_the_command_draws(tmp_path: Path):
    generator = Generator.load()
    drawn = generator.sample(counts={"sad": 3, "angry": 2}, labels="soft", seed=4)
    assert (
        run("sample", "--counts", "sad=3,angry=2", "--labels", "soft", "--seed", 4, "--out", tmp_path / "s").code == 0
    )
    assert FeatureSet.open(tmp_path / "s").fingerprint == drawn.fingerprint
    drawn.save(tmp_path / "saved")
    assert FeatureSet.open(tmp_path / "saved").fingerprint == drawn.fingerprint
    assert drawn.class_counts == {"angry": 2, "happy": 0, "neutral": 0, "sad": 3}
    assert drawn[0]["soft"].sum() == pytest.approx(1)
    assert generator.facts["licence"] == "CC BY-NC-SA 4.0"
    assert repr(generator) == "<Generator RAVDESS: angry, happy, neutral, sad; 112 frames of 64 dims>"


def test_it_is_fitted_saved_and_loaded(features: FeatureSet, fitted: Generator, tmp_path: Path):
    settings = ["--set", "architecture.kind=class-gaussian", "--set", f"features={features.folder}"]
    assert run("train", *settings, "--out", tmp_path / "run").code == 0
    fitted.save(tmp_path / "generator")
    expected = fitted.sample(5).frames(7)
    for folder in (tmp_path / "run", str(tmp_path / "generator")):
        assert torch.equal(Generator.load(folder).sample(5).frames(7), expected)
    in_memory = Generator.fit(features.held())
    assert torch.equal(in_memory.sample(5).frames(7), expected)


def test_a_bank_is_trained_and_gives_soft_labels(features: FeatureSet, tmp_path: Path):
    """The same as the commands': ``bank``, and ``train --set bank=DIR``."""
    small = ("heads=[superb,attentive]", "seeds=1", "updates=6", "half_trained=2", "batch=4", "window=8")
    assert run("bank", features.folder, *settings(*small), "--out", tmp_path / "bank").code == 0
    bank = train_bank(features, settings=small)
    bank.save(tmp_path / "saved")
    saved, written = (artifacts.fingerprint(tmp_path / name) for name in ("saved", "bank"))
    assert saved == written
    drawn = Generator.fit(features, bank).sample(5, labels="soft")
    assert drawn.soft is not None
    taught = settings("architecture.kind=class-gaussian", f"features={features.folder}", f"bank={tmp_path / 'bank'}")
    assert run("train", *taught, "--out", tmp_path / "run").code == 0
    assert np.array_equal(Generator.load(tmp_path / "run").sample(5, labels="soft").soft, drawn.soft)
    Bank.load(tmp_path / "saved").save(tmp_path / "again")
    assert artifacts.fingerprint(tmp_path / "again") == saved
    with pytest.raises(InputError, match="but the bank expects"):
        Generator.fit(write_features(tmp_path / "others", dims=4), bank)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "How many points"),
        ({"ppc": 0}, "Bad --ppc 0"),
        ({"ppc": 2, "total": 4}, "Choose one of"),
        ({"counts": {"joy": 2}}, "Bad class 'joy'"),
        ({"ppc": 2, "labels": "soft"}, "no bank"),
        ({"ppc": 2, "labels": "softly"}, "Bad --labels"),
        ({"ppc": 2, "draws": "random"}, "Bad --draws"),
        ({"ppc": 2, "seed": -1}, "Bad seed -1"),
    ],
)
def test_what_cannot_be_drawn(options: dict, words: str, fitted: Generator):
    with pytest.raises(InputError, match=words):
        fitted.sample(**options)


def test_a_stream_has_the_classes_it_is_told(fitted: Generator):
    drawn = list(islice(fitted.stream({"sad": 3, "neutral": 1}), 4 * ROUND))
    counts = Counter(fitted.labels[item["target"]] for item in drawn)
    assert counts.keys() == {"sad", "neutral"}
    assert counts["sad"] / len(drawn) == pytest.approx(0.75, abs=0.1)
    assert len({item["id"] for item in drawn}) == len({item["frames"].sum().item() for item in drawn}) == len(drawn)
    again = list(islice(fitted.stream({"sad": 3, "neutral": 1}), 20))
    assert all(torch.equal(item["frames"], drawn[i]["frames"]) for i, item in enumerate(again))


def test_workers_of_a_stream_draw_different_samples(fitted: Generator):
    loader = DataLoader(fitted.stream(), batch_size=8, collate_fn=FeatureSet.collate, num_workers=2)
    batches = list(islice(loader, 6))
    sums = {frames.sum().item() for batch in batches for frames in batch["frames"]}
    assert len(sums) == 48


@pytest.mark.parametrize("weights", [{"joy": 1}, {"sad": -1, "happy": 2}, {"sad": 0}, {}], ids=str)
def test_a_stream_of_nothing(weights: dict[str, float], fitted: Generator):
    with pytest.raises(InputError, match=r"Bad class 'joy' in weights|Bad weights"):
        fitted.stream(weights)


def test_a_set_in_memory_trains_a_recogniser(fitted: Generator, features: FeatureSet):
    recogniser = train_recogniser(fitted.sample(6), settings=QUICK)
    assert isinstance(recogniser, Recogniser)
    assert recogniser.evaluate(features, "train")["uar"] > 0.5


def test_names_are_found_late_and_nothing_heavy_before():
    """`import gandistill` alone loads no torch."""
    code = (
        "import sys, gandistill; assert 'torch' not in sys.modules; gandistill.Generator; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"FeatureSet", "Generator", "Recogniser", "train_recogniser"} <= {*gandistill.__all__}
    with pytest.raises(AttributeError, match="no attribute 'Sampler'"):
        gandistill.Sampler  # noqa: B018
