"""Heads of one shape that are fitted at once: the trained weights of all in one tensor, their gradients in another.

Calling torch costs more than so small operations do: for S heads it is called once, and once for all their weights by
what clips and what steps.

Shapes: S heads, P trained weights of a head, B batch, D feature dims, H features of a layer, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gandistill.heads.head import Head

STEP = 16
"""Every weight begins at a multiple of so many floats, zeros before it: what fills no vector of the processor is
rounded otherwise, and a head's bits would depend on how many it is stacked with."""


class Stack:
    """The trained weights of S heads as ``weights`` [S, P], and their ``gradients`` [S, P].

    Until they are ``parted``, the heads' own weights and gradients are views of them.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        self.heads, self._places, end = heads, dict[str, slice](), 0
        for name, weight in heads[0].named_parameters():
            if weight.requires_grad:
                self._places[name] = slice(end, end + weight.numel())
                end += -(-weight.numel() // STEP) * STEP
        self.weights = torch.zeros(len(heads), end, device=heads[0].mean.device)
        self.weights.grad = self.gradients = torch.zeros_like(self.weights)
        for head, row, gradients in zip(heads, self.weights, self.gradients, strict=True):
            for name, place in self._places.items():
                weight = head.get_parameter(name)
                row[place] = weight.detach().flatten()
                weight.data, weight.grad = row[place].view_as(weight), gradients[place].view_as(weight)

    def of(self, name: str) -> tuple[Tensor, Tensor | None]:
        """A weight of each head [S, ...] and its gradients, none where it is not trained."""
        shape = len(self.heads), *self.heads[0].get_parameter(name).shape
        if name not in self._places:
            return torch.stack([head.get_parameter(name).detach() for head in self.heads]), None
        weight, gradient = (each[:, self._places[name]].view(shape) for each in (self.weights, self.gradients))
        return weight, gradient

    def clip(self, norm: float) -> None:
        """Shorten the gradient of each head to at most this norm, as torch's ``clip_grad_norm_`` does."""
        norms = torch.linalg.vector_norm(self.gradients, dim=1, keepdim=True)
        self.gradients.mul_((norm / (norms + 1e-6)).clamp(max=1.0))

    def part(self) -> None:
        """Give every head weights of its own again."""
        for head in self.heads:
            for name in self._places:
                weight = head.get_parameter(name)
                weight.data = weight.data.clone()


class Layer:
    """A linear layer of each of S heads."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.weight, self.slope = stack.of(f"{name}.weight")
        self.bias, self.bias_slope = stack.of(f"{name}.bias")

    def __call__(self, given: Tensor) -> Tensor:
        """From [S, B, D] to [S, B, H]."""
        return torch.baddbmm(self.bias.unsqueeze(1), given, self.weight.mT)

    def add_gradients(self, given: Tensor, slopes: Tensor) -> None:
        """Those of a loss by its slopes [S, B, H] along what the layer made of [S, B, D]."""
        if self.slope is not None and self.bias_slope is not None:
            self.slope.baddbmm_(slopes.mT, given)
            self.bias_slope += slopes.sum(1)


class Superbs:
    """S stacked heads of kind ``superb``, without autograd: of a linear model the gradients are four products."""

    def __init__(self, stack: Stack) -> None:
        self.projector, self.linear = Layer(stack, "model.projector"), Layer(stack, "model.linear")

    @torch.no_grad()
    def add_gradients(self, means: Tensor, targets: Tensor, share: float) -> Tensor:
        """Losses [S] on standardised means [S, B, D]: ``-sum_c t[c] log p[c]`` of targets [S, B, C], averaged over B.

        ``share`` times their gradients are added to those that are there.
        """
        projected = self.projector(means)
        log_p = self.linear(projected).log_softmax(-1)
        slopes = (log_p.exp() * targets.sum(-1, keepdim=True) - targets) * (share / means.shape[1])
        self.linear.add_gradients(projected, slopes)
        self.projector.add_gradients(means, slopes @ self.linear.weight)
        return (targets * log_p).sum((1, 2)) / -means.shape[1]
