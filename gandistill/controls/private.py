"""A class-Gaussian with a guarantee: differential privacy of whole speakers, by a single noisy release.

Each of the S training speakers says three things in the units of public data, another corpus: where their speech lies
(``level`` [D]), where each class lies from there (``contrasts`` [C, D]), and how it varies around its class
(``covariance`` [V], the V = D (D + 1) / 2 values of the symmetric matrix, those off its diagonal times the root of 2,
so that its length is the matrix's). Each is shortened to a norm that was fixed beforehand, and divided by it; of their
mean over speakers, noise and all,

    y = 1/S sum_s [w_1 level_s / n_1, w_2 contrasts_s / n_2, w_3 covariance_s / n_3] + sigma e,    sum_i w_i^2 = 1,

everything else is computed, so that it costs nothing more. Replacing one speaker moves the mean by at most 2 / S;
sigma is calibrated to that for (epsilon, delta), delta = 1 / (10 S), by a library. Labels, their order, T and S count
as public, and so do sigma and all that public data say: centre and unit, norms, how speech moves.

Of the covariance only the directions are taken in which there is more than noise alone would have: a few, but those
that another corpus has not, and that heads learn from first. Elsewhere the public one stands.

Shapes: N utterances, D feature dims, V values of a covariance, K directions taken of it, C classes, S speakers.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandistill.controls.draws import DIRECTIONS, Design
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet

WEIGHTS = {"level": 0.25, "contrasts": 0.65, "covariance": 0.1}
"""w_i^2: what the classes are told apart by gets most of the budget."""
AFAR = 2.0
"""How far from public speech another corpus is taken to lie: standard deviations, in root mean square over dims.

This and the weights are the best that ``eval/budget.py`` finds for nEMO's speakers, whom no table of the price judges,
with RAVDESS among the public speech. The form of the release was decided with RAVDESS's results in sight.
"""
MECHANISM = 4
"""Raised when a release of the same speakers would be another: tables know by it what older constants computed."""
Floats = NDArray[np.float64]
Said = dict[str, Floats]
"""``level`` [D], ``contrasts`` [C, D] and ``covariance`` [V], of a speaker or as they were released."""


@dataclass(frozen=True)
class Public:
    """What another corpus tells beforehand, for a release with noise ``sigma``.

    ``centre`` and ``unit`` [D] are of utterance means. In these units ``factor`` [L, D] says how a speaker's utterances
    of a class vary. ``contrast``, in root mean square over classes and dims, and ``spread``, a covariance's length, are
    those of its median speaker. ``most`` is the level's norm, in root mean square over dims; ``weights`` are w_i^2.
    """

    centre: Floats
    unit: Floats
    factor: Floats
    contrast: float
    spread: float
    sigma: float
    most: float
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)

    @classmethod
    def of(
        cls,
        features: FeatureSet,
        sigma: float,
        afar: float = AFAR,
        weights: Mapping[str, float] = WEIGHTS,
    ) -> "Public":
        """For a release with so much noise. Raises InputError if an utterance names no speaker, or nothing varies."""
        means, speakers = utterance_means(features)
        centre, unit = means.mean(0), means.std(0)
        unit = np.where(unit > 1e-9, unit, 1.0)
        points, classes = (means - centre) / unit, len(features.labels)
        around, contrasts, spreads = [], [], []
        for who in np.unique(speakers):
            _, contrast, residual = parts(points[speakers == who], features.targets[speakers == who], classes)
            around.append(residual)
            contrasts.append(np.square(contrast).mean() ** 0.5)
            spreads.append(np.linalg.norm(residual.T @ residual / len(residual)))
        residuals = np.concatenate(around)
        contrast, spread = float(np.median(contrasts)), float(np.median(spreads))
        if not min(contrast, spread) > 0:
            raise InputError(
                f"privacy.public {features.folder} must have speakers who say several classes, each more than once, to "
                "tell how speech varies"
            )
        factor, most = principal(residuals / len(residuals) ** 0.5), reach(sigma, afar, weights["level"], len(unit))
        return cls(centre, unit, factor, contrast, spread, sigma, most, weights)

    def norms(self, classes: int) -> dict[str, float]:
        """n_1 to n_3: what each thing that a speaker says is shortened to."""
        dims = len(self.centre)
        lengths = self.most * dims**0.5, self.contrast * (classes * dims) ** 0.5, self.spread
        return dict(zip(WEIGHTS, lengths, strict=True))

    @property
    def edge(self) -> float:
        """The largest eigenvalue of a covariance of noise alone, about (Wigner): 2 s D^(1/2) by s off the diagonal."""
        return self.sigma * self.spread * (2 * len(self.unit) / self.weights["covariance"]) ** 0.5

    def said(self, means: Floats, targets: NDArray[np.int64], classes: int, directions: Floats | None = None) -> Said:
        """What one speaker says by utterance means [n, D] of class numbers [n].

        With orthonormal ``directions`` [K, D], of the covariance, shortened as a whole, only what lies in them [K, K].
        """
        level, contrasts, around = parts((means - self.centre) / self.unit, targets, classes)
        matrix = _shortened(around.T @ around / len(around), self.spread)
        seen = matrix if directions is None else directions @ matrix @ directions.T
        return {"level": level, "contrasts": contrasts, "covariance": values_of(seen)}


def principal(rows: Floats) -> Floats:
    """Orthogonal rows [L, D], by falling length, of the same covariance as rows [n, D]: L <= D."""
    _, sizes, vectors = np.linalg.svd(rows, full_matrices=False)
    return (sizes[:, None] * vectors)[sizes > 1e-6 * sizes[0]]


def values_of(matrix: Floats) -> Floats:
    """A symmetric matrix [D, D] as a vector [V] of its length: see above."""
    return np.concatenate([matrix.diagonal(), 2**0.5 * matrix[_above(len(matrix))]])


def matrix_of(values: Floats, dims: int) -> Floats:
    """Undo ``values_of``."""
    above = np.zeros((dims, dims))
    above[_above(dims)] = values[dims:] / 2**0.5
    return np.diag(values[:dims]) + above + above.T


@lru_cache(maxsize=2)
def _above(dims: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.triu_indices(dims, 1)


def reach(sigma: float, afar: float, weight: float, dims: int) -> float:
    """The level's norm m that errs least for a corpus that lies ``afar``, all in root mean square over dims.

    It falls short by afar - m, and the noise is m n, with n = sigma (D / w)^(1/2): of (afar - m)^2 + (m n)^2 the least.
    """
    return afar / (1 + sigma**2 * dims / weight)


@dataclass(frozen=True)
class Release:
    """What left the data, noise and all, under which ``terms``, in terms of what was ``known`` beforehand."""

    said: Said
    terms: dict[str, Any]
    known: Public

    @cached_property
    def leading(self) -> tuple[Floats, Floats]:
        """Directions [K, D] in which the covariance has more than noise alone, and the variances [K] there.

        Noise turns a variance v into an eigenvalue v + (edge / 2)^2 / v, if there are few such (Benaych-Georges &
        Nadakuditi 2011): that is undone.
        """
        edge = self.known.edge
        powers, vectors = np.linalg.eigh(matrix_of(self.said["covariance"], len(self.known.unit)))
        powers, vectors = powers[::-1][:DIRECTIONS], vectors.T[::-1][:DIRECTIONS]
        seen = powers > edge
        return vectors[seen], (powers[seen] + np.sqrt(np.square(powers[seen]) - edge**2)) / 2

    @property
    def design(self) -> Design:
        """Draws from it: class means [C, D], and a factor of the covariance: released directions, then public ones."""
        known, (directions, variances) = self.known, self.leading
        contrasts = self.said["contrasts"] - self.said["contrasts"].mean(0)
        means = known.centre + known.unit * (self.said["level"] + contrasts)
        rest = principal(known.factor - known.factor @ directions.T @ directions)[: len(known.unit) - len(variances)]
        rest = (rest * known.unit)[np.argsort(-np.square(rest * known.unit).sum(1))]
        rows = np.concatenate([np.sqrt(variances)[:, None] * directions * known.unit, rest])[:DIRECTIONS]
        return Design(torch.from_numpy(means).float(), torch.from_numpy(rows).float(), 0.0)


def stored(design: Design, known: Public, count: int) -> tuple[Said, Floats]:
    """Undo ``Release.design``: what was released, by what an artifact stores of it, and the ``count`` directions [K, D]
    in which its covariance is told. The mean of the contrasts over classes is not in it."""
    points = (design.mean.double().numpy() - known.centre) / known.unit
    rows = design.factor[:count].double().numpy() / known.unit
    variances, level = np.square(rows).sum(1), points.mean(0)
    said = {"level": level, "contrasts": points - level, "covariance": values_of(np.diag(variances))}
    return said, rows / np.sqrt(variances)[:, None]


def release(train: FeatureSet, public: FeatureSet, epsilon: float, noise: np.random.Generator | None = None) -> Release:
    """The one release of a training part, by all of ``public``. ``noise`` is for tests: else it comes from the
    operating system, so that no seed takes it off again.

    Raises InputError for utterances without a speaker, or fewer than two speakers.
    """
    speakers = len(np.unique(utterance_means(train)[1]))
    if speakers < 2:
        raise InputError(f"{train.folder} has {speakers} speaker in its train part: privacy is among several")
    sigma = sigma_for(epsilon, speakers)
    known, classes = Public.of(public, sigma), len(train.labels)
    told = (said for _, said in said_by(train, known))
    made = Release(mixed(told, known, np.random.default_rng() if noise is None else noise), {}, known)
    terms = {"epsilon": epsilon, "delta": delta(speakers), "adjacency": "replace one speaker", "speakers": speakers}
    terms |= {"mechanism": MECHANISM, "sigma": sigma, "norms": known.norms(classes), "weights": dict(known.weights)}
    terms |= {"noise": noise_share(sigma, known.weights["contrasts"], classes, train.dims)}
    return replace(made, terms=terms | {"directions": len(made.leading[0])})


def mixed(told: Iterable[Said], known: Public, noise: np.random.Generator) -> Said:
    """The noisy mean of what speakers have told; one at a time, since a covariance is long."""
    like, total, speakers = dict[str, Floats](), np.zeros(1), 0
    for like in told:
        total, speakers = total + bounded(like, known.norms(len(like["contrasts"])), known.weights), speakers + 1
    y = total / speakers + known.sigma * noise.standard_normal(len(total))
    return unscaled(y, like, known.norms(len(like["contrasts"])), known.weights)


def noise_share(sigma: float, weight: float, classes: int, dims: int) -> float:
    """At least how much of the released differences between classes is noise, in squared length, as expected.

    The noise alone and the norm that nothing of speakers exceeds say so, hence it tells nothing of them.
    """
    noise = sigma**2 * (classes - 1) * dims / weight
    return noise / (noise + 1)


def said_by(features: FeatureSet, public: Public, directions: Floats | None = None) -> Iterator[tuple[str, Said]]:
    """Each speaker, in order of their names, and what they say. Raises InputError if one is not named."""
    means, speakers = utterance_means(features)
    for who in np.unique(speakers):
        mine = speakers == who
        yield str(who), public.said(means[mine], features.targets[mine], len(features.labels), directions)


def parts(points: Floats, targets: NDArray[np.int64], classes: int) -> tuple[Floats, Floats, Floats]:
    """Of one speaker's points [n, D]: the mean of their class means [D], how far from it each class lies [C, D] (0
    where there is none), and the points less their class's mean [n, D]."""
    present, number = np.unique(targets, return_inverse=True)
    means = np.stack([points[targets == c].mean(0) for c in present])
    contrasts = np.zeros((classes, points.shape[1]))
    contrasts[present] = means - means.mean(0)
    return means.mean(0), contrasts, points - means[number]


def bounded(said: Said, norms: Mapping[str, float], weights: Mapping[str, float]) -> Floats:
    """What one speaker says, as one vector of norm 1 at the most."""
    return scaled({name: _shortened(said[name], norms[name]) for name in WEIGHTS}, norms, weights)


def _shortened(values: Floats, norm: float) -> Floats:
    return values / max(1.0, float(np.linalg.norm(values)) / norm)


def scaled(said: Said, norms: Mapping[str, float], weights: Mapping[str, float]) -> Floats:
    """In the units of the mechanism, as one vector."""
    return np.concatenate([weights[name] ** 0.5 * said[name].ravel() / norms[name] for name in WEIGHTS])


def unscaled(vector: Floats, like: Said, norms: Mapping[str, float], weights: Mapping[str, float]) -> Said:
    """Undo ``scaled``; ``like`` has the shapes."""
    ends = np.cumsum([like[name].size for name in WEIGHTS])[:-1]
    split = dict(zip(WEIGHTS, np.split(vector, ends), strict=True))
    return {name: (part * norms[name] / weights[name] ** 0.5).reshape(like[name].shape) for name, part in split.items()}


def delta(speakers: int) -> float:
    """The chance that the guarantee leaves out."""
    return 1 / (10 * speakers)


def sigma_for(epsilon: float, speakers: int) -> float:
    """The noise for a mean over so many speakers, each of norm 1."""
    return gaussian_sigma(epsilon, delta(speakers), 2 / speakers)


def gaussian_sigma(epsilon: float, delta: float, sensitivity: float) -> float:
    """The noise of the Gaussian mechanism, exact (Balle & Wang 2018). Raises InputError without dp-accounting.

    It is proportional to the sensitivity, but the library's search stops at an absolute width: it is asked for 1.
    """
    try:
        from dp_accounting.pld.common import DifferentialPrivacyParameters
        from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
    except ImportError:
        raise InputError("privacy.epsilon needs an accountant: pip install 'gandistill[privacy]'") from None
    wanted = DifferentialPrivacyParameters(epsilon, delta)
    return sensitivity * GaussianPrivacyLoss.from_privacy_guarantee(wanted, sensitivity=1).standard_deviation


def utterance_means(features: FeatureSet) -> tuple[Floats, NDArray[np.str_]]:
    """Means over time [N, D], and speakers [N]. Raises InputError if one is not named."""
    speakers = features.index["speaker"].to_numpy(str)
    if (speakers == "").any():
        raise InputError(f"{features.folder}: {int((speakers == '').sum())} utterances name no speaker to protect")
    return features.means().double().numpy(), speakers


def movement(basis: Tensor, scale: Tensor, mean: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of a closed form's public ``basis`` [Z, T D] and ``scale`` [C', Z]: mean [C, T D], basis and scale [C, Z] for
    other classes, whose level ``mean`` [C, D] is in the same units and the same in every frame."""
    shared = scale.square().mean(0).sqrt()
    return mean.repeat(1, frames), basis, shared.expand(len(mean), -1)
