from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.errors import InputError, RunError
from gandistill.features import featureset
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import Head, posteriors
from gandistill.heads.training import Schedule, score, untrained
from gandistill.numerics import seeded
from gandistill.trajectory import fitting as room
from gandistill.trajectory.fitting import (
    EpochSchedule,
    clip_frames,
    epoch_batches,
    fit,
    learning_rate,
    optimiser_of,
    reader,
    updates_in_epoch,
)

QUICK = EpochSchedule(epochs=4, batch=8)


def initial(features: FeatureSet, kind: str = "cnn") -> Head:
    with seeded(0):
        return untrained(features, kind, Schedule())


def fitted(features: FeatureSet, schedule: EpochSchedule = QUICK, seed: int = 0, kind: str = "cnn") -> Head:
    head = initial(features, kind)
    for _ in fit(head, features, schedule, seed):
        pass
    return head


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, other.state_dict()[name]) for name, a in one.state_dict().items())


def test_the_papers_schedule_is_the_default():
    schedule = EpochSchedule()
    rates = [learning_rate(epoch, schedule) for epoch in range(schedule.epochs)]
    assert len(rates) == 50
    assert rates[:5] == [1e-3] * 5
    assert rates[5:10] == pytest.approx([7e-4] * 5)
    assert rates[10:15] == pytest.approx([4.9e-4] * 5)
    assert rates[49] == pytest.approx(1e-3 * 0.7**9)


@given(clips=st.integers(2, 300), batch=st.integers(3, 64), seed=st.integers(0, 2**40))
@settings(deadline=None, max_examples=60)
def test_an_epoch_sees_every_clip_once_in_batches_of_like_size_none_alone(clips: int, batch: int, seed: int):
    schedule = EpochSchedule(batch=batch)
    rows = epoch_batches(clips, schedule, torch.Generator().manual_seed(seed))
    sizes = [len(some) for some in rows]
    assert sorted(torch.cat([*rows]).tolist()) == [*range(clips)]
    assert 2 <= min(sizes) <= max(sizes) <= min(batch, min(sizes) + 1)
    assert len(rows) == updates_in_epoch(clips, schedule)


@given(clips=st.integers(2, 40), batch=st.integers(3, 64), updates=st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_an_epoch_of_given_updates_deals_all_clips_as_often(clips: int, batch: int, updates: int):
    schedule = EpochSchedule(batch=batch, epoch_updates=updates)
    rows = epoch_batches(clips, schedule, torch.Generator().manual_seed(0))
    assert [len(some) for some in rows] == [min(batch, clips)] * updates
    seen = torch.bincount(torch.cat([*rows]), minlength=clips)
    assert int(seen.max() - seen.min()) <= 1
    assert updates_in_epoch(clips, schedule) == updates


def test_the_number_of_updates_by_hand():
    assert updates_in_epoch(3729, EpochSchedule(batch=32)) == 117
    assert updates_in_epoch(64, EpochSchedule(batch=32)) == 2
    assert updates_in_epoch(7, EpochSchedule(batch=32)) == 1


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_an_update_is_one_of_torchs_optimisers(clips: FeatureSet, kind: Literal["adam", "sgd"]):
    training = clips.training_part()
    schedule = EpochSchedule(epochs=2, batch=9, decay_every=1, decay=0.5, optimiser=kind)
    ours, theirs = fitted(training, schedule), initial(training)
    optimiser: torch.optim.Optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    if kind == "sgd":
        optimiser = torch.optim.SGD(theirs.parameters(), lr=1e-3)
    frames, targets = training.padded(range(18))[0], torch.from_numpy(training.targets)
    for epoch in range(2):
        optimiser.param_groups[0]["lr"] = 1e-3 * 0.5**epoch
        for rows in epoch_batches(18, schedule, room.generator_for(0, room.ORDER, epoch)):
            optimiser.zero_grad()
            logits = theirs(frames[rows], torch.full((9,), 16))
            torch.nn.functional.cross_entropy(logits, targets[rows]).backward()
            optimiser.step()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["cnn", "cnn-attention"])
def test_the_same_seed_gives_the_same_bits_dropout_too_and_nothing_global_is_drawn(clips: FeatureSet, kind: str):
    training = clips.training_part()
    before = torch.random.get_rng_state()
    head = fitted(training, kind=kind)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert same(head, fitted(training, kind=kind))
    assert not same(head, fitted(training, seed=1, kind=kind))


def test_it_goes_on_from_any_epoch_to_the_same_bits(clips: FeatureSet):
    training = clips.training_part()
    whole, parts = fitted(training, kind="cnn-attention"), initial(training, "cnn-attention")
    optimiser = optimiser_of(parts, QUICK)
    for epoch in fit(parts, training, QUICK, 0, optimiser):
        torch.rand(3)
        if epoch == 2:
            break
    assert [*fit(parts, training, QUICK, 0, optimiser, done=2)] == [3, 4]
    assert same(whole, parts)


def test_it_learns_though_scored_after_every_epoch(clips: FeatureSet):
    training, dev = clips.training_part(), clips.part("dev")
    schedule = EpochSchedule(epochs=15, batch=8, learning_rate=3e-3)
    scored = initial(training)
    for _ in fit(scored, training, schedule, 0):
        score(scored, dev)
    assert score(scored, dev)["uar"] > 0.8
    assert same(scored, fitted(training, schedule))


def test_fewer_clips_than_a_batch_are_one_batch(make_clips):
    few = make_clips(each={"train": 1})
    assert [*fit(initial(few), few, EpochSchedule(epochs=2), 0)] == [1, 2]


def test_no_clip_is_left_alone_of_which_batch_norm_would_have_no_statistics(make_clips):
    nine = make_clips(each={"train": 3}, frames=1, dims=4)  # the last layers see one place of each
    head, schedule = initial(nine).train(), EpochSchedule(epochs=1, batch=4)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        head(nine.padded([8])[0], torch.tensor([1]))
    assert [*fit(head, nine, schedule, 0)] == [1], "in batches of 3, 3 and 3, not 4, 4 and 1"


def test_soft_labels_are_learned(clips: FeatureSet, make_clips):
    with pytest.raises(InputError, match="stores no soft labels"):
        fitted(clips.training_part(), EpochSchedule(labels="soft"))
    soft = make_clips(each={"train": 6}, soft=True)
    schedule = EpochSchedule(epochs=60, batch=9, learning_rate=1e-2, labels="soft")
    confident = [
        posteriors(fitted(soft, schedule.model_copy(update={"labels": labels})), soft).amax(1).mean()
        for labels in ("soft", "hard")
    ]
    assert confident[0] < 0.9 < confident[1]


def test_clips_must_have_one_length(make_clips, clips: FeatureSet):
    assert clip_frames(clips) == 16
    mixed = make_clips(lengths=(5, 40))
    with pytest.raises(
        InputError, match=r"clips has clips of 5 to 40 frames, expected one length: extract .* the setting clip"
    ):
        next(fit(initial(mixed), mixed, QUICK, 0))


def test_what_does_not_fit_in_memory_is_read_from_disk(clips: FeatureSet, monkeypatch: pytest.MonkeyPatch):
    held, rows = reader(clips), torch.tensor([3, 1, 30])
    monkeypatch.setattr(featureset, "HELD_BYTES", 0)
    read = reader(clips)
    assert read(rows).dtype == torch.float32
    assert torch.equal(read(rows), held(rows))
    assert torch.equal(read(rows)[1], clips.frames(1))


def test_a_training_that_diverges_says_where(clips: FeatureSet):
    with pytest.raises(RunError, match="Training diverged at step 2: cnn/loss"):
        fitted(clips.training_part(), EpochSchedule(learning_rate=1e12))
