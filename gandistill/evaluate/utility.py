"""How useful a training set is: the UAR that heads trained on it alone reach on real speech, over seeds.

One rule for every row of a table: the same head recipe, the same number of updates, the last update's weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gandistill.evaluate.significance import interval
from gandistill.features.featureset import FeatureSet
from gandistill.heads.training import HeadConfig, score, train_head


@dataclass(frozen=True)
class Utility:
    """One row of a table: ``points`` utterances made by ``row``, judged by heads of one kind, UAR in 0..1 per seed."""

    row: str
    ppc: int | None
    points: int
    head: str
    uars: tuple[float, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain values, with mean and 95 % t interval over the seeds."""
        mean, low, high = interval(self.uars)
        measured = {"uar": mean, "low": low, "high": high, "uars": list(self.uars)}
        return {"row": self.row, "ppc": self.ppc, "points": self.points, "head": self.head} | measured


def utility(
    row: str,
    make: Callable[[int], FeatureSet],
    judged: FeatureSet,
    heads: Sequence[str],
    seeds: Sequence[int],
    ppc: int | None = None,
) -> list[Utility]:
    """Train each kind of head on ``make(seed)`` with that same seed, and score it on the part ``judged``.

    A seed so decides the drawn set and the head's initial weights and batches together.
    """
    sets = {seed: make(seed).training_part() for seed in seeds}
    points = max(len(features) for features in sets.values())
    measured = []
    for head in heads:
        uars = (score(train_head(sets[seed], HeadConfig(head=head, seed=seed)), judged)["uar"] for seed in seeds)
        measured.append(Utility(row, ppc, points, head, tuple(uars)))
    return measured
