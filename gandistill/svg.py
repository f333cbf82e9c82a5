"""Figures as SVG files."""

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from gandistill import artifacts


def write_figure(make: Callable[[], Figure], out: Path) -> None:
    """Write a figure as SVG, the same bytes each time."""
    with mpl.rc_context({"svg.hashsalt": "gandistill", "font.size": 8}):  # names in the file are the same each time
        text = io.StringIO()
        make().savefig(text, format="svg", metadata={"Date": None})
    artifacts.write_text(out, text.getvalue())
