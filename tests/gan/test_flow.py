"""The rectified flow: its latent, and its way from the Gaussian to clips."""

import scipy.fft
import torch

from gandistill.gan.flow import STEPS, Flow, cosines
from tests.gan.conftest import DIMS


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


def test_the_network_hears_of_class_and_time(flow: Flow):
    torch.nn.init.normal_(flow.leave.weight)
    latents, times, labels = torch.randn(1, 3, DIMS), torch.tensor([0.3]), torch.tensor([0])
    at = flow.velocity(latents, times, labels)
    assert (flow.velocity(latents, times + 0.5, labels) - at).abs().max() > 1e-3
    assert (flow.velocity(latents, times, labels + 1) - at).abs().max() > 1e-3
