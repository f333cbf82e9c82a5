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
    LEAST_VARIANCE,
    MOST,
    ROUGH,
    WEIGHTS,
    Public,
    Release,
    bounded,
    directions,
    gaussian_sigma,
    mixed,
    movement,
    noise_share,
    parts,
    reach,
    release,
    said_by,
    stored,
    unscaled,
)
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from tests.privacy.conftest import DIMS, write_speakers


@pytest.fixture(scope="module", params=[0.015, 0.001], ids=["some directions", "all"])
def known(request: pytest.FixtureRequest, public: FeatureSet) -> Public:
    return Public.of(public, request.param)


def test_the_less_noise_the_more_is_asked(public: FeatureSet):
    """Of a covariance, in more directions; of the level, further away."""
    loud, quiet = (Public.of(public, sigma) for sigma in (0.015, 0.001))
    assert (len(loud.factor), len(quiet.factor)) == (3, DIMS)
    assert loud.most < quiet.most < AFAR
    for known in (loud, quiet):
        rows = np.concatenate([known.factor, known.rest])
        assert rows @ rows.T == pytest.approx(np.diag(np.square(rows).sum(1)), abs=1e-9)
        assert len(rows) == DIMS


def test_the_reach_errs_least():
    """Against every other norm, for a corpus as far away as is taken."""
    for sigma, dims in ((0.002, 512), (0.05, 64), (1.0, 512)):
        m, n = reach(sigma, AFAR, 0.25, dims), sigma * (dims / 0.25) ** 0.5
        errors = (AFAR - np.linspace(0, AFAR, 999)) ** 2 + (np.linspace(0, AFAR, 999) * n) ** 2
        assert (AFAR - m) ** 2 + (m * n) ** 2 <= errors.min() + 1e-12


def test_a_covariance_is_as_rough_as_is_taken():
    """The largest eigenvalue that noise alone has, in as many directions as that noise lets be told; one at least."""
    sigma, rng = 0.002, np.random.default_rng(0)
    count = directions(sigma, ROUGH, WEIGHTS["covariance"])
    assert 20 < count < MOST
    known = Public(*(np.ones(count), np.ones(count), np.eye(count), np.zeros((0, count)), 1.0, sigma, 1.0))
    told = {
        "level": np.zeros(count),
        "contrasts": np.zeros((2, count)),
        "covariance": np.zeros(count * (count + 1) // 2),
    }
    largest = []
    for _ in range(20):
        factor = known.covariance(mixed([told, told], known, rng)["covariance"])
        largest.append(np.linalg.eigvalsh(factor.T @ factor).max() - 1)
    assert np.mean(largest) == pytest.approx(ROUGH, rel=0.15)
    assert directions(100.0, ROUGH, 0.25) == 1
    assert directions(1e-9, ROUGH, 0.25) == MOST


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
    said = mixed(said_by(train_part, known)[1], known, Silence())  # type: ignore[arg-type]
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


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_a_covariance_is_told_in_its_own_length_and_comes_back(known: Public, seed: int):
    """Of factors near the public one: the vector is as long as the matrix that it tells, where public speech has 1."""
    count = len(known.factor)
    factor = (np.eye(count) + 0.05 * np.random.default_rng(seed).normal(size=(count, count))) @ known.factor
    told = known.beyond(factor)
    places = factor @ np.linalg.pinv(known.factor)
    assert np.linalg.norm(told) == pytest.approx(np.linalg.norm(places.T @ places - np.eye(len(places))))
    assert known.beyond(known.covariance(told)) == pytest.approx(told, abs=1e-9)
    assert known.beyond(known.factor) == pytest.approx(0, abs=1e-9)


def test_noise_leaves_no_direction_without_variance(known: Public):
    """Nor with a negative one: at least a share of the public one stays."""
    factor = known.covariance(np.full_like(known.beyond(known.factor), -10.0))
    left = np.square(np.linalg.svd(factor @ np.linalg.pinv(known.factor), compute_uv=False))
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
    """Neither is loud enough to be shortened: without noise it is their mean that is told."""
    one = {
        "level": np.full(DIMS, 0.02),
        "contrasts": np.zeros((3, DIMS)),
        "covariance": known.beyond(1.01 * known.factor),
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
    assert one.terms == other.terms


def test_the_share_of_noise_is_what_it_comes_to(known: Public):
    """Against contrasts as large as may be, by noise that is drawn."""
    silent = {"level": np.zeros(DIMS), "contrasts": np.zeros((3, DIMS)), "covariance": known.beyond(known.factor)}
    rng, squares = np.random.default_rng(0), []
    for _ in range(500):
        contrasts = mixed([silent], known, rng)["contrasts"]
        squares.append(np.square(contrasts - contrasts.mean(0)).sum() / known.norms(3)["contrasts"] ** 2)
    assert noise_share(known.sigma, WEIGHTS["contrasts"], 3, DIMS) == pytest.approx(
        np.mean(squares) / (np.mean(squares) + 1), rel=0.05
    )


def test_an_artifact_stores_what_was_released(public: FeatureSet, tmp_path: Path):
    """But for the contrasts' mean over classes."""
    made = release(write_speakers(tmp_path / "features", test=0), public, 1e4)
    back, said = stored(made.design, made.known), made.said
    middle = said["contrasts"].mean(0)
    assert back["level"] == pytest.approx(said["level"], abs=1e-4)
    assert back["contrasts"] == pytest.approx(said["contrasts"] - middle, abs=1e-4)
    assert back["covariance"] == pytest.approx(said["covariance"], abs=1e-4)


def test_public_speech_that_does_not_vary_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="must have speakers who say several classes, each more than once"):
        Public.of(write_speakers(tmp_path / "features", each=1), 0.05)


def test_nameless_speakers_cannot_be_protected(speakers: FeatureSet, public: FeatureSet):
    part = speakers.part("train")
    nameless = FeatureSet(part.folder, part.config, part.index.assign(speaker=""))
    with pytest.raises(InputError, match="96 utterances name no speaker to protect"):
        release(nameless, public, 4.0)
