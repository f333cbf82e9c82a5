"""Small feature sets of clips of one length, whose classes differ in one band."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill import artifacts
from gandistill.features.featureset import FeatureSet, Utterance, write_feature_set
from gandistill.trajectory.distillation import distil
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.teachers import teach

LABELS = ["neutral", "happy", "sad"]
MakeClips = Callable[..., FeatureSet]


def write_clips(
    folder: Path,
    each: dict[str, int] | None = None,
    frames: int = 16,
    dims: int = 8,
    soft: bool = False,
    seed: int = 0,
    lengths: tuple[int, ...] = (),
) -> FeatureSet:
    """``each`` clips a class of each split, class c raised in dim c; ``lengths``: of the first clips, if others."""
    draws = torch.Generator().manual_seed(seed)
    utterances, left = [], list(lengths)
    for split, count in (each or {"train": 6, "dev": 3, "test": 3}).items():
        for number, label in enumerate(LABELS):
            for i in range(count):
                clip = torch.randn(left.pop(0) if left else frames, dims, generator=draws)
                clip[:, number] += 2.0
                q = torch.full((len(LABELS),), 0.1)
                q[number] = 1 - 0.1 * (len(LABELS) - 1)
                name = f"{split}-{label}-{i}"
                utterances.append(Utterance(name, label, clip, f"s{i}", split=split, soft=q if soft else None))
    described = artifacts.describe("feature set", {"command": "test"}, labels=LABELS, dims=dims, upstream="test")
    write_feature_set(folder, utterances, described, "# Test\n")
    return FeatureSet.open(folder)


@pytest.fixture
def make_clips(tmp_path: Path) -> MakeClips:
    return lambda name="clips", **facts: write_clips(tmp_path / name, **facts)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """Six training clips of each of three classes, three for dev and test: 16 frames of 8 dims."""
    return write_clips(tmp_path_factory.mktemp("trajectory") / "clips")


@pytest.fixture(scope="session")
def configured(clips: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Settings with which a step takes milliseconds, some changed: ``configured(distil={"seed": 1})``."""
    folder = tmp_path_factory.mktemp("teachers")
    values: dict[str, Any] = {
        "features": str(clips.folder),
        "teachers": [str(folder / "cnn")],
        "teach": {"head": "cnn", "epochs": 4, "trajectories": 2, "batch": 6},
        "distil": {"ppc": 2, "steps": 6, "updates": 3, "ahead": 2, "latest_start": 2, "batch": 4, "keep_every": 3}
        | {"checkpoint_every": 2},
        "evaluate": {"students": ["cnn"], "seeds": 2, "epochs": 3},
    }

    def changed(**changes: Any) -> TrajectoryConfig:
        parts = {key: values[key] | change if isinstance(change, dict) else change for key, change in changes.items()}
        return TrajectoryConfig.build(values | parts, "test")

    teach(changed().teaching(), folder / "cnn")
    return changed


@pytest.fixture(scope="session")
def pool(configured: Any) -> list[str]:
    """Teachers of two architectures."""
    first = configured().teachers[0]
    second = first.with_name("cnn-attention")
    teach(configured(teach={"head": "cnn-attention"}).teaching(), second)
    return [str(first), str(second)]


@pytest.fixture(scope="session")
def distilled(configured: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short distillation."""
    out = tmp_path_factory.mktemp("distilled") / "run"
    distil(configured(), out)
    return out
