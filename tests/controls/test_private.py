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
    LEAST_VARIANCE,
    WEIGHTS,
    Public,
    bounded,
    gaussian_sigma,
    mixed,
    movement,
    noise_share,
    parts,
    release,
    said_by,
    scaled,
    stored,
    unscaled,
)
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from tests.privacy.conftest import DIMS, write_speakers


@pytest.fixture(scope="module", params=[False, True], ids=["diagonal", "full"])
def known(request: pytest.FixtureRequest, public: FeatureSet) -> Public:
    return Public.of(public, 3, request.param)


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
    known = replace(Public.of(public, 3), contrast=100.0)
    released = release(speakers.part("train"), known, 4.0, noise=Silence())  # type: ignore[arg-type]
    design = released.design(known)
    train_part = speakers.part("train")
    for c in range(3):
        expected = train_part.means()[train_part.targets == c].mean(0)  # speakers have as many utterances each
        assert design.mean[c].numpy() == pytest.approx(expected.numpy(), abs=0.05)


def test_what_is_bounded_comes_back(known: Public):
    rng = np.random.default_rng(0)
    said = {"level": rng.normal(size=DIMS), "contrasts": rng.normal(size=(3, DIMS)), "covariance": rng.normal(size=3)}
    norms = dict.fromkeys(WEIGHTS, 50.0)
    back = unscaled(bounded(said, norms, WEIGHTS), said, norms, WEIGHTS)
    for name, value in said.items():
        assert back[name] == pytest.approx(value)


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_a_covariance_is_told_in_its_own_length_and_comes_back(known: Public, seed: int):
    """Of factors near the public one: the vector is as long as the matrix that it tells, or its diagonal."""
    near = np.sqrt(known.within)[:, None] * known.directions
    factor = near + 0.1 * np.random.default_rng(seed).normal(size=near.shape)
    told = known.beyond(factor)
    places = factor @ known.directions.T
    differ = places.T @ places - np.diag(known.within)
    assert np.linalg.norm(told) == pytest.approx(np.linalg.norm(differ if known.full else differ.diagonal()))
    assert known.beyond(known.covariance(told)) == pytest.approx(told, abs=1e-9)


def test_noise_leaves_no_direction_without_variance(known: Public):
    """Nor with a negative one: at least a share of the public one stays."""
    factor = known.covariance(np.full_like(known.beyond(known.directions), -10.0))
    left = np.square(np.linalg.svd(factor @ known.directions.T / np.sqrt(known.within), compute_uv=False))
    assert left.min() == pytest.approx(LEAST_VARIANCE)


def test_parts_by_hand():
    points = np.array([[1.0], [3.0], [8.0]])
    level, contrasts, around = parts(points, np.array([0, 0, 2]), 3)
    assert (level.tolist(), contrasts.tolist(), around.tolist()) == ([5], [[-3], [0], [3]], [[-1], [1], [0]])


def test_what_each_speaker_says_is_in_the_order_of_their_names(known: Public, speakers: FeatureSet):
    """Whatever the order of utterances."""
    names, told = said_by(speakers, known)
    assert names.tolist() == sorted({*speakers.index["speaker"]})
    turned = speakers.rows(np.arange(len(speakers))[::-1])
    for one, other in zip(told, said_by(turned, known)[1], strict=True):
        assert one.keys() == WEIGHTS.keys()
        for name, values in one.items():
            assert other[name] == pytest.approx(values, abs=1e-9)


def test_two_speakers_are_mixed_by_hand(known: Public):
    """Neither is loud enough to be shortened: what is released without noise is their mean."""
    one = {"level": np.full(DIMS, 0.02), "contrasts": np.zeros((3, DIMS)), "covariance": np.full(3, 0.01)}
    if known.full:
        one["covariance"] = np.full(6, 0.01)
    other = {name: 3 * values for name, values in one.items()}
    made = mixed([one, other], known, 4.0, Silence())  # type: ignore[arg-type]
    for name, values in made.said.items():
        assert values == pytest.approx(2 * one[name])
    terms = made.terms
    assert (terms["speakers"], terms["delta"], terms["epsilon"]) == (2, 1 / 20, 4)
    assert terms["sigma"] == gaussian_sigma(4.0, 1 / 20, 1.0), "a mean of two of norm 1 moves by 1"
    assert sum(terms["weights"].values()) == pytest.approx(1)


def test_movement_is_the_public_ones_and_the_level_the_same_in_every_frame():
    """Two frames of two dims; the spread that public classes share in root mean square: of 3 and 5 it is sqrt(17)."""
    basis, scales = torch.arange(8.0).view(2, 4), torch.tensor([[3.0, 0.0], [5.0, 2.0]])
    mean, same, spread = movement(basis, scales, torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), 2)
    assert mean.tolist() == [[1, 2, 1, 2], [3, 4, 3, 4], [5, 6, 5, 6]]
    assert same is basis
    torch.testing.assert_close(spread, torch.tensor([[17**0.5, 2**0.5]]).expand(3, 2))


def test_no_seed_takes_the_noise_off(speakers: FeatureSet, public: FeatureSet):
    known = Public.of(public, 3)
    one, other = (release(speakers.part("train"), known, 4.0) for _ in range(2))
    assert not np.allclose(one.said["level"], other.said["level"])
    assert one.terms == other.terms


def test_the_share_of_noise_is_what_it_comes_to(known: Public):
    """Against contrasts as large as may be, by noise that is drawn."""
    sigma, silent = 0.03, {"level": np.zeros(DIMS), "contrasts": np.zeros((3, DIMS)), "covariance": np.zeros(3)}
    norms, rng, squares = known.norms(3), np.random.default_rng(0), []
    for _ in range(500):
        y = sigma * rng.standard_normal(len(scaled(silent, norms, WEIGHTS)))
        contrasts = unscaled(y, silent, norms, WEIGHTS)["contrasts"]
        squares.append(np.square(contrasts - contrasts.mean(0)).sum() / norms["contrasts"] ** 2)
    assert noise_share(sigma, WEIGHTS["contrasts"], 3, DIMS) == pytest.approx(
        np.mean(squares) / (np.mean(squares) + 1), rel=0.05
    )


def test_an_artifact_stores_what_was_released(known: Public, tmp_path: Path):
    """But for the contrasts' mean over classes."""
    released = release(write_speakers(tmp_path / "features", test=0), known, 1e4)
    design = released.design(known)
    back, said = stored(design, known), released.said
    middle = said["contrasts"].mean(0)
    assert back["level"] == pytest.approx(said["level"], abs=1e-4)
    assert back["contrasts"] == pytest.approx(said["contrasts"] - middle, abs=1e-4)
    assert back["covariance"] == pytest.approx(said["covariance"], abs=1e-4)


def test_public_speech_that_does_not_vary_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="must have speakers who say several classes, each more than once"):
        Public.of(write_speakers(tmp_path / "features", each=1), 3)


def test_nameless_speakers_cannot_be_protected(speakers: FeatureSet, public: FeatureSet):
    part = speakers.part("train")
    nameless = FeatureSet(part.folder, part.config, part.index.assign(speaker=""))
    with pytest.raises(InputError, match="96 utterances name no speaker to protect"):
        release(nameless, Public.of(public, 3), 4.0)
