"""Differences between rows, by hand."""

import numpy as np
import pytest

from gandistill.experiments.differences import spread, welch


def test_welch_by_hand():
    """Means 0.5 and 0.3, variances 0.01 and 0.01, n = 2 and 2: se = 0.1, 2 degrees of freedom, t = 4.303."""
    found = welch(
        np.array([0.5 - 0.1 / 2**0.5, 0.5 + 0.1 / 2**0.5]), np.array([0.3 - 0.1 / 2**0.5, 0.3 + 0.1 / 2**0.5])
    )
    assert found["uar_difference"] == pytest.approx(0.2)
    assert found["high"] - found["low"] == pytest.approx(2 * 4.302652729911275 * 0.1)
    assert welch(np.array([0.5]), np.array([0.3, 0.4])) == {"uar_difference": pytest.approx(0.15)}
    assert welch(np.array([0.5, 0.5]), np.array([0.4, 0.4]))["low"] == pytest.approx(0.1)


def test_spread_is_over_sets_or_else_students():
    assert spread(np.array([[0.2, 0.4], [0.5, 0.7]]))["high"] == pytest.approx(0.45 + 12.706204736 * 0.15)
    assert spread(np.array([[0.3, 0.6]]))["high"] == pytest.approx(0.45 + 12.706204736 * 0.15)
    assert spread(np.array([[0.3]])) == {"uar": 0.3}
