"""In what portions a network hears audio of any length: windows, so that memory does not grow with a file."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from gandistill.corpora.audio import SAMPLE_RATE, SHORTEST_SECONDS
from gandistill.features.pretrained import least_samples
from gandistill.selfdistill.model import Network

WINDOW = 30 * SAMPLE_RATE
"""Samples heard at once by a network that was trained on whole utterances: more than nearly all acted or elicited
utterances have, and 1,500 frames, whose attention takes little memory."""


def window_of(network: Network) -> int:
    """Samples that a network hears at once: as many as a clip had in training, or 30 s if those differed."""
    return network.clip or WINDOW


def shortest_of(network: Network) -> int:
    """The fewest samples that it hears alone: 25 ms, or what the convolutions make a frame of, if that is more."""
    return max(least_samples(network.backbone.config), round(SHORTEST_SECONDS * SAMPLE_RATE))


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
