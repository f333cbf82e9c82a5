"""A training that is killed anywhere, at any time, and resumed ends as the one that was not.

Short here; ``make soak`` kills as often as the numbers in ``KILLS`` say.
"""

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill import artifacts, files
from gandistill.config import Config
from gandistill.errors import InputError
from gandistill.gan import steps, training
from gandistill.gan.distilling import Distilling
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train
from gandistill.run import CHECKPOINTS, METRICS, STATE, Run
from tests.conftest import SOAK

KILLS = {"training": 50 if SOAK else 6, "writing": 200 if SOAK else 12}
MOMENTS = {
    "critic_step": steps,
    "generator_terms": steps,
    "average_step": Distilling,
    "dev_scores": training,
    "flush": files,
    "replace": Path,
    "log": Run,
}
"""Functions after which a kill strikes: in the middle of an update, of an evaluation, of writing."""


def strike(moment: str, at: int, counts: Counter[str]) -> None:
    """Count the calls of every moment; SIGKILL this process after the ``at``-th call of ``moment``."""

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            result = original(*given, **named)
            counts[name] += 1
            if name == moment and counts[name] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name, owner in MOMENTS.items():
        setattr(owner, name, counted(name, getattr(owner, name)))


def killed_training(config: GanConfig, out: Path, moment: str, at: int, report: Any = None) -> None:
    """The body of a process: a training that dies, or, where nothing strikes, reports how often each moment came."""
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    strike(moment, at, counts)
    train(config, out, resume=(out / "config.yaml").is_file())
    if report is not None:
        report.send(dict(counts))


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Processes in which everything is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "gandistill.gan.training"])
    return context


@pytest.fixture(scope="module")
def moments(forks: ForkServerContext, configured: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often each moment comes in a whole training."""
    here, there = forks.Pipe(duplex=False)
    out = tmp_path_factory.mktemp("counted") / "run"
    process = started(forks, killed_training, configured(), out, "", 0, there)
    there.close()  # the other end then is the process's alone, and to wait for one that died is an error
    counts = here.recv()
    process.join()
    assert process.exitcode == 0
    assert counts.keys() == MOMENTS.keys()
    return counts


def started(forks: ForkServerContext, work: Callable[..., None], *given: Any) -> BaseProcess:
    process = forks.Process(target=work, args=given)
    process.start()
    return process


def content(run: Path) -> dict[str, bytes]:
    """What a training leaves behind: metrics, last checkpoint, generator."""
    last = max((run / CHECKPOINTS).iterdir())
    found = (run / METRICS, last / STATE, last / artifacts.CONFIG, *sorted((run / "generator").iterdir()))
    return {str(file.relative_to(run)): file.read_bytes() for file in found}


@pytest.mark.parametrize("number", range(KILLS["training"]))
def test_killed_and_resumed_it_ends_bit_for_bit_the_same(
    number: int, forks: ForkServerContext, moments: dict[str, int], configured: Any, trained: Path, tmp_path: Path
):
    draws = random.Random(number)
    moment = list(MOMENTS)[number % len(MOMENTS)]
    for _ in range(2):  # killed twice: the resumed run too
        at = draws.randint(1, moments[moment])
        process = started(forks, killed_training, configured(), tmp_path / "run", moment, at)
        process.join()
        assert process.exitcode in (-signal.SIGKILL, 0), "0: a resumed run has fewer such moments left"
        moment = draws.choice(list(MOMENTS))
    train(configured(), tmp_path / "run", resume=(tmp_path / "run" / "config.yaml").is_file())
    assert content(tmp_path / "run") == content(trained)


class Settings(Config):
    """Of a run that does nothing but write checkpoints."""


def write_checkpoints(folder: Path, ready: Any) -> None:
    """The body of a process: one checkpoint after another, until it is killed."""
    torch.set_num_threads(1)
    with Run(folder, Settings(), resume=True) as run:
        ready.send(run.step)
        for step in range(run.step + 1, run.step + 10_000):
            run.checkpoint(step, {"weights": torch.full((20_000,), float(step))})


def test_kills_while_writing_leave_a_whole_checkpoint(forks: ForkServerContext, tmp_path: Path):
    draws, seen = random.Random(0), 1
    with Run(tmp_path / "run", Settings(), resume=False) as run:
        run.checkpoint(1, {"weights": torch.full((20_000,), 1.0)})
    for _ in range(KILLS["writing"]):
        here, there = forks.Pipe(duplex=False)
        process = started(forks, write_checkpoints, tmp_path / "run", there)
        assert here.recv() >= seen, "no finished checkpoint is lost"
        time.sleep(draws.uniform(0, 0.1))
        process.kill()
        process.join()
        with Run(tmp_path / "run", Settings(), resume=True) as run:
            assert run.step >= seen
            assert torch.equal(run.state["weights"], torch.full((20_000,), float(run.step)))
            seen = run.step
    assert seen > 1
    with Run(tmp_path / "run", Settings(), resume=True) as run:
        run.checkpoint(seen + 1, {"weights": torch.zeros(1)})
    whole = sorted(path.name for path in (tmp_path / "run" / CHECKPOINTS).iterdir() if path.name.isdecimal())
    assert whole == [f"{seen:09d}", f"{seen + 1:09d}"], "what kills left unpruned goes with the next"


def test_a_second_process_is_told_who_holds_the_run(
    forks: ForkServerContext, configured: Any, trained: Path, tmp_path: Path
):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    here, there = forks.Pipe(duplex=False)
    process = started(forks, hold, run, configured(), there)
    there.close()
    here.recv()
    try:
        with pytest.raises(InputError, match=rf"is being written by process {process.pid} on "):
            train(configured(training={"updates": 7}), run, resume=True)
    finally:
        process.kill()
        process.join()
    train(configured(training={"updates": 7}), run, resume=True)


def hold(folder: Path, config: GanConfig, ready: Any) -> None:
    """The body of a process: holds a run, as long as it lives."""
    free = ("features", "bank", "training.updates", "training.chunks")
    inputs = artifacts.read_json(folder / "inputs.json")
    with Run(folder, config, resume=True, inexact=True, free=free, **inputs):
        ready.send(True)
        time.sleep(600)
