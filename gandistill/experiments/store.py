"""Where results of trials are kept, each under the hash of what decides it, so that a later run does only the rest."""

import hashlib
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from gandistill import artifacts
from gandistill.experiments.names import Facts
from gandistill.files import dump_compact
from gandistill.processes import peak_bytes


class Keyed(Protocol):
    """What has a result: a trial."""

    @cached_property
    def key(self) -> str:
        """The hash of everything that decides it, but for versions of libraries and the machine."""
        ...


@dataclass(frozen=True)
class Store:
    """A folder of results, of the runs that they came from, and of what runs cost."""

    folder: Path

    def path(self, trial: Keyed) -> Path:
        """The file of a trial's result."""
        return self.folder / "trials" / f"{trial.key}.json"

    def has(self, trial: Keyed) -> bool:
        """Whether there is a result."""
        return self.path(trial).is_file()

    def result(self, trial: Keyed) -> Facts:
        """What a trial found. Raises InputError if its file is damaged."""
        return artifacts.read_json(self.path(trial))

    def put(self, trial: Keyed, facts: Facts) -> None:
        """Keep what a trial found, whole or not at all, with the versions that found it."""
        self._write(self.path(trial), facts | {"versions": artifacts.versions()})

    def run(self, decides: Any, room: str = "runs") -> Path:
        """The folder of a run, by the plain values that decide it."""
        return self.folder / room / digest(decides)[:16]

    def cost(self, run: Path) -> Facts:
        """``seconds`` of the processor, if it was not interrupted, and ``peak_bytes`` of what lies in ``run``."""
        path = self.folder / "costs" / f"{run.name}.json"
        return artifacts.read_json(path) if path.is_file() else {}

    def timed(self, run: Path, begun: bool, start: float) -> None:
        """Keep what a run has cost that this process began, or only went on with, at the processor time ``start``."""
        seconds = {} if begun else {"seconds": time.process_time() - start}
        self._write(self.folder / "costs" / f"{run.name}.json", seconds | {"peak_bytes": peak_bytes()})

    def _write(self, path: Path, facts: Facts) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(path, facts)


def digest(facts: Any) -> str:
    """The hash of plain JSON values."""
    return hashlib.sha256(dump_compact(facts).encode()).hexdigest()
