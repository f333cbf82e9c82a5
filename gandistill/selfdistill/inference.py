"""What the exits of a network make of labelled audio, and their fusion.

Shapes: N utterances, W windows of them (``windows.py``), C classes. An utterance no longer than a window has one.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandistill.console import track
from gandistill.corpora.audio import stream_utterance
from gandistill.corpora.windows import windows
from gandistill.errors import InputError, RunError
from gandistill.numerics import no_tf32
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.model import Network
from gandistill.selfdistill.windows import shortest_of, window_of

FUSION = "fusion"


@dataclass(frozen=True)
class Heard:
    """What exits say of the windows of N utterances.

    ``logits`` [W, C] by depth, before the softmax; ``samples`` [W] in each window; ``counts`` [N], how many windows an
    utterance has. Windows lie in the order of the utterances, and of time.
    """

    logits: Mapping[int, Tensor]
    samples: NDArray[np.int64]
    counts: NDArray[np.int64]

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """How much of its utterance each window [W] is, by samples: 1 where it is all of it."""
        return self.samples / np.repeat(np.add.reduceat(self.samples, self._starts), self.counts)

    def mean(self, of_windows: NDArray) -> NDArray[np.float64]:
        """Means over the windows of each utterance by their lengths: [W, ...] to [N, ...]."""
        shares = self.shares.reshape(-1, *[1] * (of_windows.ndim - 1))
        return np.add.reduceat(of_windows * shares, self._starts)

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """What was said of some of the utterances [N]."""
        window_mask = np.repeat(rows, self.counts)
        logits = {depth: values[torch.from_numpy(window_mask)] for depth, values in self.logits.items()}
        return type(self)(logits, self.samples[window_mask], self.counts[rows])

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.counts) - self.counts


def hear(network: Network, utterances: Utterances, depths: Collection[int] | None = None, batch: int = 16) -> Heard:
    """What each exit says of each utterance, in one pass no deeper than the deepest of ``depths``; None: all exits.

    Utterances of like length are batched together; what an utterance is batched with changes nothing beyond rounding.
    Those longer than a window are read and heard window by window, as ``predict`` hears them, so that memory does not
    grow with their length. The network computes where its weights are and the result is in main memory.
    Raises InputError for a depth that has no exit, or for bad or too short audio, RunError if the network gives NaN.
    """
    exit_depths = network.depths if depths is None else sorted(depths)
    network.check(exit_depths)
    utterances.check_lengths(network)
    training, device = network.training, next(network.parameters()).device
    order = np.argsort(utterances.samples, kind="stable")
    window, at_once = window_of(network), batch if network.clip else 1
    whole, longer = np.split(order, [int((utterances.samples <= window).sum())])
    by_utterance = [list[tuple[int, dict[int, Tensor]]]() for _ in order]

    def collect(rows: NDArray[np.int64], samples: list[int], clips: Tensor, lengths: Tensor | None) -> None:
        lengths = None if lengths is None else lengths.to(device)
        answers = {
            depth: answer.logits.cpu() for depth, answer in network.answers(clips.to(device), lengths, exit_depths)
        }
        for at, (row, count) in enumerate(zip(rows, samples, strict=True)):
            by_utterance[row].append((count, {depth: logits[at] for depth, logits in answers.items()}))

    @torch.inference_mode()
    def batches() -> Iterator[None]:
        for start in range(0, len(whole), batch):
            rows = whole[start : start + batch]
            collect(rows, utterances.samples[rows].tolist(), *utterances.batch(rows, network))
            yield
        for row in longer:
            entry = utterances.entries[row]
            parts = windows(stream_utterance(entry), window, shortest_of(network))
            while chunk := list(islice(parts, at_once)):
                clips = torch.stack([network.prepared(torch.from_numpy(part)) for part in chunk])
                collect(np.repeat(row, len(chunk)), [len(part) for part in chunk], clips, None)
                yield

    network.eval()
    expected = -(-len(whole) // batch) + int((-(-utterances.samples[longer] // (window * at_once))).sum())
    with no_tf32():
        for _ in track(batches(), "Answering", expected, unit="batches"):
            pass
    network.train(training)
    by_window = [pair for row in by_utterance for pair in row]
    logits = {depth: torch.stack([answer[depth] for _, answer in by_window]) for depth in exit_depths}
    for depth, values in logits.items():
        if not values.isfinite().all():
            raise RunError(f"The exit behind layer {depth} gives NaN: its weights are useless")
    return Heard(logits, np.array([samples for samples, _ in by_window]), np.array([len(row) for row in by_utterance]))


def posteriors(
    network: Network, utterances: Utterances, depths: Collection[int] | None = None, batch: int = 16
) -> dict[int, Tensor]:
    """Class probabilities [N, C] of each exit, by depth, means over the windows of an utterance; otherwise as ``hear``.

    Those of an utterance of one window are the softmax of its logits, to the bit.
    """
    return posteriors_of(hear(network, utterances, depths, batch))


def posteriors_of(heard: Heard) -> dict[int, Tensor]:
    """Class probabilities [N, C] of each exit, by depth."""
    return {
        depth: torch.from_numpy(heard.mean(logits.softmax(-1).numpy())).to(logits.dtype)
        for depth, logits in heard.logits.items()
    }


def fused(p: Mapping[int, Tensor]) -> Tensor:
    """The mean posterior [..., C] of the students: of all exits but the deepest, which is their teacher.

    Paper: "the fusion results of the three distillation models", how they are fused is not said. Here: the mean of
    their posteriors. Why: nothing in it would have to be fitted. (The public code takes, for each utterance, the exit
    whose two largest logits lie furthest apart.) Section 3.4, Ren et al. 2023. Raises InputError for fewer than two.
    """
    return torch.stack([p[depth] for depth in fused_of(p)]).mean(0)


def can_fuse(depths: Collection[int]) -> bool:
    """Whether exits have a fusion: at least two students besides the deepest, since that of one is itself."""
    return len(depths) > 2


def fused_of(depths: Collection[int]) -> list[int]:
    """The students of which exits' fusion is made. Raises InputError if there are fewer than two."""
    if not can_fuse(depths):
        listed = ", ".join(map(str, sorted(depths)))
        raise InputError(f"There are no two exits to fuse besides the deepest, the exits are [{listed}]")
    return students_of(depths)


def students_of(depths: Collection[int]) -> list[int]:
    """All depths but the deepest. Raises InputError if there are no others."""
    *students, deepest = sorted(depths)
    if not students:
        raise InputError(f"There is one exit, behind layer {deepest}: no others to leave by early")
    return students
