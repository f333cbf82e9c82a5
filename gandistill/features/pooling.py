"""Frames averaged in groups: a lower frame rate, and as much less to store."""

from typing import Any

from torch import Tensor

from gandistill.features.upstreams import Upstream


class Pooled:
    """An upstream whose frames are averaged ``pool`` at a time: 2 makes 25 frames a second of 50.

    Frames behind the last whole group are dropped, so a clip needs ``pool`` of them at least.
    """

    def __init__(self, upstream: Upstream, pool: int) -> None:
        self.upstream, self.pool = upstream, pool
        self.name, self.dims, self.frame_rate = upstream.name, upstream.dims, upstream.frame_rate / pool

    def describe(self) -> dict[str, Any]:
        """What decides the features, as JSON values: the upstream and the frames that make one."""
        return self.upstream.describe() | {"pool": self.pool}

    def least(self, frames: int = 1) -> int:
        """The fewest samples that give so many frames."""
        return self.upstream.least(frames * self.pool)

    def __call__(self, audio: Tensor) -> Tensor:
        """Audio [samples] to features [T, D]."""
        frames = self.upstream(audio)
        whole = frames.shape[0] // self.pool * self.pool
        return frames[:whole].unflatten(0, (-1, self.pool)).mean(1)
