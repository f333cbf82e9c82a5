"""Closed-form generators: a Gaussian for each class, fitted without a training loop. Any GAN must beat them.

A sample is ``mean[c] + sum_k scale[c, k] * e_k * basis[k]`` with e ~ N(0, I): the basis is the leading principal
components of the clips around their own class's mean (pooled within-class covariance, so that a class with fewer
points than components borrows from the others). The scales are each class's own, with the pooled variance counting
as ten further points of it (the posterior mean under a conjugate prior). A basis or a full covariance for each class
was no better on held-out training speakers of RAVDESS, so the simpler form stays. What the components leave of the
variance stays away too: as white noise, or as noise of the residual's covariance over time and over dims, it teaches
heads that see time what no speech has: in a trial on dev speakers of nEMO they lost by either.

n clips, T frames, D feature dims, P = T D values of a clip, C classes, K components.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from gandistill.errors import InputError

SIDE = BLOCK = 4096
PRIOR = 10


@dataclass(frozen=True)
class ClassGaussian:
    """mean [C, P], basis [K, P] with orthonormal rows, scale [C, K] (standard deviations), all float32; T frames.

    ``explained`` is the share of the within-class variance that the basis holds, in 0..1.
    """

    mean: Tensor
    basis: Tensor
    scale: Tensor
    frames: int
    explained: float

    @property
    def components(self) -> int:
        """K, the size of the noise that a sample takes."""
        return len(self.basis)

    def sample(self, label: int, noise: Tensor) -> Tensor:
        """Clips [B, T, D] of class number ``label`` from noise [B, K].

        One matrix-vector product for each clip: in a batch, rounding would depend on the batch.
        """
        clips = [self.mean[label] + (self.scale[label] * e) @ self.basis for e in noise]
        return torch.stack(clips).reshape(len(noise), self.frames, -1)


def fit(clips: Tensor, targets: Tensor, classes: int, components: int) -> ClassGaussian:
    """Fit clips [n, T, D] (any float type) with class numbers [n], in closed form.

    At most n - C components exist, and at most P; fewer are kept if fewer carry variance. Exact, by the eigenvectors
    of the smaller of the Gram matrix [n, n] and the covariance [P, P], summed over blocks of columns: beside the
    clips it takes memory of that matrix, at most 4096 x 4096 doubles. Raises InputError if both sides are larger, if
    a class has no clip, or if ``components`` < 1.
    """
    n, length = len(clips), clips[0].numel()
    counts = torch.bincount(targets, minlength=classes)
    if components < 1:
        raise InputError(f"Bad number of components {components}, expected 1 or more")
    if not counts.all():
        raise InputError(f"Class number {int(counts.argmin())} has no clip: a Gaussian needs at least one")
    if min(n, length) > SIDE:
        raise InputError(f"{n} clips of {length} values are too many for a closed-form fit: at most {SIDE} clips")
    flat = clips.reshape(n, length)
    member = torch.nn.functional.one_hot(targets, classes).double()  # [n, C]
    mean = torch.cat([member.T @ block.double() for block in flat.split(BLOCK, dim=1)], dim=1) / counts[:, None]

    def centred() -> Iterator[Tensor]:
        for values, centres in zip(flat.split(BLOCK, dim=1), mean.split(BLOCK, dim=1), strict=True):
            yield values.double() - centres[targets]

    if n <= length:
        products = _sum(block @ block.T for block in centred())
        power, vectors = leading(products, components)
        basis = torch.cat([vectors.T @ block for block in centred()], dim=1) / power.sqrt()[:, None]
    else:
        whole = next(centred())  # one block, since P < n implies P <= SIDE
        products = whole.T @ whole
        power, vectors = leading(products, components)
        basis = vectors.T
    scores = _sum(block @ part.T for block, part in zip(centred(), basis.split(BLOCK, dim=1), strict=True))  # [n, K]
    pooled = power / max(n - classes, 1)
    variance = (member.T @ scores.square() + PRIOR * pooled) / (counts[:, None] - 1 + PRIOR)
    total = float(products.trace())
    explained = float(power.sum() / total) if total else 1.0
    return ClassGaussian(mean.float(), basis.float(), variance.sqrt().float(), clips.shape[1], explained)


def leading(products: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues [K] with eigenvectors [side, K] of a symmetric matrix that rounding has not made up."""
    values, vectors = torch.linalg.eigh(products)
    values, vectors = values.flip(0)[:components], vectors.flip(1)[:, :components]
    kept = values > len(products) * torch.finfo(torch.float64).eps * values[0].clamp(min=0)
    return values[kept], vectors[:, kept]


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return reduce(Tensor.add, terms)
