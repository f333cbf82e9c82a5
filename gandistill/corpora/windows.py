"""How audio of any length is heard: in windows, so that memory does not grow with a file."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandistill.console import track
from gandistill.corpora.audio import SAMPLE_RATE, promised_seconds
from gandistill.corpora.faults import too_short
from gandistill.corpora.tree import find_files
from gandistill.errors import InputError, RunError

WINDOW = 30 * SAMPLE_RATE
"""Samples heard at once where nothing else is known: more than nearly all acted or elicited utterances have, and 1,500
frames of most upstreams, whose attention takes little memory."""
Answer = dict[str, Any]


def windows(blocks: Iterable[NDArray[np.float32]], size: int, shortest: int) -> Iterator[NDArray[np.float32]]:
    """Audio in blocks as windows of ``size`` samples, the last as long as it comes.

    A rest of less than ``shortest`` samples, too short to say anything, belongs to the window before it.
    """
    buffer = np.empty(0, np.float32)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while len(buffer) >= size + shortest:
            yield buffer[:size]
            buffer = buffer[size:]
    if len(buffer):
        yield buffer


def averaged(
    parts: Iterable[NDArray[np.float32]],
    hear: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    labels: Sequence[str],
    least: int,
    path: Path,
    what: str,
) -> Generator[None, None, tuple[Answer, NDArray[np.float64]]]:
    """What is said of audio as a whole, from what ``hear`` gives of each window: means by the windows' lengths.

    ``hear`` gives probabilities [C] of the ``labels``, and behind them what else is to be averaged. Passes once for
    each window; then gives ``label``, ``probabilities`` by class and ``seconds``, and the other means. Raises
    AudioError for a window of fewer than ``least`` samples, InputError for none at all, RunError if ``what`` hears
    gives NaN.
    """
    total, samples = np.zeros(()), 0
    for part in parts:
        if len(part) < least:
            raise too_short(path, len(part), least)
        total, samples = total + len(part) * hear(part), samples + len(part)
        yield
    if not samples:
        raise InputError(f"{path}: there are no samples")
    means = total / samples
    if not np.isfinite(means).all():
        raise RunError(f"{path}: {what} gives NaN, its weights are useless")
    p, others = means[: len(labels)], means[len(labels) :]
    probabilities = dict(zip(labels, p.tolist(), strict=True))
    return {"label": labels[int(p.argmax())], "probabilities": probabilities, "seconds": samples / SAMPLE_RATE}, others


def answers(
    paths: Sequence[Path], answer: Callable[[Path], Generator[None, None, Answer]], window: int
) -> tuple[list[Answer], list[InputError]]:
    """What ``answer`` gives of each audio file, in order, and what is wrong with those it can say nothing of.

    A folder stands for all audio below it. ``answer`` passes once for each of a file's windows, of so many samples.
    Raises InputError, naming all files, if none can be answered.
    """
    files = [file for path in paths for file in (path.is_dir() and find_files(path)) or [path]]
    answered, problems = list[Answer](), list[InputError]()

    def work() -> Iterator[None]:
        for file in files:
            try:
                if file.is_dir():
                    raise InputError(f"{file}: no audio file is below it")
                answered.append((yield from answer(file)))
            except InputError as error:
                problems.append(error)

    expected = sum(max(1, round(promised_seconds(file) * SAMPLE_RATE / window)) for file in files)
    for _ in track(work(), "Answering", expected, unit="windows"):
        pass
    if not answered:
        raise InputError("\n".join(map(str, problems)))
    return answered, problems
