"""The class-Gaussian as a generator: fitted without a training loop, and then an artifact like any other.

Shapes: B batch, T frames, D feature dims, C classes, Z noise.
"""

import torch
from torch import Tensor, nn

from gandistill.controls.gaussian import ClassGaussian
from gandistill.gan.generator import Architecture


class ClosedForm(nn.Module):
    """``mean[y] + (scale[y] * e) basis``: see ``controls/gaussian.py``. All zeros until it is filled."""

    def __init__(self, architecture: Architecture, classes: int, dims: int) -> None:
        super().__init__()
        self.architecture, self.classes, self.dims = architecture, classes, dims
        values, noise = architecture.frames * dims, architecture.noise
        self.mean = nn.Parameter(torch.zeros(classes, values), requires_grad=False)
        self.basis = nn.Parameter(torch.zeros(noise, values), requires_grad=False)
        self.scale = nn.Parameter(torch.zeros(classes, noise), requires_grad=False)

    @torch.no_grad()
    def fill(self, gaussian: ClassGaussian) -> None:
        """Take over what was fitted; where it has fewer than Z components, the rest of the noise has no effect."""
        self.mean.copy_(gaussian.mean)
        self.basis[: gaussian.components] = gaussian.basis
        self.scale[:, : gaussian.components] = gaussian.scale

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Class numbers [B] and noise [B, Z] to standardised samples [B, T, D]."""
        gaussian = ClassGaussian(self.mean, self.basis, self.scale, self.architecture.frames, 1.0)
        return torch.cat([gaussian.sample(c, e[None]) for c, e in zip(labels.tolist(), noise, strict=True)])

    def together(self, labels: Tensor, noise: Tensor) -> Tensor:
        """The same but for rounding, which depends on the batch here: what is exported."""
        samples = self.mean[labels] + (self.scale[labels] * noise) @ self.basis
        return samples.unflatten(1, (self.architecture.frames, self.dims))
