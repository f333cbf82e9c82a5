"""How processes share the trials of tables, job by job, and how their failures are told."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Generic, Protocol, TypeVar

import torch

from gandistill.console import muted, say, track
from gandistill.errors import InputError, RunError, killed
from gandistill.experiments.names import Facts
from gandistill.experiments.store import Keyed, Store

POLL_SECONDS = 1.0
T = TypeVar("T", bound=Keyed)


@dataclass(frozen=True)
class Failure:
    """What could not be computed, why, whether its input is to blame, and how many results it has."""

    what: str
    message: str
    is_input: bool
    count: int = 1

    @classmethod
    def of(cls, what: object, error: Exception) -> "Failure":
        """From what was raised."""
        kind = "" if isinstance(error, InputError | RunError) else f"{type(error).__name__}: "
        return cls(str(what), kind + " ".join(str(error).split()), isinstance(error, InputError))


class Task(Keyed, Protocol):
    """A trial that needs nothing of the others of its job."""

    def compute(self, store: Store) -> Facts:
        """Do it; give what is kept of it."""
        ...


class Job(ABC):
    """What one process does, of which a later run does only the rest."""

    @abstractmethod
    def __len__(self) -> int:
        """How many results it has."""

    @abstractmethod
    def left(self, store: Store) -> int:
        """How many of its results are still to be found."""

    def is_ready(self, store: Store) -> bool:
        """Whether what it needs of other jobs is there."""
        return True

    @abstractmethod
    def work(self, store: Store) -> list[Failure]:
        """Do what is left; give what failed."""


@dataclass(frozen=True)
class Trials(Job, Generic[T]):
    """The job of some trials, one after another."""

    trials: tuple[T, ...]

    def __str__(self) -> str:
        return f"{len(self)} trials, the first: {self.trials[0]}"

    def __len__(self) -> int:
        return len(self.trials)

    def missing(self, store: Store) -> Iterator[T]:
        """Trials without a result when their turn comes."""
        return (trial for trial in self.trials if not store.has(trial))

    def left(self, store: Store) -> int:
        """How many of its results are still to be found."""
        return sum(1 for _ in self.missing(store))

    def work(self: "Trials[Task]", store: Store) -> list[Failure]:
        """Do what is left; give what failed."""
        return [f for trial in self.missing(store) for f in attempt(trial, store, partial(trial.compute, store))]


def attempt(trial: Keyed, store: Store, compute: Callable[[], Facts]) -> list[Failure]:
    """Keep what ``compute`` finds of a trial; give what failed, whatever it is: others are worth computing."""
    try:
        store.put(trial, compute())
    except Exception as error:
        return [Failure.of(trial, error)]
    return []


def compute(jobs: Sequence[Job], store: Store, processes: int = 1) -> None:
    """Do what is left of all jobs, ``processes`` at once, each of one thread, so that no digit depends on how many.

    A job begins when what it needs is there. A trial that fails is said by name and leaves the others; once they are
    done, an InputError (or a RunError, unless all inputs are to blame) says how many failed.
    """
    left = [job.left(store) for job in jobs]
    total, missing = sum(map(len, jobs)), sum(left)
    failures: list[Failure] = []
    waiting = [(job, count) for job, count in zip(jobs, left, strict=True) if count]
    if waiting:
        try:
            steps = _spread(waiting, store, processes, failures)
            for _ in track(steps, "computing", total, total - missing, unit="trials"):
                pass
        finally:
            for failure in failures:
                say(f"failed: {failure.what}: {failure.message}")
    if failures:
        error = InputError if all(failure.is_input for failure in failures) else RunError
        count = sum(failure.count for failure in failures)
        raise error(f"{count} trials failed, what is done is kept; the first: {failures[0].message}")


def _spread(waiting: list[tuple[Job, int]], store: Store, processes: int, failures: list[Failure]) -> Iterator[None]:
    """Do jobs, of which so many results are missing, in processes of their own; pass once for each that is there."""
    running = dict[Future[list[Failure]], tuple[Job, int]]()
    # A fresh process for each: its peak memory is its own, and no thread of this one is forked.
    with ProcessPoolExecutor(processes, get_context("spawn"), end_with_parent, max_tasks_per_child=1) as pool:
        try:
            while waiting or running:
                ready = (entry for entry in waiting if entry[0].is_ready(store))
                for entry in [*islice(ready, processes - len(running))]:
                    waiting.remove(entry)
                    running[pool.submit(_work, entry[0], store, processes > 1)] = entry
                if not running:
                    failures += [Failure(str(job), "what it needs failed", False, count) for job, count in waiting]
                    return
                done = wait(running, POLL_SECONDS, FIRST_COMPLETED).done
                for future, (job, count) in running.items():
                    left = job.left(store)
                    running[future] = job, left
                    yield from repeat(None, count - left)
                for future in done:
                    del running[future]
                    failures += future.result()
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise killed() from None
            raise


def end_with_parent() -> None:
    """Let this process end as soon as the one that began it does, even by a kill: left alone it would go on with its
    job, unseen, and hold the lock of its run."""
    parent = parent_process()

    def wait_for_end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # nobody is left to be told, and what was finished is on the disk

    Thread(target=wait_for_end, daemon=True).start()


def _work(job: Job, store: Store, quiet: bool) -> list[Failure]:
    """One job, in a process of its own, which does it in silence if it is one of several."""
    torch.set_num_threads(1)
    with muted(quiet):
        try:
            return job.work(store)
        except Exception as error:  # such as a full disk; the other jobs go on
            return [Failure.of(job, error)]
