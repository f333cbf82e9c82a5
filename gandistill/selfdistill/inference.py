"""What the exits of a network make of labelled audio, and their fusion. Shapes: N utterances, C classes."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from gandistill.console import track
from gandistill.errors import InputError, RunError
from gandistill.run import no_tf32
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.model import Network


def logits(
    network: Network, utterances: Utterances, depths: Collection[int] | None = None, batch: int = 16
) -> dict[int, Tensor]:
    """What each exit says [N, C] before the softmax, by depth, in one pass no deeper than the deepest of ``depths``.

    ``depths`` None: all exits. Utterances of like length are batched together; what an utterance is batched with
    changes nothing beyond rounding. The network computes where its weights are and the result is in main memory.
    Raises InputError for a depth that has no exit or for bad audio, RunError if the network gives NaN.
    """
    wanted = network.depths if depths is None else sorted(depths)
    network.check(wanted)
    training, device = network.training, next(network.parameters()).device
    order = np.argsort(utterances.samples, kind="stable")
    found = {depth: torch.empty(len(utterances), len(network.labels)) for depth in wanted}

    @torch.inference_mode()
    def heard() -> Iterator[None]:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            clips, lengths = utterances.batch(rows, network)
            lengths = None if lengths is None else lengths.to(device)
            for depth, answer in network.answers(clips.to(device), lengths, wanted):
                found[depth][torch.from_numpy(rows)] = answer.logits.cpu()
            yield

    network.eval()
    with no_tf32():
        for _ in track(heard(), "Answering", -(-len(order) // batch), unit="batches"):
            pass
    network.train(training)
    for depth, said in found.items():
        if not said.isfinite().all():
            raise RunError(f"The exit behind layer {depth} gives NaN: its weights are useless")
    return found


def posteriors(
    network: Network, utterances: Utterances, depths: Collection[int] | None = None, batch: int = 16
) -> dict[int, Tensor]:
    """Class probabilities [N, C] of each exit, by depth; otherwise as ``logits``."""
    return {depth: said.softmax(-1) for depth, said in logits(network, utterances, depths, batch).items()}


def fused(p: Mapping[int, Tensor]) -> Tensor:
    """The mean posterior [..., C] of the students: of all exits but the deepest, which is their teacher.

    Paper: "the fusion results of the three distillation models", how they are fused is not said. Here: the mean of
    their posteriors. Why: nothing in it would have to be fitted. (The public code takes, for each utterance, the exit
    whose two largest logits lie furthest apart.) Section 3.4, Ren et al. 2023. Raises InputError if there is none.
    """
    students = students_of(p)
    return torch.stack([p[depth] for depth in students]).mean(0)


def students_of(depths: Collection[int]) -> list[int]:
    """All depths but the deepest. Raises InputError if there are no others."""
    *students, deepest = sorted(depths)
    if not students:
        raise InputError(f"There is one exit, behind layer {deepest}: no others to fuse, or to leave by early")
    return students
