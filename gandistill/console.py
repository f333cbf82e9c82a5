"""What a person sees while work is done: lines and progress on stderr, so that stdout stays for results."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
QUIET_SECONDS = 2.0
LINE_SECONDS = 10.0
_tracked: list[str] = []
_muted: list[bool] = []


def say(message: str) -> None:
    """One plain line on stderr."""
    if not any(_muted):
        print(message, file=sys.stderr, flush=True)


@contextmanager
def muted(yes: bool) -> Iterator[None]:
    """Within, nothing is said or tracked if ``yes``: where many processes do the same work, one speaks for all."""
    _muted.append(yes)
    try:
        yield
    finally:
        _muted.pop()


def bars(shares: Mapping[str, float], width: int = 30) -> str:
    """A line for each share, 0 to 1: its name, a bar of at most ``width`` marks, per cent."""
    longest = max(map(len, shares))
    return "\n".join(
        f"  {name:<{longest}} {'█' * round(width * share):<{width}} {100 * share:3.0f} %"
        for name, share in shares.items()
    )


def track(work: Iterable[T], what: str, total: int, done: int = 0, unit: str = "") -> Iterator[T]:
    """Pass items on, showing what is done, its speed and the time left, once the work has taken two seconds.

    A terminal sees a live bar; a log file sees a plain line every ten seconds, and one at the end. ``done`` items were
    finished before. Work tracked within tracked work stays silent: the outer line speaks for it.
    """
    if _tracked or any(_muted):
        yield from work
        return
    _tracked.append(what)
    try:
        yield from (_bar if sys.stderr.isatty() else _lines)(work, what, total, done, unit)
    finally:
        _tracked.pop()


def _bar(work: Iterable[T], what: str, total: int, done: int, unit: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    speed = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn())
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=False) as bar:
        task = bar.add_task(what, total=total, completed=done, rate="")
        for finished, item in enumerate(work, 1):
            yield item
            rate = finished / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=1, rate=f"{rate:.1f} {unit}/s")


def _lines(work: Iterable[T], what: str, total: int, done: int, unit: str) -> Iterator[T]:
    """Speed and time left are of what is done after the first line: until there work warms up."""
    start, due, finished, first = time.monotonic(), QUIET_SECONDS, 0, (0, 0.0)
    for finished, item in enumerate(work, 1):
        yield item
        elapsed = time.monotonic() - start
        if elapsed >= due:
            due = elapsed + LINE_SECONDS
            estimate = ""
            if first[0]:
                rate = (finished - first[0]) / (elapsed - first[1])
                left = max(total - done - finished, 0) / rate
                estimate = f", {rate:.1f} {unit}/s, {left:.0f} s left"
            first = first if first[0] else (finished, elapsed)
            say(f"{what}: {done + finished}/{total}{estimate}")
    elapsed = time.monotonic() - start
    if elapsed >= QUIET_SECONDS:
        say(f"{what}: {done + finished}/{total} after {elapsed:.0f} s")
