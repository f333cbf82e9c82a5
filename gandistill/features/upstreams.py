"""What every upstream is: audio in, a sequence of feature vectors out."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import model_validator
from torch import Tensor

from gandistill.config import Config
from gandistill.errors import InputError


class Upstream(Protocol):
    """Turns one utterance into frames. It sees each utterance alone, so nothing it gives depends on a batch."""

    name: str
    """What people call it, such as ``logmel`` or ``hubert facebook/hubert-base-ls960``."""
    dims: int
    """Feature dims D."""
    frame_rate: float
    """Frames a second, in Hz."""

    def describe(self) -> dict[str, Any]:
        """Everything that decides the features, as JSON types: equal descriptions mean equal features."""
        ...

    def least(self, frames: int = 1) -> int:
        """The fewest samples that give so many frames: of a shorter clip no features can be had."""
        ...

    def __call__(self, audio: Tensor) -> Tensor:
        """Audio [samples], mono, 16 kHz, within [-1, 1], to features [T, D] in float32 on the upstream's device."""
        ...


class LayerChoice(Config):
    """Which hidden states of a transformer become the features: one of them, the output, or a fixed weighting."""

    layer: Literal["last"] | int = "last"
    """The model's output ('last'), or a hidden state: 0 enters the first transformer layer, n leaves the n-th."""
    weights: list[float] | None = None
    """Instead of one layer: a weight for each hidden state, the first for layer 0; brought to a sum of 1."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if isinstance(self.layer, int) and self.layer < 0:
            raise ValueError(f"layer is {self.layer}, expected 'last' or a number from 0")
        if self.weights is None:
            return self
        if self.layer != "last":
            raise ValueError("give either layer or weights, not both")
        if min(self.weights, default=0.0) < 0 or sum(self.weights) <= 0:
            raise ValueError("weights must not be negative and must not all be 0")
        return self

    @property
    def normalised(self) -> list[float] | None:
        """Weights that sum to 1, where there are weights."""
        return None if self.weights is None else [weight / sum(self.weights) for weight in self.weights]

    def check(self, layers: int, model: str) -> None:
        """Raises InputError if a model of this many transformer layers does not have what is asked for."""
        if isinstance(self.layer, int) and self.layer > layers:
            raise InputError(f"{model} has layers 0 to {layers}, so layer {self.layer} does not exist")
        if self.weights is not None and len(self.weights) != layers + 1:
            raise InputError(f"{model} has {layers + 1} hidden states, but {len(self.weights)} weights were given")

    def mix(self, states: Sequence[Tensor]) -> Tensor:
        """The weighted sum of all hidden states, each [T, D]."""
        return torch.stack([weight * state for weight, state in zip(self.normalised or (), states, strict=True)]).sum(0)

    def describe(self) -> dict[str, Any]:
        return {"layer": self.layer} if self.weights is None else {"weights": self.normalised}


def parameters_sha256(model: torch.nn.Module) -> str:
    """SHA-256 over names, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()
