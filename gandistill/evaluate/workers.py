"""How processes share the work of tables, piece by piece; how their failures are told, what memory they took."""

import resource
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol, TypeVar

import torch

from gandistill.console import muted, say, track
from gandistill.errors import InputError, RunError, killed

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Failure:
    """What could not be computed, why, and whether its input is to blame."""

    what: str
    message: str
    is_input: bool

    @classmethod
    def of(cls, what: object, error: Exception) -> "Failure":
        """From what was raised."""
        kind = "" if isinstance(error, InputError | RunError) else f"{type(error).__name__}: "
        return cls(str(what), kind + " ".join(str(error).split()), isinstance(error, InputError))


def tell(failures: Sequence[Failure], noun: str) -> None:
    """Say each failure by name. Raises an InputError, or a RunError unless all inputs are to blame, if there is any."""
    for failure in failures:
        say(f"failed: {failure.what}: {failure.message}")
    if failures:
        error = InputError if all(failure.is_input for failure in failures) else RunError
        raise error(f"{len(failures)} {noun} failed, what is done is kept; the first: {failures[0].message}")


def peak_bytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


Store_contra = TypeVar("Store_contra", contravariant=True)
S = TypeVar("S")


class Piece(Protocol[Store_contra]):
    """What one process does of some work whose results are kept in a store, so that a later run does only the rest."""

    def __len__(self) -> int:
        """How many results it has."""
        ...

    def left(self, store: Store_contra) -> int:
        """How many of its results are still to be found."""
        ...

    def is_ready(self, store: Store_contra) -> bool:
        """Whether what it needs of other pieces is there."""
        ...

    def work(self, store: Store_contra) -> list[Failure]:
        """Do it; give what failed."""
        ...


def compute(pieces: Sequence[Piece[S]], store: S, jobs: int = 1) -> None:
    """Do what is left of all pieces, ``jobs`` at once in processes of one thread, so that no digit depends on jobs.

    A piece begins when what it needs is there. One that fails is said by name and leaves the others; once they are
    done, an InputError or a RunError says how many failed.
    """
    total, left = sum(map(len, pieces)), _left(pieces, store)
    failures: list[Failure] = []
    if left:
        for _ in track(_spread(pieces, store, jobs, failures), "computing", total, total - left, unit="results"):
            pass
    tell(failures, "results")


def _left(pieces: Sequence[Piece[S]], store: S) -> int:
    return sum(each.left(store) for each in pieces)


def _spread(pieces: Sequence[Piece[S]], store: S, jobs: int, failures: list[Failure]) -> Iterator[None]:
    """Do pieces in processes of their own, passing once for each result that is there."""
    waiting, running = [each for each in pieces if each.left(store)], dict[Future[list[Failure]], Piece[S]]()
    left = _left(waiting, store)
    shown = list(waiting)
    # A fresh process for each: its peak memory is its own, and no thread of this one is forked.
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        try:
            while waiting or running:
                ready = [each for each in waiting if each.is_ready(store)]
                for piece in ready[: jobs - len(running)]:
                    waiting.remove(piece)
                    running[pool.submit(_work, piece, store, jobs > 1)] = piece
                if not running:
                    failures += [Failure(str(each), "what it needs failed", False) for each in waiting]
                    return
                for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                    del running[future]
                    failures += future.result()
                before, left = left, _left(shown, store)
                yield from (None for _ in range(before - left))
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise killed() from None
            raise


def _work(piece: Piece[S], store: S, quiet: bool) -> list[Failure]:
    """One piece, in a process of its own, which does it in silence if it is one of several."""
    torch.set_num_threads(1)
    with muted(quiet):
        return piece.work(store)
