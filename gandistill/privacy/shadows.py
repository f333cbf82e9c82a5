"""The likelihood-ratio attack on what a closed form gives away: its class means (Carlini et al. 2022, LiRA).

An attacker who knows the population computes the class means of many random groups of speakers, as many as trained the
artifact, but at most three quarters of all, so that everybody is out of some. For each utterance x of class c the
statistic t(x) = |x - m_c|^2 is spread one way where x's speaker is in the group and another where not; the score is the
log-likelihood ratio of the artifact's own t(x) between the two.

Shapes: N utterances, K dims, C classes, J shadows.
"""

import numpy as np
from numpy.typing import NDArray

from gandistill.numerics import keyed
from gandistill.privacy.membership import Bools, Floats, People

SHADOWS = 256
"""Groups: means cost nothing, and each speaker should be in and out of many."""


def likelihood_ratio(means: Floats, people: People, seed: int) -> Floats:
    """The score [N] of every utterance, members or not, against the artifact's class ``means`` [C, K]."""
    names, generator = np.unique(people.speakers), keyed(seed, 2)
    size = max(1, min(len(np.unique(people.speakers[people.members])), len(names) * 3 // 4))
    statistics, inside = [], []
    for _ in range(SHADOWS):
        group = np.isin(people.speakers, generator.permutation(names)[:size])
        statistics.append(_statistic(_class_means(people, group, len(means)), people))
        inside.append(group)
    return ratio(_statistic(means, people), np.stack(statistics), np.stack(inside))


def ratio(own: Floats, t: Floats, inside: Bools) -> Floats:
    """The log-likelihood ratio [N] of ``own`` [N] by shadows' t [J, N], who were ``inside`` [J, N] or not."""
    return _log_likelihood(own, t, inside) - _log_likelihood(own, t, ~inside)


def _class_means(people: People, group: Bools, classes: int) -> Floats:
    """Of a group's utterances [C, K]; of a class that it lacks, of all its utterances."""
    means = np.tile(people.points[group].mean(0), (classes, 1))
    for c in np.unique(people.targets[group]):
        means[c] = people.points[group & (people.targets == c)].mean(0)
    return means


def _statistic(means: Floats, people: People) -> Floats:
    return np.square(people.points - means[people.targets]).sum(1)


def _log_likelihood(own: Floats, t: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Of ``own`` [N] under a Gaussian with the mean of those of t [J, N] that are ``chosen`` [J, N].

    Its variance is that of all utterances together: of one it would be known from too few groups.
    """
    weights = chosen / np.maximum(chosen.sum(0), 1)
    mean = (weights * t).sum(0)
    variance = np.square(t - mean)[chosen].mean() + 1e-12
    return -0.5 * (np.square(own - mean) / variance + np.log(variance))
