"""A small plan of trajectory matching and its rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gandistill.experiments.inputs import Inputs
from gandistill.experiments.trajectory.plan import TrajectoryPlan
from gandistill.experiments.trajectory.rows import Row, Rows

PLAN: dict[str, Any] = {
    "corpus": "synthetic",
    "protocol": "speaker-independent",
    "extract": "clips.yaml",
    "bank": "bank.yaml",
    "recipe": "mtt.yaml",
    "matched": {
        "cnn": {"guides": ["cnn"]},
        "pool": {"guides": ["cnn", "attentive"], "ppc": [2], "curve": False},
        "soft": {"guides": ["cnn"], "curve": False, "settings": ["distil.labels=soft"]},
    },
    "ppc": [1, 2],
    "students": [{"kind": "cnn", "seeds": 2}, {"kind": "superb"}],
    "seeds": 3,
    "repeats": 4,
}
MTT = {"teach": {"epochs": 4, "batch": 5}, "distil": {"steps": 25, "ahead": 1, "latest_start": 3, "keep_every": 10}}


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., TrajectoryPlan]:
    """The plan with some values changed, its recipes found."""
    for name, values in (("clips", {"clip": 8000}), ("bank", {}), ("mtt", MTT), ("gan", {})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return lambda **changes: TrajectoryPlan.build(PLAN | changes, "plan").rooted(tmp_path)


@pytest.fixture
def rows(planned: Callable[..., TrajectoryPlan], inputs: list[Inputs]) -> Callable[..., list[Row]]:
    return lambda **changes: Rows(planned(**changes), inputs[0]).all()
