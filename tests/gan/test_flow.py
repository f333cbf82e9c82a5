"""The rectified flow: its latent, its loss, its way from the Gaussian, and its training without a bank."""

from pathlib import Path
from typing import Any

import pytest
import scipy.fft
import torch

from gandistill.errors import InputError
from gandistill.gan.flow import STEPS, Flow, cosines
from gandistill.gan.flowing import Flowing, flow_update, rectified_flow
from gandistill.gan.generator import Architecture
from gandistill.gan.sampling import Sampler
from gandistill.gan.training import prepared, train, untrained
from gandistill.numerics import seeded
from tests.gan.test_training import content, interrupt, metrics  # noqa: F401

TINY = {"kind": "flow", "frames": 12, "noise": 4, "channels": (8, 8, 8)}
CLASSES, DIMS = 3, 6


@pytest.fixture
def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised clips [60, 12, 6] with class numbers, slow and with a mean of their own class."""
    generator, targets = torch.Generator().manual_seed(0), torch.arange(60) % CLASSES
    slow = torch.randn(60, 3, DIMS, generator=generator)
    slow[:, 0, 0] += targets
    return torch.einsum("jt,njd->ntd", cosines(3, 12, slow), slow), targets


@pytest.fixture
def flow(clips: tuple[torch.Tensor, torch.Tensor]) -> Flow:
    with seeded(0):
        made = Flow(Architecture.build(TINY, "test"), CLASSES, DIMS)
    made.fill(*clips)
    return made


def test_cosines_are_the_orthonormal_dct():
    drawn = torch.randn(12, 5, dtype=torch.float64)
    expected = scipy.fft.dct(drawn.numpy(), axis=0, norm="ortho")[:4]
    torch.testing.assert_close(cosines(4, 12, drawn) @ drawn, torch.from_numpy(expected))


def test_a_slow_clip_survives_its_latent(flow: Flow, clips: tuple[torch.Tensor, torch.Tensor]):
    assert flow.latent == (3, DIMS)
    latents = flow.encoded(clips[0])
    torch.testing.assert_close(latents.square().mean((0, 1)), torch.ones(DIMS))
    torch.testing.assert_close(flow.decoded(latents), clips[0])
    fast = cosines(4, 12, latents)[3][None, :, None].expand(1, 12, DIMS)
    torch.testing.assert_close(flow.encoded(fast), torch.zeros(1, 3, DIMS), rtol=0, atol=1e-5)


def test_untrained_it_is_the_class_gaussian(flow: Flow, clips: tuple[torch.Tensor, torch.Tensor]):
    labels = torch.tensor([2, 0, 1])
    noise = torch.zeros(3, 4)
    samples = flow(labels, noise)
    for sample, label in zip(samples, labels, strict=True):
        torch.testing.assert_close(sample, clips[0][clips[1] == label].mean(0), rtol=1e-4, atol=1e-4)
    assert (flow(labels, torch.ones(3, 4)) - samples).abs().max() > 0.1


def test_a_constant_velocity_is_walked_to_its_end(flow: Flow):
    labels, noise = torch.tensor([1, 2]), torch.randn(2, 4)
    before = flow.start(labels, noise)
    flow.leave.bias.data.fill_(0.25)
    walked = flow.encoded(flow(labels, noise))
    torch.testing.assert_close(walked, before + 0.25, rtol=1e-4, atol=1e-4)
    assert STEPS == 16


def test_the_loss_of_a_velocity_of_zero_is_the_distance(flow: Flow, clips: tuple[torch.Tensor, torch.Tensor]):
    real, labels, noise = clips[0][:4], clips[1][:4], torch.randn(4, 4)
    distance = (flow.encoded(real) - flow.start(labels, noise)).square().mean()
    for time in (0.0, 0.7):
        torch.testing.assert_close(rectified_flow(flow, real, labels, noise, torch.full((4,), time)), distance)
    flow.leave.bias.data.fill_(0.5)
    expected = (flow.encoded(real) - flow.start(labels, noise) - 0.5).square().mean()
    torch.testing.assert_close(rectified_flow(flow, real, labels, noise, torch.zeros(4)), expected)


def test_the_network_hears_of_class_and_time(flow: Flow):
    torch.nn.init.normal_(flow.leave.weight)
    latents, times, labels = torch.randn(1, 3, DIMS), torch.tensor([0.3]), torch.tensor([0])
    at = flow.velocity(latents, times, labels)
    assert (flow.velocity(latents, times + 0.5, labels) - at).abs().max() > 1e-3
    assert (flow.velocity(latents, times, labels + 1) - at).abs().max() > 1e-3


def test_it_learns(configured: Any):
    flowing, _ = prepared(configured(bank=None, architecture=TINY, training={"batch": 16, "learning_rate": 1e-2}))
    assert isinstance(flowing, Flowing)
    losses = [flow_update(flowing, update)["flow/loss"] for update in range(1, 251)]
    assert sum(losses[-20:]) < 0.9 * sum(losses[:20])
    fixed = untrained(configured(bank=None, architecture=TINY)).generator.gaussian
    assert all(torch.equal(tensor, fixed[name]) for name, tensor in flowing.generator.gaussian.items())


def test_a_stopped_training_without_a_bank_equals_an_uninterrupted_one(
    configured: Any,
    tmp_path: Path,
    interrupt: Any,  # noqa: F811
):
    config = configured(bank=None, architecture=TINY)
    train(config, tmp_path / "whole")
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run")
    interrupt(100)
    train(config, tmp_path / "run", resume=True)
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    assert {"flow/loss"} <= metrics(tmp_path / "run")[-2].keys()
    sampler = Sampler.open(tmp_path / "run")
    assert sampler.bank is None
    assert isinstance(sampler.generator, Flow)
    assert "rectified flow" in (tmp_path / "run" / "generator" / "README.md").read_text()
    five = torch.stack(list(sampler.samples(1, 5, 0)))
    assert torch.equal(torch.stack(list(sampler.samples(1, 40, 0)))[:5], five)
    with pytest.raises(InputError, match="has no bank, whose heads give soft labels"):
        next(sampler.utterances(dict.fromkeys(sampler.labels, 1), 0, soft=True))


def test_a_bank_gives_it_soft_labels(configured: Any):
    sampler = untrained(configured(architecture=TINY))
    (first, *_) = sampler.utterances(dict.fromkeys(sampler.labels, 1), 0, soft=True)
    assert first.soft is not None
    assert first.soft.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [
        ({"start": "closed-form"}, "a flow starts from a Gaussian always"),
        ({"preset": "paper"}, "preset 'paper' is of the paper's kinds"),
        ({"channels": [8, 8, 4]}, "expected one width for all blocks"),
    ],
)
def test_what_it_has_not_is_refused(configured: Any, architecture: dict[str, Any], problem: str):
    with pytest.raises(InputError, match=problem):
        configured(architecture=TINY | architecture)
