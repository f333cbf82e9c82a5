"""A generator with a guarantee: what it knows, what is said of its noise, what it cannot be made from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, HeldSet
from gandistill.gan.private import noisy, private_form
from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from tests.commands import run
from tests.privacy.conftest import DIMS, LABELS, train_private


@pytest.fixture
def config() -> GanConfig:
    architecture = {"kind": "class-gaussian", "frames": 6, "noise": 4}
    privacy = {"epsilon": 4.0, "public": "theirs"}
    return GanConfig.build({"architecture": architecture, "privacy": privacy}, "test")


def test_how_much_is_noise_is_rounded_down():
    terms = {"epsilon": 0.5, "speakers": 12, "noise": 0.6789}
    said = "Epsilon 0.5 with 12 speakers: at least 67% of what tells classes apart is noise"
    assert noisy(terms) == said


def test_it_draws_what_was_released_and_moves_as_public_speech_does(
    config: GanConfig, speakers: FeatureSet, public: FeatureSet
):
    """With next to no noise its designed draws lie where the classes do."""
    sampler = private_form(config, speakers.part("train"), public, 1e6)
    train_part = speakers.part("train")
    drawn = torch.stack(list(sampler.samples(2, 8, 0)))
    assert drawn.shape == (8, 6, DIMS)
    expected = train_part.means()[train_part.targets == 2].mean(0)
    own = public.means()[public.targets == 2].mean(0)
    assert (drawn.mean((0, 1)) - expected).norm() < 0.5 * (own - expected).norm()
    assert sampler.bank is None
    assert sampler.design is not None
    assert "source" not in sampler.facts, "a fingerprint of the corpus would tell of it"
    assert sampler.facts["trained"]["dev_uar"] == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"upstream": {"name": "another"}}, "comes from another upstream than privacy.epsilon"),
        ({"corpus": "ours"}, "must be another corpus, of as many dims, than"),
    ],
)
def test_public_features_of_another_kind_are_refused(
    config: GanConfig, speakers: FeatureSet, public: FeatureSet, changes: dict[str, Any], words: str
):
    other = replace(public, config=public.config | changes)
    with pytest.raises(InputError, match=words):
        private_form(config, speakers.part("train"), other, 4.0)


def test_public_features_of_other_dims_are_refused(config: GanConfig, speakers: FeatureSet, public: FeatureSet):
    wider = [replace(each, frames=torch.cat([each.frames, each.frames], 1)) for each in public.utterances()]
    other = HeldSet.of("wider", wider, public.config | {"dims": 2 * DIMS}, "wider")
    with pytest.raises(InputError, match="must be another corpus, of as many dims, than"):
        private_form(config, speakers.part("train"), other, 4.0)


def test_the_generator_knows_of_the_corpus_what_was_released_alone(
    speakers: FeatureSet, public: FeatureSet, tmp_path: Path
):
    """Counts, lengths, scale and fingerprint of the features would tell too: they are not in it."""
    train_private(speakers, public, tmp_path / "run", 4.0)
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
    given_ = [f"features={speakers.folder}", f"privacy.public={public.folder}"]
    given_ += ["architecture.kind=class-gaussian", "architecture.frames=6"]
    for epsilon, said in ((0.5, True), (1000, False)):
        words = [word for each in [*given_, f"privacy.epsilon={epsilon}"] for word in ("--set", each)]
        done = run("train", *words, "--out", tmp_path / str(epsilon))
        assert done.code == 0
        assert ("of what tells classes apart is noise: a larger epsilon" in done.err) == said
        card = (tmp_path / str(epsilon) / "generator" / "README.md").read_text()
        assert ("of what tells classes apart is noise." in card) == said
