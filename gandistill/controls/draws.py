"""Designed draws: samples of a class whose utterance means have exactly its mean and its leading covariance.

A head learns of a class's mean and spread from the few points that it is given; independent ones have neither. So each
sample is moved, as a whole, to a designed mean: ``x_i + m_i - mean_t(x_i)``, its movement around the mean untouched.
The designed means of class c are

    m_i = mu_c + e_i F,    F'F = S_within_speakers + share * S_between_speakers,

with the rows e_i of a *ladder*: the first 8, 16, 32, ... of them have mean 0 and, in the leading directions, covariance
1. Speakers of the corpus are few and others will be heard, so what lies between them counts for a ``share`` only.

N utterances, D feature dims, C classes, K directions, S speakers.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gandistill import artifacts
from gandistill.console import track
from gandistill.controls.gaussian import leading
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, scale
from gandistill.metrics import scores
from gandistill.numerics import keyed, one_thread

DESIGNED, INDEPENDENT = DRAWS = ("designed", "independent")
FILE = "draws.safetensors"
DESIGN = 1
"""Tells the ladder's random numbers from a sample's own noise, under the same seed and class."""
RUNG = 8
CYCLE = 512
"""Rows of a whole ladder; the next one begins anew, so that no number of samples asks for a larger matrix."""
DIRECTIONS = CYCLE // 2 - 1
"""Most directions that the last rung of a ladder can bring to covariance 1."""
SHARE = 0.25
SHARES = (SHARE, 0.0625, 1.0)
GROUPS, CHOOSING, DESCENT = 4, 3, 200
"""To choose the share: parts that training speakers are dealt into, seeds, and steps of the classifier that judges."""


@dataclass(frozen=True)
class Design:
    """What designed draws are made from: class means [C, D] and F [K, D], its rows by falling length, float32.

    ``share`` is how much of the covariance between speakers F holds.
    """

    mean: Tensor
    factor: Tensor
    share: float

    @classmethod
    def fit(cls, train: FeatureSet) -> "Design":
        """From the mean of each training utterance over all its frames, the share chosen as ``chosen_share`` does.

        A class without utterances has the mean 0, and a direction in which nothing varies is left out.
        """
        number = np.unique(train.index["speaker"].to_numpy(str), return_inverse=True)[1]
        means, targets = train.means().double(), torch.from_numpy(train.targets)
        given = Spread.of(means, targets, torch.from_numpy(number), len(train.labels))
        with one_thread():
            return given.design(chosen_share(given))

    def directions(self, label: int, first: int, count: int, seed: int) -> Tensor:
        """Rows e_i [count, K], in float64, of the ladder: of samples ``first`` and following of class ``label``."""
        rows = torch.arange(first, first + count)
        with one_thread():
            parts = [
                ladder(seed, label, cycle, len(self.factor))[rows[rows // CYCLE == cycle] % CYCLE]
                for cycle in range(first // CYCLE, (first + count - 1) // CYCLE + 1)
            ]
        return torch.cat(parts)

    def means(self, label: int, first: int, count: int, seed: int) -> Tensor:
        """Designed means [count, D] of samples ``first`` and following of class number ``label``."""
        with one_thread():
            # A row at a time: in a batch, rounding would depend on the batch.
            moves = [row @ self.factor.double() for row in self.directions(label, first, count, seed)]
        return (self.mean[label] + torch.stack(moves)).float()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the tensors into an artifact that is being made; gives what its config says of them."""
        artifacts.save_tensors(folder / FILE, {"mean": self.mean, "factor": self.factor})
        return {"share": self.share, "directions": len(self.factor)}

    @classmethod
    def load(cls, folder: Path, facts: Any, classes: int, dims: int) -> "Design":
        """Undo ``save``. Raises InputError if the config's facts are bad or the file is not as they say."""
        share, directions = (facts.get(key) if isinstance(facts, dict) else None for key in ("share", "directions"))
        most = min(dims, DIRECTIONS)
        if type(share) is not float or type(directions) is not int or not (0 <= share <= 1 and 0 <= directions <= most):
            raise InputError(
                f"{folder / artifacts.CONFIG}: bad 'draws', expected a share from 0.0 to 1.0 and 0 to {most} directions"
            )
        expected = {"mean": torch.empty(classes, dims, device="meta")}
        expected |= {"factor": torch.empty(directions, dims, device="meta")}
        return cls(**artifacts.load_verified(folder / FILE, expected), share=share)


@lru_cache(maxsize=2)
def fitted_design(folder: Path, fingerprint: str) -> Design:
    """The design of a feature set's train part; kept, since many sets are drawn from one fit."""
    return Design.fit(FeatureSet.open(folder).training_part())


@dataclass(frozen=True)
class Spread:
    """Utterance means [N, D] in float64 with class numbers [N] and speaker numbers [N], and how they are spread.

    ``centres`` [C, D], the covariance ``within`` a speaker of a class [D, D], and that ``between`` them [D, D].
    """

    means: Tensor
    targets: Tensor
    speakers: Tensor
    centres: Tensor
    within: Tensor
    between: Tensor

    @classmethod
    def of(cls, means: Tensor, targets: Tensor, speakers: Tensor, classes: int) -> "Spread":
        """The sums of squares, divided by N less the number of means that were taken from them."""
        centres = _group_means(means, targets, classes)
        cell = (targets * (int(speakers.max()) + 1) + speakers).unique(return_inverse=True)[1]
        averages = _group_means(means, cell, int(cell.max()) + 1)
        inside, outside = means - averages[cell], averages[cell] - centres[targets]
        within = inside.T @ inside / max(len(means) - len(averages), 1)
        between = outside.T @ outside / max(len(means) - len(targets.unique()), 1)
        return cls(means, targets, speakers, centres, within, between)

    def design(self, share: float) -> Design:
        """The design that holds this share of the covariance between speakers."""
        powers, directions = leading(self.within + share * self.between, DIRECTIONS)
        factor = (directions * powers.sqrt()).T.contiguous()
        return Design(self.centres.float(), factor.float(), share)

    def of_speakers(self, chosen: Tensor) -> "Spread":
        """The same of some utterances, by a mask [N]."""
        return Spread.of(self.means[chosen], self.targets[chosen], self.speakers[chosen], len(self.centres))


def chosen_share(given: Spread) -> float:
    """Of ``SHARES`` the one whose designed points teach best to recognise the emotions of speakers left out.

    Training speakers are dealt into ``GROUPS`` parts; each is left out once, and a linear classifier learns from
    ``RUNG`` designed points of each class, made from the others. Of equals the first; ``SHARE`` where speakers are too
    few, or no class is known from other speakers.
    """
    if int(given.speakers.max()) + 1 < GROUPS:
        return SHARE
    sums = dict.fromkeys(SHARES, 0.0)
    for group in track(range(GROUPS), "choosing the share between speakers", GROUPS, unit="groups"):
        left_out = given.speakers % GROUPS == group
        others = given.of_speakers(~left_out)
        known = others.targets.unique()
        judged = left_out & torch.isin(given.targets, known)
        if not judged.any():
            continue
        unit = scale(given.means[~left_out].std(0, correction=0))
        for share in SHARES:
            design = others.design(share)
            for seed in range(CHOOSING):
                points = torch.cat([design.means(int(c), 0, RUNG, seed) for c in known]).double()
                centre = points.mean(0)
                predicted = known[
                    classified(
                        (points - centre) / unit,
                        torch.arange(len(known)).repeat_interleave(RUNG),
                        (given.means[judged] - centre) / unit,
                    )
                ]
                targets = given.targets[judged].numpy()
                sums[share] += scores(targets, predicted.numpy(), len(given.centres))["uar"]
    return max(sums, key=lambda share: sums[share])


def classified(points: Tensor, targets: Tensor, asked: Tensor) -> Tensor:
    """Class numbers [M] of vectors [M, D] by softmax regression on points [n, D] with class numbers [n].

    By gradient descent of a fixed length, as heads learn: fitted to the end it would depend on the few points' noise.
    """
    weights = torch.zeros(points.shape[1], int(targets.max()) + 1, dtype=points.dtype)
    wanted = one_hot(targets).to(points.dtype)
    rate = len(points) / points.square().sum()
    for _ in range(DESCENT):
        weights -= rate * points.T @ ((points @ weights).softmax(1) - wanted)
    return (asked @ weights).argmax(1)


def moved(frames: Tensor, mean: Tensor) -> Tensor:
    """Frames [..., T, D] moved as a whole so that their mean over time is ``mean`` [..., D]."""
    return frames + (mean - frames.mean(-2)).unsqueeze(-2)


@lru_cache(maxsize=64)
def ladder(seed: int, label: int, cycle: int, directions: int) -> Tensor:
    """Rows [CYCLE, K] of one whole ladder, in float64: see ``next_rung``."""
    generator = keyed(seed, label, cycle, DESIGN)
    rows = torch.zeros(0, directions, dtype=torch.float64)
    while len(rows) < CYCLE:
        rows = torch.cat([rows, next_rung(rows, max(2 * len(rows), RUNG), generator)])
    return rows


def next_rung(rows: Tensor, size: int, generator: np.random.Generator) -> Tensor:
    """Rows [size - n, K] that bring the ``rows`` [n, K] so far to mean 0 and covariance 1.

    In as many leading directions as n' = size - n new rows of mean 0 can span, n' - 1: there they are ``Q R`` with
    ``R'R = size * 1 - rows' rows`` and Q of orthonormal columns that sum to 0. Behind the first rung the n' - 1
    directions that follow get rows of variance 1 too, which the next rungs bring to order: in a trial over nEMO's
    training speakers, each left out in turn, a linear head gained by them at 16 and 32 points, and lost nothing at 10.
    """
    new, directions = size - len(rows), rows.shape[1]
    exact = min(new - 1, directions)
    balanced = _centred_basis(new, generator)
    have = rows[:, :exact].T @ rows[:, :exact]
    missing = size * torch.eye(exact, dtype=torch.float64) - have
    leading = balanced[:, :exact] @ torch.linalg.cholesky(missing).T
    further = torch.zeros(new, directions - exact, dtype=torch.float64)
    if len(rows):
        turned = new**0.5 * balanced @ _rotation(new - 1, generator)
        width = min(new - 1, directions - exact)
        further[:, :width] = turned[:, :width]
    return torch.cat([leading, further], dim=1)


def _centred_basis(size: int, generator: np.random.Generator) -> Tensor:
    """Orthonormal columns [size, size - 1] that sum to 0, all such bases being equally likely."""
    drawn = torch.from_numpy(generator.standard_normal((size, size - 1)))
    return _orthonormal(drawn - drawn.mean(0))


def _rotation(size: int, generator: np.random.Generator) -> Tensor:
    """An orthogonal matrix [size, size], all being equally likely."""
    return _orthonormal(torch.from_numpy(generator.standard_normal((size, size))))


def _orthonormal(columns: Tensor) -> Tensor:
    """By Gram and Schmidt, whose result QR gives but for signs (Mezzadri 2007, *How to generate random matrices*)."""
    q, r = torch.linalg.qr(columns)
    return q * r.diagonal().sign()


def _group_means(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Means [G, D] of the rows of values [N, D] in each group; 0 where a group is empty."""
    sums = torch.zeros(groups, values.shape[1], dtype=values.dtype).index_add_(0, group, values)
    return sums / torch.bincount(group, minlength=groups).clamp(min=1)[:, None]
