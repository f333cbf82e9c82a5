"""A tiny feature set, its bank, and settings with which a GAN takes an update in milliseconds."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gandistill import artifacts
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.gan import training
from gandistill.gan.flow import Flow, cosines
from gandistill.gan.generator import Architecture
from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train
from gandistill.heads.bank import BankConfig, build_bank
from gandistill.numerics import seeded
from gandistill.run import CHECKPOINTS, METRICS, STATE

LABELS = ["neutral", "happy", "sad"]
COUNTS = {"neutral": 9, "happy": 4, "sad": 6}
DIMS = 6
BANK = BankConfig(heads=("superb", "attentive"), seeds=1, updates=6, half_trained=2, batch=4, window=8)
TINY = {
    "architecture": {"kind": "gan-att", "frames": 12, "noise": 4, "channels": [6, 6, 4], "critic_channels": [4] * 8},
    "training": {
        "updates": 6,
        "batch": 8,
        "evaluate_every": 3,
        "checkpoint_every": 2,
        "log_every": 1,
        "penalty_every": 1,
        "evaluate_seeds": 1,
    }
    | {"evaluate_heads": ["superb"], "evaluate_ppc": 4},
}
KINDS = ("gan-cnn", "gan-att", "gan-time")
FLOW = {"kind": "flow", "frames": 12, "noise": 4, "channels": (8, 8, 8)}


def small(kind: str, **sizes: object) -> Architecture:
    tiny = {"kind": kind, "frames": 20, "noise": 6, "channels": [8, 8, 8], "critic_channels": [4] * 8}
    return Architecture.build(tiny | sizes, "test")


def modules(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def write_features(
    folder: Path,
    labels: list[str] = LABELS,
    counts: dict[str, int] = COUNTS,
    splits: tuple[str, ...] = ("train", "dev"),
    dims: int = DIMS,
    scale: float = 1.0,
) -> FeatureSet:
    """Clips of 7 to 19 frames, class c's features raised in dimension c; ``counts`` of each class in every split."""
    rng = np.random.default_rng(0)
    utterances = []
    for split in splits:
        for label in labels:
            for i in range(counts[label]):
                frames = torch.from_numpy(rng.normal(3.0, 2.0, (int(rng.integers(7, 20)), dims))).float()
                frames[:, labels.index(label)] += 4.0
                utterances.append(
                    Utterance(f"{split}-{label}-{i}", label, frames * scale, f"speaker-{split}", "", split)
                )
    facts = {"corpus": "test corpus", "licence": "CC0-1.0", "upstream": {"name": "test"}, "frame_rate": 50.0}
    write_feature_set(folder, utterances, artifacts.describe(KIND, {}, labels=labels, dims=dims, **facts), "# Test\n")
    return FeatureSet.open(folder)


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return write_features(tmp_path_factory.mktemp("gan") / "features")


@pytest.fixture(scope="session")
def bank(features: FeatureSet) -> Path:
    folder = features.folder.with_name("bank")
    build_bank(features, BANK, folder, {})
    return folder


@pytest.fixture(scope="session")
def configured(features: FeatureSet, bank: Path) -> Any:
    """Tiny settings with some changed: ``configured(training={"seed": 1})``."""

    def changed(**changes: Any) -> GanConfig:
        values: dict[str, Any] = {"features": str(features.folder), "bank": str(bank)} | TINY
        for key, change in changes.items():
            values[key] = values.get(key, {}) | change if isinstance(change, dict) else change
        return GanConfig.build(values, "test")

    return changed


@pytest.fixture(scope="session")
def trained(configured: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short training."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train(configured(), out)
    return out


@pytest.fixture(scope="session")
def sampler(trained: Path) -> Sampler:
    return Sampler.open(trained)


@pytest.fixture(scope="session")
def closed_form(configured: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a class-Gaussian, with no bank."""
    out = tmp_path_factory.mktemp("closed") / "run"
    train(configured(bank=None, architecture={"kind": "class-gaussian"}), out)
    return out


@pytest.fixture(scope="session")
def make_features() -> Any:
    return write_features


def content(run: Path) -> dict[str, bytes]:
    """Every file that a training leaves behind, but the config, which says where its inputs lie."""
    files = (run / METRICS, last(run) / STATE, last(run) / artifacts.CONFIG, *sorted((run / "generator").iterdir()))
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def last(run: Path) -> Path:
    """The newest checkpoint."""
    return max((run / CHECKPOINTS).iterdir())


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / METRICS).read_text().splitlines()]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``interrupt(n)``: Ctrl-C comes during update n."""

    def after(update: int) -> None:
        made, whole = [0], training.one_update

        def counted(gan: Any, number: int) -> dict[str, float]:
            made[0] = number
            return whole(gan, number)

        @contextmanager
        def stop_asked() -> Iterator[Callable[[], bool]]:
            yield lambda: made[0] >= update

        monkeypatch.setattr(training, "one_update", counted)
        monkeypatch.setattr(training, "stop_asked", stop_asked)

    return after


@pytest.fixture
def resumed(interrupt: Any, tmp_path: Path) -> Callable[[GanConfig], Path]:
    """``resumed(config)``: a run that was stopped in update 3 and gone on with, seen to equal one that never was."""

    def run(config: GanConfig) -> Path:
        train(config, tmp_path / "whole")
        interrupt(3)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run")
        interrupt(100)
        train(config, tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(tmp_path / "whole")
        return tmp_path / "run"

    return run


@pytest.fixture
def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised clips [60, 12, 6] with class numbers, slow and with a mean of their own class."""
    generator, targets = torch.Generator().manual_seed(0), torch.arange(60) % len(LABELS)
    slow = torch.randn(60, 3, DIMS, generator=generator)
    slow[:, 0, 0] += targets
    return torch.einsum("jt,njd->ntd", cosines(3, 12, slow), slow), targets


@pytest.fixture
def flow(clips: tuple[torch.Tensor, torch.Tensor]) -> Flow:
    with seeded(0):
        made = Flow(Architecture.build(FLOW, "test"), len(LABELS), DIMS)
    made.fill(*clips)
    return made
