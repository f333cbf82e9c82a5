"""What rows of every table are called."""

from typing import Any

from gandistill.controls.draws import INDEPENDENT

Facts = dict[str, Any]
"""Plain JSON values that say what a row is, or what was measured of it."""
REAL = "real, all of it"
DRAWN = {
    "random": "real, random",
    "real-recentred": "real, recentred",
    "real-designed": "real, designed",
    "random-oversampled": "real, random, oversampled",
    "class-gaussian": "class-Gaussian",
    "class-gaussian-mean": "class-Gaussian of means",
}
"""Controls that a seed decides."""
FIXED = {"herding": "real, herding", "k-centre": "real, k-centre"}
"""Controls that are the same points every time."""


def called(name: str, draws: str) -> str:
    """What a row is called, by its kind of draws."""
    return f"{name}, {INDEPENDENT}" if draws == INDEPENDENT else name
