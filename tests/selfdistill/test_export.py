"""An exported exit is that exit and nothing else, in fewer bytes, in any format."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gandistill import artifacts
from gandistill.cli import main
from gandistill.errors import InputError, RunError
from gandistill.numerics import seeded
from gandistill.precision import PRECISIONS
from gandistill.selfdistill import export as module
from gandistill.selfdistill.backbone import backbone_of
from gandistill.selfdistill.evaluation import evaluate
from gandistill.selfdistill.export import ONNX_FILE, export
from gandistill.selfdistill.model import Network, load_network, save_network
from tests.features.test_hubert import make_model

CLIP = 4000
Made = Callable[..., Path]


def untrained(kind: str = "wav2vec2", block: str = "lstm", seed: int = 0, **settings: Any) -> Network:
    """A network with exits behind layers 1, 2 and 3."""
    with seeded(seed):
        exits = {1: block, 2: block, 3: None}
        return Network(backbone_of(make_model(kind)), exits, ["a", "b", "c"], **{"clip": CLIP} | settings)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes the folder of one."""

    def make(*given: Any, **settings: Any) -> Path:
        save_network(tmp_path / "whole", untrained(*given, **settings), {"command": "test"})
        return tmp_path / "whole"

    return make


def noise(samples: int = CLIP) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(1)) + 0.05


@torch.inference_mode()
def heard(network: Network, depth: int, audio: Tensor) -> Tensor:
    ((_, answer),) = network.answers(network.prepared(audio)[None], depths=[depth])
    return answer.logits[0]


def test_files_are_those_the_exit_needs_to_the_byte(made: Made, tmp_path: Path):
    whole, out = made(facts={"corpus": "test", "calibration": {"threshold": 0.5}}), tmp_path / "exit"
    told = export(whole, 2, out)
    kept = ["encoder.safetensors", "exit-02.safetensors", "layer-01.safetensors", "layer-02.safetensors"]
    assert sorted(file.name for file in out.glob("*.safetensors")) == kept
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in kept)
    before, after = artifacts.bytes_on_disk(whole), artifacts.bytes_on_disk(out)
    assert told == {"exit": 2, "bytes": after, "share": after / before}
    (whole / "exit-02-predictions.csv").write_bytes(b"," * before)
    assert export(whole, 2, out) == told, "what lies beside a network is none of its bytes"
    exported, original = load_network(out), load_network(whole)
    assert exported.blocks == {2: "lstm"}
    assert exported.facts["corpus"] == "test"
    assert exported.facts["exported"] == {"network": "whole", "fingerprint": artifacts.fingerprint(whole)}
    assert "calibration" not in exported.facts, "alone it cannot leave earlier"
    assert torch.equal(heard(exported, 2, noise()), heard(original, 2, noise()))


def test_the_deepest_exit_too(made: Made, tmp_path: Path):
    whole = made()
    export(whole, 3, tmp_path / "exit")
    assert not list((tmp_path / "exit").glob("exit-0[12]*"))
    expected = heard(load_network(whole), 3, noise())
    assert torch.equal(heard(load_network(tmp_path / "exit"), 3, noise()), expected)


@pytest.mark.parametrize(("precision", "near"), [("float16", 2e-3), ("int8", 0.1)])
@pytest.mark.parametrize("block", ["cnn", "lstm"])
def test_rounded_weights_answer_nearly_the_same(made: Made, tmp_path: Path, block: str, precision: str, near: float):
    whole, out = made("wavlm-layer", block), tmp_path / "exit"
    export(whole, 1, tmp_path / "plain")
    export(whole, 1, out, precision)
    network, expected = load_network(out), heard(load_network(whole), 1, noise())
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    torch.testing.assert_close(heard(network, 1, noise()), expected, atol=near, rtol=near)
    assert not torch.equal(heard(network, 1, noise()), expected)
    tensors = [
        sum(file.stat().st_size for file in (tmp_path / name).glob("*.safetensors")) for name in ("exit", "plain")
    ]
    assert tensors[0] < tensors[1] * 0.8
    again = tmp_path / "again"
    export(out, 1, again)
    assert all(file.read_bytes() == (again / file.name).read_bytes() for file in out.glob("exit*.safetensors"))
    assert load_network(again).facts["precision"] == precision


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a network and of its exit behind layer 1 in ONNX."""
    whole, out = tmp_path_factory.mktemp("onnx") / "whole", tmp_path_factory.mktemp("onnx") / "exit"
    save_network(whole, untrained(), {"command": "test"})
    export(whole, 1, out, form="onnx")
    return whole, out


def check_onnx(out: Path, network: Network, exit: int) -> None:
    """An exported exit answers like the network's, on clips of any length."""
    import onnxruntime

    network.clip = 0  # a window of any length
    session = onnxruntime.InferenceSession(out / ONNX_FILE, providers=["CPUExecutionProvider"])
    for samples in (2000, CLIP, 3 * CLIP):
        audio = noise(samples)
        found = [torch.from_numpy(np.array(each))[0] for each in session.run(None, {"audio": audio[None].numpy()})]
        logits = heard(network, exit, audio)
        torch.testing.assert_close(found, [logits, logits.softmax(-1)], atol=1e-4, rtol=0)


def test_onnx_equals_torch_at_any_length(onnx: tuple[Path, Path]):
    whole, out = onnx
    check_onnx(out, load_network(whole), 1)
    config = artifacts.open_artifact(out, "self-distilled network in ONNX")
    assert (config["exit"], config["clip"], config["labels"]) == (1, CLIP, ["a", "b", "c"])
    content = (out / ONNX_FILE).read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[2]).encode() not in content, "nothing tells where it was made"


def test_wavlm_with_a_gru_too(made: Made, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    whole = made("wavlm-layer", "gru", clip=0)
    export(whole, 2, tmp_path / "onnx", form="onnx")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, "what the exporter has to say stays with it"
    check_onnx(tmp_path / "onnx", load_network(whole), 2)


def test_the_command_makes_the_same_onnx(onnx: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole, out = onnx
    words = ["selfdistill", "export", str(whole), "--exit", "1", "--format", "onnx", "--out", str(tmp_path / "again")]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--json"])
    assert json.loads(capsys.readouterr().out)["exit"] == 1
    assert (tmp_path / "again" / ONNX_FILE).read_bytes() == (out / ONNX_FILE).read_bytes()


def test_onnx_that_computes_something_else_is_not_kept(
    onnx: tuple[Path, Path], made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from onnx import load

    monkeypatch.setattr(module, "_program", lambda *_: load(str(onnx[1] / ONNX_FILE)))
    with pytest.raises(RunError, match=r"logits of ONNX Runtime differ from torch by .*, above 0.0001"):
        export(made(seed=1), 1, tmp_path / "onnx", form="onnx")
    assert not (tmp_path / "onnx").exists()


def test_without_the_extra(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"needs onnxruntime: run 'pip install gandistill\[edge\]'"):
        export(made(), 1, tmp_path / "onnx", form="onnx")
    assert not (tmp_path / "onnx").exists()


def test_what_rounding_costs_is_measured_as_anything_is(trained: Path, manifest: Path, tmp_path: Path):
    uar = {}
    for precision in PRECISIONS:
        export(trained / "network", 2, tmp_path / precision, precision)
        found = evaluate(tmp_path / precision, manifest, "test")["exits"]
        assert list(found) == ["2"]
        uar[precision] = found["2"]["uar"]
    assert uar["float16"] == pytest.approx(uar["float32"], abs=0.1)
    assert uar["int8"] == pytest.approx(uar["float32"], abs=0.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"exit": 4}, "Bad exit of WORK/whole: 4, expected one of [1, 2, 3]"),
        ({"precision": "int4"}, "Bad precision 'int4', expected one of [float32, float16, int8]"),
        ({"form": "tflite"}, "Bad format 'tflite', expected one of [safetensors, onnx]"),
        (
            {"form": "onnx", "precision": "int8"},
            "ONNX is written in float32 alone: int8 is how safetensors store weights",
        ),
        ({"out": "whole"}, "is the network to export, which must stay"),
        ({"out": "whole/exit-1"}, "lie one inside the other: choose an --out beside it"),
        ({"out": "."}, "lie one inside the other: choose an --out beside it"),
        ({"out": "taken"}, "exists and is not a gandistill self-distilled network"),
        ({"folder": "nowhere"}, "No self-distilled network at WORK/nowhere"),
    ],
)
def test_bad_requests(made: Made, tmp_path: Path, arguments: dict[str, Any], words: str):
    made()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").touch()
    arguments = {"folder": "whole", "exit": 1, "out": "out"} | arguments
    arguments |= {"folder": tmp_path / arguments["folder"], "out": tmp_path / arguments["out"]}
    with pytest.raises(InputError) as error:
        export(**arguments)
    assert words.replace("WORK", str(tmp_path)) in str(error.value)


def test_rounding_twice_is_refused(made: Made, tmp_path: Path):
    export(made(), 1, tmp_path / "half", "float16")
    with pytest.raises(InputError, match="is stored in float16 already"):
        export(tmp_path / "half", 1, tmp_path / "int8", "int8")


@pytest.mark.parametrize("precision", ["int4", None, 8, ["int8"]])
def test_a_forged_precision(made: Made, precision: Any):
    whole = made()
    config = artifacts.read_json(whole / artifacts.CONFIG) | {"precision": precision}
    artifacts.write_json(whole / artifacts.CONFIG, config)
    artifacts.write_sums(whole)
    with pytest.raises(InputError, match=r"Bad precision in .*config.json: .*, expected one of"):
        load_network(whole)
