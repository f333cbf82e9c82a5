"""Jobs are done once each, when what they need is there, and what fails leaves the others."""

import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest

from gandistill.errors import InputError, RunError
from gandistill.experiments import jobs
from gandistill.experiments.jobs import Failure, Trials, compute
from gandistill.experiments.store import Store, digest

pytestmark = pytest.mark.usefixtures("here")


@dataclass(frozen=True)
class Number:
    value: int

    def __str__(self) -> str:
        return f"number {self.value}"

    @cached_property
    def key(self) -> str:
        return digest(self.value)


@dataclass(frozen=True)
class Squares(Trials[Number]):
    """Squares of numbers; one of 13 fails, as its ``error`` says, and 0 needs 1."""

    error: type[Exception] = RunError

    def is_ready(self, store: Store) -> bool:
        return Number(0) not in self.trials or store.has(Number(1))

    def work(self, store: Store) -> list[Failure]:
        failures = []
        for trial in self.missing(store):
            if trial.value == 13:
                failures.append(Failure.of(trial, self.error("bad\nluck")))
            else:
                store.put(trial, {"square": trial.value**2})
        return failures


def squares(*values: int) -> Squares:
    return Squares(tuple(map(Number, values)))


def test_all_jobs_are_done_and_none_twice(tmp_path: Path):
    store = Store(tmp_path)
    compute([squares(2, 3), squares(4)], store, processes=2)
    assert [store.result(Number(n))["square"] for n in (2, 3, 4)] == [4, 9, 16]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    store.path(Number(3)).unlink()
    compute([squares(2, 3), squares(4)], store)
    changed = [path for path in before if path.stat().st_mtime_ns != before[path]]
    assert changed == [store.path(Number(3))]


def test_a_job_waits_for_what_it_needs(tmp_path: Path):
    store = Store(tmp_path)
    compute([squares(0), squares(1)], store)
    assert store.has(Number(0))


def test_what_is_needed_and_failed_is_said_of_those_that_wait(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(RunError, match=r"^1 trials failed, .*: what it needs failed$"):
        compute([squares(0), squares(2)], Store(tmp_path))
    assert "failed: 1 trials, the first: number 0: what it needs failed" in capfd.readouterr().err
    assert Store(tmp_path).has(Number(2))


@pytest.mark.parametrize(("error", "raised"), [(InputError, InputError), (RunError, RunError), (ValueError, RunError)])
def test_a_failure_is_named_in_one_line_and_leaves_the_others(
    error: type[Exception], raised: type[Exception], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    store = Store(tmp_path)
    with pytest.raises(raised, match=r"^1 trials failed, what is done is kept; the first: (ValueError: )?bad luck$"):
        compute([replace(squares(13, 5), error=error), squares(6)], store)
    assert "failed: number 13: " in capfd.readouterr().err
    assert store.has(Number(5))
    assert store.has(Number(6))


def test_a_killed_process_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object) -> None:
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr(jobs, "_work", killed)
    with pytest.raises(RunError, match=r"^A process was killed, perhaps for want of memory; .*: run this again$"):
        compute([squares(2)], Store(tmp_path))


@dataclass(frozen=True)
class Root(Number):
    def compute(self, store: Store) -> dict[str, float]:
        if self.value < 0:
            raise ValueError("no root")
        return {"root": self.value**0.5}


def test_trials_that_need_nothing_of_each_other_are_done_one_by_one(tmp_path: Path):
    store = Store(tmp_path)
    with pytest.raises(RunError, match=r"^1 trials failed, .*: ValueError: no root$"):
        compute([Trials((Root(-1), Root(9)))], store)
    assert store.result(Root(9))["root"] == 3


def test_a_job_that_waits_in_vain_is_counted_by_all_its_trials(tmp_path: Path):
    with pytest.raises(RunError, match=r"^3 trials failed, .*: what it needs failed$"):
        compute([squares(0, 4, 5)], Store(tmp_path))


ORPHAN = """
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from gandistill.experiments.jobs import end_with_parent

def work():
    print("at work", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
        pool.submit(work).result()
"""


def test_a_killed_parent_leaves_nobody_at_work(tmp_path: Path):
    """The pipe that a worker prints to ends with the worker, which would sleep for ten minutes."""
    script = tmp_path / "parent.py"
    script.write_text(ORPHAN)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "at work\n"
        parent.kill()
        assert parent.communicate(timeout=60)[0] == ""
