"""A small feature set: three classes of unequal size, four speakers, clips of unequal length; and its bank."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gandistill import artifacts
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from tests.heads.conftest import write_bank

LABELS = ["calm", "happy", "angry"]
SIZES = {"calm": 9, "happy": 5, "angry": 12}
DIMS = 3


def make_set(out: Path, sizes: dict[str, int] = SIZES, dev: int = 4, dims: int = DIMS) -> FeatureSet:
    generator = torch.Generator().manual_seed(5)
    utterances = []
    for number, label in enumerate(LABELS):
        for i in range(sizes[label] + dev):
            length = int(torch.randint(4, 12, (), generator=generator))
            frames = torch.randn(length, dims, generator=generator) + 3 * number
            part = "train" if i < sizes[label] else "dev"
            utterances.append(Utterance(f"{label}{i}", label, frames, f"s{i % 4}", f"session{i % 2}", part))
    facts = {"labels": LABELS, "dims": dims, "upstream": "toy", "licence": "CC0"}
    write_feature_set(out, utterances, artifacts.describe(KIND, {"command": "test"}, **facts), "# toy\n")
    return FeatureSet.open(out)


@pytest.fixture
def features(tmp_path: Path) -> FeatureSet:
    return make_set(tmp_path / "features")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return make_set(tmp_path_factory.mktemp("shared") / "features")


@pytest.fixture(scope="session")
def make() -> Callable[..., FeatureSet]:
    return make_set


@pytest.fixture(scope="session")
def bank(shared: FeatureSet) -> Path:
    return write_bank(shared)
