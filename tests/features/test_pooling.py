import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.features.logmel import LogMel, LogMelConfig
from gandistill.features.pooling import Pooled


class Counting:
    """A frame for each sample, which it holds twice."""

    name, dims, frame_rate = "counting", 2, 50.0

    def describe(self) -> dict[str, str]:
        return {"name": self.name}

    def least(self, frames: int = 1) -> int:
        return frames

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        return torch.stack([audio, 10 * audio], 1)


def test_by_hand():
    pooled = Pooled(Counting(), 2)
    assert (pooled.name, pooled.dims, pooled.frame_rate) == ("counting", 2, 25.0)
    assert pooled(torch.tensor([1.0, 3.0, 4.0, 0.0, 9.0])).tolist() == [[2, 20], [2, 20]]
    assert Pooled(Counting(), 3)(torch.tensor([1.0, 3.0, 5.0])).tolist() == [[3, 30]]
    assert pooled.describe() == {"name": "counting", "pool": 2}
    assert [Pooled(Counting(), 3).least(frames) for frames in (1, 2)] == [3, 6]


@given(pool=st.integers(1, 5), samples=st.integers(1, 8000))
@settings(deadline=None, max_examples=50)
def test_the_least_samples_are_enough_and_no_more_than_needed(pool: int, samples: int):
    pooled = Pooled(LogMel(LogMelConfig()), pool)
    frames = len(pooled(torch.ones(samples)))
    assert (frames > 0) == (samples >= pooled.least())
    assert samples < pooled.least(frames + 1)
