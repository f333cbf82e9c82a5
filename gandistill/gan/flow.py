"""A conditional rectified flow: from the class-Gaussian to clips along straight lines, in a small latent.

A clip's latent is its slow part, the lowest of its cosine components over time, in the dims in which utterances
differ most. There a network v learns the mean direction from Gaussian to real latents of a class,

    min_v  E || x_1 - x_0 - v(x_t, t, y) ||^2,    x_t = (1 - t) x_0 + t x_1,    t ~ U(0, 1),

and a sample is where Euler's steps along v lead from x_0. An untrained v is 0: it leaves the Gaussian as it is. Not in
the paper, which prefers GANs to diffusion for size and speed.

Source: Liu et al. 2023 (*Flow straight and fast*), eq. (1), with independent couplings.
Shapes: B batch, T frames, D feature dims, C classes, Z noise, J components over time, L latent dims, P = J L, W width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gandistill.controls import gaussian
from gandistill.gan.generator import Architecture

DIMS = 96
"""Most latent dims L. 128 dims of utterance means lose 4 points of UAR to a linear head, and designed draws bring those
back: it is movement alone that L limits."""
SLOWEST = 4
"""One in so many cosine components over time is kept: at 25 frames a second what is slower than 3 Hz."""
STEPS = 16
"""Euler's steps from Gaussian to clip."""
FREQUENCIES = 16
"""Pairs of sine and cosine that tell a network the time t."""


class Flow(nn.Module):
    """Class numbers [B] and noise [B, Z] to standardised samples [B, T, D]. The Gaussian is all zeros until filled."""

    def __init__(self, architecture: Architecture, classes: int, dims: int) -> None:
        super().__init__()
        self.architecture, self.classes, self.dims = architecture, classes, dims
        self.latent = math.ceil(architecture.frames / SLOWEST), min(dims, DIMS)
        components, size = self.latent
        shapes = {
            "subspace": (size, dims),
            "unit": (size,),
            "mean": (classes, components * size),
            "basis": (architecture.noise, components * size),
            "scale": (classes, architecture.noise),
        }
        fixed = {name: nn.Parameter(torch.zeros(shape), requires_grad=False) for name, shape in shapes.items()}
        self.gaussian = nn.ParameterDict(fixed)
        width = architecture.channels[0]
        self.enter, self.leave = nn.Linear(size, width), nn.Linear(width, size)
        self.places = nn.Parameter(0.02 * torch.randn(components, width))
        self.told = nn.Sequential(nn.Linear(classes + 2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Mixing(components, width) for width in architecture.channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    @torch.no_grad()
    def fill(self, clips: Tensor, targets: Tensor) -> None:
        """Take the subspace and the Gaussian from standardised clips [N, T, D] with class numbers [N]."""
        means = clips.mean(1).double()
        directions = torch.linalg.svd(means - means.mean(0), full_matrices=False).Vh[: self.latent[1]]
        self.gaussian["subspace"][: len(directions)] = directions
        latents = torch.einsum("jt,ntd,ld->njl", cosines(*self._times, clips), clips, self.gaussian["subspace"])
        unit = latents.square().mean((0, 1)).sqrt()
        self.gaussian["unit"].copy_(torch.where(unit > 0, unit, 1.0))
        fitted = gaussian.fit(latents / self.gaussian["unit"], targets, self.classes, self.architecture.noise)
        self.gaussian["mean"].copy_(fitted.mean)
        self.gaussian["basis"][: fitted.components] = fitted.basis
        self.gaussian["scale"][:, : fitted.components] = fitted.scale

    def encoded(self, clips: Tensor) -> Tensor:
        """Latents [B, J, L] of standardised clips [B, T, D]."""
        slow = cosines(*self._times, clips) @ clips
        return slow @ self.gaussian["subspace"].T / self.gaussian["unit"]

    def decoded(self, latents: Tensor) -> Tensor:
        """Standardised clips [B, T, D] of latents [B, J, L]."""
        return cosines(*self._times, latents).T @ (latents * self.gaussian["unit"]) @ self.gaussian["subspace"]

    def start(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Latents x_0 [B, J, L] of the class-Gaussian, from class numbers [B] and noise [B, Z]."""
        drawn = self.gaussian["mean"][labels] + (self.gaussian["scale"][labels] * noise) @ self.gaussian["basis"]
        return drawn.unflatten(1, self.latent)

    def velocity(self, latents: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """v [B, J, L] at latents x_t [B, J, L] and times t [B] for class numbers [B]."""
        angles = times[:, None] * torch.pi * torch.arange(1, FREQUENCIES + 1, device=times.device)
        conditioning = torch.cat([F.one_hot(labels, self.classes).to(latents.dtype), angles.sin(), angles.cos()], dim=1)
        conditioning, states = self.told(conditioning), self.enter(latents) + self.places
        for block in self.blocks:
            states = block(states, conditioning)
        return self.leave(F.layer_norm(states, states.shape[-1:]))

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Class numbers [B] and noise [B, Z] to samples [B, T, D], in units of the corpus's standard deviation."""
        latents = self.start(labels, noise)
        for step in range(STEPS):
            times = latents.new_full(latents.shape[:1], step / STEPS)
            latents = latents + self.velocity(latents, times, labels) / STEPS
        return self.decoded(latents)

    @property
    def _times(self) -> tuple[int, int]:
        return self.latent[0], self.architecture.frames


class Mixing(nn.Module):
    """A residual block: components over time are mixed, then channels, both steered by what is told of t and class.

    Source: Tolstikhin et al. 2021 (MLP-Mixer), steered as Peebles and Xie 2023 (adaptive layer norm).
    """

    def __init__(self, components: int, width: int) -> None:
        super().__init__()
        self.steer = nn.Linear(width, 4 * width)
        self.over_time = nn.Sequential(
            nn.Linear(components, 2 * components), nn.SiLU(), nn.Linear(2 * components, components)
        )
        self.over_channels = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, states: Tensor, conditioning: Tensor) -> Tensor:
        """States [B, J, W], changed by the conditioning [B, W]."""
        gain, shift, more_gain, more_shift = self.steer(conditioning).unsqueeze(1).chunk(4, dim=2)
        steered = F.layer_norm(states, states.shape[-1:]) * (1 + gain) + shift
        states = states + self.over_time(steered.mT).mT
        steered = F.layer_norm(states, states.shape[-1:]) * (1 + more_gain) + more_shift
        return states + self.over_channels(steered)


def cosines(components: int, frames: int, like: Tensor) -> Tensor:
    """The slowest cosine components over time [J, T], orthonormal rows (DCT-II), of a tensor's dtype and device."""
    places = (torch.arange(frames, device=like.device, dtype=like.dtype) + 0.5) * torch.pi / frames
    rows = torch.arange(components, device=like.device, dtype=like.dtype)[:, None] * places
    weights = torch.full((components, 1), math.sqrt(2 / frames), device=like.device, dtype=like.dtype)
    weights[0] /= math.sqrt(2)
    return rows.cos() * weights
