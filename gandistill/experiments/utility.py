"""How useful a training set is: the UAR that heads trained on it alone reach on real speech, over seeds.

One rule for every row of a table: the same head recipe, the same number of updates, the last update's weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gandistill import artifacts
from gandistill.evaluate.significance import interval
from gandistill.experiments.store import digest
from gandistill.features.featureset import FeatureSet
from gandistill.heads.training import HeadConfig, score, train_heads
from gandistill.numerics import one_thread


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
    ppc: int | None,
    cache: Path,
) -> list[Utility]:
    """Train each kind of head on ``make(seed)`` with that same seed, and score it on the part ``judged``.

    A set that stores soft labels teaches those. One seed decides the drawn set and the head's initial weights and
    batches. A UAR that ``cache`` holds for the same content and settings is not measured again.
    """
    sets = {seed: make(seed).training_part() for seed in seeds}
    points = max(len(features) for features in sets.values())
    return [Utility(row, ppc, points, head, tuple(_uars(sets, head, judged, cache))) for head in heads]


def _uars(sets: dict[int, FeatureSet], head: str, judged: FeatureSet, cache: Path) -> list[float]:
    """The UAR of a head for each seed's set; those that are missing are trained together."""
    configs = {
        seed: HeadConfig(head=head, seed=seed, labels="hard" if features.soft is None else "soft")
        for seed, features in sets.items()
    }
    paths = {seed: cache / f"{_key(sets[seed], config, judged)}.json" for seed, config in configs.items()}
    missing = [seed for seed, path in paths.items() if not path.is_file()]
    if missing:
        with one_thread():  # on any number of cores the same bits, so that a table can be made again
            trained = train_heads([sets[seed] for seed in missing], [configs[seed] for seed in missing])
            for seed, of_seed in zip(missing, trained, strict=True):
                artifacts.write_json(paths[seed], {"uar": score(of_seed, judged)["uar"]})
    return [artifacts.read_json(path)["uar"] for path in paths.values()]


def _key(features: FeatureSet, config: HeadConfig, judged: FeatureSet) -> str:
    """The hash of what decides a head's UAR."""
    parts = {name: [part.fingerprint, sorted(part.index["id"])] for name, part in (("train", features), ("on", judged))}
    return digest(parts | {"head": config.to_dict(), "versions": artifacts.versions()})
