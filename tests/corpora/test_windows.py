from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.corpora.windows import Answer, answers, windows
from gandistill.errors import InputError


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


def test_answers_keep_order_and_what_went_wrong(tmp_path: Path) -> None:
    """Folders stand for the audio below them; one bad file spoils no other."""
    for name in ("b.wav", "a.flac", "notes.txt", "deeper/c.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def answer(path: Path) -> Generator[None, None, Answer]:
        yield
        if path.suffix == ".mp3":
            raise InputError(f"{path.name} is bad")
        return {"name": path.name}

    answered, problems = answers([tmp_path / "b.wav", tmp_path], answer, 100)
    assert [each["name"] for each in answered] == ["b.wav", "a.flac", "b.wav"]
    assert list(map(str, problems)) == ["c.mp3 is bad"]
    with pytest.raises(InputError, match=r"^c.mp3 is bad\nc.mp3 is bad$"):
        answers([tmp_path / "deeper", tmp_path / "deeper"], answer, 100)
