"""Designed draws: what the rungs of a ladder are exactly, and that samples, however few, have the corpus's moments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from gandistill import artifacts
from gandistill.controls.draws import (
    CYCLE,
    DESIGN,
    DIRECTIONS,
    RUNG,
    SHARE,
    SHARES,
    Design,
    Spread,
    chosen_share,
    classified,
    ladder,
    moved,
    next_rung,
)
from gandistill.controls.select import REAL_DESIGNED, RECENTRED, select
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.numerics import keyed
from tests.commands import run, succeed

EXACT = {8: 7, 16: 7, 32: 15, 64: 31, 128: 63, 256: 127, 512: 255}
"""In how many leading directions the rows of a rung have covariance 1."""
Floats = NDArray[np.float64]
Clip = tuple[str, str, Floats]
"""Label, speaker and frames [T, D]."""


def normals(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


# The ladder.


@pytest.mark.parametrize("directions", [0, 1, 2, 7, 8, 30, DIRECTIONS, 300])
def test_a_rung_has_mean_0_and_covariance_1_in_its_leading_directions(directions: int):
    rows = ladder(3, 1, 0, directions)
    assert rows.shape == (CYCLE, directions)
    assert rows.isfinite().all()
    for size, exact in EXACT.items():
        rung = rows[:size]
        assert (rung.mean(0).abs() < 1e-9).all()
        leading = rung[:, :exact]
        unit = torch.eye(min(exact, directions), dtype=torch.float64)
        torch.testing.assert_close(leading.T @ leading / size, unit, rtol=0, atol=1e-9)


def test_the_first_row_of_one_direction_by_hand():
    """Eight normal values, then eight more, each brought to mean 0 and variance 1."""
    first, second = keyed(5, 2, 0, DESIGN), keyed(5, 2, 0, DESIGN)
    drawn = first.standard_normal((8, 7))[:, 0]
    rows = next_rung(torch.zeros(0, 1, dtype=torch.float64), 8, second)
    np.testing.assert_allclose(rows[:, 0], (drawn - drawn.mean()) / drawn.std(), atol=1e-12)
    drawn = first.standard_normal((8, 7))[:, 0]
    np.testing.assert_allclose(next_rung(rows, 16, second)[:, 0], (drawn - drawn.mean()) / drawn.std(), atol=1e-12)
    np.testing.assert_allclose(ladder(5, 2, 0, 1)[:8], rows, atol=1e-12)


@pytest.mark.parametrize(("have", "missing"), [(1.0, 1.0), (0.5, 1.75**0.5), (1.4, 0.2), (0.0, 2**0.5)])
def test_two_rows_make_up_for_two_others_by_hand(have: float, missing: float):
    """Of squares h^2, h^2 and twice m^2 the sum is 4, and only m and -m have the sum 0."""
    rows = next_rung(torch.tensor([[have], [-have]], dtype=torch.float64), 4, keyed(0))
    assert rows[:, 0].abs().tolist() == pytest.approx([missing, missing])
    assert rows.sum().item() == pytest.approx(0)


def test_behind_the_leading_directions_come_as_many_of_variance_1_but_for_the_first_rung():
    rows = ladder(0, 0, 0, 300)
    assert not rows[:8, 7:].any()
    for size in (16, 32, 64, 128):
        new, exact = rows[size // 2 : size], size // 2 - 1
        further = new[:, exact : 2 * exact]
        assert torch.allclose(further.T @ further / (size // 2), torch.eye(exact, dtype=torch.float64), atol=1e-9)
        assert not new[:, 2 * exact :].any()


def test_a_longer_ladder_begins_with_the_shorter_one():
    generator, rows = keyed(4, 1, 0, DESIGN), torch.zeros(0, 20, dtype=torch.float64)
    for size in (8, 16, 32, 64):
        rows = torch.cat([rows, next_rung(rows, size, generator)])
        assert torch.equal(rows, ladder(4, 1, 0, 20)[:size])


@given(directions=st.integers(0, 40), more=st.integers(0, 260), seed=st.integers(0, 3))
@settings(deadline=None, max_examples=10)
def test_leading_directions_are_the_same_however_many_follow(directions: int, more: int, seed: int):
    wide = ladder(seed, 0, 0, directions + more)
    torch.testing.assert_close(ladder(seed, 0, 0, directions), wide[:, :directions], rtol=0, atol=1e-9)


def test_seed_class_and_cycle_have_ladders_of_their_own():
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**63 - 1, 0, 0)]
    rows = {key: ladder(*key, 7) for key in keys}
    values = torch.stack([each.abs() for each in rows.values()]).flatten(1)
    assert len({round(value, 9) for value in values.flatten().tolist()}) == values.numel(), "not one number again"


def test_rows_are_unbiased_over_seeds():
    """Of 1000 seeds, each of the first 16 rows has mean 0 and variance 1 in each leading direction."""
    rows = []
    for seed in range(1000):
        generator = keyed(seed)
        first = next_rung(torch.zeros(0, 7, dtype=torch.float64), 8, generator)
        rows.append(torch.cat([first, next_rung(first, 16, generator)]))
    every = torch.stack(rows)
    assert (every.mean(0).abs() < 4 * every.std(0) / 1000**0.5).all()
    deviation = every.square().std(0) / 1000**0.5
    assert ((every.square().mean(0) - 1).abs() < 4 * deviation).all()


# What designs are made from.


def spread_by_loops(means: Floats, labels: list[str], speakers: list[str]) -> tuple[Floats, Floats]:
    """Covariance within speakers of a class, and between them, [D, D] each: every product one by one."""
    dims = means.shape[1]
    within, between, cells = np.zeros((dims, dims)), np.zeros((dims, dims)), 0
    for label in sorted(set(labels)):
        of_class = [mean for mean, name in zip(means, labels, strict=True) if name == label]
        centre = np.mean(of_class, axis=0)
        for speaker in sorted(set(speakers)):
            rows = [i for i, pair in enumerate(zip(labels, speakers, strict=True)) if pair == (label, speaker)]
            if not rows:
                continue
            cells += 1
            average = np.mean([means[i] for i in rows], axis=0)
            for i in rows:
                within += np.outer(means[i] - average, means[i] - average)
                between += np.outer(average - centre, average - centre)
    return within / max(len(means) - cells, 1), between / max(len(means) - len(set(labels)), 1)


def numbers(names: list[str]) -> Tensor:
    return torch.from_numpy(np.unique(names, return_inverse=True)[1])


def test_a_spread_by_hand():
    """Class a: speaker x at 0 and 2, y at 7; class b: x at 5. Speakers' means of a are 1 and 7, its own is 3."""
    means = torch.tensor([[0.0], [2], [7], [5]]).double()
    given = Spread.of(means, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 0]), 3)
    assert given.centres.tolist() == [[3], [5], [0]], "of a class without utterances 0"
    assert given.within.tolist() == [[2]], "1 + 1 over 4 utterances less 3 means"
    assert given.between.tolist() == [[12]], "4 + 4 + 16 over 4 utterances less 2 means"
    design = given.design(0.25)
    assert design.factor.abs().tolist() == [[pytest.approx(5**0.5)]]
    assert (design.mean.tolist(), design.share) == ([[3], [5], [0]], 0.25)


@given(
    places=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("stuvw")), min_size=1, max_size=40),
    dims=st.integers(1, 9),
    share=st.sampled_from(SHARES),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_a_factor_holds_what_lies_within_speakers_and_a_share_of_what_lies_between(
    places: list[tuple[str, str]], dims: int, share: float, seed: int
):
    labels, speakers = ([place[i] for place in places] for i in (0, 1))
    means = normals(len(places), dims, seed=seed) * [4.0**-i for i in range(dims)]
    design = Spread.of(torch.from_numpy(means), numbers(labels), numbers(speakers), 3).design(share)
    within, between = spread_by_loops(means, labels, speakers)
    expected = within + share * between
    factor = design.factor.double().numpy()
    deviation = np.sqrt(expected.diagonal())
    assert (np.abs(factor.T @ factor - expected) <= 1e-5 * np.outer(deviation, deviation)).all()
    lengths = np.linalg.norm(factor, axis=1)
    assert (np.diff(lengths) <= 1e-6).all(), "by falling length"
    assert len(factor) <= min(dims, len(places) - 1)


def test_no_more_directions_than_a_ladder_brings_to_order():
    design = Spread.of(torch.from_numpy(normals(400, 300)), torch.zeros(400).long(), torch.arange(400) % 2, 1).design(1)
    assert design.factor.shape == (DIRECTIONS, 300)


def corpus(folder: Path, clips: list[Clip], labels: list[str]) -> FeatureSet:
    """A feature set of one part, the train part."""
    made = [
        Utterance(f"u{i}", label, torch.from_numpy(frames).float(), speaker)
        for i, (label, speaker, frames) in enumerate(clips)
    ]
    facts = artifacts.describe(KIND, {}, labels=labels, dims=clips[0][2].shape[1])
    write_feature_set(folder, made, facts, "# Clips\n")
    return FeatureSet.open(folder)


def spoken(counts: dict[str, int], speakers: int, dims: int, seed: int = 0) -> list[Clip]:
    """Clips of 4 to 11 frames, the speakers of a class in turn; classes, speakers and clips have means of their own."""
    rng, clips = np.random.default_rng(seed), []
    offsets = rng.normal(size=(speakers, dims))
    for label, count in counts.items():
        centre = 3 * rng.normal(size=dims)
        for i in range(count):
            speaker = i % speakers
            mean = centre + offsets[speaker] + rng.normal(size=dims)
            clips.append((label, f"s{speaker:02d}", mean + rng.normal(size=(int(rng.integers(4, 12)), dims))))
    return clips


ABC = ["a", "b", "c"]


def constant_dims() -> list[Clip]:
    clips = spoken(dict.fromkeys(ABC, 6), 3, 5)
    for _, _, frames in clips:
        frames[:, 1], frames[:, 3] = 7.25, 0.0
    return clips


CORPORA: dict[str, Callable[[], list[Clip]]] = {
    "an ordinary one": lambda: spoken(dict.fromkeys(ABC, 12), 5, 6),
    "fewer utterances than dims": lambda: spoken(dict.fromkeys(ABC, 3), 2, 20),
    "one speaker": lambda: spoken({"a": 9, "b": 2, "c": 5}, 1, 4),
    "one utterance of a class": lambda: spoken({"a": 9, "b": 1, "c": 5}, 4, 4),
    "one utterance of each class": lambda: spoken(dict.fromkeys(ABC, 1), 1, 4),
    "one dim": lambda: spoken(dict.fromkeys(ABC, 8), 4, 1),
    "a class without utterances": lambda: spoken({"a": 5, "c": 8}, 4, 3),
    "the last class without utterances": lambda: spoken({"a": 5, "b": 8}, 4, 3),
    "one class alone": lambda: spoken({"b": 8}, 4, 3),
    "each utterance a speaker's only one": lambda: spoken(dict.fromkeys(ABC, 7), 30, 4),
    "constant dims": constant_dims,
    "nothing that varies": lambda: [(label, f"s{i}", np.full((5, 3), 2.5)) for label in ABC for i in range(5)],
    "a class for each speaker": lambda: [
        (label, f"s{label}", normals(6, 3, seed=10 * number + i))
        for number, label in enumerate("abcd")
        for i in range(3)
    ],
}


@pytest.mark.parametrize("name", CORPORA)
def test_samples_have_the_moments_of_the_corpus(name: str, tmp_path: Path):
    clips = CORPORA[name]()
    labels = sorted({*ABC, *(label for label, _, _ in clips)})
    features = corpus(tmp_path / "features", clips, labels)
    design = Design.fit(features)
    means = np.stack([features.frames(row).double().numpy().mean(axis=0) for row in range(len(clips))])
    of, speakers = ([clip[i] for clip in clips] for i in (0, 1))
    within, between = spread_by_loops(means, of, speakers)
    assert design.share in SHARES
    expected = within + design.share * between
    powers, directions = np.linalg.eigh(expected)
    powers, directions = powers[::-1], directions[:, ::-1]
    unit, scale = (np.sqrt(np.where(found > 1e-9, found, 1)) for found in (expected.diagonal(), powers))

    assert design.mean.shape == (len(labels), features.dims)
    for number, label in enumerate(labels):
        rows = [i for i, name in enumerate(of) if name == label]
        centre = means[rows].mean(axis=0) if rows else np.zeros(features.dims)
        np.testing.assert_allclose(design.mean[number], centre, rtol=1e-6, atol=1e-6)
        drawn = design.means(number, 0, 40, seed=2)
        assert drawn.dtype == torch.float32
        assert drawn.isfinite().all()
        for size in (8, 16, 32):
            points = drawn[:size].double().numpy()
            np.testing.assert_allclose((points.mean(axis=0) - centre) / unit, 0, atol=1e-4)
            scores = ((points - centre) @ directions / scale)[:, : EXACT[size]]
            np.testing.assert_allclose(
                scores.T @ scores / size, np.diag(powers / scale**2)[: EXACT[size], : EXACT[size]], atol=1e-4
            )


def test_the_only_utterance_of_a_class_is_its_mean(tmp_path: Path):
    clips = CORPORA["one utterance of a class"]()
    features = corpus(tmp_path / "features", clips, ABC)
    (row,) = np.flatnonzero(features.targets == 1)
    assert torch.equal(Design.fit(features).mean[1], features.frames(int(row)).mean(0))


def test_what_is_constant_in_a_corpus_is_so_in_its_samples(tmp_path: Path):
    design = Design.fit(corpus(tmp_path / "features", constant_dims(), ABC))
    for number in range(3):
        drawn = design.means(number, 0, 40, seed=0)
        assert drawn[:, [1, 3]].tolist() == [[7.25, 0.0]] * 40
        assert (drawn[:, [0, 2, 4]].std(0) > 0.1).all()


@given(first=st.integers(0, 1100), count=st.integers(1, 40), label=st.integers(0, 2))
@settings(deadline=None, max_examples=25)
def test_a_mean_depends_on_seed_class_and_number_alone(first: int, count: int, label: int):
    design = Design(torch.from_numpy(normals(3, 9)).float(), torch.from_numpy(normals(5, 9)).float(), SHARE)
    some = design.means(label, first, count, seed=6)
    assert some.shape == (count, 9)
    for i in range(count):
        assert torch.equal(some[i], design.means(label, first + i, 1, seed=6)[0])


def test_every_ladder_of_a_long_set_is_another_and_exact():
    design = Design(torch.zeros(1, 3), torch.eye(3), SHARE)
    drawn = design.means(0, 0, 3 * CYCLE, seed=1).double()
    assert len({row.numpy().tobytes() for row in drawn}) == 3 * CYCLE
    for start in range(0, 3 * CYCLE, CYCLE):
        for size in (RUNG, CYCLE):
            part = drawn[start : start + size]
            torch.testing.assert_close(part.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-6)
            torch.testing.assert_close(part.T @ part / size, torch.eye(3).double(), rtol=0, atol=1e-6)


# Moving clips.


def test_a_clip_is_moved_as_a_whole_by_hand():
    frames = torch.tensor([[1.0, 0.0], [3.0, 4.0]])  # of mean 2, 2: moved by 8, -2
    assert moved(frames, torch.tensor([10.0, 0.0])).tolist() == [[9.0, -2.0], [11.0, 2.0]]
    batch = moved(torch.stack([frames, frames]), torch.tensor([[10.0, 0.0], [2.0, 2.0]]))
    assert batch.tolist() == [[[9.0, -2.0], [11.0, 2.0]], frames.tolist()]
    assert moved(frames[:1], torch.tensor([5.0, 6.0])).tolist() == [[5.0, 6.0]], "one frame is the mean itself"


@given(frames=st.integers(1, 30), dims=st.integers(1, 6), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_a_moved_clip_has_the_mean_and_its_own_movement(frames: int, dims: int, seed: int):
    clip, mean = torch.from_numpy(normals(frames, dims, seed=seed)), torch.from_numpy(normals(dims, seed=seed + 1))
    found = moved(clip, mean)
    torch.testing.assert_close(found.mean(0), mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.diff(dim=0), clip.diff(dim=0), rtol=0, atol=1e-12)


# The share between speakers.


def with_offsets(speakers: int, offset: float, noise: float, seed: int = 4) -> Spread:
    """Two classes, 1 apart in one dim; a speaker moves that dim and another alike, so that only their difference tells
    the emotion: the more so the better it is known how speakers move. Six utterances of each speaker and class."""
    rng = np.random.default_rng(seed)
    target = np.tile(np.arange(2).repeat(6), speakers)
    speaker = np.arange(speakers).repeat(12)
    offsets = offset * rng.normal(size=speakers)[speaker]
    means = np.stack([offsets + target, offsets], axis=1) + noise * rng.normal(size=(len(target), 2))
    return Spread.of(torch.from_numpy(means), torch.from_numpy(target), torch.from_numpy(speaker), 2)


@pytest.mark.parametrize(("offset", "noise", "share"), [(20, 0.1, 0.0625), (7, 0.1, 0.25), (3, 0.3, 1.0)])
def test_the_share_is_less_the_more_speakers_differ(offset: float, noise: float, share: float):
    given = with_offsets(8, offset, noise)
    assert chosen_share(given) == share == chosen_share(given)


@pytest.mark.parametrize("speakers", [1, 2, 3])
def test_of_too_few_speakers_none_is_left_out(speakers: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gandistill.controls.draws.classified", lambda *_: pytest.fail("left one out"))
    assert chosen_share(with_offsets(speakers, 3, 0.3)) == SHARE


def test_whoever_is_left_out_had_no_part_in_what_is_judged_by(monkeypatch: pytest.MonkeyPatch):
    given, calls = with_offsets(5, 0, 0), []

    def noted(points: Tensor, targets: Tensor, asked: Tensor) -> Tensor:
        calls.append(len(asked))
        assert torch.equal(targets, torch.tensor([0, 1]).repeat_interleave(RUNG))
        return torch.zeros(len(asked), dtype=torch.long)

    monkeypatch.setattr("gandistill.controls.draws.classified", noted)
    assert chosen_share(given) == SHARE, "of equals the first"
    assert calls == [24] * 9 + [12] * 27, "parts of 2, 1, 1 and 1 speakers, by three shares and three seeds"


def test_a_class_that_only_those_left_out_speak_is_not_asked_for(monkeypatch: pytest.MonkeyPatch):
    """Class 2 is the first speaker's alone, and the class of nobody else can be learnt without that speaker."""
    given, asked_for = with_offsets(4, 1, 0.1), []
    targets = torch.where(given.speakers == 0, 2, given.targets)
    alone = Spread.of(given.means, targets, given.speakers, 3)

    def noted(points: Tensor, targets: Tensor, asked: Tensor) -> Tensor:
        asked_for.append((int(targets.max()) + 1, len(asked)))
        return torch.zeros(len(asked), dtype=torch.long)

    monkeypatch.setattr("gandistill.controls.draws.classified", noted)
    assert chosen_share(alone) == SHARE
    assert asked_for == [(3, 12)] * 27, "the other three parts alone"


def test_the_classifier_descends_the_gradient_of_the_cross_entropy():
    points, asked = (torch.from_numpy(normals(n, 3, seed=n)) for n in (12, 30))
    targets = torch.arange(12) % 3
    weights = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=float(12 / points.square().sum()))
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(points @ weights, targets, reduction="sum").backward()
        optimizer.step()
    expected = (asked @ weights).argmax(1)
    assert torch.equal(classified(points, targets, asked), expected)
    assert len(expected.unique()) == 3


# On disk.


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """34 utterances of each class, by five speakers."""
    return corpus(tmp_path_factory.mktemp("many") / "features", spoken(dict.fromkeys(ABC, 34), 5, 6), ABC)


def utterance_means(features: FeatureSet, label: str) -> Floats:
    rows = np.flatnonzero(features.index["label"] == label)
    return np.stack([features.frames(int(row)).double().numpy().mean(axis=0) for row in rows])


def rounding(features: FeatureSet) -> float:
    """How far a half float on disk can be from the value that it stands for."""
    return 2.0**-11 * max(float(features.frames(row).abs().max()) for row in range(len(features)))


@pytest.mark.parametrize("method", [REAL_DESIGNED, "class-gaussian", "class-gaussian-mean"])
@pytest.mark.parametrize("size", [8, 16, 32])
def test_points_on_disk_have_the_moments_of_the_corpus(method: str, size: int, many: FeatureSet, tmp_path: Path):
    chosen = select(many, method, dict.fromkeys(ABC, size), 1, tmp_path / "out")
    made_by = chosen.config["made_by"]
    assert made_by["draws"] == "designed"
    labels, speakers = many.index["label"].tolist(), many.index["speaker"].tolist()
    means = np.stack([many.frames(row).double().numpy().mean(axis=0) for row in range(len(many))])
    within, between = spread_by_loops(means, labels, speakers)
    expected, step = within + made_by["share"] * between, rounding(chosen)
    deviation = np.sqrt(expected.diagonal())
    for label in ABC:
        points = utterance_means(chosen, label)
        centre = utterance_means(many, label).mean(axis=0)
        np.testing.assert_allclose(points.mean(axis=0), centre, atol=step)
        covariance = (points - centre).T @ (points - centre) / size
        assert (np.abs(covariance - expected) <= 3 * step * np.add.outer(deviation, deviation)).all()


@pytest.mark.parametrize("ppc", [1, 2, 3, 5, 9])
def test_any_number_of_points_can_be_designed(ppc: int, many: FeatureSet, tmp_path: Path):
    for method in (RECENTRED, REAL_DESIGNED, "class-gaussian"):
        chosen = select(many, method, dict.fromkeys(ABC, ppc), 1, tmp_path / method)
        assert chosen.class_counts == dict.fromkeys(ABC, ppc)
        assert all(chosen.frames(row).isfinite().all() for row in range(len(chosen)))


@pytest.mark.parametrize("ppc", [1, 2, 7, 34])
def test_real_points_are_recentred_by_one_vector_for_each_class(ppc: int, many: FeatureSet, tmp_path: Path):
    chosen = select(many, RECENTRED, dict.fromkeys(ABC, ppc), 4, tmp_path / "out")
    random = select(many, "random", dict.fromkeys(ABC, ppc), 4, tmp_path / "random")
    assert chosen.index["id"].tolist() == random.index["id"].tolist()
    step = rounding(chosen) + rounding(random)
    for label in ABC:
        points, centre = utterance_means(chosen, label), utterance_means(many, label).mean(axis=0)
        np.testing.assert_allclose(points.mean(axis=0), centre, atol=step)
        moves = points - utterance_means(random, label)
        np.testing.assert_allclose(moves, np.broadcast_to(moves[0], moves.shape), atol=2 * step)
    assert "those of a class moved to the class's mean" in (chosen.folder / "README.md").read_text()


def test_independent_draws_differ_from_designed_ones_by_a_vector_for_each_clip(many: FeatureSet, tmp_path: Path):
    counts = dict.fromkeys(ABC, 9)
    designed = select(many, "class-gaussian", counts, 0, tmp_path / "designed")
    independent = select(many, "class-gaussian", counts, 0, tmp_path / "independent", draws="independent")
    assert select(many, "class-gaussian", counts, 0, tmp_path / "a", draws="designed").fingerprint == (
        designed.fingerprint
    )
    step = rounding(designed) + rounding(independent)
    moves = torch.stack([designed.frames(row) - independent.frames(row) for row in range(len(designed))])
    assert (moves - moves.mean(1, keepdim=True)).abs().max() <= 2 * step
    assert (moves.mean(1).abs().amax(1) > step).all()
    assert "draws" not in independent.config["made_by"]
    for chosen, draws in ((designed, "designed"), (independent, "independent")):
        assert f"Samples, {draws} draws, of a closed-form generator" in (chosen.folder / "README.md").read_text()


def test_the_command_draws_as_it_is_told(many: FeatureSet, tmp_path: Path):
    expected = select(many, "class-gaussian", dict.fromkeys(ABC, 2), 3, tmp_path / "expected", draws="independent")
    asked: tuple[Any, ...] = ("select", many.folder, "--ppc", 2, "--seed", 3, "--out", tmp_path / "out")
    succeed(*asked, "--method", "class-gaussian", "--draws", "independent")
    assert FeatureSet.open(tmp_path / "out").fingerprint == expected.fingerprint
    for words, said in (
        (("--method", "class-gaussian", "--draws", "both"), "Bad --draws 'both', expected one of [designed, ind"),
        (("--draws", "designed"), "--draws goes with --method class-gaussian or class-gaussian-mean, not random"),
        (("--method", REAL_DESIGNED, "--draws", "independent"), "not real-designed"),
    ):
        done = run(*asked, *words)
        assert done.code == 2
        (line,) = done.err.splitlines()
        assert line.startswith("gandistill: ")
        assert said in line
