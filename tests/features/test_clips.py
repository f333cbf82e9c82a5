import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.features.clips import Clipped, to_length
from gandistill.features.logmel import LogMel, LogMelConfig

MTT = LogMelConfig(window=512, hop=256, bands=64)


def test_by_hand():
    clip = torch.tensor([1.0, 2.0, 3.0])
    assert to_length(clip, 8).tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert to_length(clip, 6).tolist() == [1, 2, 3, 1, 2, 3]
    assert to_length(clip, 3).tolist() == [1, 2, 3]
    assert to_length(clip, 2).tolist() == [1, 2]


@given(length=st.integers(1, 60), samples=st.integers(1, 200))
@settings(deadline=None, max_examples=50)
def test_it_is_numpys_resize(length: int, samples: int):
    clip = torch.arange(float(length))
    assert np.array_equal(to_length(clip, samples).numpy(), np.resize(clip.numpy(), samples))


def test_the_papers_clips_are_373_frames_of_64_bands():
    upstream = Clipped(LogMel(MTT), 95_744)
    assert (upstream.name, upstream.dims, upstream.frame_rate) == ("logmel", 64, 62.5)
    for samples in (400, 20_000, 95_744, 160_000):
        noise = torch.randn(samples, generator=torch.Generator().manual_seed(0)) * 0.1
        assert upstream(noise).shape == (373, 64)


def test_any_clip_will_do():
    assert Clipped(LogMel(MTT), 95_744).least() == 1


def test_it_describes_the_upstream_and_the_clip():
    description = LogMel(MTT).describe()
    assert Clipped(LogMel(MTT), 95_744).describe() == description | {"clip": 95_744}
    assert description == LogMel(MTT).describe()
