"""Batch norm by a batch's own statistics, of which a second derivative is taken in little time and memory.

torch derives that of its own batch norm from some twenty elementwise operations, each with a tensor as large as the
picture, which is much of a double backward's time and memory in a small CNN. Here it takes three.
Shapes: B batch, H channels, then any others; M numbers are normalised together in each channel.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

_native = torch.ops.aten.native_batch_norm_backward


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Each channel of x [B, H, ...] brought to mean 0 and deviation 1, times weight [H], plus bias [H].

    Differentiable twice. A channel of one number gives its bias. Source: Ioffe & Szegedy 2015.
    """
    return _Forward.apply(x, weight, bias, eps)


class BatchNorm(nn.Module):
    """Such a norm in place of torch's, with the same two parameters; without running statistics, so a pure function."""

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, H, ...]."""
        return batch_norm(x, self.weight, self.bias, self.eps)


class _Forward(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        y, mean, scale = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        return *_Backward.apply(slopes[0], *ctx.saved_tensors, ctx.eps), None


class _Backward(Function):
    """With n = (x - mean) r the normalised x, r the inverse deviation, G = w g and <.> the mean over a channel:
    dx = r (G - <G> - n <G n>), dw = M <g n>, db = M <g>."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        dx, dw, db = _native(g, x, weight, None, None, mean, scale, True, eps, [True, True, True])
        ctx.save_for_backward(g, x, weight, mean, scale, dw, db)
        ctx.eps = eps
        return dx, dw, db

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        """With u, v, z the slopes of dx, dw, db, and P(u) = r (u - <u> - n <u n>), which is symmetric:

        to g: w P(u) + v n + z,    to w: M <g P(u)>,    and with k = <u n>, a = <g n>, s = <g P(u)> / r, to x:
        -r^2 w (a (u - <u>) + k (g - <g>) + (s - 2 a k) n) + v P(g).
        """
        u, v, z = slopes
        g, x, w, mean, r, dw, db = ctx.saved_tensors
        count = x.numel() / x.shape[1]

        def spread(numbers: Tensor) -> Tensor:
            return numbers.view(-1, *[1] * (x.dim() - 2))

        by_g, k, u_mean = _native(u, x, None, None, None, mean, r, True, ctx.eps, [True, True, True])
        k, u_mean, a, g_mean = k / count, u_mean / count, dw / count, db / count
        projected = (g * by_g).sum([0, *range(2, x.dim())])
        s = projected / (count * r)
        of_u, of_g = -r * r * w * a, r * v - r * r * w * k
        of_n = -r * r * w * (s - 2 * a * k) - r * v * a
        by_x = u * spread(of_u)
        by_x.addcmul_(g, spread(of_g)).addcmul_(x, spread(of_n * r))
        by_x.sub_(spread(of_u * u_mean + of_g * g_mean + of_n * r * mean))
        by_g.mul_(spread(w)).addcmul_(x, spread(v * r)).add_(spread(z - v * r * mean))
        return by_g, by_x, projected, None, None, None
