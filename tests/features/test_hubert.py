import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import huggingface_hub
import pytest
import torch
import transformers
from huggingface_hub import HfApi

from gandistill.errors import InputError
from gandistill.features.hubert import Hubert, HubertConfig
from gandistill.features.pretrained import least_samples

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


def normalised(audio: torch.Tensor) -> torch.Tensor:
    return (audio - audio.mean()) / (audio.var(correction=0) + 1e-7).sqrt()


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


def test_the_shortest_clip_of_the_published_models():
    assert least_samples(transformers.HubertConfig()) == 400
    assert least_samples(transformers.HubertConfig(), frames=50) == 400 + 49 * 320


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


def test_normalisation_equals_transformers(models):
    audio = noise(3000) + 0.2
    expected = transformers.Wav2Vec2FeatureExtractor()(audio.numpy(), sampling_rate=16_000).input_values[0]
    torch.testing.assert_close(normalised(audio), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


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


@pytest.mark.parametrize("overrides", [["layer=-1"], ["layer=first"], ["layer=1", "weights=[1]"], ["weights=[0, 0]"]])
def test_impossible_choices(overrides: list[str]):
    with pytest.raises(InputError, match="--set"):
        HubertConfig.load(overrides=overrides)


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(HfApi, "model_info", refuse)


def save_pickled(folder: Path, path: Path, model: Any) -> None:
    """A model folder as older ones on the Hub are."""
    folder.mkdir(parents=True)
    shutil.copy(path / "config.json", folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)


def converted(message: str, folder: Path, **environment: str) -> Path:
    """Do word for word, in a folder, what a refusal advises."""
    found = re.search(
        r"only as pickle \(\.bin\)[^\n]* convert it by: python (-c '[^\n]+'), and give [^\n]+=DIR$", message
    )
    assert found is not None, message
    environment = dict(os.environ) | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "error", **environment}
    subprocess.run(f"{sys.executable} {found[1]}", shell=True, check=True, cwd=folder, env=environment)
    return folder / "DIR"


def test_pickled_weights_are_not_read_and_the_advice_leads_to_a_model(models, tmp_path: Path):
    path, model = models["hubert-group"]
    save_pickled(tmp_path / 'it\'s "old"', path, model)
    with pytest.raises(InputError) as error:
        hubert(tmp_path / 'it\'s "old"')
    made = hubert(converted(str(error.value), tmp_path))
    assert (made.normalise, made.normalise_from) == (False, "preprocessor_config.json")
    assert made.describe()["parameters_sha256"] == hubert(path).describe()["parameters_sha256"]
    (tmp_path / 'it\'s "old"' / "preprocessor_config.json").unlink()
    with pytest.raises(InputError) as error:
        hubert(tmp_path / 'it\'s "old"')
    shutil.rmtree(tmp_path / "DIR")
    assert hubert(converted(str(error.value), tmp_path)).normalise_from == "default"


def test_pickled_weights_in_the_hubs_cache(models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    offline(monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--nobody--old"
    save_pickled(repository / "snapshots" / "1", *models["wav2vec2"])
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("1")
    with pytest.raises(InputError) as error:
        hubert(Path("nobody/old"))
    made = hubert(converted(str(error.value), tmp_path, HF_HUB_CACHE=str(tmp_path / "cache")))
    assert made.describe()["parameters_sha256"] == hubert(models["wav2vec2"][0]).describe()["parameters_sha256"]


def test_pickled_weights_on_the_hub(monkeypatch: pytest.MonkeyPatch):
    """Where transformers does not find the Hub's own conversion either."""
    siblings = [SimpleNamespace(rfilename=name) for name in ("config.json", "pytorch_model.bin")]
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: SimpleNamespace(siblings=siblings))
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", Mock(side_effect=OSError("no model.safetensors")))
    with pytest.raises(
        InputError, match=r"^nobody/old holds its weights only as pickle[^\n]+hubert\.model=DIR$"
    ) as error:
        hubert(Path("nobody/old"))
    assert "AutoFeatureExtractor" not in str(error.value)
    siblings.append(SimpleNamespace(rfilename="model.safetensors"))
    with pytest.raises(InputError, match=r"^Cannot load the model nobody/old: no model\.safetensors$"):
        hubert(Path("nobody/old"))


@pytest.mark.parametrize(
    ("files", "words"),
    [([], "has no config.json"), (["config.json"], "has no model.safetensors: the download is incomplete")],
)
def test_incomplete_folders(models, tmp_path: Path, files: list[str], words: str):
    for file in files:
        shutil.copy(models["hubert-group"][0] / file, tmp_path)
    with pytest.raises(InputError, match=words):
        hubert(tmp_path)


def test_damaged_weights(models, tmp_path: Path):
    shutil.copytree(models["hubert-group"][0], tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match=r"^Cannot load the model [^\n]+$"):
        hubert(tmp_path / "model")


def test_lacking_parameters(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    make_model("hubert-group").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    removed = {name: tensor for name, tensor in tensors.items() if not name.startswith("encoder.layers.2")}
    save_file(removed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 16 parameters, the first is 'encoder\.layers\.2\."):
        hubert(tmp_path)


def test_another_type_of_model(tmp_path: Path):
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"Bad model type of .* 'bert', expected one of \[hubert, wav2vec2, wavlm, data2vec-audio, "
    ):
        hubert(tmp_path)


def test_missing_model_offline(monkeypatch: pytest.MonkeyPatch):
    offline(monkeypatch)
    with pytest.raises(InputError) as error:
        Hubert(HubertConfig(model="nobody/has-this-model"))
    message = str(error.value)
    assert "\n" not in message
    assert "hf download nobody/has-this-model --local-dir DIR" in message
    assert "--set hubert.model=DIR (if its weights are pickle, it says what next)" in message


def test_missing_folder():
    with pytest.raises(InputError, match=r"No model at \./not/a/folder: no such folder"):
        Hubert(HubertConfig(model="./not/a/folder"))
