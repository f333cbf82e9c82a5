"""A class-Gaussian with a guarantee: differential privacy of whole speakers, by a single noisy release.

Each of the S training speakers says three things in the units of public data, another corpus: where their speech lies
(``level`` [D]), where each class lies from there (``contrasts`` [C, D]), and how it varies around its class in K
directions (``covariance`` [V], less the usual one: V = K variances, or all K (K + 1) / 2 of the symmetric matrix, those
off its diagonal times the root of 2, so that lengths are its own). Each is shortened to a norm that was fixed
beforehand, and divided by it; of their mean over speakers, noise and all,

    y = 1/S sum_s [w_1 level_s / n_1, w_2 contrasts_s / n_2, w_3 covariance_s / n_3] + sigma e,    sum_i w_i^2 = 1,

everything else is computed, so that it costs nothing more. Replacing one speaker moves the mean by at most 2 / S;
sigma is calibrated to that for (epsilon, delta), delta = 1 / (10 S), by a library. Labels, their order, T and S count
as public, and so does all that public data say: centre and unit, directions, norms, how speech moves.

Shapes: N utterances, D feature dims, K directions, V values of a covariance, C classes, S speakers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
LEVEL = 1.0
"""How far from public speech another corpus may lie, in its standard deviations, in root mean square over dims.

This and the weights are the best that ``eval/budget.py`` finds on nEMO alone, which no table of the price judges. That
there are these three blocks was decided with RAVDESS in sight.
"""
MECHANISM = 2
"""Raised when a release of the same speakers would be another: tables know by it what older constants computed."""
LEAST_VARIANCE = 0.05
"""Of a direction, as a share of the public one: noise can make a variance negative."""
Floats = NDArray[np.float64]
Said = dict[str, Floats]
"""``level`` [D], ``contrasts`` [C, D] and ``covariance`` [V], of a speaker or as they were released."""


@dataclass(frozen=True)
class Public:
    """What another corpus tells beforehand: ``centre`` and ``unit`` [D] of utterance means; ``directions`` [K, D], in
    these units, in which a speaker's utterances of a class vary most, by ``within`` [K]; ``rest`` [L, D], a factor of
    how they vary elsewhere; and ``contrast``, in root mean square over classes and dims, of its median speaker.

    ``full``: a covariance is told whole, else its diagonal. ``most`` is the level's norm in root mean square over dims,
    ``weights`` are w_i^2."""

    centre: Floats
    unit: Floats
    directions: Floats
    within: Floats
    rest: Floats
    contrast: float
    full: bool
    most: float = LEVEL
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)

    @classmethod
    def of(cls, features: FeatureSet, directions: int, full: bool = False) -> "Public":
        """Raises InputError if there are fewer utterances than directions, one names no speaker, or nothing varies."""
        means, speakers = utterance_means(features)
        if min(len(means), features.dims) < directions:
            raise InputError(
                f"privacy.public {features.folder} has {len(means)} utterances of {features.dims} dims, too few for "
                f"{directions} directions: give more, or fewer privacy.directions"
            )
        centre, unit = means.mean(0), means.std(0)
        unit = np.where(unit > 1e-9, unit, 1.0)
        points, classes = (means - centre) / unit, len(features.labels)
        around, contrasts = [], []
        for who in np.unique(speakers):
            _, contrast, residual = parts(points[speakers == who], features.targets[speakers == who], classes)
            around.append(residual)
            contrasts.append(np.square(contrast).mean() ** 0.5)
        residuals = np.concatenate(around)
        _, sizes, vectors = np.linalg.svd(residuals / len(residuals) ** 0.5, full_matrices=False)
        rest = (sizes[:, None] * vectors)[directions:][sizes[directions:] > 1e-6 * max(sizes[0], 1e-12)]
        within = np.square(sizes[:directions])
        if not within.any() or not np.median(contrasts) > 0:
            raise InputError(
                f"privacy.public {features.folder} must have speakers who say several classes, each more than once, to "
                "tell how speech varies"
            )
        return cls(centre, unit, vectors[:directions], within, rest, float(np.median(contrasts)), full)

    def norms(self, classes: int) -> dict[str, float]:
        """n_1 to n_3: what each thing that a speaker says is shortened to."""
        dims = len(self.centre)
        lengths = self.most * dims**0.5, self.contrast * (classes * dims) ** 0.5, float(np.linalg.norm(self.within))
        return dict(zip(WEIGHTS, lengths, strict=True))

    def said(self, means: Floats, targets: NDArray[np.int64], classes: int) -> Said:
        """What one speaker says by utterance means [n, D] of class numbers [n]."""
        level, contrasts, around = parts((means - self.centre) / self.unit, targets, classes)
        return {"level": level, "contrasts": contrasts, "covariance": self.beyond(around / len(around) ** 0.5)}

    def beyond(self, factor: Floats) -> Floats:
        """By how much a covariance, given by its ``factor`` [n, D], differs from the usual one [V]."""
        places = factor @ self.directions.T
        differ = places.T @ places - np.diag(self.within)
        if not self.full:
            return differ.diagonal()
        return np.concatenate([differ.diagonal(), 2**0.5 * differ[np.triu_indices(len(differ), 1)]])

    def covariance(self, beyond: Floats) -> Floats:
        """Undo ``beyond``: a factor [K, D], no direction of which has less than ``LEAST_VARIANCE`` of the usual."""
        usual = np.sqrt(np.maximum(self.within, 1e-9 * self.within.max()))
        differ = np.diag(beyond[: len(usual)])
        if self.full:
            above = np.zeros_like(differ)
            above[np.triu_indices(len(usual), 1)] = beyond[len(usual) :] / 2**0.5
            differ = differ + above + above.T
        powers, vectors = np.linalg.eigh(np.eye(len(usual)) + differ / np.outer(usual, usual))
        return (np.sqrt(np.maximum(powers, LEAST_VARIANCE)) * vectors).T * usual @ self.directions


@dataclass(frozen=True)
class Release:
    """What left the data, noise and all, and under which ``terms``."""

    said: Said
    terms: dict[str, Any]

    def design(self, public: Public) -> Design:
        """Draws from it: class means [C, D], and a factor of the released covariance and the public one elsewhere."""
        contrasts = self.said["contrasts"] - self.said["contrasts"].mean(0)
        means = public.centre + public.unit * (self.said["level"] + contrasts)
        rows = np.concatenate([public.covariance(self.said["covariance"]), public.rest]) * public.unit
        rows = rows[np.argsort(-np.square(rows).sum(1))][:DIRECTIONS]
        return Design(torch.from_numpy(means).float(), torch.from_numpy(rows).float(), 0.0)


def stored(design: Design, public: Public) -> Said:
    """Undo ``Release.design``: what was released, by what an artifact stores of it. The mean of the contrasts over
    classes is not in it, nor how far a variance was below ``LEAST_VARIANCE``."""
    points = (design.mean.double().numpy() - public.centre) / public.unit
    level, rows = points.mean(0), design.factor.double().numpy() / public.unit
    return {"level": level, "contrasts": points - level, "covariance": public.beyond(rows)}


def release(train: FeatureSet, public: Public, epsilon: float, noise: np.random.Generator | None = None) -> Release:
    """The one release of a training part. ``noise`` is for tests: else it comes from the operating system, so that no
    seed takes it off again.

    Raises InputError for utterances without a speaker, or fewer than two speakers.
    """
    names, told = said_by(train, public)
    if len(names) < 2:
        raise InputError(f"{train.folder} has {len(names)} speaker in its train part: privacy is among several")
    return mixed(told, public, epsilon, np.random.default_rng() if noise is None else noise)


def mixed(told: list[Said], public: Public, epsilon: float, noise: np.random.Generator) -> Release:
    """The noisy mean of what speakers have told."""
    speakers, classes, dims = len(told), *told[0]["contrasts"].shape
    norms, delta = public.norms(classes), 1 / (10 * speakers)
    sigma = gaussian_sigma(epsilon, delta, 2 / speakers)
    bounded_mean = np.mean([bounded(said, norms, public.weights) for said in told], axis=0)
    y = bounded_mean + sigma * noise.standard_normal(len(bounded_mean))
    terms = {"epsilon": epsilon, "delta": delta, "adjacency": "replace one speaker", "speakers": speakers}
    terms |= {"mechanism": MECHANISM}
    share = noise_share(sigma, public.weights["contrasts"], classes, dims)
    terms |= {"sigma": sigma, "norms": norms, "weights": dict(public.weights), "noise": share}
    return Release(unscaled(y, told[0], norms, public.weights), terms)


def noise_share(sigma: float, weight: float, classes: int, dims: int) -> float:
    """At least how much of the released differences between classes is noise, in squared length, as expected.

    The noise alone and the norm that nothing of speakers exceeds say so, hence it tells nothing of them.
    """
    noise = sigma**2 * (classes - 1) * dims / weight
    return noise / (noise + 1)


def said_by(features: FeatureSet, public: Public) -> tuple[NDArray[np.str_], list[Said]]:
    """The speakers [S], in order of their names, and what each says. Raises InputError if one is not named."""
    means, speakers = utterance_means(features)
    names, classes = np.unique(speakers), len(features.labels)
    return names, [public.said(means[speakers == who], features.targets[speakers == who], classes) for who in names]


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
