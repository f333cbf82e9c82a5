"""Was this utterance, was this speaker, in the training data? Scores that rise with yes, and what they are worth.

Every score asks of an utterance x of class c, in a space made from the artifact's own records alone:

- ``nearest``: minus the distance to the nearest record of c. A generator that copies gives itself away.
- ``density``: log p_records(x | c) - log p_reference(x | c), both kernel densities; what is denser among the records
  than in the population was learnt (van Breugel et al. 2023, DOMIAS).
- ``tracing``: <x - r_c, m_c - r_c>, x the mean over time alone, in all its dims, m_c the class mean that the artifact
  stores or its records have, and r_c that of the reference. A mean leans to those it was made of (Homer et al. 2008).

The reference are speakers that the artifact has not met, and never those who are judged: held-out speakers are dealt
into two halves, each the reference while the other is judged.

Shapes: N utterances, D feature dims, K dims of the space, R rounds, C classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import rankdata

from gandistill.features.featureset import FeatureSet
from gandistill.numerics import keyed

DIMS = 16
"""Most directions of the space: in more, every point is far from every other."""
RESAMPLES = 1000
ENOUGH = 8
"""Speakers of either side from which on an interval means something."""
RATES = ((0.01, 100), (0.001, 1000))
"""False positive rates at which true positives are counted, and how many non-members that takes."""
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class People:
    """Utterances in a space [N, K], with their class numbers [N], speakers [N] and whether these are members [N]."""

    points: Floats
    targets: NDArray[np.int64]
    speakers: NDArray[np.str_]
    members: Bools

    def rows(self, chosen: Bools) -> "People":
        return People(self.points[chosen], self.targets[chosen], self.speakers[chosen], self.members[chosen])


@dataclass(frozen=True)
class Records:
    """What an attacker has in a space: points [M, K] with class numbers [M], and class means [C, K]."""

    points: Floats
    targets: NDArray[np.int64]
    means: Floats


@dataclass(frozen=True)
class Space:
    """Where utterances are compared: the leading directions of the values that records have.

    ``centre`` and ``unit`` [V] standardise V values, ``directions`` [V, K] are divided by the records' spread there.
    """

    centre: Floats
    unit: Floats
    directions: Floats

    @classmethod
    def of(cls, points: Floats) -> "Space":
        """That of records [M, V]."""
        centre, unit = points.mean(0), points.std(0)
        unit = np.where(unit > 1e-9, unit, 1.0)
        _, sizes, directions = np.linalg.svd((points - centre) / unit, full_matrices=False)
        kept = min(DIMS, max(1, len(points) // 4), int((sizes > 1e-9 * max(sizes[0], 1e-300)).sum()) or 1)
        spread = np.maximum(sizes[:kept], 1e-9) / len(points) ** 0.5
        return cls(centre, unit, directions[:kept].T / spread)

    def points(self, values: Floats) -> Floats:
        """Of values [N, V] in the space [N, K]."""
        return (values - self.centre) / self.unit @ self.directions


def moments(features: FeatureSet) -> Floats:
    """Mean and standard deviation over time of every utterance [N, 2 D]."""
    rows = []
    for row in range(len(features)):
        frames = features.frames(row).double()
        rows.append(torch.cat([frames.mean(0), frames.std(0, correction=0)]))
    return torch.stack(rows).numpy()


PIECE = 2**24
"""Most distances at a time."""
Score = Callable[[Records, People, People], Floats]
"""From records, those who are judged [N] and the reference to a score [N] each."""


def nearest(records: Records, judged: People, reference: People) -> Floats:
    """Minus the distance to the nearest record of the class; of a class without records, to the nearest of all."""
    scores = np.empty(len(judged.points))
    for c, rows in _classes(judged):
        of_class = records.points[records.targets == c]
        others = of_class if len(of_class) else records.points
        scores[rows] = -in_pieces(judged.points[rows], others, lambda piece: piece.min(1))
    return scores


def density(records: Records, judged: People, reference: People) -> Floats:
    """The log of how much denser the class is at x among the records than in the reference."""
    scores = np.zeros(len(judged.points))
    for c, rows in _classes(judged):
        here, there = records.points[records.targets == c], reference.points[reference.targets == c]
        if len(here) and len(there):
            scores[rows] = log_density(judged.points[rows], here) - log_density(judged.points[rows], there)
    return scores


def tracing(records: Records, judged: People, reference: People) -> Floats:
    """How far x lies, from the reference's class mean, in the direction of the artifact's."""
    scores = np.zeros(len(judged.points))
    for c, rows in _classes(judged):
        there = reference.points[reference.targets == c]
        if len(there):
            centre = there.mean(0)
            scores[rows] = (judged.points[rows] - centre) @ (records.means[c] - centre)
    return scores


SCORES: dict[str, Score] = {"nearest": nearest, "density": density}
"""Of what has records; ``tracing`` is of class means."""


def judge(score: Score, records: Records, people: People, seed: int) -> dict[str, Any]:
    """What a score tells, as ``told_of_each`` has it.

    Non-members' speakers are dealt into two halves, each judged with the other as reference.
    """
    both = halves(people, keyed(seed, 1))
    rounds = [(people.rows(people.members | half), people.rows(other)) for half, other in (both, both[::-1])]
    return told_of_each([(score(records, judged, reference), judged) for judged, reference in rounds], seed)


def told_of_each(rounds: list[tuple[Floats, People]], seed: int) -> dict[str, Any]:
    """What the scores [N] of those judged in each round tell of every ``utterance`` and ``speaker``: see ``roc``.

    A speaker's score is the mean of their utterances'. Scores are compared within a class: each has its class's mean
    taken off.
    """
    centred = [(within_class(scores, judged), judged) for scores, judged in rounds]
    return {
        "utterance": roc([(scores, judged.members, judged.speakers) for scores, judged in centred], seed),
        "speaker": roc([by_speakers(*pair) for pair in centred], seed),
    }


def within_class(scores: Floats, judged: People) -> Floats:
    """Scores [N] less the mean of their class, so that a class that all score high in names nobody."""
    centred = scores.copy()
    for _, rows in _classes(judged):
        centred[rows] -= scores[rows].mean()
    return centred


def by_speakers(scores: Floats, judged: People) -> tuple[Floats, Bools, NDArray[np.str_]]:
    """The mean score of each speaker [S], whether they are members [S], and their names [S]."""
    names, number = np.unique(judged.speakers, return_inverse=True)
    means = np.bincount(number, scores) / np.bincount(number)
    members = np.array([judged.members[number == n].any() for n in range(len(names))])
    return means, members, names


def roc(rounds: list[tuple[Floats, Bools, NDArray[np.str_]]], seed: int) -> dict[str, Any]:
    """``auc``, the chance that a member scores above a non-member (a half: nothing told), the mean of the rounds.

    ``interval`` is its 95 % bootstrap over speakers, members and others apart, given the reference; None where fewer
    than ``ENOUGH`` are on a side. ``tpr`` is, by a false positive rate, the share of members above all but so many of
    the others, where each round has enough for it. With ``members`` and ``others``, how many of each were judged.
    """
    auc = float(np.mean([area(scores, members) for scores, members, _ in rounds]))
    others = [int((~members).sum()) for _, members, _ in rounds]
    rates = {f"{rate:g}": _caught(rounds, rate) for rate, least in RATES if min(others) >= least}
    counts = {"members": int(rounds[0][1].sum()), "others": sum(others)}
    return {"auc": auc, "interval": _interval(rounds, keyed(seed)), "tpr": rates} | counts


def area(scores: Floats, members: Bools) -> float:
    """Area under the ROC curve: the share of pairs in which the member scores higher, ties counting half."""
    ranks, n = rankdata(scores), int(members.sum())
    return float((ranks[members].sum() - n * (n + 1) / 2) / (n * (len(members) - n)))


def _caught(rounds: list[tuple[Floats, Bools, NDArray[np.str_]]], rate: float) -> float:
    shares = []
    for scores, members, _ in rounds:
        others = np.sort(scores[~members])[::-1]
        threshold = others[int(rate * len(others))]
        shares.append((scores[members] > threshold).mean())
    return float(np.mean(shares))


def halves(people: People, generator: np.random.Generator, sides: Sequence[Bools | bool] = (True,)) -> list[Bools]:
    """Utterances [N] of the one and of the other half of the non-members' speakers, of each of the ``sides`` [N]."""
    half = np.zeros(len(people.speakers), bool)
    for side in sides:
        names = generator.permutation(np.unique(people.speakers[~people.members & side]))
        half |= ~people.members & np.isin(people.speakers, names[: len(names) // 2])
    return [half, ~people.members & ~half]


def _interval(
    rounds: list[tuple[Floats, Bools, NDArray[np.str_]]], generator: np.random.Generator
) -> list[float] | None:
    """Of the mean area where as many speakers of each side are drawn again; the same members in all rounds."""
    mine, areas = len(np.unique(rounds[0][2][rounds[0][1]])), []
    if min(mine, sum(len(np.unique(speakers[~members])) for _, members, speakers in rounds)) < ENOUGH:
        return None
    drawn = generator.multinomial(mine, np.full(mine, 1 / mine), RESAMPLES)
    for scores, members, speakers in rounds:
        wins, counts, others = _wins(scores, members, speakers)
        theirs = generator.multinomial(len(others), np.full(len(others), 1 / len(others)), RESAMPLES)
        areas.append(np.einsum("ri,ij,rj->r", drawn, wins, theirs) / ((drawn @ counts) * (theirs @ others)))
    return np.quantile(np.mean(areas, axis=0), [0.025, 0.975]).tolist()


def _wins(scores: Floats, members: Bools, speakers: NDArray[np.str_]) -> tuple[Floats, Floats, Floats]:
    """In how many pairs of utterances each member beats each other, ties counting half, and their utterances."""
    mine, number = np.unique(speakers[members], return_inverse=True)
    theirs = np.unique(speakers[~members])
    wins = np.empty((len(mine), len(theirs)))
    for j, other in enumerate(theirs):
        values = np.sort(scores[~members & (speakers == other)])
        below, upto = (np.searchsorted(values, scores[members], side) for side in ("left", "right"))
        wins[:, j] = np.bincount(number, (below + upto) / 2)
    others = [float((~members & (speakers == other)).sum()) for other in theirs]
    return wins, np.bincount(number).astype(float), np.array(others)


def _classes(judged: People) -> Iterator[tuple[int, Bools]]:
    for c in np.unique(judged.targets):
        yield int(c), judged.targets == c


def distances(points: Floats, others: Floats) -> Floats:
    """Of points [N, K] from others [M, K]: [N, M]."""
    squares = np.square(points).sum(1)[:, None] + np.square(others).sum(1) - 2 * points @ others.T
    return np.sqrt(np.maximum(squares, 0))


def log_density(points: Floats, kernels: Floats) -> Floats:
    """Of a Gaussian kernel at each of ``kernels``, as wide as Scott's rule has it for their mean spread."""
    n, dims = kernels.shape
    spread = float(kernels.std(0).mean()) or 1.0
    width = spread * n ** (-1 / (dims + 4))
    sums = in_pieces(points, kernels, lambda piece: logsumexp(-0.5 * np.square(piece / width), axis=1))
    return sums - np.log(n) - dims * np.log(width)


def in_pieces(points: Floats, others: Floats, of: Callable[[Floats], Floats]) -> Floats:
    """``of`` the distances of points [N, K] from others [M, K], a value each [N]; of some points at a time, since a
    large corpus against itself would not fit into memory."""
    rows = max(1, PIECE // len(others))
    return np.concatenate([of(distances(points[i : i + rows], others)) for i in range(0, len(points), rows)])
