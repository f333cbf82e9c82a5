import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.selfdistill.windows import windows


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 40), st.integers(1, 12))
def test_windows_hold_every_sample_once(lengths: list[int], size: int, shortest: int) -> None:
    whole = np.arange(sum(lengths), dtype=np.float32)
    found = list(windows(np.split(whole, np.cumsum(lengths)[:-1]) if lengths else [], size, shortest))
    np.testing.assert_array_equal(np.concatenate([*found, whole[:0]]), whole)
    assert all(len(part) == size for part in found[:-1])
    if len(found) > 1:
        assert shortest <= len(found[-1]) < size + shortest
    assert [len(part) for part in windows([whole], size, shortest)] == [len(part) for part in found]
