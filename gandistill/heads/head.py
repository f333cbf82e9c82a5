"""A head: a downstream model with the labels it knows and the scale of the features it expects.

Shapes: N utterances, B batch, T frames, D feature dims, C classes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gandistill import artifacts
from gandistill.errors import InputError, RunError, choices
from gandistill.features.featureset import FeatureSet, labels_and_dims
from gandistill.features.origin import check_origin
from gandistill.guarantee import guarantee_said
from gandistill.heads.sequence import Attentive, CNNAttention
from gandistill.heads.spectrogram import CNN, CNN6, VGG15, ResNet9
from gandistill.heads.superb import Superb
from gandistill.heads.tdnn import TDNN

KIND = "head"
TENSORS = "head.safetensors"
DESCRIBED = ("kind", "format", "made_by", "head", "labels", "dims", "trained")
"""What ``save_head`` writes into a head's config; all else there are facts about its training set."""
BATCH_VALUES = 2**20
"""Values of frames that a head is given at once at the most, unless one utterance has more."""
Projecting = Superb | Attentive | CNNAttention
Model = Projecting | TDNN | CNN | CNN6 | ResNet9 | VGG15
MODELS: dict[str, type[Model]] = {
    "superb": Superb,
    "attentive": Attentive,
    "cnn-attention": CNNAttention,
    "tdnn": TDNN,
    "cnn": CNN,
    "cnn6": CNN6,
    "resnet9": ResNet9,
    "vgg15": VGG15,
}
"""Every kind of head. A model's ``sees`` says what of an utterance reaches it: its mean, time, or a spectrogram."""
PROJECTING = tuple(kind for kind, model in MODELS.items() if issubclass(model, Projecting))
"""Kinds that begin with SUPERB's projector, which a bank may hold. All others are for judging."""


class Head(nn.Module):
    """A model of one kind around which features are brought to mean 0 and deviation 1, dimension by dimension.

    ``mean`` and ``deviation`` [D] are fixed buffers, 0 and 1 until training sets them. ``trained`` says how the weights
    came to be, as plain JSON values, and ``origin`` where the features that it is for come from, as their config does.
    Raises InputError if there is no such kind.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        kind: str,
        labels: list[str],
        dims: int,
        trained: dict[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.labels, self.dims = kind, labels, dims
        self.trained, self.origin = trained or {}, origin or {}
        self.model = model_of(kind)(dims, len(labels))
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("deviation", torch.ones(dims))

    @property
    def sees(self) -> str:
        """What of an utterance reaches it: ``mean``, ``time`` or ``spectrogram``."""
        return sees(self.kind)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]; what lies behind an utterance's end takes no part."""
        return self.model((frames - self.mean) / self.deviation, lengths)

    def standardise_(self, frames: Tensor) -> Tensor:
        """Frames [B, T, D] that nothing else needs, brought in place to what the model expects."""
        return frames.sub_(self.mean).div_(self.deviation)

    @property
    def projector(self) -> nn.Linear:
        """The first layer, Linear(D, 256). Raises InputError naming the kinds that have one."""
        if isinstance(self.model, Projecting):
            return self.model.projector
        raise InputError(f"A {self.kind} head has no projector, only [{', '.join(PROJECTING)}] begin with one")

    def embed(self, means: Tensor) -> Tensor:
        """What the projector makes of utterances, averaged over time [N, 256], from their mean frames [N, D].

        Means commute with linear maps, so averaging first is the same. Raises InputError as ``projector`` does.
        """
        return self.projector((means - self.mean) / self.deviation)


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


def check_match(what: str, labels: list[str], dims: int, origin: Mapping[str, Any], features: FeatureSet) -> None:
    """Raise InputError unless the features have no other ``origin``, these labels, in this order, and these dims."""
    check_origin(what, origin, features)
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

    Utterances of like length are batched together, up to ``batch`` of them and to ``BATCH_VALUES`` values, so that
    memory does not grow with their length; what an utterance is batched with changes nothing beyond rounding.
    Raises InputError if labels or dims differ from the head's, and RunError if the head gives NaN.
    """
    check_match(f"this {head.kind} head", head.labels, head.dims, head.origin, features)
    training = head.training
    head.eval()
    device = head.mean.device
    probabilities = torch.empty(len(features), len(head.labels))
    for rows, frames, lengths in _given(features, head.sees == "mean", batch):
        logits = head.model(head.standardise_(frames.to(device)), lengths.to(device))
        probabilities[rows] = logits.softmax(-1).cpu()
    head.train(training)
    if not probabilities.isfinite().all():
        raise RunError(f"This {head.kind} head gives NaN for {features.folder}: its weights are useless")
    return probabilities


def _given(features: FeatureSet, mean: bool, batch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Row numbers [B], frames [B, T, D] and lengths [B] of all utterances, or of their means, batch by batch."""
    if mean:
        frames, lengths = pooled(features)
        for rows in torch.arange(len(features)).split(batch):
            yield rows, frames[rows], lengths[rows]
    else:
        for rows in batches_by_length(features.lengths, batch, BATCH_VALUES // features.dims):
            yield torch.from_numpy(rows), *features.padded(rows)


def batches_by_length(lengths: NDArray[np.int64], batch: int, frames: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers of utterances with these lengths [N], the shortest first, ``batch`` or fewer at a time.

    One utterance at least, and no more than ``frames`` once the shorter ones are padded.
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or end - start == batch or (end - start + 1) * lengths[order[end]] > frames:
            yield order[start:end]
            start = end


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
            f"in `{artifacts.CONFIG}`. Load it with `gandistill.heads.head.load_head`.{guarantee_said(facts)}\n"
        )
        artifacts.write_text(folder / artifacts.CARD, card)


def load_head(folder: Path) -> Head:
    """Read a head, in evaluation mode. Raises InputError naming what is missing, altered or unknown."""
    config = artifacts.open_artifact(folder, KIND, verify=(artifacts.CONFIG, artifacts.CARD))
    head = build_head(config.get("head"), config, config.get("trained"), folder / artifacts.CONFIG)
    tensors = artifacts.load_verified(folder / TENSORS, head.state_dict())
    artifacts.load_module(head, tensors, folder / TENSORS)
    check_deviation(head, folder / TENSORS)
    return head.eval()


def build_head(kind: Any, config: dict[str, Any], trained: Any, where: Path) -> Head:
    """A head as a config says, on the meta device: without weights, and without memory however large it claims to be.

    Raises InputError naming ``where``.
    """
    labels, dims = labels_and_dims(config, where)
    if not isinstance(kind, str) or kind not in MODELS:
        raise choices(f"head in {where}:", kind, list(MODELS))
    if not isinstance(trained, dict):
        raise InputError(f"{where}: does not say how its {kind} head was trained")
    with torch.device("meta"):
        return Head(kind, labels, dims, trained, config)


def check_deviation(head: Head, where: Path) -> None:
    """Raise InputError, naming ``where``, if a head that was read holds a deviation that none can have."""
    if not (head.deviation > 0).all():
        raise InputError(f"{where}: a {head.kind} head's deviation is not above 0")


_SEEN = {
    "mean": "an utterance's mean features only",
    "time": "how features move in time",
    "spectrogram": "features as a picture, time by frequency",
}
