import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.errors import InputError
from gandistill.numerics import keyed, noise


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**63), label=st.integers(0, 10), first=st.integers(0, 1000), split=st.integers(0, 6)
)  # fmt: skip
def test_a_row_does_not_depend_on_what_is_drawn_beside_it(seed: int, label: int, first: int, split: int) -> None:
    whole = noise(seed, label, first, 6, 5)
    parts = torch.cat([noise(seed, label, first, split, 5), noise(seed, label, first + split, 6 - split, 5)])
    assert whole.dtype == torch.float32
    assert whole.shape == (6, 5)
    assert torch.equal(whole, parts)


def test_seed_class_and_sample_each_change_the_noise() -> None:
    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**32, 0, 0), (2**32, 1, 0), (0, 2**32 - 1, 0)]
    rows = torch.cat([noise(seed, label, sample, 1, 8) for seed, label, sample in keys])
    assert len(rows.unique(dim=0)) == len(keys)


def test_noise_is_standard_normal_across_samples() -> None:
    drawn = noise(3, 1, 0, 4000, 4)
    assert drawn.mean(0).abs().max() < 0.06
    assert (drawn.std(0) - 1).abs().max() < 0.06
    assert torch.corrcoef(drawn.T).fill_diagonal_(0).abs().max() < 0.06


def test_no_sample_is_an_empty_batch() -> None:
    assert noise(0, 0, 0, 0, 7).shape == (0, 7)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="Bad seed -1, expected 0 or more"):
        keyed(-1, 0)
