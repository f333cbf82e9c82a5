"""What is learned of a synthetic set, and its steps, worked by hand."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gandistill.errors import InputError
from gandistill.trajectory.matching import Gradients
from gandistill.trajectory.settings import DistilConfig
from gandistill.trajectory.synthetic import SyntheticSet, positive_step

CLASSES = torch.tensor([0, 2])
PLAIN = DistilConfig(ppc=1, clips_learning_rate=2.0, rate_learning_rate=1e-3, momentum=0.0, farthest=1.0)


def synthetic(config: DistilConfig = PLAIN) -> SyntheticSet:
    return SyntheticSet(torch.ones(2, 3, 4), CLASSES, 3, config)


def gradients(clips: float = 0.0, rate: float = 0.0, targets: Tensor | None = None) -> Gradients:
    """The same value at every place of the clips."""
    none = torch.zeros(2, 3)
    return Gradients(
        torch.tensor(1.0), torch.full((2, 3, 4), clips), none if targets is None else targets, torch.tensor(rate)
    )


def test_the_start():
    hard, soft = synthetic(), synthetic(DistilConfig(labels="soft", smoothing=0.3, rate=0.5))
    assert torch.equal(hard.targets, torch.tensor([[1.0, 0, 0], [0, 0, 1]]))
    torch.testing.assert_close(soft.targets, torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
    assert float(hard.rate) == pytest.approx(1e-3)
    assert float(soft.rate) == 0.5


def test_a_step_is_sgd():
    """Clips 1 - 2 x 0.1; alpha 0.001 + 0.001 x 4, since its gradient is -4."""
    made = synthetic()
    norms = made.descend(gradients(clips=0.1, rate=-4.0))
    torch.testing.assert_close(made.clips, torch.full((2, 3, 4), 0.8))
    assert float(made.rate) == pytest.approx(0.005)
    assert norms == {"clips": pytest.approx(0.1 * 24**0.5), "rate": 4.0}


def test_momentum():
    """Velocities 0.1 and 0.5 x 0.1 + 0.1."""
    made = synthetic(PLAIN.model_copy(update={"momentum": 0.5}))
    made.descend(gradients(clips=0.1))
    made.descend(gradients(clips=0.1))
    torch.testing.assert_close(made.clips, torch.full((2, 3, 4), 1 - 2 * 0.1 - 2 * 0.15))


def test_only_gradients_beyond_the_norm_are_clipped_each_by_itself():
    """One of norm 4 passes a clip of 4, and is halved by one of 2, whatever the clips' is."""
    for clip, share in ((4.0, 1.0), (2.0, 0.5)):
        made = synthetic(PLAIN.model_copy(update={"clip": clip}))
        made.descend(gradients(clips=0.01, rate=-4.0))
        torch.testing.assert_close(made.clips, torch.full((2, 3, 4), 1 - 2 * 0.01))
        assert float(made.rate) == pytest.approx(1e-3 + share * 1e-3 * 4.0)


def test_clips_move_no_farther_than_they_may():
    """A step of 2 x 0.1 everywhere is as long as 0.2 deviations; however steep, 0.05 are no more than that."""
    for slope, farthest, expected in ((0.1, 0.2, 0.8), (0.1, 0.05, 0.95), (1e6, 0.05, 0.95), (0.0, 0.05, 1.0)):
        made = synthetic(PLAIN.model_copy(update={"farthest": farthest}))
        made.descend(gradients(clips=slope))
        torch.testing.assert_close(made.clips, torch.full((2, 3, 4), expected))
    still = synthetic(PLAIN.model_copy(update={"clips_learning_rate": 0.0}))
    still.descend(gradients(clips=1.0))
    assert torch.equal(still.clips, torch.ones(2, 3, 4))


def test_soft_labels_learn_through_their_softmax():
    config = DistilConfig(labels="soft", labels_learning_rate=0.5, momentum=0.0)
    made, slopes = synthetic(config), torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, 0.0]])
    logits = made.learned["labels"].clone().requires_grad_()
    (logits.softmax(-1) * slopes).sum().backward()
    assert logits.grad is not None
    made.descend(gradients(targets=slopes))
    torch.testing.assert_close(made.learned["labels"], (logits - 0.5 * logits.grad).detach())
    torch.testing.assert_close(made.targets.sum(-1), torch.ones(2))


@settings(deadline=None, max_examples=200)
@given(st.floats(1e-12, 1e3), st.floats(-1e6, 1e6))
def test_the_rate_stays_above_zero(rate: float, step: float):
    after = float(positive_step(torch.tensor(rate), torch.tensor(step)))
    assert 0 < after < float("inf")
    assert (after < rate) == (step > 0) or after == pytest.approx(rate, rel=1e-6)


def test_a_small_step_of_the_rate_is_the_papers():
    rate = torch.tensor(2e-3, dtype=torch.float64)
    for step in (1e-6, -1e-6):
        assert float(positive_step(rate, torch.tensor(step))) == pytest.approx(2e-3 - step, rel=1e-6)
    assert float(positive_step(rate, torch.tensor(-1.0))) == pytest.approx(1.002), "upwards it is whatever its size"
    assert float(positive_step(rate, torch.tensor(2e-3))) == pytest.approx(2e-3 / 2.718281828, rel=1e-6)


def test_halving():
    """alpha at once, learning rates from then on; what was halved before is counted."""
    made = synthetic()
    made.halve(1)
    made.halve(3)
    assert float(made.rate) == pytest.approx(1e-3 / 8)
    made.descend(gradients(clips=0.1))
    torch.testing.assert_close(made.clips, torch.full((2, 3, 4), 1 - 2 * 0.1 / 8))
    steep = synthetic(PLAIN.model_copy(update={"farthest": 0.04}))
    steep.halve(3)
    steep.descend(gradients(clips=1e6))
    torch.testing.assert_close(steep.clips, torch.full((2, 3, 4), 1 - 0.04 / 8))


def test_state_and_back(tmp_path: Path):
    made, other = synthetic(), synthetic()
    made.descend(gradients(0.1, -1.0))
    made.halve(1)
    state = {name: tensor.clone() for name, tensor in made.state().items()}
    other.load_state(made.state(), tmp_path)
    for each in (made, other):
        each.descend(gradients(0.2, 1.0))
    assert all(torch.equal(tensor, made.state()[name]) for name, tensor in other.state().items())
    made.load_state(state, tmp_path)
    assert all(torch.equal(tensor, made.state()[name]) for name, tensor in state.items())
    with pytest.raises(InputError, match="another synthetic set"):
        synthetic(DistilConfig(labels="soft")).load_state(state, tmp_path)
