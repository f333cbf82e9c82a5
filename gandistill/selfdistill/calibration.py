"""When leaving early is safe: how much an exit's confidence is worth, and how much of it is enough, learned on dev.

Shapes: N utterances, C classes, E exits.
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy

from gandistill import artifacts, metrics
from gandistill.config import Config
from gandistill.console import say
from gandistill.errors import InputError
from gandistill.processes import place
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.inference import logits, students_of
from gandistill.selfdistill.model import KIND, Network, load_network

FACT = "calibration"
TEMPERATURES = (0.05, 20.0)
"""Between which temperatures are sought: where an exit makes no mistake on dev, the best one would be 0."""
ROUNDING = 1e-9
"""UARs that differ by less are the same."""


class Calibration(Config):
    """What was learned on dev, and what leaving early costs there."""

    temperatures: dict[int, PositiveFloat]
    """What the logits of each exit are divided by, by depth."""
    threshold: float = Field(ge=0, le=1)
    """An exit answers if its largest probability is above this, and the deepest in any case; 1: it alone answers."""
    uar_loss: float = Field(ge=0, lt=1)
    """By how much UAR may fall below the deepest exit's, on dev, for depth."""
    utterances: PositiveInt
    """How many dev has."""
    uar: float = Field(ge=0, le=1)
    """Of leaving early, on dev."""
    deepest_uar: float = Field(ge=0, le=1)
    """Of the deepest exit, on dev."""
    mean_depth: float = Field(ge=1)
    """Layers run for an utterance of dev."""

    @classmethod
    def of(cls, network: Network, where: Path) -> Self:
        """That of a network in the folder ``where``.

        Raises InputError if it has one exit, is not calibrated, or the calibration is damaged.
        """
        students_of(network.depths)  # there must be some
        if FACT not in network.facts:
            raise InputError(
                f"{where} is not calibrated, so it cannot tell when to leave early: run 'gandistill selfdistill "
                f"calibrate {where} MANIFEST' first, or choose an exit of [{', '.join(map(str, network.depths))}]"
            )
        found = cls.build(network.facts[FACT], f"{where / artifacts.CONFIG}, {FACT}")
        lacking = [depth for depth in network.depths if depth not in found.temperatures]
        if lacking:
            raise InputError(f"{where / artifacts.CONFIG}, {FACT}: lacks the exits {lacking}")
        return found

    def chosen(self, said: Mapping[int, Tensor]) -> tuple[NDArray[np.int64], Tensor]:
        """At which depth [N] each utterance leaves, and its probabilities [N, C] there, from all exits' logits."""
        depths = sorted(said)
        p = torch.stack([tempered(said[depth], self.temperatures[depth]) for depth in depths])
        first = leaving(p.amax(-1).numpy(), self.threshold)
        return np.array(depths)[first], p[torch.from_numpy(first), torch.arange(p.shape[1])]


def calibrate(folder: Path, manifest: Path, uar_loss: float = 0.01) -> dict[str, Any]:
    """Learn temperatures and threshold on the dev part of a manifest, and keep them in the network's folder.

    The folder is replaced whole, its weights to the byte the same; returns what is kept, as plain values. Raises
    InputError for a loss outside 0..1, a network with one exit, or a manifest that does not fit or has no dev part.
    """
    if not 0 <= uar_loss < 1:
        raise InputError(f"Bad UAR loss {uar_loss}, expected a difference in UAR from 0 to below 1 such as 0.01")
    network = load_network(folder)
    students_of(network.depths)  # there must be some
    dev = Utterances.read(manifest, "dev", network.labels)
    found = learned(logits(network.to(place().device or "cpu"), dev), dev.targets, uar_loss).to_dict()
    _keep(folder, found)
    return found


def learned(said: Mapping[int, Tensor], targets: NDArray[np.int64], uar_loss: float) -> Calibration:
    """The calibration that logits [N, C] of each exit and class numbers [N] of dev ask for.

    The threshold is the lowest such that UAR is at most ``uar_loss`` below the deepest exit's at it and at every higher
    one: a lower one that keeps UAR too, among some that do not, does so by luck.
    """
    depths = sorted(said)
    temperatures = {depth: temperature(said[depth], targets) for depth in depths}
    p = torch.stack([tempered(said[depth], temperatures[depth]) for depth in depths]).numpy()
    confidence, predicted = p.max(-1), p.argmax(-1)
    everyone, classes = np.arange(len(targets)), p.shape[-1]

    def result(threshold: float) -> tuple[float, float]:
        first = leaving(confidence, threshold)
        confusion = metrics.confusion_matrix(targets, predicted[first, everyone], classes)
        return metrics.unweighted_average_recall(confusion), float(np.array(depths)[first].mean())

    threshold = 1.0
    deepest_uar, _ = result(threshold)
    for lower in thresholds(confidence[:-1]):
        if deepest_uar - result(lower)[0] > uar_loss + ROUNDING:
            break
        threshold = lower
    uar, mean_depth = result(threshold)
    return Calibration(
        temperatures=temperatures,
        threshold=threshold,
        uar_loss=uar_loss,
        utterances=len(targets),
        uar=uar,
        deepest_uar=deepest_uar,
        mean_depth=mean_depth,
    )


def thresholds(confidence: NDArray[np.float64]) -> list[float]:
    """All thresholds at which confidences [E, N] leave differently, falling, but that above all of them.

    Each lies half-way between two confidences, so that rounding does not decide.
    """
    rising = np.unique(confidence)
    return [*((rising[:-1] + rising[1:]) / 2)[::-1].tolist(), 0.0]


def _keep(folder: Path, found: dict[str, Any]) -> None:
    kept = artifacts.read_sums(folder)
    config = artifacts.read_json(folder / artifacts.CONFIG)
    with artifacts.new_artifact(folder, KIND) as building:
        for name in kept:
            shutil.copyfile(folder / name, building / name)
        artifacts.write_json(building / artifacts.CONFIG, config | {FACT: found})
        stale = sorted(file.name for file in folder.glob("*.csv") if file.name not in kept)
    if stale:
        say(f"{folder}: predictions made before it was calibrated are gone, the first is {stale[0]}: evaluate it again")


def leaving(confidence: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """The number of the first exit [N] whose confidence [E, N] is above the threshold, or that of the last."""
    sure = confidence > threshold
    sure[-1] = True
    return sure.argmax(0)


def temperature(said: Tensor, targets: NDArray[np.int64]) -> float:
    """By what to divide logits [N, C] for the least negative log-likelihood of class numbers [N].

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. Found within ``TEMPERATURES``.
    """
    from scipy.optimize import minimize_scalar

    exact, classes = said.double(), torch.from_numpy(targets)

    def likelihood(logarithm: float) -> float:
        return float(cross_entropy(exact / math.exp(logarithm), classes))

    lowest, highest = map(math.log, TEMPERATURES)
    return math.exp(minimize_scalar(likelihood, bounds=(lowest, highest), method="bounded").x)


def tempered(said: Tensor, temperature: float) -> Tensor:
    """Probabilities [..., C] of logits [..., C] at a temperature, in float64: in float32 the surest ones are all 1."""
    return (said.double() / temperature).softmax(-1)
