"""The loops that benchmarks of training compare, by name: a textbook one, ours, and trials that are in no recipe."""

from collections.abc import Callable
from dataclasses import dataclass

import reference
import relativistic
import simultaneous
from gandistill.gan import steps
from gandistill.gan.settings import GanConfig
from gandistill.gan.steps import Gan
from gandistill.gan.training import prepared


@dataclass(frozen=True)
class Loop:
    """How one update is made, of a GAN changed how, and by which settings beside those that all loops share."""

    settings: tuple[str, ...] = ()
    one_update: Callable[[Gan, int], object] = steps.one_update
    change: Callable[[Gan], Gan] = lambda gan: gan

    def start(self, config: GanConfig) -> Gan:
        """A GAN that has made no update."""
        gan, _ = prepared(config)
        assert isinstance(gan, Gan)
        return self.change(gan)


LOOPS = {
    "reference": Loop(one_update=reference.one_update, change=reference.make_plain),
    "ours": Loop(),
    "ours, bfloat16": Loop(("training.precision=bfloat16",)),
    "ours, penalty every 8": Loop(("training.penalty_every=8",)),
    "simultaneous": Loop(one_update=simultaneous.one_update),
    "relativistic": Loop(one_update=relativistic.one_update),
}
