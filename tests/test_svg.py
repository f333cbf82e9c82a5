"""Figures are drawn the same each time, and where they cannot be, only they are missing."""

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


def test_without_matplotlib_a_figure_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"^Figures need matplotlib: pip install 'gandistill\[figures\]'$"):
        check_drawing()
    write_figure(lambda: pytest.fail("it was drawn"), tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()
    said = (
        f"{tmp_path / 'a.svg'} is not drawn. Figures need matplotlib: pip install 'gandistill[figures]', then run this "
    )
    assert capfd.readouterr().err.startswith(said)
