"""A run folder: what a long training leaves behind, and how it goes on after a stop.

``config.yaml`` (resolved), ``inputs.json`` (fingerprints of what it reads), ``metrics.jsonl`` (named scalars of the
logged steps, a line each), ``seconds.json`` (what its steps took until the last checkpoint, and on what) and
``checkpoints/NUMBER``: everything the next step depends on, the last two kept. All randomness is drawn from generators
keyed by (seed, purpose, step), so a resumed run draws what the uninterrupted one would have. One training at a time
writes a run: a lock, which ends with its process, keeps others out.
"""

import json
import math
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Self, TypeVar

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from gandistill import artifacts, files, processes
from gandistill.config import Config
from gandistill.console import say
from gandistill.errors import InputError, RunError

C = TypeVar("C", bound=Config)
CONFIG = "config.yaml"
INPUTS = "inputs.json"
METRICS = "metrics.jsonl"
SECONDS = "seconds.json"
CHECKPOINTS = "checkpoints"
LOCK, HOLDER = "run.lock", "holder.json"
BEFORE = (LOCK, HOLDER, INPUTS)
"""What a folder may hold before it is a run."""
KIND = "checkpoint"
STATE = "state.safetensors"
KEPT = 2
"""Checkpoints kept: the last, and the one before it in case the last is damaged."""


class Run:
    """A run folder, opened anew or to go on; locked until the ``with`` block ends.

    ``step`` steps are done, ``state`` is what the last checkpoint holds, and ``best`` is the best score so far, or
    None. Of several processes that train together one ``writes``; they must all see the same folder.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        resume: bool,
        inexact: bool = False,
        free: tuple[str, ...] = (),
        seed: int | None = None,
        **inputs: str | tuple[str, ...],
    ) -> None:
        """``free`` names the settings (``training.updates``), or whole sections, that may differ when it is resumed.

        ``seed`` is the one that all is drawn by, ``inputs`` are fingerprints of what the run reads, each of them one
        name or all that it has been known by, of which the first is written. ``inexact``: go on even where the bits
        would differ from an uninterrupted run's. Raises InputError as ``check_folder`` does, if
        another process holds the run, if config or inputs differ from the run's, or if it cannot go on exactly.
        """
        self.folder, self.config, self.free = folder, config, free
        self.random = {"seed": seed}  # all the state there is: draws are keyed by the seed, the purpose and the step
        self.step, self.best = 0, None
        self.state: dict[str, Tensor] = {}
        self._since = time.monotonic()
        self.writes = processes.place().is_main_process
        # Where the file system has no locks, filelock would fall back on files that outlive a killed process.
        self._lock = FileLock(folder / LOCK, fallback_to_soft=False)
        try:
            fingerprints = {name: (names,) if isinstance(names, str) else names for name, names in inputs.items()}
            processes.main_alone(lambda: self._begin(resume, fingerprints))
            if resume:
                self._load(inexact)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _begin(self, resume: bool, inputs: dict[str, tuple[str, ...]]) -> None:
        """Lock the folder, and write or compare what the run is."""
        check_folder(self.folder, resume)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.folder} is being written by {_holder(self.folder)}: wait, or stop it") from None
        except OSError as error:
            raise InputError(f"{self.folder}: no file can be locked there ({error.strerror})") from None
        check_folder(self.folder, resume)  # it may have changed before the lock was ours
        holder = {"process": os.getpid(), "machine": socket.gethostname()}
        artifacts.write_json(self.folder / HOLDER, holder)
        if resume:
            self._compare(inputs)
        else:
            artifacts.write_json(self.folder / INPUTS, {name: names[0] for name, names in inputs.items()})
            artifacts.write_text(self.folder / CONFIG, self.config.to_yaml())

    def _compare(self, inputs: dict[str, tuple[str, ...]]) -> None:
        started = artifacts.read_json(self.folder / INPUTS)
        changed = [name for name, names in inputs.items() if started.get(name) not in names]
        if changed:
            raise InputError(f"{self.folder} was started with other content of [{', '.join(changed)}] (its {INPUTS})")
        self._check_settings(self._fixed(type(self.config).load(self.folder / CONFIG)), CONFIG)

    def _fixed(self, config: Config) -> dict[str, Any]:
        """The settings that may not differ when the run is resumed, by their dotted names."""
        free = tuple(f"{name}." for name in self.free)
        return {key: value for key, value in _flat(config.to_dict()).items() if not f"{key}.".startswith(free)}

    def _check_settings(self, before: dict[str, Any], where: str) -> None:
        """Raise InputError naming the fixed settings that are not what ``where`` in the run says they were."""
        now = self._fixed(self.config)
        changed = [key for key in now if before.get(key) != now[key]]
        if changed:
            raise InputError(f"{self.folder} was started with other values of [{', '.join(changed)}] (its {where})")

    def _load(self, inexact: bool) -> None:
        """Take up the last whole checkpoint. Raises InputError if there are only damaged ones, or it is not exact."""
        damaged, differences, last = [], "", self.folder
        for folder in reversed(_numbered(self.folder / CHECKPOINTS)):
            try:
                facts, state = read_checkpoint(folder)
            except InputError as error:
                say(f"{error}; going on from the checkpoint before it")
                damaged.append(folder)
                continue
            if "settings" in facts:  # checkpoints of the first version say none
                self._check_settings(facts["settings"], folder.name)  # sums hold these, unlike the run's own file
            differences, last = _differences(facts, self.random), folder
            self.step, self.best, self.state = facts["step"], facts["best"], state
            break
        if damaged and not self.state:
            raise InputError(f"{self.folder} has no whole checkpoint to resume from: start a new run")

        def forget_what_came_after() -> None:
            if differences and not inexact:
                raise InputError(f"{last}: {differences}; --allow-inexact-resume goes on with other bits")
            if differences:
                say(f"Resuming inexactly, {differences}")
            for folder in damaged:
                shutil.rmtree(folder)
            path, until = self.folder / METRICS, self.step if self.state else -1
            if path.is_file():
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                artifacts.write_text(path, "".join(line + "\n" for line in lines if _step_of(line) <= until))

        processes.main_alone(forget_what_came_after)
        where = f"after step {self.step}" if self.state else "from the beginning: it has no checkpoint"
        say(f"Resuming {self.folder} {where}")

    def log(self, step: int, scalars: dict[str, float]) -> None:
        """Append one line to ``metrics.jsonl``. Raises RunError if the disk has no room."""
        if self.writes:
            artifacts.append_line(self.folder / METRICS, json.dumps({"step": step} | scalars))

    def checkpoint(self, step: int, state: dict[str, Tensor]) -> None:
        """Save everything step ``step + 1`` depends on; older checkpoints go only after this one is on disk.

        Raises RunError if the disk has no room, or the processes no longer hold the same weights.
        """
        processes.check_same(state)
        processes.main_alone(lambda: self._write(step, state))
        self.step = step

    def steps(
        self, until: int, unit: str, state: Callable[[], dict[str, Tensor]], every: int, stop: Callable[[], bool]
    ) -> Iterator[int]:
        """The numbers of the steps still to be made, ``until`` the last; what a loop does with each of them is a step.

        ``state()`` is saved after every ``every``-th step, after the last, and after one in which any process was asked
        to ``stop``; then KeyboardInterrupt is raised, if steps are left. ``unit`` is what steps are called.
        """
        self._since = time.monotonic()  # what came before is not theirs
        for step in range(self.step + 1, until + 1):
            yield step
            stopping = processes.any_of(stop())
            if stopping or step == until or step % every == 0:
                self.checkpoint(step, state())
            if stopping and step < until:
                say(f"Stopped after {unit} {step}; go on with --resume")
                raise KeyboardInterrupt

    def _write(self, step: int, state: dict[str, Tensor]) -> None:
        artifacts.write_text(self.folder / CONFIG, self.config.to_yaml())
        checkpoints = self.folder / CHECKPOINTS
        with artifacts.new_artifact(checkpoints / f"{step:09d}", KIND) as folder:
            artifacts.save_tensors(folder / STATE, state)
            facts = {"step": step, "best": self.best, "random": self.random, "arithmetic": arithmetic()}
            facts |= {"settings": self._fixed(self.config)}
            artifacts.write_json(folder / artifacts.CONFIG, artifacts.describe(KIND, {"command": "train"}, **facts))
        for old in _numbered(checkpoints)[:-KEPT]:
            shutil.rmtree(old)
        self._spend(step - self.step)

    def _spend(self, steps: int) -> None:
        """Add what these steps took to the file of seconds: beside checkpoints, which are the same bits each time."""
        now = time.monotonic()
        parts = []
        with suppress(InputError):  # a damaged record stops no run
            parts = spent(self.folder)
        last = parts.pop() if parts and parts[-1].items() >= arithmetic().items() else {"seconds": 0.0, "steps": 0}
        more = {"seconds": last["seconds"] + now - self._since, "steps": last["steps"] + steps}
        artifacts.write_json(self.folder / SECONDS, {"parts": [*parts, more | arithmetic()]})
        self._since = now


def spent(folder: Path) -> list[dict[str, Any]]:
    """What the steps of a run took: ``seconds`` by the clock and ``steps``, for each ``arithmetic`` in turn.

    Steps that were made again count again; those behind the last checkpoint do not yet. Empty where nothing is kept, as
    of an earlier version's run. Raises InputError for a damaged file.
    """
    path = folder / SECONDS
    parts = artifacts.read_json(path).get("parts") if path.is_file() else []
    if not isinstance(parts, list) or not all(map(_is_part, parts)):
        raise InputError(f"{path}: 'parts' is missing or bad")
    return parts


def _is_part(part: Any) -> bool:
    known = {"seconds": float, "steps": int, "threads": int, "processes": int, "device": str}
    return isinstance(part, dict) and all(type(part.get(name)) is kind for name, kind in known.items())


def arithmetic() -> dict[str, Any]:
    """What decides the bits of a computation, beside its inputs and its seed."""
    versions = artifacts.versions()
    place = processes.place()
    libraries = {name: versions.get(name) for name in ("gandistill", "torch", "numpy")}
    device = {
        "device": str(place.device).partition(":")[0],
        "threads": torch.get_num_threads(),
        "processes": place.num_processes,
    }
    return libraries | device | {"capability": _capability(place.device)}


def _capability(device: torch.device | None) -> str:
    """The instructions that kernels are chosen by: of the CPU, or the name of the GPU."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability()


def read_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint says of itself, and its tensors. Raises InputError if it is damaged or not one."""
    facts, state = artifacts.open_artifact(folder, KIND), artifacts.load_tensors(folder / STATE)
    step, best = facts.get("step"), facts.get("best", "missing")
    if type(step) is not int or step < 1 or not (best is None or type(best) is float):
        raise InputError(f"{folder / artifacts.CONFIG}: 'step' or 'best' is missing or bad")
    if not isinstance(facts.get("settings", {}), dict):
        raise InputError(f"{folder / artifacts.CONFIG}: 'settings' is missing or bad")
    return facts, state


def _differences(facts: dict[str, Any], random: dict[str, Any]) -> str:
    """Why a checkpoint cannot be gone on from exactly; empty if it can."""
    if facts.get("random") != random:
        return f"its random state is {facts.get('random', 'missing')}, expected {random}"
    before, now = facts.get("arithmetic"), arithmetic()
    if not isinstance(before, dict):
        return "it does not say what it was computed with"
    changes = [f"{name} {before.get(name)} (now {now[name]})" for name in now if before.get(name) != now[name]]
    return f"it was computed with {', '.join(changes)}" if changes else ""


def _holder(folder: Path) -> str:
    try:
        holder = artifacts.read_json(folder / HOLDER)
    except InputError:
        return "another process"
    return f"process {holder.get('process')} on {holder.get('machine')}"


def last_step(run: Path) -> int:
    """After how many steps the last checkpoint of a run was written, or 0."""
    return max((int(path.name) for path in _numbered(run / CHECKPOINTS)), default=0)


def _numbered(checkpoints: Path) -> list[Path]:
    return sorted(path for path in checkpoints.glob("*") if path.name.isdecimal())


def _step_of(line: str) -> float:
    """The step of a line of metrics; none for one that a kill cut short, or that is damaged."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return math.inf
    step = entry.get("step") if isinstance(entry, dict) else None
    return step if type(step) is int else math.inf


def check_folder(folder: Path, resume: bool) -> None:
    """Let pass what a run may begin in, or go on in if ``resume``.

    Raises InputError if the folder holds a run and ``resume`` is not asked for, or no run and it is, or other things.
    """
    is_run = (folder / CONFIG).is_file()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, expected a folder for the run")
    if is_run and not resume:
        raise InputError(f"{folder} holds a run already: --resume continues it, another --out starts a new one")
    if resume and not is_run:
        raise InputError(f"{folder} holds no run to resume")
    if not is_run and folder.exists() and not all(map(_may_be_before, folder.iterdir())):
        raise InputError(f"{folder} exists and is not a run: choose another --out or remove it")


def configured(kind: type[C], path: Path | None, settings: list[str], out: Path, resume: bool) -> C:
    """The settings of a run: from a YAML file, or when resuming without one, the run's own.

    Raises InputError for a bad setting, or if no such run can begin in ``out``: before any work for its inputs.
    """
    check_folder(out, resume)
    return kind.load(out / CONFIG if resume and path is None else path, settings)


def _may_be_before(path: Path) -> bool:
    """Whether a training that was killed at its very beginning may have left this."""
    unfinished = files.TEMPORARY.fullmatch(path.name)
    return path.name in BEFORE or (unfinished is not None and unfinished[1] in (*BEFORE, CONFIG))


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


@contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C only makes what is given true, so that no step is cut in half; the second one raises.

    So does a SIGTERM, by which clusters announce that time is up, but it never raises.
    """
    requests: list[bool] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        if requests and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not requests:
            say("Stopping after this step (Ctrl-C again stops at once)")
        requests.append(True)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(requests)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts as named tensors: ``<parameter number>.<name>``."""
    states: dict[int, dict[str, Any]] = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, state in states.items() for name, value in state.items()}


@torch.no_grad()
def load_optimiser_state(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], where: Path) -> None:
    """Undo ``optimiser_state``. Raises InputError if a tensor is not one of its parameters', or of another shape."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        known = number.isdecimal() and int(number) < len(parameters) and key in MOMENTS
        expected = torch.Size() if key == "step" else parameters[int(number)].shape if known else None
        if tensor.shape != expected:
            raise InputError(f"{where}: optimiser tensor {name!r} is not expected, or of another shape")
        # A moment must lie in memory as its parameter does: fused Adam walks through both as they lie there.
        moment = tensor if key == "step" else torch.empty_like(parameters[int(number)]).copy_(tensor)
        states.setdefault(int(number), {})[key] = moment
    if any(len(state) != len(MOMENTS) for state in states.values()):  # none at all: it never had a gradient
        raise InputError(f"{where}: a tensor of the optimiser is missing")
    optimiser.load_state_dict(optimiser.state_dict() | {"state": states})


def state_of(optimiser: torch.optim.Optimizer, **modules: torch.nn.Module) -> dict[str, Tensor]:
    """Modules and the optimiser that moves them as named tensors: ``<module>/<tensor>`` and ``optimiser/<tensor>``."""
    parts = {name: module.state_dict() for name, module in modules.items()} | {OPTIMISER: optimiser_state(optimiser)}
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def load_state(
    state: dict[str, Tensor], where: Path, optimiser: torch.optim.Optimizer, **modules: torch.nn.Module
) -> None:
    """Undo ``state_of``. Raises InputError if a tensor is missing, not expected, or of another shape."""
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in (*modules, OPTIMISER)}
    for key, tensor in state.items():
        part, _, name = key.partition("/")
        if part not in parts:
            raise InputError(f"{where}: tensor {key!r} is not expected")
        parts[part][name] = tensor
    for name, module in modules.items():
        artifacts.load_module(module, parts[name], where)
    load_optimiser_state(optimiser, parts[OPTIMISER], where)


OPTIMISER = "optimiser"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam remembers of each parameter."""
