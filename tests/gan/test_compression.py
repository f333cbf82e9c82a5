"""A compressed generator draws nearly what the original does, and says what it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gandistill import artifacts
from gandistill.controls.draws import FILE as STATISTICS
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.gan.compression import compress
from gandistill.gan.sampling import BANK, WEIGHTS, Sampler, sample
from gandistill.gan.shipped import shipped
from gandistill.precision import REDUCED, STEP


def drawn(sampler: Sampler, count: int = 8) -> tuple[Tensor, Tensor]:
    """Samples [N, T, D] in units of the corpus's deviations, and their soft labels [N, C]."""
    points = list(sampler.utterances(dict.fromkeys(sampler.labels, count), seed=0, soft=True))
    frames = torch.stack([point.frames for point in points])
    return (frames - sampler.mean) / sampler.deviation, torch.stack([p.soft for p in points if p.soft is not None])


@pytest.mark.parametrize(("precision", "far", "apart"), [("float16", 0.002, 0.002), ("int8", 0.03, 0.02)])
def test_samples_and_soft_labels_are_nearly_the_same(tmp_path: Path, precision: str, far: float, apart: float):
    """Of the generator that ships; measured: relative errors of 0.0009 and 0.021, soft labels 0.0014 and 0.009 off."""
    compress(shipped(), precision, tmp_path / "small")
    samples, soft = drawn(Sampler.open(shipped()))
    found, posteriors = drawn(Sampler.open(tmp_path / "small"))
    assert 0 < (found - samples).norm() / samples.norm() < far
    assert 0 < (posteriors - soft).abs().max() < apart


@pytest.mark.parametrize("precision", REDUCED)
def test_any_generator(trained: Path, tmp_path: Path, precision: str):
    """One of random weights, batch statistics of a few updates: the bounds are those of the precision."""
    compress(trained, precision, tmp_path / "small")
    samples, soft = drawn(Sampler.open(trained))
    found, posteriors = drawn(Sampler.open(tmp_path / "small"))
    assert (found - samples).norm() / samples.norm() < {"float16": 0.005, "int8": 0.1}[precision]
    assert (posteriors - soft).abs().max() < {"float16": 0.005, "int8": 0.1}[precision]


def test_bytes_by_hand(trained: Path, tmp_path: Path):
    """A number takes two bytes in float16; in int8 one where it is a matrix's, four for each channel and otherwise."""
    for precision in REDUCED:
        compress(trained, precision, tmp_path / precision)
    sampler = Sampler.open(trained)
    modules = {WEIGHTS: [sampler.generator], BANK: sampler.bank.heads}
    for name, held in modules.items():
        tensors = [tensor for module in held for tensor in module.state_dict().values()]
        numbers = [tensor for tensor in tensors if tensor.is_floating_point()]
        extra = {WEIGHTS: 2 * 6, BANK: 0}[name]  # mean and deviation of the features
        counts = 8 * (len(tensors) - len(numbers))
        matrices = sum(t.numel() for t in numbers if t.dim() > 1)
        vectors = sum(t.numel() for t in numbers if t.dim() < 2) + extra
        found = artifacts.load_tensors(tmp_path / "int8" / name)
        channels = sum(tensor.numel() for key, tensor in found.items() if key.endswith(STEP))
        expected = {"float16": 2 * (matrices + vectors), "int8": matrices + 4 * (vectors + channels)}
        for precision, size in expected.items():
            path = tmp_path / precision / name
            header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
            assert path.stat().st_size == header + size + counts
    turned = [layer for layer in sampler.generator.modules() if isinstance(layer, torch.nn.ConvTranspose2d)]
    shapes = [found.shape for found in artifacts.load_tensors(tmp_path / "int8" / WEIGHTS).values()]
    assert all((1, layer.out_channels, 1, 1) in shapes for layer in turned)


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("kind", ["trained", "closed_form"])
def test_statistics_of_designed_draws_stay_as_they_are(
    kind: str, precision: str, request: pytest.FixtureRequest, tmp_path: Path
):
    run = request.getfixturevalue(kind)
    compress(run, precision, tmp_path / "small")
    assert (tmp_path / "small" / STATISTICS).read_bytes() == (run / "generator" / STATISTICS).read_bytes()
    small, original = Sampler.open(tmp_path / "small"), Sampler.open(run)
    for one, other in zip(small.samples(1, 9, 0), original.samples(1, 9, 0), strict=True):
        torch.testing.assert_close(one.mean(0), other.mean(0), rtol=0, atol=0.02)  # half floats up to 16


def test_it_says_what_it_is(trained: Path, tmp_path: Path):
    compress(trained, "int8", tmp_path / "small")
    original, small = Sampler.open(trained), Sampler.open(tmp_path / "small")
    fingerprint = artifacts.fingerprint(trained / "generator")
    assert small.facts["compressed"] == {"precision": "int8", "generator": "run", "fingerprint": fingerprint}
    assert {key: value for key, value in small.facts.items() if key != "compressed"} == original.facts
    made_by = artifacts.read_json(tmp_path / "small" / artifacts.CONFIG)["made_by"]
    assert (made_by["command"], made_by["precision"]) == ("compress", "int8")
    card = (tmp_path / "small" / artifacts.CARD).read_text()
    assert card.startswith((trained / "generator" / artifacts.CARD).read_text())
    assert "stored in int8, made from `run`" in card
    sample(small, {"neutral": 1, "happy": 0, "sad": 0}, 0, tmp_path / "drawn")
    assert FeatureSet.open(tmp_path / "drawn").config["compressed"] == small.facts["compressed"]


@pytest.mark.parametrize("precision", REDUCED)
def test_the_same_bytes_again(trained: Path, tmp_path: Path, precision: str):
    prints = []
    for name in ("a", "b"):
        compress(trained, precision, tmp_path / name)
        prints.append(artifacts.fingerprint(tmp_path / name))
    assert prints[0] == prints[1]
    Sampler.open(tmp_path / "a").save(tmp_path / "c", {}, "# Card\n")
    assert Sampler.open(tmp_path / "c").facts == Sampler.open(tmp_path / "a").facts


def test_what_cannot_be_compressed(trained: Path, sampler: Sampler, tmp_path: Path):
    with pytest.raises(InputError, match=r"Bad precision 'float32', expected one of \[float16, int8\]"):
        compress(trained, "float32", tmp_path / "x")
    compress(trained, "int8", tmp_path / "small")
    with pytest.raises(InputError, match="is stored in int8 already: compress the generator that it was made from"):
        compress(tmp_path / "small", "float16", tmp_path / "x")
    before = artifacts.fingerprint(trained / "generator")
    with pytest.raises(InputError, match="which must stay: choose another --out"):
        compress(trained, "int8", trained / "generator")
    assert artifacts.fingerprint(trained / "generator") == before
    wild = Sampler(sampler.generator, sampler.mean + 1e6, sampler.deviation, sampler.bank, sampler.facts)
    wild.save(tmp_path / "wild", {}, "# Card\n")
    with pytest.raises(InputError, match=r"Tensor 'feature_mean' holds numbers up to 1e\+06, beyond float16's 65,504"):
        compress(tmp_path / "wild", "float16", tmp_path / "x")
    compress(tmp_path / "wild", "int8", tmp_path / "x")


@pytest.mark.parametrize(
    "forged",
    [
        None,
        "int8",
        [],
        {},
        {"precision": "int4"},
        {"precision": "float32"},
        {"precision": ["int8"]},
        {"precision": None},
    ],
)
def test_forged_precisions(trained: Path, tmp_path: Path, forged: Any):
    folder = Path(shutil.copytree(trained / "generator", tmp_path / "generator"))
    config = artifacts.read_json(folder / artifacts.CONFIG)
    (folder / artifacts.CONFIG).write_text(json.dumps(config | {"compressed": forged}))
    artifacts.write_sums(folder)
    with pytest.raises(InputError, match=r"bad 'compressed', expected a dict with a precision that is one of"):
        Sampler.open(folder)


def test_a_precision_that_the_files_do_not_have(trained: Path, tmp_path: Path):
    compress(trained, "int8", tmp_path / "small")
    config = artifacts.read_json(tmp_path / "small" / artifacts.CONFIG)
    for claimed in ({"compressed": {"precision": "float16"}}, {}):
        kept = {key: value for key, value in config.items() if key != "compressed"}
        (tmp_path / "small" / artifacts.CONFIG).write_text(json.dumps(kept | claimed))
        artifacts.write_sums(tmp_path / "small")
        with pytest.raises(InputError, match=rf"{WEIGHTS}: tensor '.*' is not expected"):
            Sampler.open(tmp_path / "small")
