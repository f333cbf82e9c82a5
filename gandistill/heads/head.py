"""A head: a downstream model with the labels it knows and the scale of the features it expects.

Shapes: N utterances, B batch, T frames, D feature dims, C classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gandistill import artifacts
from gandistill.errors import InputError, choices
from gandistill.features.featureset import FeatureSet
from gandistill.heads.sequence import Attentive, CNNAttention
from gandistill.heads.spectrogram import CNN
from gandistill.heads.superb import Superb

KIND = "head"
TENSORS = "head.safetensors"
Model = Superb | Attentive | CNNAttention | CNN
MODELS: dict[str, type[Model]] = {
    "superb": Superb,
    "attentive": Attentive,
    "cnn-attention": CNNAttention,
    "cnn": CNN,
}
"""Every kind of head. A model's ``sees`` says what of an utterance reaches it: its mean, time, or a spectrogram."""


class Head(nn.Module):
    """A model of one kind around which features are brought to mean 0 and deviation 1, dimension by dimension.

    ``mean`` and ``deviation`` [D] are fixed buffers, 0 and 1 until training sets them. ``trained`` says how the weights
    came to be, as plain JSON values. Raises InputError if there is no such kind.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, kind: str, labels: list[str], dims: int, trained: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.kind, self.labels, self.dims, self.trained = kind, labels, dims, trained or {}
        self.model = model_of(kind)(dims, len(labels))
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("deviation", torch.ones(dims))

    @property
    def sees(self) -> str:
        return sees(self.kind)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]; what lies behind an utterance's end takes no part."""
        return self.model((frames - self.mean) / self.deviation, lengths)


def model_of(kind: str) -> type[Model]:
    """The model of a kind of head. Raises InputError naming the kinds."""
    if kind not in MODELS:
        raise choices("head", kind, list(MODELS))
    return MODELS[kind]


def sees(kind: str) -> str:
    """What of an utterance reaches this kind of head: ``mean``, ``time`` or ``spectrogram``."""
    return model_of(kind).sees


def catalogue(dims: int, classes: int) -> dict[str, list[dict[str, Any]]]:
    """Every kind of head for D ``dims`` and C ``classes``: its name, what it sees, its number of parameters."""
    heads = []
    for kind, model in MODELS.items():
        with torch.device("meta"):
            parameters = sum(weights.numel() for weights in model(dims, classes).parameters())
        heads.append({"name": kind, "sees": sees(kind), "parameters": parameters})
    return {"heads": heads}


def check_match(what: str, labels: list[str], dims: int, features: FeatureSet) -> None:
    """Raise InputError unless the features have these labels, in this order, and these dims."""
    if features.dims != dims:
        raise InputError(f"{features.folder} has {features.dims} dims, but {what} expects {dims}")
    if features.labels != labels:
        given, expected = ", ".join(features.labels), ", ".join(labels)
        raise InputError(f"{features.folder} has labels [{given}], but {what} expects [{expected}]")


def pooled(features: FeatureSet) -> tuple[Tensor, Tensor]:
    """The set as heads that see means need it: each utterance its own mean, frames [N, 1, D] and lengths [N]."""
    return features.means().unsqueeze(1), torch.ones(len(features), dtype=torch.int64)


@torch.no_grad()
def posteriors(head: Head, features: FeatureSet, batch: int = 64) -> Tensor:
    """Class probabilities [N, C] of whole utterances, in the order of the set.

    Utterances of like length are batched together; what an utterance is batched with changes nothing beyond rounding.
    Raises InputError if labels or dims differ from the head's.
    """
    check_match(f"this {head.kind} head", head.labels, head.dims, features)
    training = head.training
    head.eval()
    device = head.mean.device
    order = np.argsort(features.lengths, kind="stable")
    found = torch.empty(len(features), len(head.labels))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        frames, lengths = features.padded(rows)
        found[torch.from_numpy(rows)] = head(frames.to(device), lengths.to(device)).softmax(-1).cpu()
    head.train(training)
    return found


def save_head(out: Path, head: Head, made_by: dict[str, Any], **facts: Any) -> None:
    """Write a head as an artifact; ``facts`` join its config. Raises InputError if ``out`` holds something else."""
    parameters = sum(weights.numel() for weights in head.model.parameters())
    with artifacts.new_artifact(out, KIND) as folder:
        artifacts.save_tensors(folder / TENSORS, head.state_dict())
        described = {"head": head.kind, "labels": head.labels, "dims": head.dims, "trained": head.trained}
        artifacts.write_json(folder / artifacts.CONFIG, artifacts.describe(KIND, made_by, **described, **facts))
        card = (
            f"# Emotion head `{head.kind}`\n\nSees {_SEEN[head.sees]}; {parameters:,} parameters; {head.dims} feature "
            f"dims in, {len(head.labels)} classes out: {', '.join(head.labels)}.\n\nWhat it was trained on and how is "
            f"in `{artifacts.CONFIG}`. Load it with `gandistill.heads.head.load_head`.\n"
        )
        artifacts.write_text(folder / artifacts.CARD, card)


def load_head(folder: Path) -> Head:
    """Read a head, in evaluation mode. Raises InputError naming what is missing, altered or unknown."""
    config = artifacts.open_artifact(folder, KIND)
    head = build_head(config.get("head"), config, config.get("trained"), folder / artifacts.CONFIG)
    artifacts.load_module(head, artifacts.load_tensors(folder / TENSORS), folder / TENSORS)
    return head.eval()


def build_head(kind: Any, config: dict[str, Any], trained: Any, where: Path) -> Head:
    """A head without its weights, as ``labels`` and ``dims`` of a config say. Raises InputError naming ``where``."""
    labels, dims = config.get("labels"), config.get("dims")
    if not isinstance(labels, list) or not labels or not isinstance(dims, int) or dims < 1:
        raise InputError(f"{where}: 'labels' or 'dims' is missing or bad, so no head can be built")
    return Head(str(kind), labels, dims, trained if isinstance(trained, dict) else {})


_SEEN = {
    "mean": "an utterance's mean features only",
    "time": "how features move in time",
    "spectrogram": "features as a picture, time by frequency",
}
