"""The guarantee: how far one speaker can move what is released, the noise for it, and nothing else that leaks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill import artifacts
from gandistill.controls.private import (
    LEAST_VARIANCE,
    WEIGHTS,
    Public,
    bounded,
    gaussian_sigma,
    noise_share,
    parts,
    release,
    scaled,
    stored,
    unscaled,
)
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train
from gandistill.heads.recogniser import Recogniser, train_recogniser
from gandistill.privacy.attack import attack_release, split_people
from gandistill.privacy.release import released
from tests.commands import run
from tests.privacy.conftest import DIMS, LABELS, write_speakers

SETTINGS = {"architecture": {"kind": "class-gaussian", "frames": 6, "noise": 4}}


@pytest.fixture(scope="module", params=[False, True], ids=["diagonal", "full"])
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Public:
    return Public.of(write_speakers(tmp_path_factory.mktemp("public") / "features", seed=1), 3, request.param)


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


def test_no_seed_takes_the_noise_off(speakers: FeatureSet, public: FeatureSet):
    known = Public.of(public, 3)
    one, other = (release(speakers.part("train"), known, 4.0) for _ in range(2))
    assert not np.allclose(one.said["level"], other.said["level"])
    assert one.terms == other.terms


def test_the_generator_knows_of_the_corpus_what_was_released_alone(
    speakers: FeatureSet, public: FeatureSet, tmp_path: Path
):
    """Counts, lengths, scale and fingerprint of the features would tell too: they are not in it."""
    privacy = {"epsilon": 4.0, "public": public.folder, "directions": 3}
    train(GanConfig.model_validate(SETTINGS | {"features": speakers.folder, "privacy": privacy}), tmp_path / "run")
    sampler = Sampler.open(tmp_path / "run")
    assert sampler.facts["privacy"]["epsilon"] == 4
    assert sampler.facts["privacy"]["delta"] == pytest.approx(1 / 80)
    assert sampler.facts["privacy"]["speakers"] == 8
    assert sampler.facts["privacy"]["public"]["fingerprint"] == public.fingerprint
    assert sampler.facts["class_counts"] == dict.fromkeys(LABELS, 100)
    assert sampler.mean.numpy() == pytest.approx(public.part("train").moments()[0].numpy())
    text = (tmp_path / "run" / "generator" / "config.json").read_text()
    assert speakers.fingerprint not in text
    assert str(tmp_path) not in text
    assert "epsilon 4" in (tmp_path / "run" / "generator" / "README.md").read_text()
    assert run("sample", tmp_path / "run", "--ppc", "4", "--out", tmp_path / "set").code == 0
    again = run("train", "--resume", "--out", tmp_path / "run")
    assert again.code == 2
    assert "another release of the same data would weaken its guarantee" in again.err


def test_an_epsilon_that_leaves_only_noise_is_computed_and_said(
    speakers: FeatureSet, public: FeatureSet, tmp_path: Path
):
    given_ = [f"features={speakers.folder}", f"privacy.public={public.folder}", "privacy.directions=3"]
    given_ += ["architecture.kind=class-gaussian", "architecture.frames=6"]
    for epsilon, said in ((0.5, True), (1000, False)):
        words = [word for each in [*given_, f"privacy.epsilon={epsilon}"] for word in ("--set", each)]
        done = run("train", *words, "--out", tmp_path / str(epsilon))
        assert done.code == 0
        assert ("of what tells classes apart is noise: a larger epsilon" in done.err) == said
        card = (tmp_path / str(epsilon) / "generator" / "README.md").read_text()
        assert ("of what tells classes apart is noise." in card) == said


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


@pytest.fixture(scope="module")
def private(speakers: FeatureSet, public: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    privacy = {"epsilon": 100.0, "public": public.folder, "directions": 3}
    out = tmp_path_factory.mktemp("private") / "run"
    train(GanConfig.model_validate(SETTINGS | {"features": speakers.folder, "privacy": privacy}), out)
    return out


def test_an_artifact_stores_what_was_released(known: Public, tmp_path: Path):
    """But for the contrasts' mean over classes."""
    released = release(write_speakers(tmp_path / "features", test=0), known, 1e4)
    design = released.design(known)
    back, said = stored(design, known), released.said
    middle = said["contrasts"].mean(0)
    assert back["level"] == pytest.approx(said["level"], abs=1e-4)
    assert back["contrasts"] == pytest.approx(said["contrasts"] - middle, abs=1e-4)
    assert back["covariance"] == pytest.approx(said["covariance"], abs=1e-4)


def test_who_knows_how_it_was_made_attacks_the_release(
    private: Path, speakers: FeatureSet, public: FeatureSet, tmp_path: Path
):
    """With next to no noise; the less there is, the more it tells."""
    words = ("attack", private, speakers.folder, "--json")
    found = run(*words, "--public", public.folder).json["membership"]["release"]
    assert found["speaker"]["auc"] > 0.7
    assert "release" not in run(*words).json["membership"]
    other = write_speakers(tmp_path / "other", seed=5, corpus="theirs")
    done = run(*words, "--public", other.folder)
    assert done.code == 2
    assert "was made with other public features than" in done.err
    older = Sampler.open(private)
    older.facts["privacy"]["mechanism"] = 1
    with pytest.raises(InputError, match="was made by an earlier version"):
        attack_release(older, *split_people(speakers), public, 0)


def test_noise_hides_who_was_in_a_release(known: Public, tmp_path: Path):
    """By the mean over a dozen crowds: without noise members are told, with epsilon 1 they are not."""
    aucs = {1.0: [], 1e4: []}
    for seed in range(12):
        folk = write_speakers(tmp_path / str(seed), train=12, test=12, seed=20 + seed)
        people, members = split_people(folk)
        for epsilon, found in aucs.items():
            made = release(folk.part("train"), known, epsilon, np.random.default_rng(seed))
            told = released(made.design(known), made.terms, known, people, members, seed)
            found.append(told["speaker"]["auc"])
    assert np.mean(aucs[1e4]) > 0.65
    assert np.mean(aucs[1.0]) == pytest.approx(0.5, abs=0.1)


def test_what_an_attack_found_stays_out_of_a_card_with_a_guarantee(private: Path, speakers: FeatureSet, tmp_path: Path):
    """It was computed from the speech that is protected. Sets that are drawn have the guarantee too."""
    assert run("sample", private, "--ppc", "4", "--out", tmp_path / "set").code == 0
    for artifact in (private, tmp_path / "set"):
        done = run("attack", artifact, speakers.folder, "--card")
        assert done.code == 2
        assert "has a guarantee, which would not cover what an attack found" in done.err
    assert "The generator's guarantee, epsilon 100, covers it too." in (tmp_path / "set" / "README.md").read_text()


def test_what_learns_from_a_private_generators_samples_alone_has_its_guarantee(
    private: Path, speakers: FeatureSet, tmp_path: Path
):
    """Heads and banks; not a head that the dev part of real features has chosen, nor one of real features."""
    assert run("sample", private, "--ppc", "6", "--out", tmp_path / "set").code == 0
    quick = ("--set", "updates=2", "--set", "batch=4")
    assert run("train-head", tmp_path / "set", *quick, "--out", tmp_path / "head").code == 0
    small = ("--set", "seeds=1", "--set", "half_trained=1", "--set", "heads=[superb]")
    assert run("bank", tmp_path / "set", *quick, *small, "--out", tmp_path / "bank").code == 0
    Recogniser.load(tmp_path / "head").save(tmp_path / "again")
    for name in ("head", "bank", "again"):
        config = artifacts.read_json(tmp_path / name / "config.json")
        assert config["privacy"] == Sampler.open(private).facts["privacy"]
        assert "The generator's guarantee, epsilon 100, covers it too." in (tmp_path / name / "README.md").read_text()
        done = run("attack", tmp_path / name, speakers.folder, "--card")
        assert "has a guarantee, which would not cover what an attack found" in done.err
    judged = write_speakers(tmp_path / "judged", train=4, test=4)
    chosen = replace(judged, index=judged.index.assign(split="dev"))
    for heard, dev in ((FeatureSet.open(tmp_path / "set"), chosen), (speakers, None)):
        head = train_recogniser(heard, dev=dev, settings=("updates=2", "batch=4"))
        head.save(tmp_path / "other")
        assert "privacy" not in artifacts.read_json(tmp_path / "other" / "config.json")
        assert "guarantee" not in (tmp_path / "other" / "README.md").read_text()


def test_public_speech_that_does_not_vary_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="must have speakers who say several classes, each more than once"):
        Public.of(write_speakers(tmp_path / "features", each=1), 3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["privacy.public=null"], "privacy.epsilon needs privacy.public"),
        (["privacy.epsilon=null"], "there would be no guarantee"),
        (["architecture.kind=gan-att"], "privacy.epsilon is for class-gaussian alone"),
        (["bank=somewhere"], "goes without a bank, which has seen the data"),
        (["privacy.epsilon=0"], "greater than 0"),
        (["privacy.directions=9"], "of 8 dims, too few for 9 directions"),
        (["privacy.public=OURS"], "must be another corpus"),
    ],
)
def test_what_is_no_guarantee(changed: list[str], words: str, speakers: FeatureSet, public: FeatureSet, tmp_path: Path):
    given_ = ["architecture.kind=class-gaussian", f"features={speakers.folder}", "privacy.epsilon=4"]
    given_ += [f"privacy.public={public.folder}", "privacy.directions=3"]
    given_ += [each.replace("OURS", str(speakers.folder)) for each in changed]
    done = run("train", *(word for each in given_ for word in ("--set", each)), "--out", tmp_path / "run")
    assert done.code == 2
    assert words in done.err


def test_nameless_speakers_cannot_be_protected(speakers: FeatureSet, public: FeatureSet):
    part = speakers.part("train")
    nameless = FeatureSet(part.folder, part.config, part.index.assign(speaker=""))
    with pytest.raises(InputError, match="96 utterances name no speaker to protect"):
        release(nameless, Public.of(public, 3), 4.0)
