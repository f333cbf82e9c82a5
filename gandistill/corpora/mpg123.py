"""Quiet for libsndfile's decoder of MP3: mpg123 writes warnings to the process's stderr, without the file's name."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

STDERR = 2


class Quiet:
    """What libraries write to descriptor 2 is lost while any thread is within; Python's own ``sys.stderr`` is not."""

    def __init__(self) -> None:
        self._lock, self._within, self._stack = threading.Lock(), 0, ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._within += 1
            if self._within == 1:
                self._stack.enter_context(_silence())
        try:
            yield
        finally:
            with self._lock:
                self._within -= 1
                if self._within == 0:
                    self._stack.close()


@contextmanager
def _silence() -> Iterator[None]:
    sys.stderr.flush()
    kept, nothing, before = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY), sys.stderr
    if _descriptor(before) == STDERR:
        sys.stderr = os.fdopen(os.dup(kept), "w", 1, before.encoding, before.errors)
    os.dup2(nothing, STDERR)
    try:
        yield
    finally:
        os.dup2(kept, STDERR)
        if sys.stderr is not before:
            sys.stderr.close()
            sys.stderr = before
        os.close(kept)
        os.close(nothing)


def _descriptor(stream: object) -> int | None:
    """Of a stream that has one; what tests put in the place of stderr has none."""
    try:
        return stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None


quiet = Quiet()
