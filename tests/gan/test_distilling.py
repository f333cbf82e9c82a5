"""What every training has: batches of all classes, clips in their units, the average, and a state that goes on."""

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, HeldSet
from gandistill.gan import distilling
from gandistill.gan.distilling import learning_rate_share
from gandistill.gan.flowing import Flowing, flow_update
from gandistill.gan.settings import Training
from gandistill.gan.training import one_update, prepared, train, untrained
from tests.gan.conftest import DIMS, FLOW


def flowing_of(configured: Any, **changes: Any) -> Flowing:
    """One that trains in no time."""
    return prepared(configured(**{"bank": None, "architecture": FLOW} | changes))[0]


@pytest.fixture(scope="module")
def whole(configured: Any) -> Flowing:
    return flowing_of(configured)


@settings(deadline=None, max_examples=40)
@given(pairs=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_batches_are_pairs_of_every_class_as_nearly_as_may_be(whole: Flowing, configured: Any, pairs: int, seed: int):
    flowing = copy(whole)
    flowing.config = configured(training={"batch": 2 * pairs})
    labels, rows, places = flowing.drawn(torch.Generator().manual_seed(seed))
    assert labels.shape == rows.shape == places.shape == (2 * pairs,)
    assert labels[0::2].tolist() == labels[1::2].tolist()
    counts = labels.bincount(minlength=3)
    assert counts.max() - counts.min() <= 2
    assert flowing.features.targets[rows].tolist() == labels.tolist()
    assert ((places >= 0) & (places < 1)).all()


def test_real_clips_are_standardised_windows(configured: Any, features: FeatureSet):
    """By mean and deviation over all frames of the training part; what does not vary is left as it is."""
    train_part = features.training_part()
    frames = torch.cat([train_part.frames(row) for row in range(len(train_part))])
    flowing = flowing_of(configured)
    rows, places = np.array([0, 12]), torch.tensor([0.0, 0.999])
    expected = (train_part.windows(rows, 12, places) - frames.mean(0)) / frames.std(0, correction=0)
    torch.testing.assert_close(flowing.real(rows, places), expected, rtol=1e-4, atol=1e-4)
    constant = [
        replace(each, frames=each.frames.clone().index_fill_(1, torch.tensor([4]), 7.0))
        for each in train_part.utterances()
    ]
    held = HeldSet.of("constant", constant, features.config, "constant")
    flat = Flowing(flowing.config, held, None, torch.device("cpu"))
    assert flat.scale[4] == 1
    assert (flat.real(rows, places)[..., 4] == 0).all()


def test_a_start_is_fitted_to_no_more_clips_than_fit_in_memory(configured: Any, monkeypatch: pytest.MonkeyPatch):
    """As many of each class, drawn by the seed; where there are fewer, all."""
    flowing = flowing_of(configured)
    clips, classes = flowing.start_clips()
    assert clips.shape == (19, 12, DIMS)
    assert classes.bincount().tolist() == [9, 4, 6]
    monkeypatch.setattr(distilling, "START_CLIPS", 15)
    clips, classes = flowing.start_clips()
    assert classes.bincount().tolist() == [5, 4, 5]
    assert torch.equal(flowing.start_clips()[0], clips)
    other = flowing_of(configured, training={"seed": 1}).start_clips()[0]
    assert other.shape == clips.shape
    assert not torch.equal(other, clips)


def test_a_state_holds_all_that_the_next_update_depends_on(configured: Any, tmp_path: Path):
    first, second = (prepared(configured(training={"batch": 4}))[0] for _ in range(2))
    for update in (1, 2):
        one_update(first, update)
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    second.load_state(state, tmp_path)
    assert one_update(second, 3) == one_update(first, 3)
    after = second.state()
    assert all(torch.equal(tensor, after[name]) for name, tensor in first.state().items())
    assert not torch.equal(after["average.leave.weight"], state["average.leave.weight"])


@pytest.mark.parametrize("part", ["generator", "average.leave", "optimiser.0.exp_avg"])
def test_a_state_that_lacks_a_part_is_refused(configured: Any, tmp_path: Path, part: str):
    flowing = flowing_of(configured)
    flow_update(flowing, 1)
    state = flowing.state()
    assert {name.split(".")[0] for name in state} == {"generator", "average", "optimiser"}
    lacking = {name: tensor for name, tensor in state.items() if not name.startswith(part)}
    with pytest.raises(InputError, match="missing"):
        flowing_of(configured).load_state(lacking, tmp_path)


def test_a_sampler_is_a_copy_that_training_does_not_move(configured: Any):
    flowing = flowing_of(configured, training={"learning_rate": 0.01})
    flow_update(flowing, 1)
    sampler = flowing.sampler(1)
    before = {name: tensor.clone() for name, tensor in sampler.generator.state_dict().items()}
    flow_update(flowing, 2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in sampler.generator.state_dict().items())
    assert not torch.equal(flowing.average.enter.weight, sampler.generator.enter.weight)
    assert (sampler.facts["trained"]["updates"], sampler.bank) == (1, None)
    torch.testing.assert_close((sampler.mean, sampler.deviation), flowing.features.moments())


class TestAverage:
    def test_it_is_what_samples_are_drawn_from(self, configured: Any):
        gan, _ = prepared(configured(training={"average": 0}))
        one_update(gan, 1)
        for name, tensor in gan.generator.state_dict().items():
            torch.testing.assert_close(gan.average.state_dict()[name], tensor)
        gan, _ = prepared(configured(training={"average": 0.5}))
        weights = []
        for update in (1, 2, 3):
            one_update(gan, update)
            weights.append(gan.generator.state_dict()["layers.0.weight"].clone())
        # 1/4, 1/2 and 1 of the last, of 7/4: the decay asked for binds from the first update on
        expected = (weights[0] + 2 * weights[1] + 4 * weights[2]) / 7
        torch.testing.assert_close(gan.sampler(3).generator.state_dict()["layers.0.weight"], expected)
        assert not gan.sampler(3).generator.training

    def test_initial_weights_take_no_part(self, configured: Any):
        gan, _ = prepared(configured(training={"average": 0.999}))
        one_update(gan, 1)
        for name, tensor in gan.generator.state_dict().items():
            torch.testing.assert_close(gan.average.state_dict()[name], tensor)

    def test_an_untrained_generator_has_the_initial_weights(self, configured: Any):
        sampler = untrained(configured())
        gan, _ = prepared(configured())
        for name, tensor in gan.generator.state_dict().items():
            assert torch.equal(sampler.generator.state_dict()[name], tensor)
        assert sampler.facts["trained"]["updates"] == 0
        one_update(gan, 1)
        assert not torch.equal(gan.generator.leave.weight, sampler.generator.leave.weight)


class TestDecay:
    def test_half_a_cosine_brings_both_rates_to_zero(self, configured: Any):
        shares = [learning_rate_share(update, Training(updates=4, decay="cosine")) for update in (1, 2, 3, 4, 5)]
        assert shares == pytest.approx([1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0.0])
        assert learning_rate_share(9, Training(updates=4)) == 1.0
        training = {"updates": 4, "decay": "cosine", "learning_rate": 0.3, "critic_learning_rate": 0.7}
        gan, _ = prepared(configured(training=training))
        one_update(gan, 3)
        assert gan.generator_optimiser.param_groups[0]["lr"] == pytest.approx(0.15)
        assert gan.critic_optimiser.param_groups[0]["lr"] == pytest.approx(0.35)


def test_a_class_nobody_trains(make_features: Any, configured: Any, tmp_path: Path):
    features = make_features(tmp_path / "features", counts={"neutral": 3, "happy": 0, "sad": 2})
    with pytest.raises(InputError, match=r"has no training utterance of \[happy\]"):
        train(configured(features=str(features.folder)), tmp_path / "run")
