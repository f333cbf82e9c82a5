"""How much audio a network hears at once: what it was trained on, or windows of ``corpora/windows.py``."""

from gandistill.corpora.audio import SAMPLE_RATE, SHORTEST_SECONDS
from gandistill.corpora.windows import WINDOW
from gandistill.selfdistill.model import Network


def window_of(network: Network) -> int:
    """Samples that a network hears at once: as many as a clip had in training, or 30 s if those differed.

    Whisper, which hears 30 s at most, hears less, so that there is room for silence and for a rest.
    """
    longest = network.backbone.longest
    return network.clip or (WINDOW if longest is None else min(WINDOW, longest - shortest_of(network)))


def shortest_of(network: Network) -> int:
    """The fewest samples that it hears alone: 25 ms, or what the convolutions make a frame of, if that is more."""
    return max(network.backbone.least, round(SHORTEST_SECONDS * SAMPLE_RATE))
