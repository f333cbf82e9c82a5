"""Figures are drawn the same each time."""

from pathlib import Path

from matplotlib.figure import Figure

from gandistill.svg import write_figure


def test_a_figure_is_the_same_bytes_each_time(tmp_path: Path):
    def figure() -> Figure:
        drawn = Figure()
        drawn.add_subplot().plot([1, 2], [0.5, 0.6], label="a")
        drawn.legend()
        return drawn

    for name in ("one", "two"):
        write_figure(figure, tmp_path / f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
