"""Training a rectified flow: its loss, its updates, and that it needs no bank."""

from typing import Any

import pytest
import torch

from gandistill.errors import InputError, RunError
from gandistill.gan import flowing as flowing_room
from gandistill.gan.flow import Flow
from gandistill.gan.flowing import Flowing, flow_update, rectified_flow
from gandistill.gan.sampling import Sampler
from gandistill.gan.training import prepared, untrained
from tests.gan.conftest import FLOW, metrics


def test_the_loss_of_a_velocity_of_zero_is_the_distance(flow: Flow, clips: tuple[torch.Tensor, torch.Tensor]):
    real, labels, noise = clips[0][:4], clips[1][:4], torch.randn(4, 4)
    distance = (flow.encoded(real) - flow.start(labels, noise)).square().mean()
    for time in (0.0, 0.7):
        torch.testing.assert_close(rectified_flow(flow, real, labels, noise, torch.full((4,), time)), distance)
    flow.leave.bias.data.fill_(0.5)
    expected = (flow.encoded(real) - flow.start(labels, noise) - 0.5).square().mean()
    torch.testing.assert_close(rectified_flow(flow, real, labels, noise, torch.zeros(4)), expected)


def test_the_velocity_is_asked_for_on_the_straight_way_from_noise_to_clip(
    flow: Flow, clips: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
):
    real, labels, noise, asked = clips[0][:2], clips[1][:2], torch.randn(2, 4), []
    starts, ends = flow.start(labels, noise), flow.encoded(real)
    monkeypatch.setattr(flow, "velocity", lambda *given: (asked.append(given), ends - starts)[1])
    assert rectified_flow(flow, real, labels, noise, torch.tensor([0.25, 1.0])) == 0
    ((latents, times, classes),) = asked
    torch.testing.assert_close(latents[0], 0.75 * starts[0] + 0.25 * ends[0])
    torch.testing.assert_close(latents[1], ends[1])
    assert (times.tolist(), classes.tolist()) == ([0.25, 1], labels.tolist())


def test_an_update_is_decided_by_seed_and_number(configured: Any):
    """Whatever was updated before: batches, noise and times are keyed."""

    def loss(update: int, seed: int = 0) -> float:
        training = {"seed": seed, "learning_rate": 1e-12}
        flowing, _ = prepared(configured(bank=None, architecture=FLOW, training=training))
        return [flow_update(flowing, each)["flow/loss"] for each in range(1, update + 1)][-1]

    assert loss(2) == loss(2)
    assert len({loss(1), loss(2), loss(2, seed=1)}) == 3


def test_the_rate_falls_and_the_average_follows(configured: Any):
    training = {"updates": 4, "decay": "cosine", "learning_rate": 0.01, "average": 0.5}
    flowing, _ = prepared(configured(bank=None, architecture=FLOW, training=training))
    weights = []
    for update in (1, 2, 3):
        flow_update(flowing, update)
        weights.append(flowing.generator.enter.weight.detach().clone())
    assert flowing.optimiser.param_groups[0]["lr"] == pytest.approx(0.005)
    torch.testing.assert_close(flowing.average.enter.weight, (weights[0] + 2 * weights[1] + 4 * weights[2]) / 7)


def test_a_loss_gone_wrong_is_named(configured: Any, monkeypatch: pytest.MonkeyPatch):
    wrong = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr(flowing_room, "rectified_flow", lambda *_: wrong)
    flowing, _ = prepared(configured(bank=None, architecture=FLOW))
    with pytest.raises(RunError, match="step 3: flow/loss = nan"):
        flow_update(flowing, 3)


def test_it_learns(configured: Any):
    flowing, _ = prepared(configured(bank=None, architecture=FLOW, training={"batch": 16, "learning_rate": 1e-2}))
    assert isinstance(flowing, Flowing)
    losses = [flow_update(flowing, update)["flow/loss"] for update in range(1, 251)]
    assert sum(losses[-20:]) < 0.9 * sum(losses[:20])
    fixed = untrained(configured(bank=None, architecture=FLOW)).generator.gaussian
    assert all(torch.equal(tensor, fixed[name]) for name, tensor in flowing.generator.gaussian.items())


def test_a_stopped_training_without_a_bank_equals_an_uninterrupted_one(configured: Any, resumed: Any):
    run = resumed(configured(bank=None, architecture=FLOW))
    assert {"flow/loss"} <= metrics(run)[-2].keys()
    sampler = Sampler.open(run)
    assert sampler.bank is None
    assert isinstance(sampler.generator, Flow)
    assert "rectified flow" in (run / "generator" / "README.md").read_text()
    five = torch.stack(list(sampler.samples(1, 5, 0)))
    assert torch.equal(torch.stack(list(sampler.samples(1, 40, 0)))[:5], five)
    with pytest.raises(InputError, match="has no bank, whose heads give soft labels"):
        next(sampler.utterances(dict.fromkeys(sampler.labels, 1), 0, soft=True))


def test_a_bank_gives_it_soft_labels(configured: Any):
    sampler = untrained(configured(architecture=FLOW))
    (first, *_) = sampler.utterances(dict.fromkeys(sampler.labels, 1), 0, soft=True)
    assert first.soft is not None
    assert first.soft.sum().item() == pytest.approx(1)
