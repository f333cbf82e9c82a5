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
from gandistill.cli import main
from gandistill.controls.draws import FILE as STATISTICS
from gandistill.errors import InputError
from gandistill.features.counts import counts_per_class
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import Architecture, Generator
from gandistill.gan.sampling import (
    BANK,
    WEIGHTS,
    Sampler,
    sample,
    sampled,
)
from gandistill.heads.bank import Bank, load_heads
from gandistill.heads.training import HeadConfig, train_head
from gandistill.numerics import noise

MOST = 40


Reference = dict[tuple[int, int], list[Tensor]]
"""The first 40 samples of each class under the seeds 0 and 1."""


def first_samples(sampler: Sampler) -> Reference:
    numbers = range(len(sampler.labels))
    return {(label, seed): list(sampler.samples(label, MOST, seed)) for label in numbers for seed in (0, 1)}


@pytest.fixture(scope="module")
def references(sampler: Sampler, closed_form: Path) -> list[tuple[Sampler, Reference]]:
    """A GAN and a closed form, each with designed and with independent draws."""
    made = (sampler, Sampler.open(closed_form))
    drawing = [one.drawing(draws) for one in made for draws in ("designed", "independent")]
    return [(one, first_samples(one)) for one in drawing]


@pytest.fixture(scope="module")
def earlier(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator folder as it was before designed draws."""
    folder = Path(shutil.copytree(trained / "generator", tmp_path_factory.mktemp("earlier") / "generator"))
    config = artifacts.read_json(folder / artifacts.CONFIG)
    del config["draws"]
    (folder / artifacts.CONFIG).write_text(json.dumps(config))
    (folder / STATISTICS).unlink()
    artifacts.write_sums(folder)
    return folder


def drawn(sampler: Sampler, out: Path, seed: int = 0, soft: bool = False, **wanted: Any) -> FeatureSet:
    counts = counts_per_class(sampler.labels, sampler.facts["class_counts"], **wanted)
    sample(sampler, counts, seed, out, soft)
    return FeatureSet.open(out)


def by_id(features: FeatureSet) -> dict[str, bytes]:
    return {name: features.frames(row).numpy().tobytes() for row, name in enumerate(features.index["id"])}


@settings(deadline=None, max_examples=40)
@given(
    which=st.integers(0, 3),
    seed=st.sampled_from([0, 1]),
    counts=st.lists(st.integers(0, MOST), min_size=3, max_size=3),
    order=st.randoms(),
)
def test_a_sample_depends_on_seed_class_and_number_alone(
    references: list[tuple[Sampler, Reference]], which: int, seed: int, counts: list[int], order: Any
):
    sampler, reference = references[which]
    wanted = list(zip(sampler.labels, counts, strict=True))
    order.shuffle(wanted)
    places = dict.fromkeys(sampler.labels, 0)
    for utterance in sampler.utterances(dict(wanted), seed, soft=False):
        i = places[utterance.label]
        assert utterance.id == f"{utterance.label}-{i:06d}"
        assert torch.equal(utterance.frames, reference[sampler.labels.index(utterance.label), seed][i])
        places[utterance.label] += 1
    assert places == dict(wanted)


def test_samples_differ_by_number_class_seed_and_draws(references: list[tuple[Sampler, Reference]]):
    everything = [frames for _, reference in references for samples in reference.values() for frames in samples]
    assert len({frames.numpy().tobytes() for frames in everything}) == len(everything) == 4 * 2 * 3 * MOST


def test_designed_samples_are_independent_ones_moved_as_a_whole(references: list[tuple[Sampler, Reference]]):
    for (sampler, designed), (_, independent) in (references[:2], references[2:]):
        assert sampler.design is not None
        for (label, seed), samples in designed.items():
            means = sampler.design.means(label, 0, MOST, seed)
            for mean, frames, unmoved in zip(means, samples, independent[label, seed], strict=True):
                step = 2.0**-10 * max(float(frames.abs().max()), float(unmoved.abs().max()))  # of two half floats
                torch.testing.assert_close(frames.mean(0), mean, rtol=0, atol=step)
                moves = frames - unmoved
                torch.testing.assert_close(moves, moves.mean(0).expand(moves.shape), rtol=0, atol=2 * step)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_drawn_set_has_the_mean_and_covariance_of_the_corpus(
    size: int, references: list[tuple[Sampler, Reference]], features: FeatureSet, tmp_path: Path
):
    """Six dims are within the seven directions of the first rung. One speaker: all the covariance is within it."""
    train = features.part("train")
    real = train.means().double().numpy()
    centres = np.stack([real[train.targets == label].mean(axis=0) for label in range(3)])
    around = real - centres[train.targets]
    expected = around.T @ around / (len(real) - 3)
    deviation = np.sqrt(expected.diagonal())
    for number in (0, 2):
        made = drawn(references[number][0], tmp_path / str(number), ppc=size)
        means, step = made.means().double().numpy(), 2.0**-11 * max(float(f.abs().max()) for f in frames_of(made))
        for label, centre in enumerate(centres):
            points = means[made.targets == label] - centre
            np.testing.assert_allclose(points.mean(axis=0), 0, atol=step)
            tolerance = 3 * step * np.add.outer(deviation, deviation)
            assert (np.abs(points.T @ points / size - expected) <= tolerance).all()


def frames_of(features: FeatureSet) -> list[Tensor]:
    return [features.frames(row) for row in range(len(features))]


@pytest.mark.parametrize("kind", ["gan-cnn", "gan-att", "gan-time"])
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


@pytest.mark.parametrize("soft", [False, True])
def test_a_set_in_memory_is_the_one_on_disk(sampler: Sampler, tmp_path: Path, soft: bool):
    written, counts = drawn(sampler, tmp_path / "set", 3, soft, ppc=5), dict.fromkeys(sampler.labels, 5)
    held = sampled(sampler, counts, 3, soft)
    assert held.config == written.config
    assert held.index["id"].tolist() == written.index["id"].tolist()
    assert np.array_equal(held.targets, written.targets)
    assert torch.equal(held.padded(range(len(held)))[0], written.padded(range(len(held)))[0])
    assert (np.array_equal(held.soft, written.soft)) if soft else held.soft is written.soft is None


def test_the_same_command_gives_the_same_bytes(sampler: Sampler, tmp_path: Path):
    first = drawn(sampler, tmp_path / "first", ppc=3, soft=True)
    assert first.fingerprint == drawn(sampler, tmp_path / "second", ppc=3, soft=True).fingerprint


@pytest.mark.parametrize("kind", ["gan-cnn", "gan-att", "gan-time"])
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
        "draws.safetensors",
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


@pytest.mark.parametrize("name", [WEIGHTS, BANK, STATISTICS, artifacts.CONFIG, artifacts.SUMS, artifacts.CARD])
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
        (
            {"dims": 2**20, "architecture": {"kind": "gan-att", "frames": 2**16, "channels": [2**14] * 3}},
            "tensor|'architecture'",
        ),
        (
            {
                "dims": 2**20,
                "architecture": {"kind": "gan-att", "frames": 2**16, "noise": 2**16, "channels": [2**14] * 3},
            },
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
        *(
            ({"draws": forged}, "bad 'draws', expected a share from 0.0 to 1.0 and 0 to 6 directions")
            for forged in (
                *(None, [], {}, "designed", {"share": 0.25}, {"directions": 6}),
                *({"share": share, "directions": 6} for share in (1, -0.1, 1.5, "0.25", True)),
                *({"share": 0.25, "directions": directions} for directions in (-1, 7, 2**62, 6.0, True, "6")),
            )
        ),
        ({"draws": {"share": 0.25, "directions": 5}}, r"draws\.safetensors.*'factor'"),
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


def test_statistics_that_are_no_numbers_are_refused(folder: Path):
    tensors = artifacts.load_tensors(folder / STATISTICS)
    for name in ("mean", "factor"):
        damaged = tensors[name].clone()
        damaged[0, 0] = float("nan")
        artifacts.save_tensors(folder / STATISTICS, tensors | {name: damaged})
        artifacts.write_sums(folder)
        with pytest.raises(InputError, match=rf"{STATISTICS}: tensor '{name}'"):
            Sampler.open(folder)


def test_statistics_are_saved_and_read_to_the_same_bits(sampler: Sampler, tmp_path: Path):
    sampler.save(tmp_path / "again", {}, "# Card\n")
    again = Sampler.open(tmp_path / "again")
    assert again.design is not None
    assert sampler.design is not None
    assert torch.equal(again.design.mean, sampler.design.mean)
    assert torch.equal(again.design.factor, sampler.design.factor)
    assert again.design.share == sampler.design.share
    assert again.facts == sampler.facts
    assert all(map(torch.equal, again.samples(1, 20, 3), sampler.samples(1, 20, 3)))


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return int(str(stopped.value.code))


def test_a_generator_of_an_earlier_version_draws_independently_and_says_so(
    earlier: Path, sampler: Sampler, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    asked: tuple[Any, ...] = ("sample", earlier, "--ppc", 3)
    assert run(*asked, "--out", tmp_path / "open") == 0
    assert capfd.readouterr().err == (
        "The generator stores no statistics for designed draws: its samples are independent\n"
        f"{tmp_path / 'open'}: 9 samples\n"
    )
    assert run(*asked, "--out", tmp_path / "told", "--draws", "independent") == 0
    assert capfd.readouterr().err == f"{tmp_path / 'told'}: 9 samples\n"
    expected = by_id(drawn(sampler.drawing("independent"), tmp_path / "expected", ppc=3))
    for name in ("open", "told"):
        made = FeatureSet.open(tmp_path / name)
        assert by_id(made) == expected
        assert made.config["made_by"]["draws"] == "independent"
        assert "Samples of a generator, independent draws" in (made.folder / "README.md").read_text()
    assert run(*asked, "--out", tmp_path / "designed", "--draws", "designed") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("gandistill: The generator stores no statistics for designed draws")
    assert "--draws independent" in line
    assert not (tmp_path / "designed").exists()


def test_the_command_draws_designed_samples_unless_told_otherwise(
    trained: Path, sampler: Sampler, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    for draws, words in (("designed", ()), *((draws, ("--draws", draws)) for draws in ("designed", "independent"))):
        assert run("sample", trained, "--ppc", 2, "--out", tmp_path / "out", *words) == 0
        assert capfd.readouterr().err == f"{tmp_path / 'out'}: 6 samples\n"
        made = FeatureSet.open(tmp_path / "out")
        assert made.config["made_by"]["draws"] == draws
        assert by_id(made) == by_id(drawn(sampler.drawing(draws), tmp_path / "expected", ppc=2))
    assert run("sample", trained, "--ppc", 2, "--out", tmp_path / "out", "--draws", "both") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "gandistill: Bad --draws 'both', expected one of [designed, independent]"


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
