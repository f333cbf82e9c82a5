"""Figures that matplotlib draws, as SVG files: only the extra ``figures`` installs it. Others are ``charts``."""

import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gandistill import artifacts
from gandistill.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_drawing() -> None:
    """Raise InputError unless figures can be drawn: before work whose only end is one."""
    if find_spec("matplotlib") is None:
        raise InputError("Figures need matplotlib: pip install 'gandistill[figures]'")


def write_figure(make: "Callable[[], Figure]", out: Path) -> None:
    """Write a figure as SVG, the same bytes each time."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "gandistill", "font.size": 8}):  # names in the file are the same each time
        text = io.StringIO()
        make().savefig(text, format="svg", metadata={"Date": None})
    artifacts.write_text(out, text.getvalue())
