"""Small feature sets whose classes differ in their mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gandistill import artifacts
from gandistill.features.featureset import FeatureSet, Utterance, write_feature_set
from gandistill.heads.bank import BankConfig, build_bank

LABELS = ["neutral", "happy", "sad"]
DIMS = 8
MakeFeatures = Callable[..., FeatureSet]


def write_features(
    folder: Path,
    each: int = 8,
    labels: list[str] = LABELS,
    present: list[str] | None = None,
    dims: int = DIMS,
    soft: bool = False,
    split: str = "train",
    seed: int = 0,
    **facts: Any,
) -> FeatureSet:
    """A feature set with ``each`` utterances a class, class c's features raised in dimension c."""
    rng = np.random.default_rng(seed)
    utterances = []
    for label in present or labels:
        number = labels.index(label)
        for i in range(each):
            frames = torch.from_numpy(rng.normal(size=(int(rng.integers(5, 40)), dims))).float()
            frames[:, number] += 2.0
            q = torch.full((len(labels),), 0.1)
            q[number] = 1 - 0.1 * (len(labels) - 1)
            utterances.append(Utterance(f"{label}-{i}", label, frames, split=split, soft=q if soft else None))
    described = artifacts.describe(
        "feature set", {"command": "test"}, labels=labels, dims=dims, upstream="test", **facts
    )
    write_feature_set(folder, utterances, described, "# Test\n")
    return FeatureSet.open(folder)


def write_bank(features: FeatureSet) -> Path:
    """A bank beside the features: heads of two kinds, one of which sees time."""
    folder = features.folder.with_name("bank")
    config = BankConfig(heads=("superb", "attentive"), seeds=1, updates=6, half_trained=2, batch=4, window=8)
    build_bank(features, config, folder, {})
    return folder


@pytest.fixture
def make_features(tmp_path: Path) -> MakeFeatures:
    return lambda name="features", **facts: write_features(tmp_path / name, **facts)


@pytest.fixture(scope="session")
def shared_features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return write_features(tmp_path_factory.mktemp("shared") / "features")
