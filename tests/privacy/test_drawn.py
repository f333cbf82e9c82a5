"""Drawn speakers have the statistics of the real ones, and are nobody."""

import numpy as np
import pytest

from gandistill.features.featureset import FeatureSet
from gandistill.privacy.drawn import combined, drawn


def test_combinations_have_the_covariance_of_the_rows():
    rows = np.random.default_rng(0).normal(size=(5, 2)) * [3, 1]
    many = np.stack([combined(rows, np.random.default_rng(i)) for i in range(4000)])
    assert many.T @ many / len(many) == pytest.approx(rows.T @ rows / len(rows), rel=0.1, abs=0.1)


def test_a_crowd_has_the_classes_and_spread_of_the_corpus(speakers: FeatureSet):
    crowd = drawn(speakers, 60, 20, seed=0, per_class=3)
    assert len(crowd) == 80 * 3 * 3
    assert len(set(crowd.part("train").index["speaker"])) == 60
    assert not set(crowd.index["speaker"]) & set(speakers.index["speaker"])
    for c in range(3):
        real = speakers.means()[speakers.targets == c].mean(0)
        assert crowd.means()[crowd.targets == c].mean(0).numpy() == pytest.approx(real.numpy(), abs=0.5)
    assert crowd.means().std(0).numpy() == pytest.approx(speakers.means().std(0).numpy(), rel=0.35)
    assert "drawn from the statistics of ours" in crowd.config["corpus"]


def test_a_speaker_is_the_same_in_a_larger_crowd(speakers: FeatureSet):
    small, large = (drawn(speakers, n, 1, seed=0, per_class=2) for n in (2, 4))
    assert np.array_equal(small.frames(0), large.frames(0))
    assert not np.array_equal(drawn(speakers, 2, 1, seed=1, per_class=2).frames(0), small.frames(0))
