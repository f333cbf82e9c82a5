import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gandistill.controls import gaussian
from gandistill.controls.gaussian import PRIOR, fit
from gandistill.errors import InputError
from gandistill.numerics import noise


def clips(n: int, frames: int, dims: int, seed: int = 0) -> Tensor:
    return torch.randn(n, frames, dims, generator=torch.Generator().manual_seed(seed))


def within(values: Tensor, targets: Tensor, classes: int) -> np.ndarray:
    flat = values.reshape(len(values), -1).double().numpy()
    means = np.array([flat[targets == c].mean(axis=0) for c in range(classes)])
    return flat - means[targets]


def test_a_fit_by_hand() -> None:
    # Class 0: (1, 0), (-1, 0) around (0, 0). Class 1: (5, 6), (5, 2), (5, 4) around (5, 4), so deviations 2, -2, 0
    # along the second axis. Pooled scatter: 2 along the first axis, 8 along the second; n - C = 3.
    values = torch.tensor([[1.0, 0], [-1, 0], [5, 6], [5, 2], [5, 4]])[:, None]
    fitted = fit(values, torch.tensor([0, 0, 1, 1, 1]), 2, 2)
    assert fitted.frames == 1
    assert torch.equal(fitted.mean, torch.tensor([[0.0, 0], [5, 4]]))
    assert torch.allclose(fitted.basis.abs(), torch.tensor([[0.0, 1], [1, 0]]))
    pooled = torch.tensor([8 / 3, 2 / 3])
    expected = torch.stack(
        [
            (torch.tensor([0.0, 2]) + PRIOR * pooled) / (1 + PRIOR),
            (torch.tensor([8.0, 0]) + PRIOR * pooled) / (2 + PRIOR),
        ]
    )
    assert torch.allclose(fitted.scale.square(), expected)
    assert fitted.explained == pytest.approx(1)
    leading = fit(values, torch.tensor([0, 0, 1, 1, 1]), 2, 1)
    assert leading.explained == pytest.approx(0.8)
    assert leading.components == 1


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(6, 30),
    frames=st.integers(1, 5),
    dims=st.integers(1, 4),
    components=st.integers(1, 12),
    seed=st.integers(0, 999),
)
def test_the_basis_equals_the_singular_vectors_of_the_centred_clips(
    n: int, frames: int, dims: int, components: int, seed: int
) -> None:
    values, targets = clips(n, frames, dims, seed), torch.arange(n) % 3
    fitted = fit(values, targets, 3, components)
    centred = within(values, targets, 3)
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    k = min(components, n - 3, frames * dims)
    assert fitted.basis.shape == (k, frames * dims)
    assert torch.allclose(fitted.basis @ fitted.basis.T, torch.eye(k), atol=1e-5)
    cosine = np.abs((fitted.basis.numpy() * vectors[:k]).sum(axis=1))
    assert np.allclose(cosine, 1, atol=1e-3)
    assert fitted.explained == pytest.approx((singular[:k] ** 2).sum() / (singular**2).sum())
    weights = torch.bincount(targets, minlength=3)[:, None] - 1 + PRIOR
    total = (fitted.scale.square() * weights).sum(0).numpy()
    assert np.allclose(total, singular[:k] ** 2 * (1 + 3 * PRIOR / (n - 3)), rtol=1e-4)


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, targets = clips(12, 5, 7), torch.arange(12) % 2
    whole = fit(values, targets, 2, 6)
    monkeypatch.setattr(gaussian, "BLOCK", 4)
    parts = fit(values, targets, 2, 6)
    sign = (whole.basis * parts.basis).sum(1).sign()[:, None]
    assert torch.allclose(whole.basis, sign * parts.basis, atol=1e-5)
    assert torch.allclose(whole.scale, parts.scale, atol=1e-5)
    assert torch.allclose(whole.mean, parts.mean, atol=1e-6)


def test_samples_have_the_mean_and_covariance_of_the_fit() -> None:
    values, targets = clips(40, 2, 3), torch.arange(40) % 2
    fitted = fit(values, targets, 2, 4)
    drawn = fitted.sample(1, noise(0, 1, 0, 20_000, fitted.components))
    assert drawn.shape == (20_000, 2, 3)
    flat = drawn.reshape(-1, 6)
    assert torch.allclose(flat.mean(0), fitted.mean[1], atol=0.03)
    expected = fitted.basis.T @ fitted.scale[1].square().diag() @ fitted.basis
    assert torch.allclose(torch.cov(flat.T), expected, atol=0.05)


def test_more_of_a_class_own_points_pull_its_scale_to_its_own_deviation() -> None:
    values = torch.cat([clips(400, 1, 1, 0), 5 * clips(400, 1, 1, 1), 5 * clips(3, 1, 1, 2)])
    targets = torch.tensor([0] * 400 + [1] * 400 + [2] * 3)
    scale = fit(values, targets, 3, 1).scale[:, 0]
    assert scale[0] == pytest.approx(1, abs=0.2)
    assert scale[1] == pytest.approx(5, abs=0.5)
    assert 2 < scale[2] < 5  # three points say little: near the pooled 3.6


def test_a_sample_is_bit_identical_in_any_batch() -> None:
    fitted = fit(clips(30, 20, 16), torch.arange(30) % 2, 2, 20)
    drawn = fitted.sample(1, noise(0, 1, 0, 9, fitted.components))
    for i in range(9):
        assert torch.equal(fitted.sample(1, noise(0, 1, i, 1, fitted.components))[0], drawn[i])


def test_classes_of_equal_points_have_no_spread() -> None:
    values = torch.tensor([[[1.0, 2]], [[1.0, 2]], [[3.0, 4]]])
    fitted = fit(values, torch.tensor([0, 0, 1]), 2, 5)
    assert fitted.components == 0
    assert fitted.explained == 1
    assert torch.equal(fitted.sample(1, noise(0, 1, 0, 2, fitted.components)), torch.tensor([[[3.0, 4]], [[3.0, 4]]]))


def test_half_floats_are_summed_in_double() -> None:
    values = clips(30, 4, 5).half()
    halves, doubles = (fit(v, torch.arange(30) % 2, 2, 3) for v in (values, values.double()))
    assert torch.equal(halves.basis, doubles.basis)
    assert torch.equal(halves.scale, doubles.scale)


def test_what_cannot_be_fitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    values = clips(4, 1, 2)
    with pytest.raises(InputError, match="number of components 0, expected 1 or more"):
        fit(values, torch.tensor([0, 0, 1, 1]), 2, 0)
    with pytest.raises(InputError, match="Class number 1 has no clip"):
        fit(values, torch.tensor([0, 0, 2, 2]), 3, 1)
    monkeypatch.setattr(gaussian, "SIDE", 1)
    with pytest.raises(InputError, match="4 clips of 2 values are too many"):
        fit(values, torch.tensor([0, 0, 1, 1]), 2, 1)
