"""`gandistill export`: the kind of an artifact decides what is written, and what cannot be is one line."""

import sys
from pathlib import Path

import onnxruntime
import pytest
import torch

from gandistill import Generator, Recogniser
from gandistill.export import export
from gandistill.features.logmel import LogMel, LogMelConfig
from gandistill.gan.shipped import shipped
from gandistill.heads.head import Head
from gandistill.numerics import noise, seeded
from tests.commands import run, succeed
from tests.heads.conftest import write_bank, write_features


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a head behind log-Mels."""
    folder = tmp_path_factory.mktemp("heads") / "head"
    with seeded(0):
        head = Head("superb", ["a", "b"], 8, {}, {"upstream": LogMel(LogMelConfig(bands=8)).describe()})
    Recogniser(head, "test", {**head.origin}).save(folder)
    return folder


def test_a_generator_by_its_name(tmp_path: Path):
    file = tmp_path / "new" / "generator.onnx"
    told = succeed("export", "ravdess-whisper", "--draws", "independent", "--out", file, "--json").json
    assert told["kind"] == "generator"
    assert told["inputs"] == {"noise": ["batch", 64], "label": ["batch"]}
    assert told["outputs"] == {"frames": ["batch", 92, 512]}
    assert told["bytes"] == file.stat().st_size
    generator = Generator.load("ravdess-whisper")
    again = generator.export(tmp_path / "again.onnx", "independent")
    assert again == told
    assert (tmp_path / "again.onnx").read_bytes() == file.read_bytes()
    given = {"noise": noise(7, 3, 0, 2, 64).numpy(), "label": torch.tensor([3, 3]).numpy()}
    (frames,) = onnxruntime.InferenceSession(file).run(None, given)
    sad = generator.sample(counts={"sad": 2}, draws="independent", seed=7)
    for i in range(2):
        torch.testing.assert_close(torch.from_numpy(frames[i]), sad.frames(i), atol=1e-3, rtol=1e-3)


def test_a_head(head: Path, tmp_path: Path):
    file = tmp_path / "head.onnx"
    done = succeed("export", head, "--out", file)
    assert done.out.startswith('kind: "head"\ninputs: {"audio": [1, "samples"]}\n')
    assert done.err.startswith(f"{file}: {file.stat().st_size:,} bytes, at most ")
    assert done.err.count("\n") == 1
    samples = 0.1 * noise(0, 0, 0, 1, 20_000)
    _, probabilities = onnxruntime.InferenceSession(file).run(None, {"audio": samples.numpy()})
    heard = Recogniser.load(head).predict(samples[0])
    assert probabilities[0].tolist() == pytest.approx(list(heard["probabilities"].values()), abs=1e-4)


def test_what_cannot_be_exported_is_one_line(head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    features = write_features(tmp_path / "features")
    bank, file = write_bank(features), tmp_path / "x.onnx"
    network = tmp_path / "network"
    network.mkdir()
    (network / "config.json").write_text('{"kind": "self-distilled network"}')
    (tmp_path / "empty").mkdir()
    expected = "expected one of [generator, head]"
    for artifact, words in (
        (features.folder, f"'feature set', {expected}"),
        (bank, f"'bank', {expected}"),
        (network, f"'self-distilled network', {expected}"),
        (tmp_path / "empty", "is no artifact of gandistill: it has no config.json"),
        (tmp_path / "nowhere", "is no artifact of gandistill: it has no config.json"),
    ):
        done = run("export", artifact, "--out", file)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert words in done.err
    for words, said in (
        (("--draws", "designed"), "holds a head, which draws nothing: leave --draws away"),
        (("--out", tmp_path / "x.pt"), "expected the name of a file that ends in .onnx"),
        (("--out", tmp_path), "expected the name of a file that ends in .onnx"),
    ):
        done = run("export", head, *words)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert said in done.err
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    for artifact in (head, shipped()):
        done = run("export", artifact, "--out", file)
        assert done.code == 2
        assert done.err == "gandistill: Export to ONNX needs onnxscript: run 'pip install gandistill[edge]'\n"
    assert not file.exists()


def test_draws_that_a_generator_has_not(tmp_path: Path):
    generator = Generator.load("ravdess-whisper")
    object.__setattr__(generator.sampler, "design", None)
    generator.save(tmp_path / "generator")
    done = run("export", tmp_path / "generator", "--draws", "designed", "--out", tmp_path / "x.onnx")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "stores no statistics for designed draws" in done.err
    assert export(tmp_path / "generator", tmp_path / "x.onnx")["inputs"].keys() == {"noise", "label"}
