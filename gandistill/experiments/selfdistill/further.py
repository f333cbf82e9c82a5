"""What else trained networks are asked: their exits in fewer bytes, and leaving early by a rule learned on dev."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from gandistill.console import muted
from gandistill.errors import RunError
from gandistill.experiments.names import Facts
from gandistill.experiments.selfdistill.trials import Trial, answers, scores_of
from gandistill.experiments.store import Store
from gandistill.processes import place
from gandistill.selfdistill.calibration import learned
from gandistill.selfdistill.export import export
from gandistill.selfdistill.inference import hear, posteriors_of
from gandistill.selfdistill.model import NETWORK, load_network
from gandistill.selfdistill.prediction import AUTO
from gandistill.selfdistill.work import Work


@dataclass(frozen=True)
class Further(Trial):
    """What else is asked of a network that the trial ``trained`` has trained, not trained again."""

    @property
    def trained(self) -> Trial:
        """The trial that trains the network."""
        return Trial(self.inputs, self.part, self.config)

    def network(self, store: Store) -> Path:
        """The network's folder. Raises RunError if it was not trained."""
        if not store.has(self.trained):
            raise RunError("the training that it needs failed")
        return self.trained.run(store) / NETWORK


@dataclass(frozen=True)
class Stored(Further):
    """A trial's network, of which each exit is exported in a precision and judged as read back."""

    precision: str

    def __str__(self) -> str:
        return f"{super().__str__()}, stored in {self.precision}"

    @property
    def decides(self) -> Facts:
        """The trial's key and the precision."""
        return {"trained": self.trained.key, "precision": self.precision}

    def compute(self, store: Store) -> Facts:
        """Judge every exit, and weigh its folder. Raises RunError if the network was not trained."""
        network, exits = self.network(store), dict[str, Facts]()
        exported = network.with_name("exported")
        for depth in (*self.config.network.exits, self.inputs.layers):
            with muted(True):
                size = export(network, depth, exported, self.precision)["bytes"]
            scores = answers(load_network(exported), self.inputs.judged(self.part))[str(depth)]
            exits[str(depth)] = scores | {"bytes": size}
        shutil.rmtree(exported)
        return {"exits": exits, "part": self.part} | self.decides


@dataclass(frozen=True)
class Early(Further):
    """The network of the trial that dev judges, not trained again, calibrated on dev and judged on ``part``, test.

    Dev teaches what other trials judge on test, and cannot calibrate it.
    """

    uar_loss: float

    def __str__(self) -> str:
        return f"{self.trained}, leaving early on {self.part} at a loss of {self.uar_loss:g}"

    @property
    def trained(self) -> Trial:
        """The trial that trains the network."""
        return Trial(self.inputs, "dev", self.config)

    @property
    def decides(self) -> Facts:
        """The trial's key, what judges it, and the loss."""
        judged = self.inputs.fingerprints[self.part][1]
        return {"trained": self.trained.key, "judged": judged, "uar_loss": self.uar_loss}

    def compute(self, store: Store) -> Facts:
        """Learn the rule and judge it, and the deepest exit. Raises RunError if the network was not trained.

        Of both also ``mean_depth``, layers run for an utterance, and ``multiply_accumulates`` for a second that is
        heard, means over utterances; of leaving early ``left``, the share of them that was answered behind each layer.
        """
        network = load_network(self.network(store)).to(place().device or torch.device("cpu"))
        dev, test = self.inputs.judged("dev"), self.inputs.judged(self.part)
        rule = learned(hear(network, dev), dev.targets, self.uar_loss)
        heard = hear(network, test)
        depths, p = rule.chosen(heard)
        deepest, work = max(network.depths), Work.of(network.to("meta"))
        left = {depth: float(heard.mean(depths == depth).mean()) for depth in network.depths}
        exits = scores_of({AUTO: p, str(deepest): posteriors_of(heard)[deepest]}, test)
        exits[AUTO] |= {
            "mean_depth": sum(depth * share for depth, share in left.items()),
            "multiply_accumulates": sum(work.until(depth) * share for depth, share in left.items()),
            "left": {str(depth): share for depth, share in left.items()},
        }
        exits[str(deepest)] |= {"mean_depth": deepest, "multiply_accumulates": work.alone[deepest]}
        return {
            "exits": exits,
            "part": self.part,
            "trained": self.trained.key,
            "rule": rule.to_dict(),
            "uar_loss": self.uar_loss,
        }
