"""What fewer bytes change: the exits of networks that trials have trained, stored in a precision and read back."""

import shutil
from dataclasses import dataclass
from functools import cached_property

from gandistill.console import muted
from gandistill.errors import RunError
from gandistill.experiments.names import Facts
from gandistill.experiments.selfdistill.trials import Trial, answers
from gandistill.experiments.store import Store, digest
from gandistill.selfdistill.export import export
from gandistill.selfdistill.model import load_network
from gandistill.selfdistill.training import NETWORK

EXPORTED = "exported"


@dataclass(frozen=True)
class Stored(Trial):
    """A trial's network, not trained again, of which each exit is exported in a precision and judged as read back."""

    precision: str

    def __str__(self) -> str:
        return f"{super().__str__()}, stored in {self.precision}"

    @property
    def trained(self) -> Trial:
        """The trial that trains the network."""
        return Trial(self.inputs, self.part, self.config)

    @cached_property
    def key(self) -> str:
        """The hash of the trial's key and the precision."""
        return digest({"trained": self.trained.key, "precision": self.precision})

    def found(self, store: Store) -> Facts:
        """Judge every exit, and weigh its folder. Raises RunError if the network was not trained."""
        if not store.has(self.trained):
            raise RunError("the training that it needs failed")
        run, exits = self.trained.run(store), dict[str, Facts]()
        for depth in (*self.config.network.exits, self.inputs.layers):
            with muted(True):
                told = export(run / NETWORK, depth, run / EXPORTED, self.precision)
            found = answers(load_network(run / EXPORTED), self.inputs.judged(self.part))[str(depth)]
            exits[str(depth)] = found | {"bytes": told["bytes"]}
        shutil.rmtree(run / EXPORTED)
        return {
            "exits": exits,
            "part": self.part,
            "trained": self.trained.key,
            "precision": self.precision,
        }
