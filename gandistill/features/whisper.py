"""The encoder of Whisper through transformers: the output of one block, the last, or a weighting."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu, pad

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.errors import InputError
from gandistill.features.logmel import waves
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


class LogMels:
    """Whisper's log-Mels of clips [B, S]: [B, bands, S // hop], each clip's cut at 80 dB below its loudest place.

    The numbers of transformers' WhisperFeatureExtractor, on the device of the clips, and in a form that can be
    exported.
    """

    def __init__(self, bands: int, window: int, hop: int) -> None:
        from transformers import WhisperFeatureExtractor

        self.bands, self.window, self.hop = bands, window, hop
        filters = WhisperFeatureExtractor(feature_size=bands, n_fft=window, hop_length=hop).mel_filters
        self.filters = torch.from_numpy(filters).to("cpu", torch.float32)

    def __call__(self, audio: Tensor) -> Tensor:
        powers = (self.filters.to(audio).T @ self._powers(audio)).clamp(min=1e-10).log10()
        return (torch.maximum(powers, powers.amax((1, 2), keepdim=True) - 8) + 4) / 4

    def _powers(self, audio: Tensor) -> Tensor:
        """Powers [B, window // 2 + 1, S // hop] of all frequencies; the last window of all is left out."""
        if torch.compiler.is_exporting():  # ONNX Runtime's transform loses two digits
            audio = pad(audio[:, None], (self.window // 2, self.window // 2), "reflect")
            parts = conv1d(audio, torch.from_numpy(waves(self.window)), stride=self.hop)[..., :-1]
            return parts.square().unflatten(1, (2, -1)).sum(1)
        hann = torch.hann_window(self.window, device=audio.device, dtype=audio.dtype)
        spectrum = torch.stft(audio, self.window, self.hop, window=hann, return_complex=True)
        return (spectrum[..., :-1].abs() ** 2).contiguous()


class Entrance(nn.Module):
    """What lies before the first block of a Whisper's encoder: log-Mels, two convolutions, positions.

    A clip takes as much of the table of positions as it has frames; transformers itself refuses all but 30 s.
    """

    def __init__(self, encoder: Any, log_mels: LogMels) -> None:
        super().__init__()
        self.log_mels = log_mels
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.positions = encoder.embed_positions.requires_grad_(False)  # loading makes them learn

    @property
    def stride(self) -> int:
        """Samples between frames."""
        return self.conv2.stride[0] * self.log_mels.hop

    @property
    def span(self) -> int:
        """The most samples that are heard at once."""
        return self.positions.num_embeddings * self.stride

    def frames_of(self, samples: Tensor) -> Tensor:
        """How many frames T so many samples make (whole numbers, any shape)."""
        return -(-(samples // self.log_mels.hop) // self.conv2.stride[0])

    def forward(self, audio: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Clips [B, S], zeros behind the ends that ``lengths`` [B] names in samples, to frames [B, T, D].

        Behind an end the convolutions find nothing, as at the edge of a batch.
        """
        log_mels = self.log_mels(audio)
        heard = torch.ones(1, device=audio.device)
        if lengths is not None:
            places = torch.arange(log_mels.shape[-1], device=audio.device)
            heard = (places < lengths[:, None] // self.log_mels.hop)[:, None]
        hidden = gelu(self.conv1(log_mels * heard)) * heard
        hidden = gelu(self.conv2(hidden)).transpose(1, 2)
        return hidden + self.positions.weight[: hidden.shape[1]]


def log_mels_of(name: str, model: Any, preprocessor: dict[str, Any] | None) -> LogMels:
    """The log-Mels that a Whisper hears, by its preprocessor_config.json, or Whisper's usual ones where it has none.

    Raises InputError if the model takes other Mel bands than those.
    """
    bands = model.config.num_mel_bins
    mels = {"feature_size": bands, "n_fft": 400, "hop_length": 160}
    mels |= {key: value for key, value in (preprocessor or {}).items() if key in mels}
    if mels["feature_size"] != bands:
        raise InputError(
            f"{name} takes {bands} Mel bands, but its {PREPROCESSOR} makes {mels['feature_size']}: they are not of the "
            "same model"
        )
    return LogMels(bands, mels["n_fft"], mels["hop_length"])


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
        local = Path(config.model).is_dir()
        self.name = f"whisper {Path(config.model).resolve().name if local else config.model}"
        self.config = config
        self.device = torch.device(device)
        model, preprocessor = load_pretrained(config.model, "whisper.model", MODEL_TYPES)
        encoder = model.get_encoder()
        config.check(len(encoder.layers), f"The model {config.model}")
        self.log_mels = log_mels_of(config.model, model, preprocessor)
        self.entrance = Entrance(encoder, self.log_mels).to(self.device)
        self.stride, self.span = self.entrance.stride, self.entrance.span
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
            "bands": self.log_mels.bands,
            "window": self.log_mels.window,
            "hop": self.log_mels.hop,
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
        """What enters the first block and what leaves each [1, T, D]."""
        hidden = self.entrance(audio[None].to(self.device))
        yield hidden
        for layer in self.encoder.layers:
            hidden = layer(hidden, None)
            yield hidden

    def _chosen(self, states: list[Tensor]) -> Tensor:
        if self.config.weights is not None:
            return self.config.mix(states)
        return self.encoder.layer_norm(states[-1]) if self.config.layer == "last" else states[-1]
