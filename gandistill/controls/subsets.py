"""Real subsets: which points of one class to keep. Pure functions ``(points [n, E], ppc, generator) -> rows``.

All return rows in the order chosen, so a smaller ppc is a prefix of a larger one, and stop at the class's size
(except ``random_oversampled``). n points, E embedding dims.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from gandistill.console import track
from gandistill.features.featureset import FeatureSet, scale

Points = NDArray[np.float64]
Rows = NDArray[np.int64]


def embedding(features: FeatureSet) -> Points:
    """Mean and standard deviation over time of every utterance, each standardised over the set [N, 2 D].

    The deviation is there because heads that see time see more than the mean. A dim that is constant is 0.
    """
    pooled = []
    for row in track(range(len(features)), "Pooling features", len(features), unit="utterances"):
        frames = features.frames(row).double()
        pooled.append(torch.cat([frames.mean(0), frames.std(0, correction=0)]))
    points = torch.stack(pooled).numpy()
    return (points - points.mean(axis=0)) / scale(torch.from_numpy(points.std(axis=0))).numpy()


def random(points: Points, ppc: int, generator: np.random.Generator) -> Rows:
    """Points drawn without replacement."""
    return generator.permutation(len(points))[:ppc]


def random_oversampled(points: Points, ppc: int, generator: np.random.Generator) -> Rows:
    """As ``random``; a class smaller than ppc is dealt out whole again, in a new order, until ppc is reached."""
    rounds = -(-ppc // len(points)) if len(points) else 0
    return np.concatenate([np.empty(0, np.int64), *(generator.permutation(len(points)) for _ in range(rounds))])[:ppc]


def herding(points: Points, ppc: int, generator: np.random.Generator) -> Rows:
    """Greedily the point that brings the mean of those chosen nearest to the class mean, without replacement.

    Welling 2009 (*Herding dynamical weights to learn*), in the form of Rebuffi et al. 2017 (iCaRL), Algorithm 4.
    Deterministic: the generator is not used; of equal points the first is taken.
    """
    if not len(points):
        return np.empty(0, np.int64)
    points = points - points.mean(axis=0)
    squares, total = np.square(points).sum(axis=1), np.zeros(points.shape[1])
    chosen: list[int] = []
    for _ in range(min(ppc, len(points))):
        distance = squares + 2 * points @ total  # |total + x|^2, less what is the same for every x
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
        total += points[chosen[-1]]
    return np.array(chosen, dtype=np.int64)


def k_centre(points: Points, ppc: int, generator: np.random.Generator) -> Rows:
    """Greedily the point farthest from all those chosen, from the one nearest to the class mean on.

    Sener & Savarese 2018 (*Active learning for convolutional neural networks: a core-set approach*), Algorithm 1.
    Deterministic: the generator is not used; of equal points the first is taken.
    """
    if not len(points):
        return np.empty(0, np.int64)
    chosen = [int(_distances(points, points.mean(axis=0)).argmin())]
    nearest = _distances(points, points[chosen[0]])
    while len(chosen) < min(ppc, len(points)):
        nearest[chosen[-1]] = -np.inf  # never again, even among duplicates
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _distances(points, points[chosen[-1]]))
    return np.array(chosen[:ppc], dtype=np.int64)


def _distances(points: Points, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.square(points - centre).sum(axis=1)
