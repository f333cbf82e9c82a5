"""Clips of one length, for what needs every sample to have the same shape."""

from typing import Any

from torch import Tensor

from gandistill.features.upstreams import Upstream


class Clipped:
    """An upstream that is given the first ``samples`` of a clip, or a shorter one again and again until it has as many.

    Every utterance has the same number of frames then. At 95,744 samples, the MTT paper's log-Mels are (373, 64).

    Source: section 4.2 of *Breaking Resource Barriers in SER via Data Distillation* (arXiv 2406.15119).
    """

    def __init__(self, upstream: Upstream, samples: int) -> None:
        self.upstream, self.samples = upstream, samples
        self.name, self.dims, self.frame_rate = upstream.name, upstream.dims, upstream.frame_rate

    def describe(self) -> dict[str, Any]:
        """What decides the features, as JSON values: the upstream and the samples of a clip."""
        return self.upstream.describe() | {"clip": self.samples}

    def least(self, frames: int = 1) -> int:
        """The fewest samples that give so many frames: any clip repeats itself until it has enough."""
        return 1

    def __call__(self, audio: Tensor) -> Tensor:
        """Audio [samples] of any length from 1 to features [T, D], T the same for all."""
        return self.upstream(to_length(audio, self.samples))


def to_length(audio: Tensor, samples: int) -> Tensor:
    """Audio of exactly so many samples: repeated from its start, or its end cut off. The audio must not be empty."""
    return audio.repeat((samples + audio.shape[0] - 1) // audio.shape[0])[:samples]
