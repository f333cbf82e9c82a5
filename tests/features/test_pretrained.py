"""Pretrained models are found, or what is wrong with them is said with what to do; pickle is never read."""

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
from gandistill.features.pretrained import least_samples, normalised
from tests.features.test_hubert import hubert, make_model, noise

Saved = tuple[Path, Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A model, and the folder that it is in."""
    folder, model = tmp_path_factory.mktemp("model"), make_model("hubert-group")
    model.save_pretrained(folder)
    return folder, model


def test_normalisation_equals_transformers():
    audio = noise(3000) + 0.2
    expected = transformers.Wav2Vec2FeatureExtractor()(audio.numpy(), sampling_rate=16_000).input_values[0]
    torch.testing.assert_close(normalised(audio), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


def test_the_shortest_clip_of_the_published_models():
    assert least_samples(transformers.HubertConfig()) == 400
    assert least_samples(transformers.HubertConfig(), frames=50) == 400 + 49 * 320


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


def test_pickled_weights_are_not_read_and_the_advice_leads_to_a_model(saved: Saved, tmp_path: Path):
    path, model = saved
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


def test_pickled_weights_in_the_hubs_cache(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    offline(monkeypatch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--nobody--old"
    save_pickled(repository / "snapshots" / "1", *saved)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("1")
    with pytest.raises(InputError) as error:
        hubert(Path("nobody/old"))
    made = hubert(converted(str(error.value), tmp_path, HF_HUB_CACHE=str(tmp_path / "cache")))
    assert made.describe()["parameters_sha256"] == hubert(saved[0]).describe()["parameters_sha256"]


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
def test_incomplete_folders(saved: Saved, tmp_path: Path, files: list[str], words: str):
    for file in files:
        shutil.copy(saved[0] / file, tmp_path)
    with pytest.raises(InputError, match=words):
        hubert(tmp_path)


def test_damaged_weights(saved: Saved, tmp_path: Path):
    shutil.copytree(saved[0], tmp_path / "model")
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
