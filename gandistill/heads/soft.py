"""Soft labels: what the converged heads of a bank say of an utterance, on average, beside its hard label."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from gandistill.errors import InputError, choices
from gandistill.features.featureset import Utterance
from gandistill.heads.bank import Bank
from gandistill.numerics import one_thread


def are_soft(labels: str) -> bool:
    """Whether ``--labels`` asks for soft labels. Raises InputError if it is neither hard nor soft."""
    if labels not in ("hard", "soft"):
        raise choices("--labels", labels, ["hard", "soft"])
    return labels == "soft"


def teacher(labels: str, bank: Path | None) -> Bank | None:
    """The bank whose heads give ``--labels soft``, none for hard. Raises InputError if one comes without the other."""
    if are_soft(labels) != (bank is not None):
        raise InputError("--labels soft and --bank DIR go together: the bank's heads give the soft labels")
    return None if bank is None else Bank.open(bank)


def soft_labelled(utterances: Iterable[Utterance], bank: Bank) -> Iterator[Utterance]:
    """The utterances with the bank's mean posterior of their frames, as half floats hold them.

    One utterance at a time: in a batch, rounding would depend on what else is chosen. Batches would take half the time
    for log-Mels (2.4 against 5.2 ms an utterance of 115 frames with nine heads), less for wider features.
    """
    for utterance in utterances:
        frames = utterance.frames.half().float()
        with one_thread(), torch.no_grad():
            posterior = bank.mean_posterior(frames[None], torch.tensor([len(frames)]))[0]
        yield replace(utterance, soft=posterior)
