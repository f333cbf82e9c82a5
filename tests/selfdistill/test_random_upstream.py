from pathlib import Path
from typing import Any

import pytest

from gandistill.cli import main
from gandistill.errors import InputError
from gandistill.features.pretrained import load_pretrained
from gandistill.features.upstreams import parameters_sha256
from gandistill.selfdistill.backbone import MODEL_TYPES
from gandistill.selfdistill.random_upstream import make_upstream
from tests.selfdistill.conftest import LAYERS, TINY


def test_its_weights_follow_from_the_seed(upstream: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    make_upstream(tmp_path / "same", TINY, seed=0)
    make_upstream(tmp_path / "other", TINY, seed=1)
    assert capfd.readouterr() == ("", "")
    names = sorted(path.name for path in upstream.iterdir())
    assert names == ["config.json", "model.safetensors"]
    for name in names:
        assert (tmp_path / "same" / name).read_bytes() == (upstream / name).read_bytes()
    model, _ = load_pretrained(str(upstream), "network.upstream", MODEL_TYPES)
    other, _ = load_pretrained(str(tmp_path / "other"), "network.upstream", MODEL_TYPES)
    assert len(model.encoder.layers) == LAYERS
    assert parameters_sha256(model) != parameters_sha256(other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "bert"}, r"Bad model_type in .* 'bert', expected one of \[hubert, wav2vec2, wavlm, whisper\]"),
        ({"hidden_sise": 3}, "transformers' wav2vec2 has no 'hidden_sise'"),
        ({"num_attention_heads": 3}, "not the settings of a wav2vec2"),
        ({"num_hidden_layers": "four"}, "not the settings of a wav2vec2"),
    ],
)
def test_bad_settings(tmp_path: Path, changes: dict[str, Any], words: str):
    with pytest.raises(InputError, match=words) as error:
        make_upstream(tmp_path / "model", TINY | changes, seed=0)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(upstream: Path):
    with pytest.raises(InputError, match="exists: choose another folder"):
        make_upstream(upstream, TINY, seed=0)


def test_the_command(tmp_path: Path, upstream: Path, capfd: pytest.CaptureFixture[str]):
    given = [word for key, value in TINY.items() for word in ("--set", f"settings.{key}={value}")]
    with pytest.raises(SystemExit) as end:
        main(["selfdistill", "make-upstream", "--out", str(tmp_path / "model"), *given])
    assert end.value.code == 0
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (upstream / "model.safetensors").read_bytes()
    with pytest.raises(SystemExit) as end:
        main(["selfdistill", "make-upstream", "--out", str(tmp_path / "other")])
    assert end.value.code == 2
    assert capfd.readouterr().err == "gandistill: --set: key 'settings' is missing\n"
