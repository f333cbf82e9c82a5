"""A tiny random wav2vec 2.0, a corpus whose emotions differ in pitch, and a network trained on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.corpora.manifest import read_manifest
from gandistill.corpora.prepare import prepare
from gandistill.run import METRICS
from gandistill.selfdistill.backbone import backbone_of, load_upstream
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.model import Network, save_network
from gandistill.selfdistill.random_upstream import make_upstream
from gandistill.selfdistill.settings import SelfDistilConfig
from gandistill.selfdistill.training import train
from tests.corpora.fabricate import fabricate_nemo

LAYERS = 4
TINY: dict[str, Any] = {
    "model_type": "wav2vec2",
    "hidden_size": 16,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8, 8],
    "conv_stride": [5, 8, 8],
    "conv_kernel": [10, 16, 8],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
LAYERWISE: dict[str, Any] = {
    "network": {"exits": [], "depth": 2},
    "layerwise": {"layers": [1, 3, 4], "epochs": 2},
}
UPDATES = 3
"""Of an epoch: 29 utterances in batches of 10."""


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random wav2vec 2.0 of four layers of 16 dims, whose group norm goes over time."""
    folder = tmp_path_factory.mktemp("upstream") / "tiny"
    make_upstream(folder, TINY, seed=0)
    return folder


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nEMO's layout: nine speakers say one sentence in six emotions, a tone each; speaker-independent, 0.4 s."""
    folder = tmp_path_factory.mktemp("corpus")
    prepare("nemo", fabricate_nemo(folder / "data", 1, 0.4), folder / "manifest.csv", protocol="speaker-independent")
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def make_network(upstream: Path, manifest: Path) -> Callable[..., Network]:
    """Untrained networks for the manifest's emotions, whose answers differ from clip to clip and exit to exit."""

    def made(exits: dict[int, str | None] | None = None, clip: int = 0, **facts: Any) -> Network:
        model, normalise = load_upstream(str(upstream))
        exits = exits or {1: "lstm", 2: "cnn", 4: None}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = Network(backbone_of(model), exits, labels_of(manifest), normalise, clip, facts)
        heard = Utterances.read(manifest, "test", network.labels)
        with torch.no_grad():
            for depth, answer in network.eval().answers(*heard.batch(range(len(heard)), network)):
                classify = network.exits[str(depth)].get_submodule("classify")
                scale = 1 / answer.logits.std(0)
                classify.load_state_dict(
                    {
                        "weight": classify.weight * scale[:, None],
                        "bias": (classify.bias - answer.logits.mean(0)) * scale,
                    }
                )
        return network

    return made


@pytest.fixture
def network(make_network: Callable[..., Network], tmp_path: Path) -> Path:
    """Folder of one with exits behind the layers 1, 2 and 4."""
    save_network(tmp_path / "network", make_network(), {"command": "test"})
    return tmp_path / "network"


def labels_of(manifest: Path) -> list[str]:
    return sorted({entry.emotion for entry in read_manifest(manifest)})


@pytest.fixture(scope="session")
def configured(upstream: Path, manifest: Path) -> Any:
    """Settings with which an epoch takes a moment, some changed: ``configured(training={"seed": 1})``."""
    values: dict[str, Any] = {
        "manifest": str(manifest),
        "network": {"upstream": str(upstream), "exits": [1, 2], "block": "gru"},
        "training": {"epochs": 2, "batch": 10, "learning_rate": 1e-3, "clip": 6400},
    }

    def changed(**changes: Any) -> SelfDistilConfig:
        parts = {
            key: values.get(key, {}) | change if isinstance(change, dict) else change for key, change in changes.items()
        }
        return SelfDistilConfig.build(values | parts, "test")

    return changed


@pytest.fixture(scope="session")
def trained(configured: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short training; its folder ``network`` answers behind layers 1, 2 and 4."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train(configured(), out)
    return out


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
