"""Speakers whose utterances differ by who speaks and by class, in eight dims."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gandistill import artifacts
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train

LABELS = ["angry", "happy", "sad"]
DIMS = 8


def write_speakers(
    folder: Path,
    train: int = 8,
    test: int = 8,
    each: int = 4,
    seed: int = 0,
    corpus: str = "ours",
    spread: float = 1.0,
    gendered: float = 0.0,
    licence: str = "CC0 1.0",
) -> FeatureSet:
    """``each`` utterances of every class by every speaker, who has an offset and moves every class by a little.

    Speakers of even numbers lie ``gendered`` further in the last dim.
    """
    rng, utterances = np.random.default_rng(seed), []
    for n in range(train + test):
        offset = spread * rng.normal(size=DIMS) + gendered * (n % 2 == 0) * np.eye(DIMS)[-1]
        for c, label in enumerate(LABELS):
            own = offset + 0.3 * rng.normal(size=DIMS) + 2 * np.eye(DIMS)[c]
            for i in range(each):
                frames = torch.from_numpy(own + rng.normal(size=DIMS) + 0.5 * rng.normal(size=(6, DIMS))).float()
                split = "train" if n < train else "test"
                utterances.append(Utterance(f"{corpus}{n}-{label}-{i}", label, frames, f"{corpus}{n}", split=split))
    facts = {"labels": LABELS, "dims": DIMS, "upstream": {"name": "noise"}, "corpus": corpus, "licence": licence}
    write_feature_set(folder, utterances, artifacts.describe(KIND, {"command": "test"}, **facts), "# Test\n")
    return FeatureSet.open(folder)


def genders_of(features: FeatureSet) -> dict[str, str]:
    """Of speakers that ``write_speakers`` wrote: named by a corpus of letters and their number."""
    names = features.index["speaker"].unique()
    return {name: "male" if int(name.lstrip("abcdefghijklmnopqrstuvwxyz")) % 2 else "female" for name in names}


def train_private(features: FeatureSet, public: FeatureSet, out: Path, epsilon: float = 100.0) -> None:
    """A class-Gaussian with a guarantee; by the epsilon, one that still tells something."""
    settings = {"features": features.folder, "architecture": {"kind": "class-gaussian", "frames": 6, "noise": 4}}
    privacy = {"epsilon": epsilon, "public": public.folder}
    train(GanConfig.model_validate(settings | {"privacy": privacy}), out)


@pytest.fixture(scope="session")
def private(speakers: FeatureSet, public: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a generator with a guarantee."""
    out = tmp_path_factory.mktemp("private") / "run"
    train_private(speakers, public, out)
    return out
