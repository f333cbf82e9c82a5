"""When leaving early is safe: how much an exit's confidence is worth, and how much of it is enough, learned on dev.

Shapes: N utterances, W windows of them (``windows.py``), C classes, E exits.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy

from gandistill import artifacts
from gandistill.config import Config
from gandistill.console import say, track
from gandistill.corpora.manifest import read_manifest
from gandistill.errors import InputError
from gandistill.metrics import scores
from gandistill.processes import device
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.inference import Heard, hear, students_of
from gandistill.selfdistill.model import KIND, Network, load_network, network_folder

FACT = "calibration"
TEMPERATURES = (0.05, 20.0)
"""Between which temperatures are sought: where an exit makes no mistake on dev, the best one would be 0."""
ROUNDING = 1e-9
"""UARs that differ by less are the same."""
PARTS = 10
"""In how many parts utterances are held out where there are no speakers to tell apart."""
PREDICTIONS = re.compile(r"(exit-\d\d|fusion|auto)-predictions(-train|-dev)?\.csv")
"""What ``evaluate`` writes into a network's folder."""


class Rule(Config):
    """When each exit is sure enough to answer."""

    temperatures: dict[int, PositiveFloat]
    """What the logits of each exit are divided by, by depth."""
    threshold: float = Field(ge=0, le=1)
    """An exit answers if its largest probability is above this, and the deepest in any case; 1: it alone answers."""

    def chosen(self, heard: Heard) -> tuple[NDArray[np.int64], Tensor]:
        """At which depth each window [W] leaves, and the probabilities [N, C] of the utterances there."""
        depths, p = sorted(heard.logits), all_tempered(heard, self.temperatures)
        first = leaving(p.max(-1), self.threshold)
        return np.array(depths)[first], torch.from_numpy(heard.mean(p[first, np.arange(len(first))]))


class Worth(Config):
    """What leaving early is worth on some utterances."""

    uar: float = Field(ge=0, le=1)
    """Of leaving early."""
    deepest_uar: float = Field(ge=0, le=1)
    """Of the deepest exit."""
    mean_depth: PositiveFloat
    """Layers run for an utterance."""


class HeldOut(Worth):
    """What leaving early is worth where temperatures and threshold were learned on others: over all of dev, in turn."""

    by: Literal["speaker", "utterance"]
    """What was left out at a time: one speaker, or, where dev has no two, a part of the utterances of each class."""


class Dev(Config):
    """What a calibration was learned on."""

    manifest: str
    """Name of its file."""
    fingerprint: str
    """That of its dev part, as ``Utterances.fingerprint`` says it."""
    chose_epoch: bool | None
    """Whether a dev part chose the epoch that training kept; None: the network does not say."""


class Calibration(Rule, Worth):
    """What was learned on dev, and what leaving early costs there: on all of it, and held out."""

    uar_loss: float = Field(ge=0, lt=1)
    """By how much UAR may fall below the deepest exit's, on dev, for depth."""
    utterances: PositiveInt
    """How many dev has."""
    held_out: HeldOut
    dev: Dev

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
        calibration = cls.build(network.facts[FACT], f"{where / artifacts.CONFIG}, {FACT}")
        missing = [depth for depth in network.depths if depth not in calibration.temperatures]
        if missing:
            raise InputError(f"{where / artifacts.CONFIG}, {FACT}: lacks the exits {missing}")
        return calibration


def calibrate(folder: Path, manifest: Path, uar_loss: float = 0.01) -> dict[str, Any]:
    """Learn temperatures and threshold on the dev part of a manifest, and keep them in the network's folder.

    ``folder`` may be that of its run. The network's is replaced whole, its weights to the byte the same; predictions in
    it stay, but those of leaving early, which are stale. Returns what is kept, as plain values; says what makes it
    worth less than it seems. Raises InputError for a loss outside 0..1, a network with one exit, a folder that holds
    what is not ours, or a manifest that does not fit, or whose dev part is absent, has no two classes with two
    utterances each (the fewest that can be held out from each other), or is known to have taught the network.
    """
    if not 0 <= uar_loss < 1:
        raise InputError(f"Bad UAR loss {uar_loss}, expected a difference in UAR from 0 to below 1 such as 0.01")
    folder = network_folder(folder)
    network = load_network(folder)
    students_of(network.depths)  # there must be some
    _predictions(folder)  # nothing else, before any long work
    dev = Utterances.read(manifest, "dev", network.labels)
    counts = np.bincount(dev.targets, minlength=len(dev.labels))
    if (counts >= 2).sum() < 2:
        raise InputError(f"{manifest}: its dev part is too small, expected two utterances or more of two classes")
    for label, count in zip(dev.labels, counts, strict=True):
        if not count:
            say(f"{manifest}: its dev part has no {label}: UAR is over the other classes")
    _check_origin(network, manifest, dev)
    calibration = calibration_of(network.to(device()), manifest, dev, uar_loss)
    _warn(calibration)
    values = calibration.to_dict()
    _write_calibration(folder, values)
    return values


def calibration_of(network: Network, manifest: Path, dev: Utterances, uar_loss: float) -> Calibration:
    """The calibration that the dev part of a manifest asks for. Raises InputError for bad audio."""
    heard = hear(network, dev)
    rule = learned(heard, dev.targets, uar_loss)
    depths, p = rule.chosen(heard)
    select = _fact(network, "trained", "config", "training", "select")
    facts = {
        "uar_loss": uar_loss,
        "utterances": len(dev),
        "held_out": held_out(heard, dev.targets, [entry.speaker for entry in dev.entries], uar_loss),
        "dev": {
            "manifest": manifest.name,
            "fingerprint": dev.fingerprint,
            "chose_epoch": select == "dev" if isinstance(select, str) else None,
        },
    }
    worth = _worth(heard, dev.targets, heard.mean(depths), p.argmax(-1).numpy())
    return Calibration.build(rule.to_dict() | worth | facts, str(manifest))


def learned(heard: Heard, targets: NDArray[np.int64], uar_loss: float) -> Rule:
    """The rule that what is heard of dev and its class numbers [N] ask for.

    The threshold is the lowest such that UAR is at most ``uar_loss`` below the deepest exit's at it and at every higher
    one: a lower one that keeps UAR too, among some that do not, does so by luck. Over several windows the mean of
    tempered probabilities may have another answer than that of plain ones: where the deepest exit loses more by that
    alone, it keeps the temperature 1, so that the threshold 1 loses nothing.
    """
    temperatures = {depth: temperature(heard, depth, targets) for depth in sorted(heard.logits)}
    p = all_tempered(heard, temperatures)
    classes, windows = p.shape[-1], np.arange(p.shape[1])
    least_uar = scores(targets, deepest(heard), classes)["uar"] - uar_loss - ROUNDING
    if scores(targets, heard.mean(p[-1]).argmax(-1), classes)["uar"] < least_uar:
        temperatures[max(temperatures)] = 1.0
        p = all_tempered(heard, temperatures)
    confidence, threshold = p.max(-1), 1.0
    for lower in thresholds(confidence[:-1]):
        answered = heard.mean(p[leaving(confidence, lower), windows])
        if scores(targets, answered.argmax(-1), classes)["uar"] < least_uar:
            break
        threshold = lower
    return Rule(temperatures=temperatures, threshold=threshold)


def held_out(heard: Heard, targets: NDArray[np.int64], speakers: Sequence[str], uar_loss: float) -> HeldOut:
    """What ``learned`` is worth on utterances [N] that it has not seen.

    One speaker is left out at a time, since utterances of one resemble each other. Where no two speakers are told
    apart, one of up to ten parts of the utterances is, each with its share of every class.
    """
    groups, by = np.unique(speakers, return_inverse=True)[1], "speaker"
    if len(set(speakers)) < 2 or not all(speakers):
        earlier = [(targets[:row] == target).sum() for row, target in enumerate(targets)]
        groups, by = np.array(earlier) % PARTS, "utterance"
    depths, predicted = np.zeros(len(targets)), np.zeros_like(targets)
    for group in track(range(groups.max() + 1), "Holding out", groups.max() + 1, unit=f"{by} parts"):
        out = groups == group
        left_out = heard.take(out)
        exit_depths, p = learned(heard.take(~out), targets[~out], uar_loss).chosen(left_out)
        depths[out], predicted[out] = left_out.mean(exit_depths), p.argmax(-1).numpy()
    return HeldOut.build(_worth(heard, targets, depths, predicted) | {"by": by}, "held out")


def deepest(heard: Heard) -> NDArray[np.int64]:
    """The class numbers [N] that the deepest exit answers."""
    return heard.mean(tempered(heard.logits[max(heard.logits)], 1.0).numpy()).argmax(-1)


def _worth(
    heard: Heard, targets: NDArray[np.int64], depths: NDArray[np.float64], predicted: NDArray[np.int64]
) -> dict[str, float]:
    """The fields of ``Worth`` where utterances [N] left at these depths, with these class numbers."""
    classes = heard.logits[max(heard.logits)].shape[-1]
    return {
        "uar": scores(targets, predicted, classes)["uar"],
        "deepest_uar": scores(targets, deepest(heard), classes)["uar"],
        "mean_depth": float(depths.mean()),
    }


def _fact(network: Network, *keys: str) -> Any:
    """What a network's facts say under these keys, None if nothing."""
    value: Any = network.facts
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _check_origin(network: Network, manifest: Path, dev: Utterances) -> None:
    """Raise InputError if a network was trained on dev; say so if that cannot be known."""
    fingerprint = _fact(network, "source", "fingerprint")
    entries = read_manifest(manifest)
    train = [entry for entry in entries if entry.split == "train"]
    if train and fingerprint == Utterances(train, network.labels).fingerprint:
        train_files = {(entry.path.resolve(), entry.excerpt) for entry in train}
        shared = [entry.id for entry in dev.entries if (entry.path.resolve(), entry.excerpt) in train_files]
        if shared:
            raise InputError(
                f"{manifest}: {shared[0]} of its dev part is in its train part too, which taught the network"
            )
        return
    train_and_dev = [entry for entry in entries if entry.split in ("train", "dev")]
    if fingerprint in (dev.fingerprint, Utterances(train_and_dev, network.labels).fingerprint):
        raise InputError(
            f"{manifest}: its dev part taught the network, which is surer there than of clips that it has not heard: "
            "calibrate a network that was trained on train alone"
        )
    name = _fact(network, "source", "manifest") or "nothing known"
    say(
        f"{manifest}: its train part is not what taught the network ({name!r}), so dev may be among that: if it "
        "was, leaving early costs more than is said here"
    )


def _warn(calibration: Calibration) -> None:
    """Say what makes a calibration worth less than it seems."""
    lowest, highest = TEMPERATURES
    for depth, value in calibration.temperatures.items():
        if not 1.01 * lowest < value < highest / 1.01:
            meaning = "makes no mistake" if value < 1 else "is no better than chance"
            say(f"exit {depth}: its temperature {value:.3g} is at the bound of what is sought: on dev it {meaning}")
    held = calibration.held_out
    lost = held.deepest_uar - held.uar
    if lost > calibration.uar_loss + ROUNDING:
        say(
            f"Held out by {held.by}, leaving early loses {lost:.3f} UAR, more than the {calibration.uar_loss:g} that "
            "were stated: dev is too small or too unlike itself for that promise"
        )
    if calibration.dev.chose_epoch:
        say("A dev part chose the network's epoch: if it was this one, all figures of it flatter, held out or not")


def thresholds(confidence: NDArray[np.float64]) -> list[float]:
    """All thresholds at which confidences [E, N] leave differently, falling, but that above all of them.

    Each lies half-way between two confidences, so that rounding does not decide.
    """
    rising = np.unique(confidence)
    return [*((rising[:-1] + rising[1:]) / 2)[::-1].tolist(), 0.0]


def _predictions(folder: Path) -> list[Path]:
    """The predictions in a network's folder. Raises InputError if it holds anything else that is not of the network."""
    ours = {*artifacts.read_sums(folder), artifacts.SUMS}
    paths = sorted(path for path in folder.iterdir() if path.name not in ours)
    for path in paths:
        if not PREDICTIONS.fullmatch(path.name) or not path.is_file():
            raise InputError(
                f"{path} is not of the network, whose folder calibration replaces: move it elsewhere first"
            )
    return paths


def _write_calibration(folder: Path, values: dict[str, Any]) -> None:
    config = artifacts.read_json(folder / artifacts.CONFIG)
    predictions = {path.name: path.read_bytes() for path in _predictions(folder)}
    with artifacts.rewritten(folder, KIND) as building:
        artifacts.write_json(building / artifacts.CONFIG, config | {FACT: values})
    stale = [name for name in predictions if name.startswith("auto")]
    for name in predictions.keys() - stale:  # after it is whole: what counts as the network is what it was built with
        with artifacts.written_whole(folder / name, len(predictions[name])) as temporary:
            temporary.write_bytes(predictions[name])
    if stale:
        say(f"{folder}: predictions made before it was calibrated are gone, the first is {stale[0]}: evaluate it again")


def leaving(confidence: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """The number of the first exit [N] whose confidence [E, N] is above the threshold, or that of the last."""
    sure = confidence > threshold
    sure[-1] = True
    return sure.argmax(0)


def temperature(heard: Heard, depth: int, targets: NDArray[np.int64]) -> float:
    """By what to divide an exit's logits for the least negative log-likelihood of class numbers [N].

    Each window counts by its share of its utterance. Guo et al. 2017, "On Calibration of Modern Neural Networks",
    section 4.2. Found within ``TEMPERATURES``.
    """
    from scipy.optimize import minimize_scalar

    exact, shares = heard.logits[depth].double(), torch.from_numpy(heard.shares)
    classes = torch.from_numpy(np.repeat(targets, heard.counts))

    def likelihood(logarithm: float) -> float:
        return float((cross_entropy(exact / math.exp(logarithm), classes, reduction="none") * shares).mean())

    lowest, highest = map(math.log, TEMPERATURES)
    return math.exp(minimize_scalar(likelihood, bounds=(lowest, highest), method="bounded").x)


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities [..., C] of logits [..., C] at a temperature, in float64: in float32 the surest ones are all 1."""
    return (logits.double() / temperature).softmax(-1)


def all_tempered(heard: Heard, temperatures: Mapping[int, float]) -> NDArray[np.float64]:
    """Probabilities [E, W, C] of all exits, the deepest last."""
    return np.stack([tempered(heard.logits[depth], temperatures[depth]).numpy() for depth in sorted(heard.logits)])
