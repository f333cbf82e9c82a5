"""Feature sets for tests, whose numbers are known by sight."""

from pathlib import Path

import torch

from gandistill import artifacts
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set

LABELS = ["angry", "happy", "sad"]
DIMS = 4


def write(out: Path, utterances: list[Utterance], labels: list[str] = LABELS, dims: int = DIMS) -> FeatureSet:
    config = artifacts.describe(KIND, {"command": "test"}, labels=labels, dims=dims, upstream={"name": "noise"})
    write_feature_set(out, utterances, config, "# Card\n")
    return FeatureSet.open(out)


def ramps(lengths: list[int], **fields) -> list[Utterance]:
    """Utterance i, frame t, dim d holds i * 100 + t + d / 8: exact in half floats, each frame known by sight."""
    dims = torch.arange(DIMS) / 8
    frames = [i * 100 + torch.arange(length)[:, None] + dims for i, length in enumerate(lengths)]
    return [Utterance(f"u{i}", LABELS[i % 3], f, **fields) for i, f in enumerate(frames)]
