"""How much audio a network hears at once: what it was trained on, or windows of ``corpora/windows.py``."""

from gandistill.corpora.audio import SAMPLE_RATE, SHORTEST_SECONDS
from gandistill.corpora.windows import WINDOW
from gandistill.features.pretrained import least_samples
from gandistill.selfdistill.model import Network


def window_of(network: Network) -> int:
    """Samples that a network hears at once: as many as a clip had in training, or 30 s if those differed."""
    return network.clip or WINDOW


def shortest_of(network: Network) -> int:
    """The fewest samples that it hears alone: 25 ms, or what the convolutions make a frame of, if that is more."""
    return max(least_samples(network.backbone.config), round(SHORTEST_SECONDS * SAMPLE_RATE))
