import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.errors import InputError
from gandistill.features.logmel import LogMel, LogMelConfig

MTT = LogMelConfig(window=512, hop=256, bands=64)


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * 0.1


@pytest.mark.parametrize(
    "config",
    [
        LogMelConfig(),
        MTT,
        LogMelConfig(centre=True),
        LogMelConfig(bands=40, window=400, hop=160, fmin=50, fmax=7600, floor=1e-8),
    ],
    ids=str,
)
def test_equals_transformers_audio_utils(config: LogMelConfig):
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    filters = mel_filter_bank(
        config.window // 2 + 1, config.bands, config.fmin, config.fmax, 16_000, norm="slaney", mel_scale="slaney"
    )
    audio = noise(20_000)
    expected = spectrogram(
        audio.numpy(),
        window_function(config.window, "hann"),
        config.window,
        config.hop,
        power=2.0,
        center=config.centre,
        pad_mode="constant",
        mel_filters=filters,
        mel_floor=config.floor,
        log_mel="log",
    ).T
    found = LogMel(config)(audio)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


def test_mtt_framing_gives_373_frames():
    assert LogMel(MTT)(noise(95_744)).shape == (373, 64)
    assert LogMel(MTT)(noise(95_743)).shape == (372, 64)
    assert LogMel(MTT.model_copy(update={"centre": True}))(noise(95_744)).shape == (375, 64)


def test_frame_rate_and_dims():
    upstream = LogMel(LogMelConfig())
    assert (upstream.dims, upstream.frame_rate) == (64, 31.25)


@pytest.mark.parametrize("centre", [False, True])
@given(samples=st.integers(400, 6000))
@settings(deadline=None, max_examples=30)
def test_number_of_frames(centre: bool, samples: int):
    frames = LogMel(LogMelConfig(centre=centre))(noise(samples))
    expected = 1 + samples // 512 if centre else 1 + max(samples - 1024, 0) // 512
    assert len(frames) == expected >= 1
    assert frames.isfinite().all()


def test_a_clip_shorter_than_a_window_is_followed_by_zeros():
    short = noise(400)
    padded = torch.cat([short, torch.zeros(624)])
    assert torch.equal(LogMel(LogMelConfig())(short), LogMel(LogMelConfig())(padded))


def test_whole_windows_alone_decide():
    audio = noise(1024 + 512 + 511)
    upstream = LogMel(LogMelConfig())
    assert torch.equal(upstream(audio), upstream(audio[: 1024 + 512]))


def test_silence_is_the_floor_and_louder_is_more():
    upstream = LogMel(LogMelConfig(floor=1e-8))
    assert torch.equal(upstream(torch.zeros(4096)), torch.full((7, 64), math.log(1e-8)))
    audio = noise(4096)
    torch.testing.assert_close(upstream(2 * audio) - upstream(audio), torch.full((7, 64), math.log(4)))


def test_a_tone_is_loudest_in_its_band():
    upstream = LogMel(LogMelConfig())
    for band in (5, 30, 60):  # the centre of a band in Mel: 45.25 Mel at 8 kHz, 65 steps
        mel = (15 + math.log(8) / (math.log(6.4) / 27)) * (band + 1) / 65
        hertz = 200 / 3 * mel if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)
        tone = (2 * math.pi * hertz / 16_000 * torch.arange(8000)).sin()
        assert upstream(tone).mean(0).argmax() == band


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bands": 200, "window": 256}, "200 bands are too many for a window of 256 samples"),
        ({"fmin": 4000, "fmax": 4010}, "sees no frequency"),
    ],
)
def test_empty_bands_are_refused(settings: dict, words: str):
    with pytest.raises(InputError, match=words):
        LogMel(LogMelConfig(**settings))


@pytest.mark.parametrize("override", ["fmax=9000", "hop=0", "fmin=8000", "floor=0", "bands=0"])
def test_impossible_settings_are_refused(override: str):
    with pytest.raises(InputError, match="--set"):
        LogMelConfig.load(overrides=[override])


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_the_shortest_clips(centre: bool, frames: int):
    upstream = LogMel(LogMelConfig(centre=centre))
    assert len(upstream(torch.ones(upstream.least(frames)))) == frames
    assert len(upstream(torch.ones(upstream.least(frames + 1) - 1))) == frames
