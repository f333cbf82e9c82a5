"""Class means of few speakers tell who they are of; of many, less; of strangers, nothing."""

import numpy as np
import pytest

from gandistill.privacy.membership import People, by_speakers, roc
from gandistill.privacy.shadows import likelihood_ratio


def crowd(speakers: int, seed: int) -> People:
    """Half of them members, four utterances each, of two classes, in three dims."""
    rng, each = np.random.default_rng(seed), 4
    offsets = np.repeat(rng.normal(size=(speakers, 3)), each, axis=0)
    n = speakers * each
    targets, names = np.arange(n) % 2, np.array([f"s{i // each:03d}" for i in range(n)])
    return People(offsets + 0.5 * rng.normal(size=(n, 3)) + targets[:, None], targets, names, np.arange(n) < n // 2)


def means_of(people: People, chosen: np.ndarray) -> np.ndarray:
    return np.stack([people.points[chosen & (people.targets == c)].mean(0) for c in (0, 1)])


def speaker_auc(people: People, means: np.ndarray) -> float:
    return roc([by_speakers(likelihood_ratio(means, people, 0), people)], 0)["auc"]


def test_members_are_told_the_better_the_fewer_they_are():
    crowds = [[crowd(n, seed) for seed in range(6)] for n in (12, 96)]
    aucs = [np.mean([speaker_auc(one, means_of(one, one.members)) for one in some]) for some in crowds]
    assert aucs[0] > 0.7
    assert aucs[0] > aucs[1] + 0.1


def test_means_of_strangers_tell_nothing():
    aucs = []
    for seed in range(8):
        everyone = crowd(48, seed)
        names = np.unique(everyone.speakers)
        strangers = np.isin(everyone.speakers, names[32:])
        asked = everyone.rows(~strangers)
        members = np.isin(asked.speakers, names[:16])
        asked = People(asked.points, asked.targets, asked.speakers, members)
        aucs.append(speaker_auc(asked, means_of(everyone, strangers)))
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.12)
