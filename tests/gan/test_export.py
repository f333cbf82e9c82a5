"""A generator in ONNX draws what its sampler draws, of every kind and in batches of any size."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.controls.draws import Design
from gandistill.gan.export import export
from gandistill.gan.generator import Architecture
from gandistill.gan.sampling import Sampler, network
from gandistill.gan.shipped import named
from gandistill.numerics import noise, seeded
from gandistill.onnx import OPSET, TOLERANCE

LABELS = ["neutral", "happy", "sad"]
DIMS = 6
TINY = {"frames": 13, "noise": 4, "channels": (6, 6, 6)}
HALF = 2**-11
"""By which share of it a number is rounded at most to a half float."""


def made(**architecture: Any) -> Sampler:
    """A sampler of random weights, statistics of batch norm among them, and features far from 0."""
    with seeded(0):
        generator = network(Architecture.build(TINY | architecture, "test"), len(LABELS), DIMS)
        with torch.no_grad():
            for name, tensor in generator.state_dict().items():
                if "running" in name or name.startswith("gaussian.") or architecture["kind"] == "class-gaussian":
                    tensor.copy_(torch.rand_like(tensor) + 0.1)
        design = Design(torch.randn(len(LABELS), DIMS), torch.randn(5, DIMS), 0.25)
        mean, deviation = 10 * torch.randn(DIMS), torch.rand(DIMS) + 0.1
    return Sampler(generator.eval(), mean, deviation, None, {"labels": LABELS, "corpus": "test corpus"}, design)


def check(file: Path, sampler: Sampler) -> None:
    """One sample alone, and one of each class together, are the sampler's own, up to the half floats that those are."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    size, seed = sampler.generator.architecture.noise, 5
    for classes in ([1], [*range(len(sampler.labels))]):
        given = {"noise": torch.cat([noise(seed, c, 0, 1, size) for c in classes]), "label": torch.tensor(classes)}
        if sampler.design is not None:
            given["direction"] = torch.cat([sampler.design.directions(c, 0, 1, seed) for c in classes]).float()
        (frames,) = session.run(None, {name: value.numpy() for name, value in given.items()})
        expected = torch.stack([next(sampler.samples(c, 1, seed)) for c in classes])
        far = (torch.from_numpy(frames) - expected).abs() - HALF * expected.abs()
        assert (far / sampler.deviation).max() < TOLERANCE
        assert expected.std() > 0.1


@pytest.mark.parametrize(
    ("kind", "start", "draws"),
    [
        ("gan-cnn", "random", "independent"),
        ("gan-att", "closed-form", "designed"),
        ("gan-time", "random", "designed"),
        ("flow", "random", "designed"),
        ("class-gaussian", "random", "designed"),
        ("class-gaussian", "random", "independent"),
    ],
)
def test_samples_are_the_samplers_own(kind: str, start: str, draws: str, tmp_path: Path):
    sampler, file = made(kind=kind, start=start).drawing(draws), tmp_path / "generator.onnx"
    told = export(sampler, file)
    assert told["inputs"] == {"noise": ["batch", 4], "label": ["batch"]} | (
        {"direction": ["batch", 5]} if draws == "designed" else {}
    )
    assert told["outputs"] == {"frames": ["batch", 13, DIMS]}
    assert told["difference"] < TOLERANCE
    check(file, sampler)


@pytest.mark.parametrize("name", ["ravdess-logmel", "ravdess-whisper"])
def test_generators_that_ship(name: str, tmp_path: Path):
    """The second is stored in int8."""
    import onnxruntime
    from onnx import load

    sampler, file = Sampler.open(named(name)), tmp_path / "generator.onnx"
    export(sampler, file)
    check(file, sampler)
    told = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    assert (told["kind"], told["corpus"], told["licence"]) == ("generator", "RAVDESS", "CC BY-NC-SA 4.0")
    assert json.loads(told["labels"]) == sampler.labels
    assert json.loads(told["upstream"]) == sampler.facts["upstream"]
    assert (told["sample_rate"], told["draws"]) == ("16000", "designed")
    assert [opset.version for opset in load(str(file)).opset_import if not opset.domain] == [OPSET]


def test_designed_samples_have_the_moments_they_are_told(tmp_path: Path):
    """Directions of mean 0 and covariance 1 that anyone may draw give a class its mean and the covariance F'F."""
    import numpy as np
    import onnxruntime

    sampler, file, count = made(kind="class-gaussian"), tmp_path / "generator.onnx", 32
    export(sampler, file)
    rng = np.random.default_rng(0)
    direction = rng.standard_normal((count, 5))
    direction = np.linalg.qr(direction - direction.mean(0))[0] * count**0.5
    given = {"noise": rng.standard_normal((count, 4)), "direction": direction}
    given = {name: value.astype(np.float32) for name, value in given.items()} | {"label": np.full(count, 2)}
    means = onnxruntime.InferenceSession(file).run(None, given)[0].mean(1)
    assert sampler.design is not None
    np.testing.assert_allclose(means.mean(0), sampler.design.mean[2], atol=1e-4)
    factor = sampler.design.factor.numpy()
    np.testing.assert_allclose(np.cov(means.T, bias=True), factor.T @ factor, atol=1e-3)


def test_nothing_varies(tmp_path: Path):
    """Where utterances of a class are all alike a design has no directions, and moves samples to the class's mean."""
    import onnxruntime

    sampler, file = made(kind="class-gaussian"), tmp_path / "generator.onnx"
    assert sampler.design is not None
    object.__setattr__(sampler, "design", Design(sampler.design.mean, torch.zeros(0, DIMS), 0.25))
    assert export(sampler, file)["inputs"]["direction"] == ["batch", 0]
    given = {"noise": torch.ones(1, 4).numpy(), "label": torch.tensor([1]).numpy()}
    (frames,) = onnxruntime.InferenceSession(file).run(None, given | {"direction": torch.ones(1, 0).numpy()})
    torch.testing.assert_close(torch.from_numpy(frames)[0].mean(0), sampler.design.mean[1], atol=1e-4, rtol=0)
