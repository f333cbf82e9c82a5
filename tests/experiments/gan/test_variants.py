"""What is made of a generated set: frames in another order, or real clips beside it."""

import pytest
import torch

from gandistill import artifacts
from gandistill.experiments.gan.variants import varied
from gandistill.features.featureset import KIND, FeatureSet, HeldSet, Utterance

CONFIG = artifacts.describe(KIND, {}, labels=["a", "b"], dims=2)


def held(name: str, lengths: list[int]) -> FeatureSet:
    clips = [torch.arange(2.0 * frames).view(frames, 2) + 100 * number for number, frames in enumerate(lengths)]
    return HeldSet.of(name, (Utterance(f"{name}{i}", "ab"[i % 2], clip) for i, clip in enumerate(clips)), CONFIG, "")


def test_none_leaves_the_samples_as_they_are():
    samples = held("s", [3, 4])
    assert varied(samples, "", (), 0) is samples


def test_shuffled_frames_are_the_same_in_another_order():
    samples = held("s", [30, 40])
    made, again, other = (varied(samples, "shuffled", (), seed) for seed in (0, 0, 1))
    for row in range(2):
        before, after = samples.frames(row), made.frames(row)
        assert not torch.equal(before, after)
        torch.testing.assert_close(after[after[:, 0].argsort()], before)
        assert torch.equal(again.frames(row), after)
        assert not torch.equal(other.frames(row), after)
    assert not torch.equal(made.frames(0)[:, 0].argsort(), made.frames(1)[:30, 0].argsort()), "each in its own order"
    assert made.index["label"].tolist() == ["a", "b"]


@pytest.mark.parametrize("soft", [False, True])
def test_real_clips_come_first_whatever_their_length(soft: bool):
    real, samples = held("r", [5, 2, 7]), held("s", [3, 3])
    posterior = torch.tensor([0.25, 0.75]) if soft else None
    given = [Utterance(u.id, u.label, u.frames, soft=posterior) for u in real.utterances()]
    if soft:
        labelled = [Utterance(u.id, u.label, u.frames, soft=posterior) for u in samples.utterances()]
        samples = HeldSet.of("s", labelled, CONFIG, "")
    made = varied(samples, "with-real", given, 0)
    assert made.index["id"].tolist() == ["r0", "r1", "r2", "s0", "s1"]
    assert made.lengths.tolist() == [5, 2, 7, 3, 3]
    assert torch.equal(made.frames(2), real.frames(2))
    assert torch.equal(made.frames(4), samples.frames(1))
    assert (made.soft is not None) == soft
