from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gandistill.controls import subsets
from gandistill.features.featureset import FeatureSet

PICKERS = [subsets.random, subsets.random_oversampled, subsets.herding, subsets.k_centre]
STOPPING = [subsets.random, subsets.herding, subsets.k_centre]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def line(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)[:, None]


def cloud(n: int, seed: int, duplicates: bool = False) -> NDArray[np.float64]:
    points = rng(seed).normal(size=(n, 3))
    return np.round(points) if duplicates else points


@pytest.mark.parametrize("pick", PICKERS)
@settings(deadline=None, max_examples=25)
@given(n=st.integers(0, 20), small=st.integers(0, 25), more=st.integers(0, 25), seed=st.integers(0, 99))
def test_a_smaller_ppc_is_a_prefix_of_a_larger_one(pick, n: int, small: int, more: int, seed: int) -> None:
    points = cloud(n, seed)
    few, many = pick(points, small, rng(seed)), pick(points, small + more, rng(seed))
    assert few.tolist() == many[: len(few)].tolist()


@pytest.mark.parametrize("pick", STOPPING)
@settings(deadline=None, max_examples=25)
@given(n=st.integers(0, 20), ppc=st.integers(0, 25), seed=st.integers(0, 99))
def test_rows_are_distinct_valid_and_stop_at_the_class_size(pick, n: int, ppc: int, seed: int) -> None:
    rows = pick(cloud(n, seed, duplicates=True), ppc, rng(seed))
    assert rows.dtype == np.int64
    assert len(rows) == min(n, ppc)
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(range(n))


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 10), ppc=st.integers(1, 40), seed=st.integers(0, 99))
def test_oversampling_reaches_ppc_with_every_point_equally_often(n: int, ppc: int, seed: int) -> None:
    rows = subsets.random_oversampled(cloud(n, seed), ppc, rng(seed))
    uses = np.bincount(rows, minlength=n)
    assert uses.sum() == ppc
    assert uses.max() - uses.min() <= 1


def test_oversampling_starts_as_random_and_of_nothing_is_nothing() -> None:
    points = cloud(8, 0)
    assert subsets.random_oversampled(points, 20, rng(4))[:8].tolist() == subsets.random(points, 20, rng(4)).tolist()
    assert subsets.random_oversampled(points[:0], 20, rng(4)).tolist() == []


def test_random_draws_every_point_equally_often() -> None:
    generator, points = rng(), cloud(5, 0)
    uses = np.bincount(np.concatenate([subsets.random(points, 2, generator) for _ in range(2000)]), minlength=5)
    assert np.abs(uses / 800 - 1).max() < 0.15


def test_herding_by_hand() -> None:
    # Mean 4. First 5 (gap 1); then 0, 1, 2 or 12 beside it leave means 2.5, 3, 3.5, 8.5, so 2; of (5+2+x)/3 12 gives
    # 6.33, 1 gives 2.67, 0 gives 2.33: 1 is nearest to 4; (8+12)/4 = 5 against (8+0)/4 = 2: 12.
    assert subsets.herding(line(0, 1, 2, 5, 12), 5, rng()).tolist() == [3, 2, 1, 4, 0]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999))
def test_herding_takes_the_best_next_point_and_beats_random(seed: int) -> None:
    points = cloud(12, seed)
    rows = subsets.herding(points, 6, rng()).tolist()

    def gap(chosen: list[int]) -> float:
        return float(np.linalg.norm(points[chosen].mean(axis=0) - points.mean(axis=0)))

    for k in range(6):
        best = min(gap([*rows[:k], other]) for other in range(12) if other not in rows[:k])
        assert gap(rows[: k + 1]) == pytest.approx(best, abs=1e-9)
    typical = np.mean([gap(rng(s).permutation(12)[:6].tolist()) for s in range(30)])
    assert gap(rows) < typical


def test_k_centre_by_hand() -> None:
    # Mean 5.5: 5 is nearest. Farthest from it 12 (7); then 0 (5, against 2's 3); then 2 and 3 tie at 2: the first.
    assert subsets.k_centre(line(0, 2, 3, 5, 11, 12), 4, rng()).tolist() == [3, 5, 0, 1]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), k=st.integers(1, 4))
def test_k_centre_covers_within_twice_the_optimum(seed: int, k: int) -> None:
    points = cloud(8, seed)

    def radius(chosen: list[int]) -> float:
        return float(np.linalg.norm(points[:, None] - points[chosen][None], axis=-1).min(axis=1).max())

    optimum = min(radius(list(chosen)) for chosen in combinations(range(8), k))
    assert radius(subsets.k_centre(points, k, rng()).tolist()) <= 2 * optimum + 1e-9


@pytest.mark.parametrize("pick", [subsets.herding, subsets.k_centre])
def test_geometry_alone_decides(pick) -> None:
    points = cloud(15, 3)
    order = rng(8).permutation(15)
    moved = pick(points[order] * 2 + 7, 6, rng(1))
    assert order[moved].tolist() == pick(points, 6, rng(2)).tolist()


def test_embedding_is_the_standardised_mean_and_deviation_over_time(features: FeatureSet) -> None:
    points = subsets.embedding(features)
    assert points.shape == (len(features), 6)
    assert np.allclose(points.mean(axis=0), 0)
    assert np.allclose(points.std(axis=0), 1)
    raw = np.array([[*f.mean(0), *f.std(0, correction=0)] for f in map(features.frames, range(len(features)))])
    assert np.allclose(points, (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-5)


def test_a_constant_dimension_takes_no_part(monkeypatch: pytest.MonkeyPatch, features: FeatureSet) -> None:
    monkeypatch.setattr(FeatureSet, "frames", lambda self, row: torch.tensor([[0.1, float(row), 1.0]] * 4))
    points = subsets.embedding(features)
    assert np.isfinite(points).all()
    assert (points[:, [0, 2, 3, 4, 5]] == 0).all()
    assert points[:, 1].std() == pytest.approx(1)
