"""Another build beside this one: each measured in fresh processes, by turns, so that what else the machine does falls
on both alike."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gandistill.console import say, track

HERE = Path(__file__).parents[2]
PACKAGE = Path("gandistill") / "__init__.py"


@dataclass(frozen=True)
class Build:
    """A checkout of this project, run by the interpreter of its own ``.venv`` or else by this one."""

    path: Path

    @property
    def commit(self) -> str:
        """Its commit, in short."""
        command = ["git", "-C", str(self.path), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def measure(self, script: Path, *given: str) -> Any:
        """What a script says as JSON in a process of its own, on this build's code and one thread."""
        own = self.path / ".venv" / "bin" / "python"
        python = str(own) if own.is_file() else sys.executable
        environment = os.environ | {"PYTHONPATH": str(self.path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [python, str(script), *given], env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return json.loads(done.stdout)


def build_at(path: Path) -> Build:
    """The build in a folder; where there is none that is said in one line, and the command ends with code 2."""
    if not (path / PACKAGE).is_file():
        say(f"--against {path}: there is no build, expected a checkout of this project that holds {PACKAGE}")
        raise SystemExit(2)
    return Build(path.resolve())


def medians(builds: Sequence[Build], script: Path, given: Sequence[str], rounds: int) -> list[list[float]]:
    """Medians over rounds of the numbers that a script gives of each build; each round asks all builds by turns."""
    found: list[list[list[float]]] = [[] for _ in builds]
    for _ in track(range(rounds), "measuring", rounds, unit="rounds"):
        for build, numbers in zip(builds, found, strict=True):
            numbers.append(build.measure(script, *given))
    return [[statistics.median(values) for values in zip(*numbers, strict=True)] for numbers in found]
