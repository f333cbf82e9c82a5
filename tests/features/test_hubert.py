import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from gandistill.errors import InputError
from gandistill.features.hubert import Hubert, HubertConfig
from gandistill.features.pretrained import normalised

LAYERS = 3
TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8, 8),
    "conv_stride": (5, 8, 8),
    "conv_kernel": (10, 16, 8),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False}
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
KINDS = {
    "hubert-group": ("Hubert", GROUP),
    "hubert-layer": ("Hubert", LAYER),
    "wav2vec2": ("Wav2Vec2", GROUP),
    "wav2vec2-layer": ("Wav2Vec2", LAYER),
    "wavlm": ("WavLM", GROUP),
    "wavlm-layer": ("WavLM", LAYER),
}
RELATIVES = {
    "mms": ("Wav2Vec2", LAYER | {"adapter_attn_dim": 4}),
    "reduced": ("Wav2Vec2", GROUP | {"add_adapter": True, "num_adapter_layers": 1}),
    "data2vec": ("Data2VecAudio", {"conv_bias": True, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
    "unispeech": ("UniSpeech", GROUP),
    "unispeech-layer": ("UniSpeech", LAYER),
    "unispeech-sat": ("UniSpeechSat", GROUP),
    "unispeech-sat-layer": ("UniSpeechSat", LAYER),
    "conformer-relative": ("Wav2Vec2Conformer", GROUP | {"position_embeddings_type": "relative"}),
    "conformer-rotary": ("Wav2Vec2Conformer", GROUP | {"position_embeddings_type": "rotary"}),
    "conformer-unplaced": ("Wav2Vec2Conformer", LAYER | {"position_embeddings_type": None}),
}
"""What extraction takes and self-distillation does not."""
ALL = KINDS | RELATIVES


def make_model(kind: str) -> Any:
    """A random model whose every parameter counts: biases are not zero."""
    name, settings = ALL[kind]
    config = getattr(transformers, f"{name}Config")(**TINY | settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}Model")(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    folder = tmp_path_factory.mktemp("models")
    made = {kind: (folder / kind, make_model(kind)) for kind in ALL}
    for path, model in made.values():
        model.save_pretrained(path)
    return made


def noise(samples: int) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(1)) * 0.1


def hubert(path: Path, **settings: Any) -> Hubert:
    return Hubert(HubertConfig(model=str(path), **settings))


@pytest.mark.parametrize("kind", ALL)
def test_layers_equal_transformers(models, kind: str):
    path, model = models[kind]
    audio = noise(4000)
    with torch.no_grad():
        expected = model(normalised(audio)[None], output_hidden_states=True)
    for layer in range(LAYERS + 1):
        upstream = hubert(path, layer=layer)
        torch.testing.assert_close(upstream(audio), expected.hidden_states[layer][0], atol=1e-6, rtol=1e-5)
        assert len(upstream.model.encoder.layers) == layer, "layers above the chosen one are not run"
    last = expected.hidden_states[-1] if kind == "reduced" else expected.last_hidden_state
    torch.testing.assert_close(hubert(path)(audio), last[0], atol=1e-6, rtol=1e-5)
    weights = [1.0, 0.0, 2.0, 5.0]
    mixed = sum(weight / 8 * state[0] for weight, state in zip(weights, expected.hidden_states, strict=True))
    torch.testing.assert_close(hubert(path, weights=weights)(audio), mixed, atol=1e-6, rtol=1e-5)


def test_shapes_and_rate(models):
    upstream = hubert(models["hubert-group"][0])
    assert (upstream.dims, upstream.frame_rate) == (16, 50.0)
    assert upstream(noise(16_000)).shape == (49, 16)


@pytest.mark.parametrize("kind", ALL)
def test_the_shortest_clips(models, kind: str):
    """By hand for one frame: the third convolution sees 8 of the second's, those (8 - 1) * 8 + 16 of the first's."""
    upstream = hubert(models[kind][0], layer=1)
    assert upstream.least() == (72 - 1) * 5 + 10
    for frames in (1, 2, 7):
        assert len(upstream(noise(upstream.least(frames)))) == frames
        assert len(upstream(noise(upstream.least(frames + 1) - 1))) == frames
    with pytest.raises(RuntimeError):
        upstream(noise(upstream.least() - 1))


@pytest.mark.parametrize(("says", "applied"), [(True, True), (False, False)])
def test_preprocessor_decides_on_normalisation(models, tmp_path: Path, says: bool, applied: bool):
    path, model = models["wav2vec2"]
    shutil.copytree(path, tmp_path / "model")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=says).save_pretrained(tmp_path / "model")
    upstream = hubert(tmp_path / "model")
    audio = noise(3000) + 0.2
    with torch.no_grad():
        expected = model((normalised(audio) if applied else audio)[None]).last_hidden_state[0]
    torch.testing.assert_close(upstream(audio), expected, atol=1e-6, rtol=1e-5)
    assert upstream.describe()["normalise"] is applied
    assert upstream.describe()["normalise_from"] == "preprocessor_config.json"
    assert hubert(path).describe()["normalise_from"] == "default"


def test_description_names_content_not_place(models, tmp_path: Path):
    path = models["hubert-group"][0]
    shutil.copytree(path, tmp_path / "elsewhere")
    original = hubert(path).describe()
    assert hubert(tmp_path / "elsewhere").describe() == original
    assert hubert(path, layer=1).describe()["parameters_sha256"] == original["parameters_sha256"]
    assert str(path) not in str(original)
    changed = make_model("hubert-group")
    with torch.no_grad():
        next(changed.parameters()).add_(1e-3)
    changed.save_pretrained(tmp_path / "changed")
    assert hubert(tmp_path / "changed").describe()["parameters_sha256"] != original["parameters_sha256"]


@pytest.mark.parametrize("task", ["HubertForCTC", "HubertForSequenceClassification"])
def test_a_fine_tuned_model_gives_its_backbone(tmp_path: Path, task: str):
    model = getattr(transformers, task)(transformers.HubertConfig(**TINY, **GROUP)).eval()
    model.save_pretrained(tmp_path)
    audio = noise(3000)
    with torch.no_grad():
        expected = model.hubert(normalised(audio)[None]).last_hidden_state[0]
    torch.testing.assert_close(hubert(tmp_path)(audio), expected, atol=1e-6, rtol=1e-5)


def test_loading_says_nothing(models, capfd: pytest.CaptureFixture[str]):
    hubert(models["hubert-group"][0])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layer": 4}, "has layers 0 to 3, so layer 4 does not exist"),
        ({"weights": [1.0, 1.0]}, "has 4 hidden states, but 2 weights were given"),
    ],
)
def test_what_the_model_has_not(models, settings: dict, words: str):
    with pytest.raises(InputError, match=words):
        hubert(models["hubert-group"][0], **settings)
