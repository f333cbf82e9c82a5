"""Multiply-accumulates of answering behind several layers in one pass, as fusion and leaving early do."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.selfdistill.describe import products_of, samples_of
from gandistill.selfdistill.model import Network


@dataclass(frozen=True)
class Work:
    """Of each exit, by depth: ``alone`` with all layers before it, and ``own``, what lies behind its layer.

    Multiply-accumulates for a second that is heard.
    """

    alone: dict[int, float]
    own: dict[int, float]

    @classmethod
    def of(cls, network: Network) -> Self:
        """Of a network on the meta device: kernels of a CPU hide some products."""
        samples = samples_of(network)
        products, clips_per_second = products_of(network, samples), SAMPLE_RATE / samples
        alone = {depth: (layers + own) * clips_per_second for depth, (layers, own) in products.items()}
        return cls(alone, {depth: own * clips_per_second for depth, (_, own) in products.items()})

    def together(self, depths: Collection[int]) -> float:
        """To answer behind all of these layers, those after the deepest not run."""
        deepest = max(depths)
        return self.alone[deepest] + sum(self.own[depth] for depth in depths if depth != deepest)

    def until(self, depth: int) -> float:
        """To answer behind each exit in turn as far as this one, as leaving early does."""
        return self.together([exit_depth for exit_depth in self.alone if exit_depth <= depth])
