"""Upstreams by their s3prl name, where s3prl's hub can be imported (it needs torchaudio beside torch)."""

import importlib
import warnings
from bisect import bisect_left
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.errors import InputError
from gandistill.features.upstreams import LayerChoice, parameters_sha256

PROBE = torch.linspace(-0.5, 0.5, SAMPLE_RATE)
"""What every upstream takes: a second of a sound, since silence has no deviation to divide by."""

LOCAL = ("_local", "_custom")
REMOTE = ("_url", "_gdriveid")
"""How the names of upstreams end that are given a checkpoint: a file or folder, or the address of one."""


class S3prlConfig(LayerChoice):
    """Which hidden states of an s3prl upstream, and for some which checkpoint."""

    checkpoint: str | None = Field(default=None, exclude_if=lambda checkpoint: checkpoint is None)
    """What the upstreams ``*_local`` and ``*_custom`` load: a file, of some a folder; what ``*_url`` do: an address.
    s3prl may unpickle it, which can run code: only from whom you trust."""


class S3prl:
    """Hidden states of the s3prl upstream ``name``, one utterance at a time.

    Some s3prl upstreams give frames for padding they add; frames are cut to the clip's true length,
    ``1 + (samples - 1) // stride``, as ``s3prl.nn.S3PRLUpstream`` has it.

    Raises InputError if s3prl's hub cannot be imported here, has no such upstream or layer, or cannot load it, and for
    a checkpoint that is missing or that the upstream does not take.
    """

    def __init__(self, name: str, config: S3prlConfig, device: torch.device | str = "cpu") -> None:
        self.name = f"s3prl:{name}"
        self.choice = config
        self.device = torch.device(device)
        self.model = _build(name, config.checkpoint).to(self.device).eval()
        self.parameters = parameters_sha256(self.model)
        self.stride = int(self.model.get_downsample_rates("hidden_states"))
        self.frame_rate = SAMPLE_RATE / self.stride
        states = self._hidden_states(PROBE)
        config.check(len(states) - 1, f"The upstream {self.name}")
        self.dims = states[-1].shape[1]
        self.shortest = 1 + bisect_left(range(1, len(PROBE)), True, key=self._takes)

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
            with warnings.catch_warnings(action="ignore"):  # of deviations over a single frame
                states = self._hidden_states(PROBE[:samples])
        except Exception:  # each upstream fails in its own way
            return False
        return all(len(state) and bool(state.isfinite().all()) for state in states)

    @torch.no_grad()
    def _hidden_states(self, audio: Tensor) -> list[Tensor]:
        length = 1 + (len(audio) - 1) // self.stride
        return [state[0, :length].float() for state in self.model([audio.to(self.device)])["hidden_states"]]


def _build(name: str, checkpoint: str | None) -> Any:
    try:
        hub = importlib.import_module("s3prl.hub")
    except Exception as error:  # old s3prl fails in its own ways on new libraries: any of them means the same
        raise InputError(
            f"--upstream s3prl:{name} needs s3prl and a torchaudio that fits torch: pip install 'gandistill[s3prl]' "
            f"(here: {_said(error)})"
        ) from None
    entry = getattr(hub, name, None)
    if name.startswith("_") or name == "options" or not callable(entry):
        raise InputError(f"Bad upstream 's3prl:{name}', expected s3prl: and one of the names in s3prl.hub.options()")
    _check_checkpoint(name, checkpoint)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # some keep random sound among their buffers: another identity each time
            return entry() if checkpoint is None else entry(checkpoint)
    except Exception as error:  # a download that fails, a checkpoint of another upstream, ...
        raise InputError(
            f"s3prl cannot load {name}{f' from {checkpoint}' if checkpoint else ''}: {_said(error)}"
        ) from None


def _check_checkpoint(name: str, checkpoint: str | None) -> None:
    takes = name.endswith(LOCAL + REMOTE)
    if takes and checkpoint is None:
        kind = "FILE" if name.endswith(LOCAL) else "URL"
        raise InputError(f"--upstream s3prl:{name} needs a checkpoint: --set s3prl.checkpoint={kind}")
    if checkpoint is not None and not takes:
        raise InputError(
            f"--upstream s3prl:{name} has its own checkpoint: leave s3prl.checkpoint away, or take an upstream whose "
            f"name ends in {' or '.join(LOCAL)}"
        )
    if checkpoint is not None and name.endswith(LOCAL) and not Path(checkpoint).exists():
        raise InputError(f"s3prl.checkpoint {checkpoint}: no such file")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
