"""The paper's equations by hand-worked numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.gan import losses
from gandistill.gan.losses import LossWeights


def logits(seed: int, rows: int = 5, classes: int = 4) -> torch.Tensor:
    return 5 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def test_critic_adversarial_is_the_difference_of_means():
    assert losses.critic_adversarial(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5])).item() == pytest.approx(-1.5)


def test_penalty_of_a_linear_critic_of_norm_one_is_zero_and_of_norm_three_is_four():
    direction = torch.tensor([0.6, 0.0, 0.8]).expand(2, 3)  # norm of the whole [2, 3] sample: sqrt(2)
    real, generated, mix = torch.randn(4, 2, 3), torch.randn(4, 2, 3), torch.rand(4)
    for norm, penalty in ((1.0, 0.0), (3.0, 4.0)):
        slope = direction * norm / math.sqrt(2)
        found = losses.gradient_penalty(lambda x, w=slope: (x * w).flatten(1).sum(1), real, generated, mix)
        assert found.item() == pytest.approx(penalty, abs=1e-6)


def test_penalty_is_taken_at_the_mixture_and_reaches_the_critic():
    weight = torch.tensor(1.0, requires_grad=True)
    # score w x^2 / 2 has slope w x; at x = 0.25 * 2 + 0.75 * 6 = 5 the penalty is (5 w - 1)^2
    penalty = losses.gradient_penalty(
        lambda x: weight * x.square().flatten(1).sum(1) / 2,
        torch.full((1, 1, 1), 2.0),
        torch.full((1, 1, 1), 6.0),
        torch.tensor([0.25]),
    )
    penalty.backward()
    assert penalty.item() == pytest.approx(16.0)
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(40.0)


def test_generator_adversarial_is_minus_the_mean_score():
    assert losses.generator_adversarial(torch.tensor([1.0, 3.0])).item() == -2.0


def test_feature_matching_of_identical_maps_is_zero_and_of_a_worked_pair():
    maps = [torch.randn(2, 3, 4), torch.randn(2, 8)]
    assert losses.feature_matching(maps, maps).item() == 0.0
    real = [torch.zeros(1, 4), torch.zeros(1, 2)]
    made = [torch.tensor([[1.0, -1.0, 3.0, -3.0]]), torch.tensor([[0.5, 0.5]])]
    assert losses.feature_matching(real, made).item() == pytest.approx((2.0 + 0.5) / 2)


def test_softmax_matching_worked():
    real, made = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert losses.softmax_matching(real, made).item() == pytest.approx(expected, rel=1e-6)
    assert losses.softmax_matching(made, real).item() != pytest.approx(expected, rel=1e-3)  # KL is not symmetric


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_softmax_matching_is_never_negative_and_zero_for_identical_inputs(first: int, second: int):
    assert losses.softmax_matching(logits(first), logits(second)).item() >= 0.0
    assert losses.softmax_matching(logits(first), logits(first)).item() == pytest.approx(0.0, abs=1e-6)


def test_softmax_matching_of_extreme_logits_stays_finite():
    real, made = torch.tensor([[200.0, -200.0]]), torch.tensor([[-200.0, 200.0]])
    assert losses.softmax_matching(real, made).item() == pytest.approx(400.0)


def test_diversity_of_real_clips():
    """Pairs 1 and 3 apart in the mean, as noise 2 / sqrt(pi) apart would make them."""
    first, second = torch.zeros(2, 1, 2), torch.tensor([[[1.0, -1.0]], [[2.0, 4.0]]])
    assert losses.real_diversity(first, second) == pytest.approx(2 / (2 / math.pi**0.5))
    one, other = torch.randn(2, 10**6, generator=torch.Generator().manual_seed(0))
    assert float((one - other).abs().mean()) == pytest.approx(2 / math.pi**0.5, rel=5e-3)


def test_diversity_of_a_worked_pair():
    first, second = torch.zeros(2, 1, 2), torch.tensor([[[1.0, 3.0]], [[10.0, 10.0]]])
    noise, other = torch.zeros(2, 4), torch.full((2, 4), 4.0)
    # ratios 2 / 4 = 0.5 and 10 / 4 = 2.5, the second bounded by tau = 1
    assert losses.diversity(first, second, noise, other, bound=1.0).item() == pytest.approx(-0.75)
    assert losses.diversity(first, second, noise, other, bound=9.0).item() == pytest.approx(-1.5)


def test_sums_follow_equations_4_5_and_8():
    weights = LossWeights(
        gradient_penalty=10, class_real=2, class_generated=3, feature_matching=5, diversity=7, softmax_matching=11
    )
    one = torch.tensor(1.0)
    assert losses.critic_loss(one, one, one, one, weights).item() == 1 + 10 + 2 + 3
    assert losses.generator_loss(one, one, one, weights).item() == 1 + 3 + 5
    assert losses.distillation_loss(one, one, one, weights).item() == 1 + 7 + 11


def test_the_papers_lambda_1_is_the_default():
    assert LossWeights().gradient_penalty == 10.0
