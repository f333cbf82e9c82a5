"""The critic, layer by layer: what the paper describes, and what the gradient penalty needs of it."""

import pytest
import torch
from torch import nn

from gandistill.gan.critic import Critic, LayerNorm
from gandistill.gan.generator import Architecture
from tests.gan.conftest import KINDS, modules, small


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("frames", "dims"), [(112, 64), (20, 7), (33, 5), (1, 1)])
def test_any_frames_and_dims(kind: str, frames: int, dims: int):
    """Every other convolution halves the map, rounding up; over time alone dims are channels."""
    scores, classes, maps = Critic(small(kind, frames=frames), 4, dims)(torch.randn(3, frames, dims))
    assert (scores.shape, classes.shape) == ((3,), (3, 4))
    height, width = frames, 1 if kind == "gan-time" else dims
    expected = []
    for layer in range(8):
        if layer % 2 == 0:
            height, width = -(-height // 2), -(-width // 2)
        expected.append((3, 4, height, width))
    assert [tuple(each.shape) for each in maps] == expected


def test_it_has_eight_convolutions_each_with_layer_norm_and_leaky_relu_then_two_linears():
    critic = Critic(Architecture(kind="gan-att"), 4, 64)
    assert len(modules(critic, nn.Conv2d)) == 8
    for layer in critic.layers:
        assert [type(module) for module in layer] == [nn.Conv2d, LayerNorm, nn.LeakyReLU]
    linears = modules(critic, nn.Linear)
    assert sorted(linear.out_features for linear in linears) == [1, 4]


def test_layer_norm_normalises_each_sample_alone():
    maps = 7 + 3 * torch.randn(5, 4, 6, 2)
    normed = LayerNorm(4)(maps)
    assert torch.allclose(normed.flatten(1).mean(1), torch.zeros(5), atol=1e-5)
    assert torch.allclose(normed, torch.cat([LayerNorm(4)(row[None]) for row in maps]), atol=1e-6)


def test_layer_norm_by_hand():
    """Over both channels of a map together, 1, 1, 3, 3 have mean 2 and deviation 1; a gain for each channel."""
    norm = LayerNorm(2)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 10.0]), torch.tensor([0.0, 5.0])
    normed = norm(torch.tensor([[[[1.0, 1.0]], [[3.0, 3.0]]]]))
    torch.testing.assert_close(normed, torch.tensor([[[[-1.0, -1.0]], [[15.0, 15.0]]]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_judged_alone(kind: str):
    """Whatever else is in the batch: a gradient penalty is of each sample (WGAN-GP)."""
    critic, samples = Critic(small(kind), 4, 7), torch.randn(5, 20, 7, requires_grad=True)
    scores, classes, _ = critic(samples)
    for row in range(5):
        alone = critic(samples[row : row + 1])
        torch.testing.assert_close((alone[0][0], alone[1][0]), (scores[row], classes[row]), atol=1e-5, rtol=1e-4)
    (slope,) = torch.autograd.grad(scores[2], samples)
    assert slope[2].abs().sum() > 0
    assert slope[[0, 1, 3, 4]].abs().sum() == 0


def test_gan_time_takes_dims_as_channels_that_have_no_neighbours():
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    critic, samples = Critic(small("gan-time"), 2, 7), torch.randn(3, 20, 7)
    assert all(each.kernel_size[1] == each.stride[1] == 1 for each in modules(critic, nn.Conv2d))
    scores, classes, _ = critic(samples)
    critic.layers[0][0].weight.data = critic.layers[0][0].weight[:, order]
    torch.testing.assert_close(critic(samples[..., order])[:2], (scores, classes))
