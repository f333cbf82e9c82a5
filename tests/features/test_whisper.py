import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gandistill.errors import InputError
from gandistill.features.whisper import LogMels, Whisper, WhisperConfig

LAYERS = 4
SPAN = 32_000
"""Samples that the tiny model hears at once."""


def noise(samples: int) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(1)) * 0.1


def whisper(path: Path, **settings: Any) -> Whisper:
    return Whisper(WhisperConfig(model=str(path), **settings))


def expected_states(path: Path, audio: Tensor, frames: int) -> list[Tensor]:
    """transformers' own: layer 0 to the last before the final norm, then the encoder's output, each [frames, D]."""
    encoder = transformers.WhisperModel.from_pretrained(path, dtype=torch.float32).get_encoder().eval()
    seconds = encoder.config.max_source_positions // 50
    heard = transformers.WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins, chunk_length=seconds)(
        audio.numpy(), sampling_rate=16_000, return_tensors="pt"
    )
    before_norm: list[Tensor] = []
    encoder.layers[-1].register_forward_hook(lambda module, inputs, output: before_norm.append(output))
    with torch.no_grad():
        output = encoder(heard.input_features, output_hidden_states=True)
    *states, last = output.hidden_states
    assert torch.equal(last, output.last_hidden_state), "transformers puts the norm into the last hidden state"
    return [state[0, :frames] for state in (*states, *before_norm, last)]


def assert_equals_transformers(path: Path, audio: Tensor, frames: int) -> None:
    *layers, last = expected_states(path, audio, frames)
    for number, expected in enumerate(layers):
        upstream = whisper(path, layer=number, context="30s")
        torch.testing.assert_close(upstream(audio), expected, atol=1e-4, rtol=1e-4)
        assert len(upstream.encoder.layers) == number, "blocks above the chosen one are not run"
    torch.testing.assert_close(whisper(path, context="30s")(audio), last, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("bands", "window", "samples"), [(80, 400, 20_123), (128, 400, 160), (12, 512, 5000)])
def test_log_mels_are_those_of_transformers_to_the_bit(bands: int, window: int, samples: int):
    extractor = transformers.WhisperFeatureExtractor(feature_size=bands, n_fft=window)
    clips = torch.cat([noise(samples), torch.zeros(8000)]), torch.cat([3 * noise(samples), torch.zeros(8000)])
    log_mels = LogMels(bands, window, 160)
    for clip in clips:
        expected = extractor(clip.numpy(), sampling_rate=16_000, padding="do_not_pad", return_tensors="pt")
        assert torch.equal(log_mels(clip[None]), expected.input_features)
    together = log_mels(torch.stack(clips))
    torch.testing.assert_close(together, torch.cat([log_mels(clip[None]) for clip in clips]), atol=1e-5, rtol=0)


def test_every_layer_equals_transformers(tiny_whisper: Path):
    assert_equals_transformers(tiny_whisper, noise(20_000), 63)


def test_every_layer_of_a_real_model_equals_transformers(pretrained_whisper: Path, ravdess_root: Path):
    from gandistill.corpora import audio

    speech = torch.from_numpy(audio.load(sorted(ravdess_root.glob("Actor_01/*.flac"))[0]))
    assert_equals_transformers(pretrained_whisper, speech, -(-len(speech) // 320))


def test_weights_mix_the_layers(tiny_whisper: Path):
    audio = noise(5000)
    each = [whisper(tiny_whisper, layer=layer)(audio) for layer in range(LAYERS + 1)]
    mixed = sum(weight / 8 * state for weight, state in zip([1, 0, 2, 0, 5], each, strict=True))
    torch.testing.assert_close(whisper(tiny_whisper, weights=[1, 0, 2, 0, 5])(audio), mixed)


def test_a_clip_that_fills_the_span_is_the_same_in_both_contexts(tiny_whisper: Path):
    """With half a second of silence behind it, as the context ``clip`` has it, there is nothing to cut."""
    audio = noise(SPAN - 8000)
    for choice in ({}, {"layer": 2}):
        either = [whisper(tiny_whisper, context=context, **choice)(audio) for context in ("clip", "30s")]
        torch.testing.assert_close(*either)


@pytest.mark.parametrize("context", ["clip", "30s"])
@given(samples=st.integers(1, 2 * SPAN + 1000))
@settings(deadline=None, max_examples=25)
def test_a_clip_has_its_own_frames(tiny_whisper: Path, context: str, samples: int):
    upstream, frames = whisper(tiny_whisper, layer=0, context=context), -(-samples // 320)
    assert upstream(noise(samples)).shape == (frames, 16)
    assert upstream.least(frames) <= samples < upstream.least(frames + 1)


@pytest.mark.parametrize(("context", "window"), [("clip", SPAN - 8000), ("30s", SPAN)])
def test_long_clips_go_through_in_windows(tiny_whisper: Path, context: str, window: int):
    upstream, audio = whisper(tiny_whisper, context=context), noise(2 * window + 500)
    alone = [upstream(part) for part in (audio[:window], audio[window : 2 * window], audio[2 * window :])]
    assert torch.equal(upstream(audio), torch.cat(alone))


def test_the_context_counts(tiny_whisper: Path):
    audio = noise(8000)
    difference = whisper(tiny_whisper)(audio) - whisper(tiny_whisper, context="30s")(audio)
    assert difference.abs().max() > 0.01


def test_description_names_content_not_place(tiny_whisper: Path, tmp_path: Path):
    shutil.copytree(tiny_whisper, tmp_path / "elsewhere")
    upstream = whisper(tmp_path / "elsewhere", layer=1)
    assert (upstream.dims, upstream.frame_rate, upstream.name) == (16, 50.0, "whisper elsewhere")
    assert upstream.describe() == whisper(tiny_whisper, layer=1).describe()
    described = upstream.describe()
    assert {key: described[key] for key in ("context", "bands", "window", "hop", "layer")} == {
        "context": "clip",
        "bands": 12,
        "window": 400,
        "hop": 160,
        "layer": 1,
    }
    assert whisper(tiny_whisper, context="30s").describe() == described | {"context": "30s", "layer": "last"}


def test_half_floats_on_disk_are_computed_in_single(tiny_whisper: Path, tmp_path: Path):
    model = transformers.WhisperModel.from_pretrained(tiny_whisper)
    model.half().save_pretrained(tmp_path / "half")
    found = whisper(tmp_path / "half")(noise(4000))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, whisper(tiny_whisper)(noise(4000)), atol=0.01, rtol=0.01)


def test_a_fine_tuned_model_gives_its_encoder(tiny_whisper: Path, tmp_path: Path):
    config = transformers.WhisperConfig.from_pretrained(tiny_whisper)
    tuned = transformers.WhisperForAudioClassification(config)
    tuned.encoder.load_state_dict(transformers.WhisperModel.from_pretrained(tiny_whisper).get_encoder().state_dict())
    tuned.save_pretrained(tmp_path)
    assert torch.equal(whisper(tmp_path)(noise(4000)), whisper(tiny_whisper)(noise(4000)))


def test_loading_says_nothing(tiny_whisper: Path, capfd: pytest.CaptureFixture[str]):
    whisper(tiny_whisper)(noise(4000))
    assert capfd.readouterr() == ("", "")


def test_the_preprocessor_decides_on_log_mels(tiny_whisper: Path, tmp_path: Path):
    shutil.copytree(tiny_whisper, tmp_path / "model")
    transformers.WhisperFeatureExtractor(feature_size=12, n_fft=512).save_pretrained(tmp_path / "model")
    upstream = whisper(tmp_path / "model", layer=0)
    assert upstream.describe()["window"] == 512
    assert not torch.allclose(upstream(noise(4000)), whisper(tiny_whisper, layer=0)(noise(4000)), atol=1e-3)
    transformers.WhisperFeatureExtractor(feature_size=80).save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match=r"takes 12 Mel bands, but its preprocessor_config\.json makes 80"):
        whisper(tmp_path / "model")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layer": 5}, "has layers 0 to 4, so layer 5 does not exist"),
        ({"weights": [1.0, 1.0]}, "has 5 hidden states, but 2 weights were given"),
    ],
)
def test_what_the_model_has_not(tiny_whisper: Path, settings: dict[str, Any], words: str):
    with pytest.raises(InputError, match=words):
        whisper(tiny_whisper, **settings)


@pytest.mark.parametrize("override", ["context=15s", "layer=-1", "model=''"])
def test_impossible_choices(override: str):
    with pytest.raises(InputError, match=r"^--set[^\n]+$"):
        WhisperConfig.load(overrides=[override])


def test_other_models_are_refused(tiny_hubert: Path):
    with pytest.raises(InputError, match=r"^Bad model type of .* 'hubert', expected one of \[whisper\]$"):
        whisper(tiny_hubert)


def test_a_folder_without_the_encoder(tiny_whisper: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_whisper, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("encoder.")}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 67 parameters, the first is 'encoder\.conv1\.bias'$"):
        whisper(tmp_path / "model")
    path.unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors: the download is incomplete$"):
        whisper(tmp_path / "model")
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(InputError, match=r"is not a model folder: it has no config\.json$"):
        whisper(tmp_path / "model")
