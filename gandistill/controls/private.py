"""A class-Gaussian with a guarantee: differential privacy of whole speakers, by a single noisy release.

Each of the S training speakers says three things in the units of public data, another corpus: where their speech lies
(``level`` [D]), where each class lies from there (``contrasts`` [C, D]), and how much it varies around its class, in K
directions (``variances`` [K], less the usual ones). Each is shortened to a norm that was fixed beforehand, and divided
by it; of their mean over speakers, noise and all,

    y = 1/S sum_s [w_1 level_s / n_1, w_2 contrasts_s / n_2, w_3 variances_s / n_3] + sigma e,    sum_i w_i^2 = 1,

everything else is computed, so that it costs nothing more. Replacing one speaker moves the mean by at most 2 / S;
sigma is calibrated to that for (epsilon, delta), delta = 1 / (10 S), by a library. Labels, their order, T and S count
as public, and so does all that public data say: centre and unit, directions, norms, how speech moves.

Shapes: N utterances, D feature dims, K directions, C classes, S speakers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandistill.controls.draws import DIRECTIONS, Design
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet

WEIGHTS = {"level": 0.25, "contrasts": 0.65, "variances": 0.1}
"""w_i^2: what the classes are told apart by gets most of the budget."""
LEVEL = 2.0
"""How far from public speech another corpus may lie, in its standard deviations, in root mean square over dims.

This, the three blocks and their weights were set by us with RAVDESS in sight (it lies 1.7 from nEMO): for other corpora
they are fixed beforehand, for RAVDESS they are not.
"""
LEAST_VARIANCE = 0.05
"""Of a direction, as a share of the public one: noise can make a variance negative."""
Floats = NDArray[np.float64]
Said = dict[str, Floats]
"""``level`` [D], ``contrasts`` [C, D] and ``variances`` [K], of a speaker or as they were released."""


@dataclass(frozen=True)
class Public:
    """What another corpus tells beforehand: ``centre`` and ``unit`` [D] of utterance means; ``directions`` [K, D], in
    these units, in which a speaker's utterances of a class vary most, by ``within`` [K]; ``rest`` [L, D], a factor of
    how they vary elsewhere; and ``contrast``, in root mean square over classes and dims, of its median speaker."""

    centre: Floats
    unit: Floats
    directions: Floats
    within: Floats
    rest: Floats
    contrast: float

    @classmethod
    def of(cls, features: FeatureSet, directions: int) -> "Public":
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
        return cls(centre, unit, vectors[:directions], within, rest, float(np.median(contrasts)))

    def norms(self, classes: int) -> dict[str, float]:
        """n_1 to n_3: what each thing that a speaker says is shortened to."""
        dims = len(self.centre)
        lengths = LEVEL * dims**0.5, self.contrast * (classes * dims) ** 0.5, float(np.linalg.norm(self.within))
        return dict(zip(WEIGHTS, lengths, strict=True))

    def said(self, means: Floats, targets: NDArray[np.int64], classes: int) -> Said:
        """What one speaker says by utterance means [n, D] of class numbers [n]."""
        level, contrasts, around = parts((means - self.centre) / self.unit, targets, classes)
        variances = np.square(around @ self.directions.T).mean(0) - self.within
        return {"level": level, "contrasts": contrasts, "variances": variances}


@dataclass(frozen=True)
class Release:
    """What left the data, noise and all, and under which ``terms``."""

    said: Said
    terms: dict[str, Any]

    def design(self, public: Public) -> Design:
        """Draws from it: class means [C, D], and a factor of the released variances and the public ones elsewhere."""
        contrasts = self.said["contrasts"] - self.said["contrasts"].mean(0)
        means = public.centre + public.unit * (self.said["level"] + contrasts)
        variances = np.maximum(public.within + self.said["variances"], LEAST_VARIANCE * public.within)
        rows = np.concatenate([np.sqrt(variances)[:, None] * public.directions, public.rest]) * public.unit
        rows = rows[np.argsort(-np.square(rows).sum(1))][:DIRECTIONS]
        return Design(torch.from_numpy(means).float(), torch.from_numpy(rows).float(), 0.0)


def stored(design: Design, public: Public) -> Said:
    """Undo ``Release.design``: what was released, by what an artifact stores of it. The mean of the contrasts over
    classes is not in it, nor how far a variance was below ``LEAST_VARIANCE``."""
    points = (design.mean.double().numpy() - public.centre) / public.unit
    rows = design.factor.double().numpy() / public.unit
    level, variances = points.mean(0), np.square(rows @ public.directions.T).sum(0) - public.within
    return {"level": level, "contrasts": points - level, "variances": variances}


def release(train: FeatureSet, public: Public, epsilon: float, noise: np.random.Generator | None = None) -> Release:
    """The one release of a training part. ``noise`` is for tests: else it comes from the operating system, so that no
    seed takes it off again.

    Raises InputError for utterances without a speaker, or fewer than two speakers.
    """
    names, told = said_by(train, public)
    if len(names) < 2:
        raise InputError(f"{train.folder} has {len(names)} speaker in its train part: privacy is among several")
    norms, delta = public.norms(len(train.labels)), 1 / (10 * len(names))
    sigma = gaussian_sigma(epsilon, delta, 2 / len(names))
    generator = np.random.default_rng() if noise is None else noise
    bounded_mean = np.mean([bounded(said, norms) for said in told], axis=0)
    y = bounded_mean + sigma * generator.standard_normal(len(bounded_mean))
    terms = {"epsilon": epsilon, "delta": delta, "adjacency": "replace one speaker", "speakers": len(names)}
    terms |= {"sigma": sigma, "norms": norms, "noise": noise_share(sigma, len(train.labels), train.dims)}
    return Release(unscaled(y, told[0], norms), terms)


def noise_share(sigma: float, classes: int, dims: int) -> float:
    """At least how much of the released differences between classes is noise, in squared length, as expected.

    The noise alone and the norm that nothing of speakers exceeds say so, hence it tells nothing of them.
    """
    noise = sigma**2 * (classes - 1) * dims / WEIGHTS["contrasts"]
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


def bounded(said: Said, norms: dict[str, float]) -> Floats:
    """What one speaker says, as one vector of norm 1 at the most."""
    return scaled({name: _shortened(said[name], norms[name]) for name in WEIGHTS}, norms)


def _shortened(values: Floats, norm: float) -> Floats:
    return values / max(1.0, float(np.linalg.norm(values)) / norm)


def scaled(said: Said, norms: dict[str, float]) -> Floats:
    """In the units of the mechanism, as one vector."""
    return np.concatenate([WEIGHTS[name] ** 0.5 * said[name].ravel() / norms[name] for name in WEIGHTS])


def unscaled(vector: Floats, like: Said, norms: dict[str, float]) -> Said:
    """Undo ``scaled``; ``like`` has the shapes."""
    ends = np.cumsum([like[name].size for name in WEIGHTS])[:-1]
    split = dict(zip(WEIGHTS, np.split(vector, ends), strict=True))
    return {name: (part * norms[name] / WEIGHTS[name] ** 0.5).reshape(like[name].shape) for name, part in split.items()}


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
