"""Batch norm and its derivatives, against torch's own and against finite differences."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck

from gandistill.trajectory.normalisation import BatchNorm, batch_norm

SHAPES: list[tuple[int, ...]] = [(4, 3), (2, 3, 5), (3, 2, 4, 3), (1, 2, 3, 1)]


def drawn(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    draws = torch.Generator().manual_seed(0)
    sizes = (shape, shape[1:2], shape[1:2])
    picture, weight, bias = (torch.randn(size, generator=draws, dtype=torch.float64).to(dtype) for size in sizes)
    return [tensor.requires_grad_() for tensor in (2 * picture + 3, weight, bias)]


@pytest.mark.parametrize("shape", SHAPES)
def test_first_and_second_derivatives(shape: tuple[int, ...]):
    inputs = drawn(shape)

    def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return batch_norm(x, weight, bias, 1e-2)

    assert gradcheck(norm, inputs)
    assert gradgradcheck(norm, inputs)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs_in_float32_too(shape: tuple[int, ...]):
    inputs = drawn(shape, torch.float32)

    def twice(norm: nn.Module) -> tuple[Tensor, ...]:
        y = norm(inputs[0])
        parameters = [norm.get_parameter("weight"), norm.get_parameter("bias")]
        first = grad(y.sin().sum(), [inputs[0], *parameters], create_graph=True)
        second = grad(torch.stack([slope.square().sum() for slope in first]).sum(), [inputs[0], parameters[0]])
        return (y, *first, *second)

    plain = (nn.BatchNorm1d if len(shape) < 4 else nn.BatchNorm2d)(inputs[1].numel())
    plain.load_state_dict({"weight": inputs[1].detach(), "bias": inputs[2].detach()}, strict=False)
    for found, expected in zip(twice(BatchNorm(plain)), twice(plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_channel_of_one_number_gives_its_bias():
    weight, bias = torch.tensor([2.0, 3.0]), torch.tensor([0.5, -1.0])
    found = batch_norm(torch.tensor([[7.0, 8.0]]), weight, bias, 1e-5)
    torch.testing.assert_close(found, bias[None], rtol=0, atol=1e-3)
