"""Distilled sets: the same bits however they are drawn, the counts asked for, folders that stand alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gandistill import artifacts
from gandistill.controls.counts import counts_per_class
from gandistill.controls.noise import noise
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import Architecture, Generator
from gandistill.gan.sampling import (
    BANK,
    WEIGHTS,
    Sampler,
    sample,
    shipped,
)
from gandistill.heads.bank import Bank, load_heads
from gandistill.heads.training import HeadConfig, train_head

MOST = 40


@pytest.fixture(scope="module")
def reference(sampler: Sampler) -> dict[tuple[int, int], list[Tensor]]:
    """The first 40 samples of each class under the seeds 0 and 1."""
    numbers = range(len(sampler.labels))
    return {(label, seed): list(sampler.samples(label, MOST, seed)) for label in numbers for seed in (0, 1)}


def drawn(sampler: Sampler, out: Path, seed: int = 0, soft: bool = False, **wanted: Any) -> FeatureSet:
    counts = counts_per_class(sampler.labels, sampler.facts["class_counts"], **wanted)
    sample(sampler, counts, seed, out, soft)
    return FeatureSet.open(out)


def by_id(features: FeatureSet) -> dict[str, bytes]:
    return {name: features.frames(row).numpy().tobytes() for row, name in enumerate(features.index["id"])}


@settings(deadline=None, max_examples=25)
@given(seed=st.sampled_from([0, 1]), counts=st.lists(st.integers(0, MOST), min_size=3, max_size=3), order=st.randoms())
def test_a_sample_depends_on_seed_class_and_number_alone(
    sampler: Sampler, reference: dict[tuple[int, int], list[Tensor]], seed: int, counts: list[int], order: Any
):
    wanted = list(zip(sampler.labels, counts, strict=True))
    order.shuffle(wanted)
    places = dict.fromkeys(sampler.labels, 0)
    for utterance in sampler.utterances(dict(wanted), seed, soft=False):
        i = places[utterance.label]
        assert utterance.id == f"{utterance.label}-{i:06d}"
        assert torch.equal(utterance.frames, reference[sampler.labels.index(utterance.label), seed][i])
        places[utterance.label] += 1
    assert places == dict(wanted)


def test_samples_differ_by_number_class_and_seed(reference: dict[tuple[int, int], list[Tensor]]):
    everything = [frames for samples in reference.values() for frames in samples]
    assert len({frames.numpy().tobytes() for frames in everything}) == len(everything) == 2 * 3 * MOST


@pytest.mark.parametrize("kind", ["gan-cnn", "gan-att"])
def test_fewer_are_a_prefix_of_more_for_every_chunk_size(kind: str, sampler: Sampler, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    architecture = Architecture.build(sampler.facts["architecture"] | {"kind": kind}, "test")
    other = Sampler(Generator(architecture, 3, 6).eval(), sampler.mean, sampler.deviation, sampler.bank, {})
    assert other.chunk == 16
    for values, chunk in ((12 * 6 * 6 * 5, 5), (1, 1)):
        monkeypatch.setattr("gandistill.gan.sampling.CHUNK_VALUES", values)
        assert other.chunk == chunk
        hundred = torch.stack(list(other.samples(1, 100, seed=3)))
        assert hundred.shape == (100, 12, 6)
        assert torch.equal(torch.stack(list(other.samples(1, 50, seed=3))), hundred[:50])


def test_a_set_on_disk_is_a_prefix_of_a_larger_one(sampler: Sampler, tmp_path: Path):
    large = by_id(drawn(sampler, tmp_path / "large", ppc=34))
    sizes: tuple[dict[str, Any], ...] = ({"ppc": 17}, {"total": 50}, {"as_original": True}, {"counts": {"sad": 20}})
    smaller = [by_id(drawn(sampler, tmp_path / f"small{i}", **wanted)) for i, wanted in enumerate(sizes)]
    assert all(small.items() < large.items() for small in smaller)
    assert [len(small) for small in smaller] == [51, 50, 19, 20]
    assert sorted(smaller[-1]) == [f"sad-{i:06d}" for i in range(20)]
    other = by_id(drawn(sampler, tmp_path / "seed1", seed=1, ppc=34))
    assert other.keys() == large.keys()
    assert not set(other.values()) & set(large.values())


def test_the_same_command_gives_the_same_bytes(sampler: Sampler, tmp_path: Path):
    first = drawn(sampler, tmp_path / "first", ppc=3, soft=True)
    assert first.fingerprint == drawn(sampler, tmp_path / "second", ppc=3, soft=True).fingerprint


@pytest.mark.parametrize("kind", ["gan-cnn", "gan-att"])
def test_samples_are_what_the_generator_gives(kind: str, sampler: Sampler):
    torch.manual_seed(0)
    architecture = Architecture.build(sampler.facts["architecture"] | {"kind": kind}, "test")
    generator = Generator(architecture, 3, 6)
    for _ in range(5):
        generator(torch.randint(3, (16,)), torch.randn(16, 4) * 3)  # running statistics far from their initial values
    other = Sampler(generator.eval(), sampler.mean, sampler.deviation, sampler.bank, {})
    with torch.no_grad():
        expected = generator(torch.full((16,), 1), noise(7, 1, 0, 16, 4)) * sampler.deviation + sampler.mean
    torch.testing.assert_close(torch.stack(list(other.samples(1, 16, seed=7))), expected, rtol=1e-3, atol=1e-3)


def test_a_copy_on_the_same_device_gives_the_same_bits(sampler: Sampler):
    counts = dict.fromkeys(sampler.labels, 3)
    for one, other in zip(
        sampler.utterances(counts, 0, True), sampler.to("cpu").utterances(counts, 0, True), strict=True
    ):
        assert one.soft is not None
        assert other.soft is not None
        assert torch.equal(one.frames, other.frames)
        assert torch.equal(one.soft, other.soft)


@pytest.mark.parametrize(
    ("soft", "end"), [(False, "Cannot copy out of meta tensor"), (True, "cannot be called on meta tensors")]
)
def test_all_of_a_sample_is_computed_on_its_device(sampler: Sampler, soft: bool, end: str):
    """torch refuses to compute with tensors on two devices; from this one no value comes back."""
    moved = sampler.to("meta")
    with pytest.raises(RuntimeError, match=end):
        next(moved.utterances(dict.fromkeys(sampler.labels, 1), 0, soft))
    assert {tensor.device.type for tensor in (sampler.mean, *sampler.generator.parameters())} == {"cpu"}
    assert {parameter.device.type for head in sampler.bank.heads for parameter in head.parameters()} == {"cpu"}


def test_samples_have_the_scale_of_the_corpus(sampler: Sampler):
    raw = sampler.generator(torch.full((16,), 2), torch.zeros(16, 4))
    assert raw.shape == (16, 12, 6)
    assert sampler.mean.tolist() == pytest.approx([4.8, 3.8, 4.2, 3, 3, 3], abs=0.6)  # 3, and 4 of each class's share
    torch.manual_seed(0)
    flat = Sampler(sampler.generator, sampler.mean, torch.zeros(6), sampler.bank, sampler.facts)
    for frames in flat.samples(0, 2, seed=0):
        assert torch.equal(frames, sampler.mean.half().float().expand(12, 6))


def test_soft_labels_are_the_mean_posterior_of_the_converged_heads(sampler: Sampler, bank: Path, tmp_path: Path):
    features = drawn(sampler, tmp_path / "soft", ppc=3, soft=True)
    assert list(features.index.columns[-3:]) == ["q_neutral", "q_happy", "q_sad"]
    assert features.soft is not None
    np.testing.assert_allclose(features.soft.sum(axis=1), 1, atol=1e-6)
    heads = [head for head in Bank.open(bank).heads if head.trained["stage"] == "converged"]
    assert len(heads) == 2
    with torch.no_grad():
        for row in range(len(features)):
            logits = [head(features.frames(row)[None], torch.tensor([12]))[0] for head in heads]
            mean = torch.stack([torch.softmax(x, 0) for x in logits]).mean(0)
            np.testing.assert_allclose(features.soft[row], mean, atol=1e-6)
    hard = drawn(sampler, tmp_path / "hard", ppc=3)
    assert hard.soft is None
    assert by_id(hard) == by_id(features)


def test_a_distilled_set_is_a_feature_set(sampler: Sampler, tmp_path: Path):
    features = drawn(sampler, tmp_path / "distilled", ppc=5, soft=True)
    assert artifacts.open_artifact(features.folder, "feature set")["kind"] == "feature set"
    assert (features.labels, features.dims) == (["neutral", "happy", "sad"], 6)
    assert features.class_counts == {"neutral": 5, "happy": 5, "sad": 5}
    assert set(features.lengths) == {12}
    assert set(features.index["split"]) == {"train"}
    assert set(features.index["speaker"]) == {""}, "a sample is nobody's"
    for key, value in {"corpus": "test corpus", "licence": "CC0-1.0", "frame_rate": 50.0}.items():
        assert features.config[key] == value
    assert features.config["made_by"]["seed"] == 0
    assert features.config["distilled_by"]["updates"] in (3, 6)
    assert "CC0-1.0" in (features.folder / "README.md").read_text()
    for labels in ("hard", "soft"):
        head = train_head(features, HeadConfig(updates=4, batch=4, labels=labels))
        assert head.trained["utterances"] == features.class_counts


def test_the_generator_folder_stands_alone(
    make_features: Any, configured: Any, trained: Path, sampler: Sampler, tmp_path: Path
):
    expected = drawn(sampler, tmp_path / "expected", ppc=3, soft=True).fingerprint
    shutil.copytree(trained / "generator", tmp_path / "elsewhere")
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == [
        "README.md",
        "SHA256SUMS",
        "bank.safetensors",
        "config.json",
        "generator.safetensors",
    ]
    moved = Sampler.open(tmp_path / "elsewhere")
    assert drawn(moved, tmp_path / "again", ppc=3, soft=True).fingerprint == expected
    text = (tmp_path / "elsewhere" / "config.json").read_text()
    assert str(configured().features) not in text, "where things lay on somebody's disk"
    facts = json.loads(text)
    assert facts["labels"] == ["neutral", "happy", "sad"]
    assert (facts["architecture"]["frames"], facts["dims"]) == (12, 6)
    assert facts["class_counts"] == {"neutral": 9, "happy": 4, "sad": 6}
    assert facts["frames_of_corpus"].keys() == {"shortest", "mean", "longest"}
    assert 7 <= facts["frames_of_corpus"]["shortest"] < facts["frames_of_corpus"]["mean"] < 20
    assert (facts["corpus"], facts["licence"]) == ("test corpus", "CC0-1.0")
    assert facts["source"]["fingerprint"] == FeatureSet.open(configured().features).fingerprint
    assert facts["made_by"]["versions"]["torch"]
    assert moved.mean.shape == moved.deviation.shape == (6,)
    card = (tmp_path / "elsewhere" / "README.md").read_text()
    assert "CC0-1.0" in card
    assert "| happy | 4 |" in card


def test_sampling_needs_no_corpus(make_features: Any, configured: Any, bank: Path, tmp_path: Path):
    from gandistill.gan.training import train

    features = make_features(tmp_path / "corpus", splits=("train",))
    train(configured(features=str(features.folder), training={"updates": 1}), tmp_path / "run")
    before = drawn(Sampler.open(tmp_path / "run"), tmp_path / "before", ppc=2).fingerprint
    shutil.rmtree(features.folder)
    assert drawn(Sampler.open(tmp_path / "run"), tmp_path / "after", ppc=2).fingerprint == before


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "generator", tmp_path / "generator"))


@pytest.mark.parametrize("name", [WEIGHTS, BANK, artifacts.CONFIG, artifacts.SUMS, artifacts.CARD])
@pytest.mark.parametrize("damage", ["removed", "truncated", "altered", "emptied"])
def test_damaged_files_are_named(folder: Path, name: str, damage: str):
    content = (folder / name).read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    if damage == "removed":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes({"truncated": content[:middle], "altered": changed, "emptied": b""}[damage])
    with pytest.raises(InputError) as caught:
        Sampler.open(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "'labels' is missing"),
        ({"labels": ["neutral", "happy"]}, "bad 'class_counts'"),
        ({"dims": "6"}, "'dims' is missing or bad"),
        ({"dims": 7}, r"has shape .*7"),
        ({"dims": 2**20, "architecture": {"frames": 2**16, "channels": [2**14] * 3}}, "tensor|'architecture'"),
        (
            {"dims": 2**20, "architecture": {"frames": 2**16, "noise": 2**16, "channels": [2**14] * 3}},
            "'architecture' asks for more values",
        ),
        ({"architecture": {"kernel": 65}}, "less than or equal to 63"),
        ({"architecture": {"channels": [2**14 + 1] * 3}}, "less than or equal to 16384"),
        ({"architecture": [1]}, "'architecture' is missing or not a dict"),
        ({"class_counts": {"neutral": 1, "happy": 1}}, "bad 'class_counts'"),
        *(
            ({"class_counts": {"neutral": n, "happy": 0, "sad": 0}}, "bad 'class_counts'")
            for n in (-1, 0, True, 1.0, 2**40)
        ),
        ({"class_counts": 3}, "'class_counts' is missing"),
        ({"trained": None}, "'trained' is missing"),
        ({"architecture": {"frames": 0}}, "architecture|frames"),
        ({"architecture": {"width": 3}}, "unknown key 'width'"),
        ({"architecture": {"frames": 12, "noise": 5}}, "tensor"),
        ({"heads": []}, "'heads' is missing or empty"),
        ({"kind": "bank"}, "holds a gandistill bank, expected a generator"),
        ({"format": 99}, "format 99"),
    ],
)
def test_configs_that_do_not_fit(folder: Path, change: dict[str, Any], message: str):
    config = json.loads((folder / artifacts.CONFIG).read_text())
    (folder / artifacts.CONFIG).write_text(json.dumps(config | change))
    artifacts.write_sums(folder)
    with pytest.raises(InputError, match=message):
        Sampler.open(folder)


def test_weights_of_another_generator_are_refused(folder: Path):
    tensors = artifacts.load_tensors(folder / WEIGHTS)
    for change in ({"leave.bias": torch.tensor([float("nan")])}, {"feature_mean": torch.zeros(5)}):
        artifacts.save_tensors(folder / WEIGHTS, tensors | change)
        artifacts.write_sums(folder)
        with pytest.raises(InputError, match=WEIGHTS):
            Sampler.open(folder)
    tensors.pop("leave.bias")
    artifacts.save_tensors(folder / WEIGHTS, tensors)
    artifacts.write_sums(folder)
    with pytest.raises(InputError, match=r"tensor 'leave.bias' is missing"):
        Sampler.open(folder)


def test_a_generator_whose_replacement_in_its_run_was_killed(trained: Path, tmp_path: Path):
    shutil.copytree(trained / "generator", tmp_path / "run" / ".generator.x.old")
    assert Sampler.open(tmp_path / "run").labels == ["neutral", "happy", "sad"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["generator"]


def test_what_is_no_generator(tmp_path: Path, features: FeatureSet):
    with pytest.raises(InputError, match="no such folder"):
        Sampler.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"has no config.json"):
        Sampler.open(tmp_path)
    with pytest.raises(InputError, match="holds a gandistill feature set, expected a generator"):
        Sampler.open(features.folder)


def test_a_sample_is_not_written_over_something_else(sampler: Sampler, folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="holds a gandistill generator, not a feature set"):
        drawn(sampler, folder, ppc=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another --out or remove it"):
        drawn(sampler, tmp_path / "mine", ppc=1)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    drawn(sampler, tmp_path / "set", ppc=1)
    assert len(drawn(sampler, tmp_path / "set", ppc=2)) == 6, "an earlier set is replaced"


def test_its_bank_is_the_converged_heads(folder: Path, bank: Path):
    kept = load_heads(folder / BANK, artifacts.read_json(folder / artifacts.CONFIG))
    converged = Bank.open(bank).converged()
    assert [head.kind for head in kept] == [head.kind for head in converged]
    for mine, theirs in zip(kept, converged, strict=True):
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(mine.state_dict()[name], tensor)


def test_the_shipped_generator(monkeypatch: pytest.MonkeyPatch, trained: Path, tmp_path: Path):
    """From a checkout and from an installed package; a plain sentence where it is absent."""
    shutil.copytree(trained / "generator", tmp_path / "checkpoints" / "ravdess-gan-att")
    monkeypatch.setattr("gandistill.gan.sampling.__file__", str(tmp_path / "gandistill" / "gan" / "sampling.py"))
    assert shipped() == tmp_path / "checkpoints" / "ravdess-gan-att"
    shutil.move(tmp_path / "checkpoints", tmp_path / "gandistill" / "checkpoints")
    assert shipped() == tmp_path / "gandistill" / "checkpoints" / "ravdess-gan-att"
    shutil.rmtree(tmp_path / "gandistill")
    with pytest.raises(InputError, match="name a generator folder"):
        shipped()
