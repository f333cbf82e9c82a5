"""Upstreams by their s3prl name, where s3prl's hub can be imported (it needs torchaudio below 2.9)."""

import importlib
from bisect import bisect_left
from typing import Any

import torch
from torch import Tensor

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.errors import InputError
from gandistill.features.upstreams import LayerChoice, parameters_sha256

PROBE = SAMPLE_RATE
"""Samples of silence that every upstream takes."""


class S3prl:
    """Hidden states of the s3prl upstream ``name``, one utterance at a time.

    Some s3prl upstreams give frames for padding they add; frames are cut to the clip's true length,
    ``1 + (samples - 1) // stride``, as ``s3prl.nn.S3PRLUpstream`` has it.

    Raises InputError if s3prl's hub cannot be imported here, or has no such upstream or layer.
    """

    def __init__(self, name: str, choice: LayerChoice, device: torch.device | str = "cpu") -> None:
        self.name = f"s3prl:{name}"
        self.choice = choice
        self.device = torch.device(device)
        self.model = _build(name).to(self.device).eval()
        self.parameters = parameters_sha256(self.model)
        self.stride = int(self.model.get_downsample_rates("hidden_states"))
        self.frame_rate = SAMPLE_RATE / self.stride
        states = self._hidden_states(torch.zeros(PROBE))
        choice.check(len(states) - 1, f"The upstream {self.name}")
        self.dims = states[-1].shape[1]
        self.shortest = 1 + bisect_left(range(1, PROBE), True, key=self._takes)

    def describe(self) -> dict[str, Any]:
        """What decides the features, as JSON values."""
        return {
            "name": self.name,
            "sample_rate": SAMPLE_RATE,
            "parameters_sha256": self.parameters,
            **self.choice.describe(),
        }

    def least(self, frames: int = 1) -> int:
        """The fewest samples that give so many frames."""
        return self.shortest + (frames - 1) * self.stride

    def __call__(self, audio: Tensor) -> Tensor:
        """Audio [samples] to hidden states [T, D]."""
        states = self._hidden_states(audio)
        if self.choice.weights is not None:
            return self.choice.mix(states)
        return states[self.choice.layer if isinstance(self.choice.layer, int) else -1]

    def _takes(self, samples: int) -> bool:
        """Whether so short a clip gives frames, found by trying: s3prl does not say it."""
        try:
            return all(len(state) for state in self._hidden_states(torch.zeros(samples)))
        except Exception:  # each upstream fails in its own way
            return False

    @torch.no_grad()
    def _hidden_states(self, audio: Tensor) -> list[Tensor]:
        length = 1 + (len(audio) - 1) // self.stride
        return [state[0, :length].float() for state in self.model([audio.to(self.device)])["hidden_states"]]


def _build(name: str) -> Any:
    try:
        hub = importlib.import_module("s3prl.hub")
    except Exception as error:  # old s3prl fails in its own ways on new libraries: any of them means the same
        raise InputError(
            f"--upstream s3prl:{name} needs an environment where s3prl's hub can be imported: pip install s3prl "
            f"'torchaudio<2.9' (here: {type(error).__name__}: {' '.join(str(error).split())})"
        ) from None
    entry = getattr(hub, name, None)
    if name.startswith("_") or name == "options" or not callable(entry):
        raise InputError(f"Bad upstream 's3prl:{name}', expected s3prl: and one of the names in s3prl.hub.options()")
    return entry()
