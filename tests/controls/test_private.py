"""The guarantee: how far one speaker can move what is released, the noise for it, and nothing else that leaks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.controls.private import (
    AFAR,
    WEIGHTS,
    Public,
    Release,
    Said,
    bounded,
    gaussian_sigma,
    matrix_of,
    mixed,
    movement,
    noise_share,
    parts,
    reach,
    release,
    said_by,
    stored,
    unscaled,
    values_of,
)
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from tests.privacy.conftest import DIMS, write_speakers


@pytest.fixture(scope="module")
def known(public: FeatureSet) -> Public:
    return Public.of(public, 0.01)


def test_the_reach_errs_least():
    """Against every other norm, for a corpus as far away as is taken."""
    for sigma, dims in ((0.002, 512), (0.05, 64), (1.0, 512)):
        m, n = reach(sigma, AFAR, 0.25, dims), sigma * (dims / 0.25) ** 0.5
        errors = (AFAR - np.linspace(0, AFAR, 999)) ** 2 + (np.linspace(0, AFAR, 999) * n) ** 2
        assert (AFAR - m) ** 2 + (m * n) ** 2 <= errors.min() + 1e-12


def test_however_many_directions_are_taken_there_are_no_more_than_dims():
    """Here all of them: nothing is left for public speech."""
    known = whitened(5, 1e-9)
    made = Release(silent(np.diag([0.5, 0.4, 0.3, 0.2, 0.1])), {}, known)
    factor = made.design.factor.double().numpy()
    assert factor.shape == (5, 5)
    assert factor.T @ factor == pytest.approx(np.diag([0.5, 0.4, 0.3, 0.2, 0.1]), abs=1e-6)


def test_less_noise_reaches_further(public: FeatureSet):
    assert Public.of(public, 0.05).most < Public.of(public, 0.001).most < AFAR


@given(seed=st.integers(0, 1000), dims=st.integers(1, 6))
def test_a_symmetric_matrix_is_told_in_its_own_length_and_comes_back(seed: int, dims: int):
    matrix = np.random.default_rng(seed).normal(size=(dims, dims))
    matrix = matrix + matrix.T
    values = values_of(matrix)
    assert len(values) == dims * (dims + 1) / 2
    assert np.linalg.norm(values) == pytest.approx(np.linalg.norm(matrix))
    assert matrix_of(values, dims) == pytest.approx(matrix)


def whitened(dims: int, sigma: float) -> Public:
    """Public speech that varies by 1 in every dim, with a covariance of length 1."""
    return Public(np.zeros(dims), np.ones(dims), np.eye(dims), 1.0, 1.0, sigma, 1.0)


def silent(covariance: np.ndarray) -> Said:
    dims = len(covariance)
    return {"level": np.zeros(dims), "contrasts": np.zeros((2, dims)), "covariance": values_of(covariance)}


def test_of_noise_alone_no_direction_is_taken():
    """Its largest eigenvalue is at the edge: a little above, or below, of few dims; far above half of it."""
    known, rng, largest = whitened(60, 0.004), np.random.default_rng(0), []
    for _ in range(20):
        made = Release(mixed([silent(np.zeros((60, 60)))], known, rng), {}, known)
        largest.append(np.linalg.eigvalsh(matrix_of(made.said["covariance"], 60)).max() / known.edge)
        assert len(made.leading[0]) <= 1
    assert np.mean(largest) == pytest.approx(0.95, abs=0.05)


def test_a_direction_that_stands_out_is_taken_with_its_variance():
    """The noise around it turns the direction and adds to the variance; the mean over noises has it back."""
    dims, variance, known, rng, found = 60, 0.9, whitened(60, 0.008), np.random.default_rng(0), []
    direction = np.eye(dims)[7]
    for _ in range(20):
        made = Release(mixed([silent(variance * np.outer(direction, direction))], known, rng), {}, known)
        directions, variances = made.leading
        assert abs(directions[0] @ direction) > 0.8
        found.append(variances[0])
        factor = made.design.factor.double().numpy()
        assert np.square(factor @ directions[0]).sum() == pytest.approx(variances[0], rel=1e-5)
        across = np.linalg.svd(directions)[2][-1]
        assert np.square(factor @ across).sum() == pytest.approx(1, rel=1e-5)
    assert np.mean(found) == pytest.approx(variance, rel=0.05)


@given(scale=st.floats(0, 1e6), seed=st.integers(0, 1000), n=st.integers(1, 9))
@settings(deadline=None, max_examples=80)
def test_one_speaker_has_norm_one_at_the_most(known: Public, scale: float, seed: int, n: int):
    """So replacing one of S moves the mean by at most 2 / S, whatever they say."""
    rng = np.random.default_rng(seed)
    said = known.said(scale * rng.normal(size=(n, DIMS)), rng.integers(0, 3, n), 3)
    assert np.linalg.norm(bounded(said, known.norms(3), WEIGHTS)) <= 1 + 1e-9


class Silence:
    """Noise that is none: what is released is the mean itself."""

    def standard_normal(self, size: int) -> np.ndarray:
        return np.zeros(size)


def test_replacing_a_speaker_moves_the_release_within_the_bound(known: Public, tmp_path: Path):
    """In the units of the mechanism: whatever the other speaker says, loud or quiet, one utterance or many."""
    one = write_speakers(tmp_path / "one", train=5, test=0)
    names, norms = np.unique(one.index["speaker"]), known.norms(3)
    moved = []
    for seed, spread, each in ((7, 1.0, 4), (8, 1000.0, 1), (9, 0.0, 9)):
        other = write_speakers(tmp_path / str(seed), train=1, test=0, seed=seed, spread=spread, each=each, corpus="x")
        kept = one.index["speaker"] != names[0]
        said = [vectors(known, one.rows(kept.to_numpy())), vectors(known, other)]
        before, after = np.mean(vectors(known, one), axis=0), np.mean(np.concatenate(said), axis=0)
        moved.append(np.linalg.norm(before - after))
    assert max(moved) <= 2 / 5
    assert min(moved) > 0
    assert norms.keys() == WEIGHTS.keys()


def vectors(known: Public, features: FeatureSet) -> np.ndarray:
    means, speakers = features.means().double().numpy(), features.index["speaker"].to_numpy(str)
    return np.stack(
        [
            bounded(known.said(means[speakers == who], features.targets[speakers == who], 3), known.norms(3), WEIGHTS)
            for who in np.unique(speakers)
        ]
    )


@pytest.mark.parametrize("epsilon", [0.5, 1, 4, 16])
@pytest.mark.parametrize("speakers", [4, 1000, 10**6])
def test_the_noise_is_enough_and_no_more(epsilon: float, speakers: int):
    delta, sensitivity = 1 / (10 * speakers), 2 / speakers
    sigma = gaussian_sigma(epsilon, delta, sensitivity)
    assert GaussianPrivacyLoss(sigma, sensitivity=sensitivity).get_delta_for_epsilon(epsilon) <= delta * (1 + 1e-6)
    assert GaussianPrivacyLoss(0.99 * sigma, sensitivity=sensitivity).get_delta_for_epsilon(epsilon) > delta


def test_without_noise_or_shortening_the_class_means_come_back(speakers: FeatureSet, public: FeatureSet):
    known, train_part = replace(Public.of(public, 0.05), contrast=100.0, most=100.0), speakers.part("train")
    said = mixed((said for _, said in said_by(train_part, known)), known, Silence())  # type: ignore[arg-type]
    design = Release(said, {}, known).design
    for c in range(3):
        expected = train_part.means()[train_part.targets == c].mean(0)  # speakers have as many utterances each
        assert design.mean[c].numpy() == pytest.approx(expected.numpy(), abs=0.05)


def test_what_is_bounded_comes_back(known: Public):
    rng = np.random.default_rng(0)
    said = {"level": rng.normal(size=DIMS), "contrasts": rng.normal(size=(3, DIMS)), "covariance": rng.normal(size=6)}
    norms = dict.fromkeys(WEIGHTS, 50.0)
    back = unscaled(bounded(said, norms, WEIGHTS), said, norms, WEIGHTS)
    for name, value in said.items():
        assert back[name] == pytest.approx(value)


def test_a_covariance_is_shortened_as_a_whole_before_directions_are_taken(known: Public):
    """So that what an attacker looks at is what was bounded."""
    rng = np.random.default_rng(0)
    means, targets, directions = 9 * rng.normal(size=(12, DIMS)), np.arange(12) % 3, np.eye(DIMS)[[2, 5]]
    whole = matrix_of(known.said(means, targets, 3)["covariance"], DIMS)
    assert np.linalg.norm(whole) == pytest.approx(known.spread)
    seen = known.said(means, targets, 3, directions)["covariance"]
    assert matrix_of(seen, 2) == pytest.approx(whole[np.ix_([2, 5], [2, 5])])


def test_parts_by_hand():
    points = np.array([[1.0], [3.0], [8.0]])
    level, contrasts, around = parts(points, np.array([0, 0, 2]), 3)
    assert (level.tolist(), contrasts.tolist(), around.tolist()) == ([5], [[-3], [0], [3]], [[-1], [1], [0]])


def test_what_each_speaker_says_is_in_the_order_of_their_names(known: Public, speakers: FeatureSet):
    """Whatever the order of utterances."""
    names, told = zip(*said_by(speakers, known), strict=True)
    assert [*names] == sorted({*speakers.index["speaker"]})
    turned = speakers.rows(np.arange(len(speakers))[::-1])
    for one, (_, other) in zip(told, said_by(turned, known), strict=True):
        assert one.keys() == WEIGHTS.keys()
        for name, values in one.items():
            assert other[name] == pytest.approx(values, abs=1e-9)


def test_two_speakers_are_mixed_by_hand(known: Public):
    """Neither is loud enough to be shortened: without noise it is their mean that is told."""
    one = {
        "level": np.full(DIMS, 0.02),
        "contrasts": np.zeros((3, DIMS)),
        "covariance": values_of(0.01 * np.eye(DIMS)),
    }
    other = {name: 3 * values for name, values in one.items()}
    said = mixed([one, other], known, Silence())  # type: ignore[arg-type]
    for name, values in said.items():
        assert values == pytest.approx(2 * one[name])


def test_the_terms_of_a_release(public: FeatureSet, tmp_path: Path):
    terms = release(write_speakers(tmp_path / "features", train=2, test=0), public, 4.0).terms
    assert (terms["speakers"], terms["delta"], terms["epsilon"]) == (2, 1 / 20, 4)
    assert terms["sigma"] == gaussian_sigma(4.0, 1 / 20, 1.0), "a mean of two of norm 1 moves by 1"
    assert sum(terms["weights"].values()) == pytest.approx(1)
    assert terms["norms"] == Public.of(public, terms["sigma"]).norms(3)


def test_movement_is_the_public_ones_and_the_level_the_same_in_every_frame():
    """Two frames of two dims; the spread that public classes share in root mean square: of 3 and 5 it is sqrt(17)."""
    basis, scales = torch.arange(8.0).view(2, 4), torch.tensor([[3.0, 0.0], [5.0, 2.0]])
    mean, same, spread = movement(basis, scales, torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), 2)
    assert mean.tolist() == [[1, 2, 1, 2], [3, 4, 3, 4], [5, 6, 5, 6]]
    assert same is basis
    torch.testing.assert_close(spread, torch.tensor([[17**0.5, 2**0.5]]).expand(3, 2))


def test_no_seed_takes_the_noise_off(speakers: FeatureSet, public: FeatureSet):
    one, other = (release(speakers.part("train"), public, 4.0) for _ in range(2))
    assert not np.allclose(one.said["level"], other.said["level"])
    fixed = [{**made.terms, "directions": None} for made in (one, other)]
    assert fixed[0] == fixed[1], "how many directions are taken depends on the noise, all else does not"


def test_the_share_of_noise_is_what_it_comes_to(known: Public):
    """Against contrasts as large as may be, by noise that is drawn."""
    nothing = silent(np.zeros((DIMS, DIMS))) | {"contrasts": np.zeros((3, DIMS))}
    rng, squares = np.random.default_rng(0), []
    for _ in range(500):
        contrasts = mixed([nothing], known, rng)["contrasts"]
        squares.append(np.square(contrasts - contrasts.mean(0)).sum() / known.norms(3)["contrasts"] ** 2)
    assert noise_share(known.sigma, WEIGHTS["contrasts"], 3, DIMS) == pytest.approx(
        np.mean(squares) / (np.mean(squares) + 1), rel=0.05
    )


def test_an_artifact_stores_what_was_released(public: FeatureSet, tmp_path: Path):
    """But for the contrasts' mean over classes."""
    made = release(write_speakers(tmp_path / "features", test=0), public, 1e4)
    directions, variances = made.leading
    assert len(directions) == made.terms["directions"] > 3
    (back, seen), said = stored(made.design, made.known, len(directions)), made.said
    middle = said["contrasts"].mean(0)
    assert back["level"] == pytest.approx(said["level"], abs=1e-4)
    assert back["contrasts"] == pytest.approx(said["contrasts"] - middle, abs=1e-4)
    assert seen == pytest.approx(directions, abs=1e-4)
    assert back["covariance"] == pytest.approx(values_of(np.diag(variances)), abs=1e-4)


def test_public_speech_that_does_not_vary_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="must have speakers who say several classes, each more than once"):
        Public.of(write_speakers(tmp_path / "features", each=1), 0.05)


def test_nameless_speakers_cannot_be_protected(speakers: FeatureSet, public: FeatureSet):
    part = speakers.part("train")
    nameless = FeatureSet(part.folder, part.config, part.index.assign(speaker=""))
    with pytest.raises(InputError, match="96 utterances name no speaker to protect"):
        release(nameless, public, 4.0)
