"""Figures are drawn the same each time, and where they cannot be, that is said."""

import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from gandistill.errors import InputError
from gandistill.svg import check_drawing, write_figure


def test_a_figure_is_the_same_bytes_each_time(tmp_path: Path):
    def figure() -> Figure:
        drawn = Figure()
        drawn.add_subplot().plot([1, 2], [0.5, 0.6], label="a")
        drawn.legend()
        return drawn

    for name in ("one", "two"):
        write_figure(figure, tmp_path / f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_without_matplotlib_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"^Figures need matplotlib: pip install 'gandistill\[figures\]'$"):
        check_drawing()
