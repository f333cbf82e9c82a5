"""Eq. (1) and (2), and three ways to their gradient, by hand-worked numbers and by each other."""

from copy import deepcopy
from dataclasses import astuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softmax
from torch.profiler import profile

from gandistill.errors import InputError
from gandistill.heads.head import MODELS
from gandistill.trajectory.matching import (
    METHODS,
    Network,
    adjoint,
    matching_loss,
    student_loss,
    tesla,
    unroll,
)

N, T, D, C = 6, 9, 8, 3


class Linear(nn.Module):
    """Softmax regression on a clip's frames end to end."""

    def __init__(self, frames: int = T, dims: int = D, classes: int = C, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(frames * dims, classes, bias=bias)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return self.linear(frames.flatten(1))


class Smooth(nn.Module):
    """Two layers with tanh, batch norm over the batch alone between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(T * D, 5), nn.BatchNorm1d(5), nn.Linear(5, C)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return self.second(self.norm(self.first(frames.flatten(1)).tanh()))


MADE: dict[str, Any] = {
    "cnn": lambda: MODELS["cnn"](D, C),
    "cnn-attention": lambda: MODELS["cnn-attention"](D, C),
    "linear": Linear,
    "smooth": Smooth,
}


def case(kind: str, updates: int, rate: float = 0.1, dtype: torch.dtype = torch.float64) -> tuple[Any, ...]:
    """A network and all that ``adjoint`` takes; rows repeat across batches, and within the second one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(MADE[kind]().to(dtype))
        start = network.weights()
        goal = start + 0.1 * torch.randn(network.size).to(dtype)
        clips, targets = torch.randn(N, T, D).to(dtype), softmax(2 * torch.randn(N, C), 1).to(dtype)
        batches = [torch.randperm(N)[:4] for _ in range(updates)]
    if updates > 1:
        batches[1] = torch.tensor([2, 2, 0, 5])
    return network, start, goal, clips, targets, torch.tensor(rate, dtype=dtype), batches


def peak(method: str, updates: int) -> int:
    """Most bytes of tensors at once in a step of the head cnn that were not there before."""
    network = Network(MODELS["cnn"](16, C))
    start = network.weights()
    clips, targets = torch.ones(6, 32, 16), torch.full((6, C), 1 / C)
    batches = [torch.arange(6)] * updates
    with profile(profile_memory=True) as seen:
        METHODS[method](network, start, start + 1, clips, targets, torch.tensor(0.01), batches)
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    all_events: list[Any] = seen.profiler.kineto_results.events()
    events = [event for event in all_events if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(torch.tensor(changes).cumsum(0).max())


def cosine(a: Tensor, b: Tensor) -> float:
    return torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), 0).item()


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("updates", [1, 3, 10])
def test_the_adjoint_is_the_unroll(kind: str, updates: int):
    given = case(kind, updates)
    found, expected = adjoint(*given), unroll(*given)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-12, atol=0)
    for name in ("clips", "targets", "rate"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.shape == other.shape
        assert (one - other).norm() < 1e-9 * other.norm(), name


@pytest.mark.parametrize("kind", ["cnn", "smooth"])
def test_float32_is_good_enough(kind: str):
    expected, found = unroll(*case(kind, 10)), adjoint(*case(kind, 10, dtype=torch.float32))
    assert cosine(found.clips, expected.clips) > 0.9999
    assert cosine(found.targets, expected.targets) > 0.9999
    assert found.rate.item() == pytest.approx(expected.rate.item(), rel=1e-4)
    assert {tensor.dtype for tensor in astuple(found)} == {torch.float32}


def test_one_update_worked_by_hand():
    # Logits w x for x = 2, w = (0, 0): p = (1/2, 1/2), target (1, 0), so g = (p - y) x = (-1, 1).
    # At rate 1/2: w = (1/2, -1/2). From (0, 0) to (1, -1): L = (1/4 + 1/4) / 2 = 1/4, lambda = 2 (w - goal) / 2
    # = (-1/2, 1/2), g lambda = 1, so dL/drate = -1.
    # d(g lambda)/dy = -lambda x = (1, -1), times -1/2: (-1/2, 1/2).
    # d(g lambda)/dx = (p - y) lambda, as the logits do not depend on x at w = 0: 1/2, times -1/2: -1/4.
    network = Network(Linear(1, 1, 2, bias=False))
    start, goal = torch.zeros(2), torch.tensor([1.0, -1.0])
    clips, targets = torch.full((1, 1, 1), 2.0), torch.tensor([[1.0, 0.0]])
    for method in METHODS.values():
        found = method(network, start, goal, clips, targets, torch.tensor(0.5), [torch.tensor([0])])
        assert found.loss.item() == pytest.approx(0.25)
        assert found.rate.item() == pytest.approx(-1.0)
        assert found.clips.flatten().tolist() == pytest.approx([-0.25])
        assert found.targets.flatten().tolist() == pytest.approx([-0.5, 0.5])


def test_finite_differences_of_the_loss_after_the_updates():
    network, start, goal, clips, targets, rate, batches = case("smooth", 3)

    def loss(clips: Tensor, targets: Tensor, rate: Tensor) -> float:
        weights = start
        for rows in batches:
            leaf = weights.clone().requires_grad_()
            network_loss = -(targets[rows] * network(leaf, clips[rows]).log_softmax(1)).sum(1).mean()
            weights = weights - rate * torch.autograd.grad(network_loss, leaf)[0]
        return ((weights - goal).square().sum() / (start - goal).square().sum()).item()

    found, step = adjoint(network, start, goal, clips, targets, rate, batches), 1e-5
    draws = torch.Generator().manual_seed(1)
    for name, value in (("clips", clips), ("targets", targets), ("rate", rate)):
        along = torch.randn(value.shape, generator=draws, dtype=torch.float64)
        moved = {"clips": clips, "targets": targets, "rate": rate}
        high, low = (loss(**(moved | {name: value + sign * step * along})) for sign in (1, -1))
        slope = (getattr(found, name) * along).sum().item()
        assert (high - low) / (2 * step) == pytest.approx(slope, rel=1e-6), name


def test_tesla_is_exact_for_one_update_and_biased_for_more():
    one = case("smooth", 1)
    for found, expected in zip(astuple(tesla(*one)), astuple(unroll(*one)), strict=True):
        torch.testing.assert_close(found, expected)
    more = case("smooth", 10, rate=0.5)
    found, expected = tesla(*more), unroll(*more)
    torch.testing.assert_close(found.loss, expected.loss)
    assert 0 < cosine(found.clips, expected.clips) < 0.999
    assert found.rate.item() != pytest.approx(expected.rate.item(), rel=1e-2)


def test_tesla_expands_the_loss_with_slopes_that_are_constants():
    network, start, goal, clips, targets, rate, batches = case("linear", 4)
    clip_leaf, rate_leaf = clips.clone().requires_grad_(), rate.clone().requires_grad_()
    weights, slopes = start, torch.zeros_like(start)
    for rows in batches:
        leaf = weights.clone().requires_grad_()
        loss = student_loss(network, leaf, clip_leaf[rows], targets[rows])
        (slope,) = torch.autograd.grad(loss, leaf, create_graph=True)
        weights, slopes = weights - rate * slope.detach(), slopes + slope
    found = tesla(network, start, goal, clips, targets, rate, batches)
    expanded = (start - rate * slopes - goal).square().sum() / (start - goal).square().sum()
    torch.testing.assert_close(found.clips, torch.autograd.grad(expanded, clip_leaf)[0])
    expanded = (start - rate_leaf * slopes.detach() - goal).square().sum() / (start - goal).square().sum()
    torch.testing.assert_close(found.rate, torch.autograd.grad(expanded, rate_leaf)[0])


def test_memory_beyond_the_stored_weights_does_not_grow_with_the_updates():
    stored = Network(MODELS["cnn"](16, C)).size * 4
    few, many = (peak("adjoint", updates) - updates * stored for updates in (5, 40))
    assert 0 < many < 1.15 * few
    assert peak("tesla", 10) < 1.15 * peak("tesla", 2)
    assert peak("unroll", 10) > 2 * peak("unroll", 2)


@pytest.mark.parametrize("method", METHODS)
def test_arguments_and_model_stay_as_they_are(method: str):
    network, *given = case("cnn", 3)
    before, model = deepcopy(given), deepcopy(network._model.state_dict())
    METHODS[method](network, *given)
    for one, other in zip([*given[:-1], *given[-1]], [*before[:-1], *before[-1]], strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad
    assert all(torch.equal(tensor, model[name]) for name, tensor in network._model.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_the_same_bits_twice_and_nothing_for_a_clip_in_no_batch(method: str):
    network, start, goal, clips, targets, rate, _ = case("cnn-attention", 3)
    batches = [torch.tensor([0, 1, 2, 4])] * 3
    one, two = (METHODS[method](network, start, goal, clips, targets, rate, batches) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(astuple(one), astuple(two), strict=True))
    assert not one.clips[[3, 5]].any()
    assert one.clips[[0, 1, 2, 4]].any(2).any(1).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_of_one_clip(method: str):
    network, start, goal, clips, targets, rate, _ = case("cnn", 2)
    batches = [torch.tensor([3]), torch.tensor([1])]
    found = METHODS[method](network, start, goal, clips, targets, rate, batches)
    assert all(tensor.isfinite().all() for tensor in astuple(found))


def test_matching_loss_is_one_at_the_start_and_zero_at_the_goal():
    start, goal = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([1.0, 0.0, 3.0])
    assert matching_loss(start, start, goal).item() == 1.0
    assert matching_loss(goal, start, goal).item() == 0.0
    assert matching_loss((start + goal) / 2, start, goal).item() == 0.25


@pytest.mark.parametrize("method", METHODS)
def test_a_teacher_that_did_not_move_is_an_error(method: str):
    network, start, _, *rest = case("linear", 2)
    with pytest.raises(InputError, match="same at start and goal"):
        METHODS[method](network, start, start.clone(), *rest)


def test_student_loss_is_the_mean_cross_entropy():
    network = Network(Linear(1, 1, 2, bias=False))
    clips, targets = torch.ones(2, 1, 1), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    found = student_loss(network, torch.tensor([0.0, 0.0]), clips, targets)
    assert found.item() == pytest.approx(torch.log(torch.tensor(2.0)).item())


def test_weights_are_a_copy_on_the_way_out_and_in():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS["cnn"](D, C).train()
    network = Network(model)
    first = network.weights()
    kept = first.clone()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.ones(3, T, D), torch.full((3,), T)).square().sum().backward()
    optimiser.step()
    second = network.weights()
    assert torch.equal(first, kept)
    assert not torch.equal(first, second)
    network.load(first)
    assert torch.equal(network.weights(), kept)
    first.zero_()
    assert torch.equal(network.weights(), kept)
    assert network.size == len(kept) == sum(weight.numel() for weight in model.parameters())


def test_a_network_is_its_model_in_training_but_for_dropout_and_running_statistics():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, other = (MODELS["cnn"](D, C).train() for _ in range(2))
        clips = torch.randn(3, T, D)
    running = {name: tensor.clone() for name, tensor in model.named_buffers()}
    network = Network(model)
    found = network(Network(other).weights(), clips)
    assert all(torch.equal(tensor, running[name]) for name, tensor in model.named_buffers())
    assert model.training
    torch.testing.assert_close(found, other(clips, torch.full((3,), T)))
    evaluated = other.eval()(clips, torch.full((3,), T))
    assert not torch.allclose(found, evaluated)
