"""Log-Mel spectrograms: short-time power spectrum, Mel filter bank, natural logarithm."""

import math
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import conv1d, pad

from gandistill.config import Config
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.errors import InputError

# Slaney's Mel scale (Auditory Toolbox, 1998): linear up to 1 kHz, 15 Mel there, logarithmic above.
LINEAR_HZ_PER_MEL = 200.0 / 3.0
BREAK_HZ = 1000.0
BREAK_MEL = BREAK_HZ / LINEAR_HZ_PER_MEL
LOG_STEP = math.log(6.4) / 27.0


class LogMelConfig(Config):
    """Framing and filter bank of a log-Mel spectrogram at 16 kHz."""

    bands: int = Field(default=64, ge=1)
    """Mel bands: the feature dims."""
    window: int = Field(default=1024, ge=2)
    """Samples of the Hann window, and of the Fourier transform."""
    hop: int = Field(default=512, ge=1)
    """Samples from one frame to the next."""
    fmin: float = Field(default=0.0, ge=0)
    """Lowest frequency, Hz."""
    fmax: float = Field(default=8000.0, le=SAMPLE_RATE / 2)
    """Highest frequency, Hz."""
    centre: bool = False
    """Centre frame t on sample t * hop, zeros beyond both ends; otherwise only whole windows inside the clip count."""
    floor: float = Field(default=1e-8, gt=0)
    """Least band power, so that the logarithm of silence is finite."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.fmin >= self.fmax:
            raise ValueError(f"fmin is {self.fmin} Hz, which is not below fmax, {self.fmax} Hz")
        return self


class LogMel:
    """Natural logarithm of Mel band power, ``ln(max(power, floor))``, for audio within [-1, 1].

    Slaney's Mel scale and area-normalised triangles (as librosa and the Auditory Toolbox have by default), periodic
    Hann window, no scaling of the transform: digital silence is ln(floor), about -23 by default, speech lies between
    about -15 and 5. A clip of n samples gives 1 + (n - window) // hop frames, the samples behind the last whole
    window unused; a clip shorter than one window is followed by zeros up to one window and gives 1 frame. With
    ``centre`` it gives 1 + n // hop frames. Nothing is ever repeated or padded beyond that.

    Raises InputError if the bands are so many, or the window so short, that a band sees no frequency at all.
    """

    name = "logmel"

    def __init__(self, config: LogMelConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.dims = config.bands
        self.frame_rate = SAMPLE_RATE / config.hop
        self._window = torch.hann_window(config.window, device=device)
        self._filters = mel_filters(config.bands, config.window, config.fmin, config.fmax).to(device)
        empty = (self._filters.sum(0) == 0).nonzero().flatten().tolist()
        if empty:
            raise InputError(
                f"logmel: {config.bands} bands are too many for a window of {config.window} samples: band {empty[0]} "
                "sees no frequency; take fewer bands, a longer window or a wider range"
            )

    def describe(self) -> dict[str, Any]:
        """What decides the features, as JSON values."""
        units = "ln(power), Slaney Mel scale"
        return {"name": self.name, "sample_rate": SAMPLE_RATE, **self.config.to_dict(), "units": units}

    def least(self, frames: int = 1) -> int:
        """The fewest samples that give so many frames."""
        if self.config.centre:
            return max(1, (frames - 1) * self.config.hop)
        return 1 if frames == 1 else self.config.window + (frames - 1) * self.config.hop

    @torch.no_grad()
    def __call__(self, audio: Tensor) -> Tensor:
        """Audio [samples] to log-Mel frames [T, bands]."""
        audio, size = audio.to(self._window.device), self.config.window
        if self.config.centre:
            audio = pad(audio, (size // 2, size // 2))
        else:
            short: Any = torch.sym_max(size - audio.shape[0], 0)  # can be exported, unlike an if
            audio = pad(audio, (0, short))
        return (self._power(audio) @ self._filters).clamp(min=self.config.floor).log()

    def _power(self, audio: Tensor) -> Tensor:
        """Power [T, window // 2 + 1] of every whole window."""
        size, hop = self.config.window, self.config.hop
        if torch.compiler.is_exporting() and size & (size - 1):
            # ONNX Runtime's transform loses two digits where a window is no power of two.
            parts = conv1d(audio[None, None], torch.from_numpy(waves(size)), stride=hop)[0]
            return parts.square().unflatten(0, (2, -1)).sum(0).T
        spectrum = torch.stft(audio, size, hop, window=self._window, center=False, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square()).T


def waves(window: int) -> NDArray[np.float32]:
    """Cosines, then sines, of a Fourier transform under a Hann window: [2 (window // 2 + 1), 1, window]."""
    phases = 2 * np.pi * np.arange(window) / window
    angles = np.arange(window // 2 + 1)[:, None] * phases
    both = np.concatenate([np.cos(angles), np.sin(angles)]) * (0.5 - 0.5 * np.cos(phases))
    return both[:, None].astype(np.float32)


def mel_filters(bands: int, window: int, fmin: float, fmax: float) -> Tensor:
    """Triangular filters [window // 2 + 1, bands], evenly spaced in Mel, each of area 1 over Hz."""
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, window // 2 + 1, dtype=torch.float64)
    corners = torch.linspace(hz_to_mel(fmin), hz_to_mel(fmax), bands + 2, dtype=torch.float64)
    corners = mel_to_hz(corners)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rising = (frequencies[:, None] - left) / (centre - left)
    falling = (right - frequencies[:, None]) / (right - centre)
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (right - left)).float()


def hz_to_mel(hz: float) -> float:
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    return hz / LINEAR_HZ_PER_MEL if hz < BREAK_HZ else BREAK_MEL + math.log(hz / BREAK_HZ) / LOG_STEP


def mel_to_hz(mel: Tensor) -> Tensor:
    """Undo ``hz_to_mel``, for any number of mels."""
    return torch.where(mel < BREAK_MEL, LINEAR_HZ_PER_MEL * mel, BREAK_HZ * ((mel - BREAK_MEL) * LOG_STEP).exp())
