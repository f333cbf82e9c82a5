"""A run folder: what a long training leaves behind, and how it goes on after a stop.

``config.yaml`` (resolved), ``inputs.json`` (fingerprints of what it reads), ``metrics.jsonl`` (named scalars of the
logged steps, a line each) and ``checkpoint.safetensors`` (everything the next step depends on). All randomness is drawn
from generators keyed by (seed, purpose, step), so no random state needs saving and a resumed run draws what the
uninterrupted one would have.
"""

import json
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gandistill import artifacts
from gandistill.config import Config
from gandistill.console import say
from gandistill.errors import InputError, RunError

CONFIG = "config.yaml"
INPUTS = "inputs.json"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.safetensors"
PROGRESS = "progress"


class Run:
    """A run folder, opened anew or to go on. ``step`` steps are done; ``best`` is the best score so far, or None."""

    def __init__(self, folder: Path, config: Config, resume: bool, free: tuple[str, ...] = (), **inputs: str) -> None:
        """``free`` names the settings (such as ``training.updates``) that may differ when a run is resumed.

        ``inputs`` are fingerprints of what the run reads. Raises InputError as ``check_folder`` does, or if config or
        inputs differ from the run's.
        """
        check_folder(folder, resume)
        self.folder, self.config, self.step, self.free = folder, config, 0, free
        self.best: float | None = None
        self.state: dict[str, Tensor] = {}
        if resume:
            self._continue(config, inputs)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            artifacts.write_json(folder / INPUTS, inputs)
            artifacts.write_text(folder / CONFIG, config.to_yaml())

    def _continue(self, config: Config, inputs: dict[str, str]) -> None:
        started = artifacts.read_json(self.folder / INPUTS)
        others = [name for name in inputs if inputs[name] != started.get(name)]
        if others:
            raise InputError(f"{self.folder} was started with other content of [{', '.join(others)}] (its {INPUTS})")
        before, now = type(config).load(self.folder / CONFIG).to_dict(), config.to_dict()
        changed = [key for key, value in _flat(now).items() if _flat(before).get(key) != value and key not in self.free]
        if changed:
            raise InputError(f"{self.folder} was started with other values of [{', '.join(changed)}] (its {CONFIG})")
        path = self.folder / CHECKPOINT
        if not path.is_file():
            say(f"{self.folder} has no checkpoint yet: starting from the first step")
            self._forget_metrics_after(0)
            return
        self.state = artifacts.load_tensors(path)
        if PROGRESS not in self.state or self.state[PROGRESS].shape != (2,):
            raise InputError(f"{path}: holds no {PROGRESS!r}, it is not a checkpoint of a run")
        step, best = self.state.pop(PROGRESS).tolist()
        self.step, self.best = int(step), None if best < 0 else best
        self._forget_metrics_after(self.step)
        say(f"Resuming {self.folder} after step {self.step}")

    def log(self, step: int, scalars: dict[str, float]) -> None:
        """Append one line to ``metrics.jsonl``."""
        line = json.dumps({"step": step} | scalars)
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def checkpoint(self, step: int, state: dict[str, Tensor]) -> None:
        """Save everything step ``step + 1`` depends on; the earlier checkpoint is replaced only by a complete one."""
        artifacts.write_text(self.folder / CONFIG, self.config.to_yaml())
        progress = torch.tensor([step, -1.0 if self.best is None else self.best], dtype=torch.float64)
        artifacts.save_tensors(self.folder / CHECKPOINT, state | {PROGRESS: progress})
        self.step = step

    def _forget_metrics_after(self, step: int) -> None:
        path = self.folder / METRICS
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # a line cut short by a kill
                continue
            if record["step"] <= step:
                kept.append(line)
        artifacts.write_text(path, "".join(line + "\n" for line in kept))


def check_folder(folder: Path, resume: bool) -> None:
    """Let pass what a run may begin in, or go on in if ``resume``.

    Raises InputError if the folder holds a run and ``resume`` is not asked for, or no run and it is, or other things.
    """
    there = (folder / CONFIG).is_file()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, expected a folder for the run")
    if there and not resume:
        raise InputError(f"{folder} holds a run already: --resume continues it, another --out starts a new one")
    if resume and not there:
        raise InputError(f"{folder} holds no run to resume")
    if not there and folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} exists and is not a run: choose another --out or remove it")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


BOUND = 1e6


def check_finite(step: int, scalars: dict[str, float]) -> None:
    """Raises RunError naming the terms that are NaN, infinite or beyond 1e6."""
    bad = [f"{name} = {value:g}" for name, value in scalars.items() if not math.isfinite(value) or abs(value) > BOUND]
    if bad:
        raise RunError(
            f"Training diverged at step {step}: {', '.join(bad)}; a lower learning rate or weight may help a new run"
        )


def generator_for(*key: int) -> torch.Generator:
    """A torch generator whose draws depend on these non-negative numbers alone, such as (seed, purpose, step)."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


@contextmanager
def stop_asked() -> Iterator[list[bool]]:
    """Within, the first Ctrl-C only fills the list given, so that no step is cut in half; the second one raises."""
    asked: list[bool] = []

    def remember(_number: int, _frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        say("Stopping after this step (Ctrl-C again stops at once)")

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes in one thread: the same bits whatever the number of cores, and for small arrays the
    fastest way, since threads that wait for each other lose far more on a busy machine than they bring.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts as named tensors: ``<parameter number>.<name>``."""
    states: dict[int, dict[str, Any]] = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, state in states.items() for name, value in state.items()}


def load_optimiser_state(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo ``optimiser_state``."""
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        states.setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict(optimiser.state_dict() | {"state": states})
