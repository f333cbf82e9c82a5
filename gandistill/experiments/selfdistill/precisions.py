"""What fewer bytes change: the exits of networks that trials have trained, stored in a precision and read back."""

import shutil
from dataclasses import dataclass

from gandistill.console import muted
from gandistill.experiments.names import Facts
from gandistill.experiments.selfdistill.trials import Further, answers
from gandistill.experiments.store import Store
from gandistill.selfdistill.export import export
from gandistill.selfdistill.model import load_network


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
