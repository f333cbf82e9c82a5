"""The encoder of Whisper through transformers: the output of one block, the last, or a weighting."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import gelu, pad

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.errors import InputError
from gandistill.features.pretrained import PREPROCESSOR, load_pretrained
from gandistill.features.upstreams import LayerChoice, parameters_sha256

MODEL_TYPES = ("whisper",)
SILENCE = SAMPLE_RATE // 2
"""Samples of silence that follow a clip in the context ``clip``."""


class WhisperConfig(LayerChoice):
    """Which Whisper, which of its encoder's hidden states, and what it hears around a clip."""

    model: str = Field(default="openai/whisper-base", min_length=1)
    """A Whisper: its name on the Hugging Face Hub, or a local folder."""
    context: Literal["clip", "30s"] = "clip"
    """'clip': the clip and half a second of silence; '30s': the clip and silence up to 30 s, as in training."""


class Whisper:
    """Hidden states of a Whisper's encoder, one utterance at a time; its decoder is not used.

    Layer 0 is what enters the first block (convolutions and positions), n what leaves the n-th; blocks above it are
    not run. 'last' is the encoder's own output, the last block's behind the final layer norm, which no layer n has.

    In the context ``clip`` the encoder hears the clip and half a second of silence, its table of positions cut to that
    length: another function than the trained one, no worse for emotion (``eval/benchmarks/whisper_layers.py``) and
    several times as fast. In the context ``30s`` it hears 30 s, as it was trained. Either way a clip of n samples gives
    ceil(n / 320) frames, its own, and those of the silence are dropped. A longer clip than fits into 30 s goes through
    in windows end to end, of 29.5 s and 30 s each, as if each were a clip. Log-Mels are those of the model's own
    preprocessor_config.json, or Whisper's usual ones where it has none; they are cut at 80 dB below the loudest of
    their window.

    Raises InputError if the model cannot be found, is no Whisper, lacks parameters of the encoder, has no such layer,
    or takes other Mel bands than its preprocessor makes.
    """

    def __init__(self, config: WhisperConfig, device: torch.device | str = "cpu") -> None:
        from transformers import WhisperFeatureExtractor

        local = Path(config.model).is_dir()
        self.name = f"whisper {Path(config.model).resolve().name if local else config.model}"
        self.config = config
        self.device = torch.device(device)
        model, preprocessor = load_pretrained(config.model, "whisper.model", MODEL_TYPES, part="encoder.")
        encoder, bands = model.get_encoder(), model.config.num_mel_bins
        config.check(len(encoder.layers), f"The model {config.model}")
        mels = {"feature_size": bands, "n_fft": 400, "hop_length": 160}
        mels |= {key: value for key, value in (preprocessor or {}).items() if key in mels}
        if mels["feature_size"] != bands:
            raise InputError(
                f"{config.model} takes {bands} Mel bands, but its {PREPROCESSOR} makes {mels['feature_size']}: they "
                "are not of the same model"
            )
        self.log_mels = WhisperFeatureExtractor(**mels)
        self.stride = encoder.conv2.stride[0] * self.log_mels.hop_length
        self.span = model.config.max_source_positions * self.stride
        self.dims: int = model.config.d_model
        self.frame_rate = SAMPLE_RATE / self.stride
        self.architecture = type(encoder).__name__
        self.parameters = parameters_sha256(encoder)
        if isinstance(config.layer, int):
            encoder.layers = encoder.layers[: config.layer]
        self.encoder = encoder.to(self.device).eval()

    def describe(self) -> dict[str, Any]:
        """Identity by content: the parameters' hash, wherever the model was loaded from."""
        return {
            "name": "whisper",
            "sample_rate": SAMPLE_RATE,
            "architecture": self.architecture,
            "parameters_sha256": self.parameters,
            **self.config.describe(),
            "context": self.config.context,
            "bands": self.log_mels.feature_size,
            "window": self.log_mels.n_fft,
            "hop": self.log_mels.hop_length,
        }

    def least(self, frames: int = 1) -> int:
        """The fewest samples that give so many frames."""
        return (frames - 1) * self.stride + 1

    @torch.no_grad()
    def __call__(self, audio: Tensor) -> Tensor:
        """Audio [samples] to hidden states [T, D]."""
        return torch.cat([self._chosen(states) for states in self.windows(audio)])

    def windows(self, audio: Tensor) -> Iterator[list[Tensor]]:
        """For each window of audio [samples] all hidden states from layer 0 to the chosen one, each [T, D]."""
        silence = SILENCE if self.config.context == "clip" else 0
        for window in audio.split(self.span - silence):
            behind = silence or self.span - len(window)
            frames = -(-len(window) // self.stride)
            yield [state[0, :frames] for state in self._states(pad(window, (0, behind)))]

    def _states(self, audio: Tensor) -> Iterator[Tensor]:
        """What enters the first block and what leaves each [1, T, D]. transformers itself refuses all but 30 s."""
        heard = self.log_mels(
            audio.cpu().numpy(),
            sampling_rate=SAMPLE_RATE,
            padding="do_not_pad",
            truncation=False,
            return_tensors="pt",
        )
        hidden = gelu(self.encoder.conv1(heard["input_features"].to(self.device)))
        hidden = gelu(self.encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + self.encoder.embed_positions.weight[: hidden.shape[1]]
        yield hidden
        for layer in self.encoder.layers:
            hidden = layer(hidden, None)
            yield hidden

    def _chosen(self, states: list[Tensor]) -> Tensor:
        if self.config.weights is not None:
            return self.config.mix(states)
        return self.encoder.layer_norm(states[-1]) if self.config.layer == "last" else states[-1]
