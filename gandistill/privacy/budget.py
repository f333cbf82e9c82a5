"""The private kind's constants, chosen by public speech alone: the rows of ``eval/budget.py``.

Women of a public corpus play the public speakers and men the private ones, and the other way round. Who is private are
crowds drawn from their statistics (``drawn.py``). Another corpus lies elsewhere and varies otherwise: public speech is
moved and stretched, how far is assumed, one corpus cannot tell. A linear classifier that learns from designed points of
the release, noise and all, is judged on speakers of the same crowd whom it has not met.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gandistill.console import track
from gandistill.controls.draws import Design, classified
from gandistill.controls.private import WEIGHTS, Public, Release, Said, mixed, reach, said_by, sigma_for
from gandistill.evaluate.markdown import markdown, percent
from gandistill.features.featureset import FeatureSet, scale
from gandistill.metrics import scores
from gandistill.numerics import keyed
from gandistill.privacy.drawn import drawn

CONSTANTS = "afar", "rough", "weights"
FAR = (1.0, 2.0, 4.0)
NOISE = (0.25, 0.5, 1.0)
SHARES = ((0.25, 0.65, 0.1), (0.25, 0.5, 0.25), (0.1, 0.65, 0.25))
"""Of level, contrasts and covariance in the budget."""
SPEAKERS, STRANGERS, EACH = (200, 1000), 50, 6
SHIFTS, STRETCH = (0.0, 1.0, 2.0), 0.25
"""How far public speech is moved, in its standard deviations, in root mean square over dims; at 1 its dims are also
stretched, by factors whose logarithm has a standard deviation of ``STRETCH``, at 2 of twice that."""
EPSILON, DRAWS, PPC = 4.0, 2, (10, 50)
Row = dict[str, Any]


@dataclass(frozen=True)
class Crowd:
    """Speakers who are nobody: what trains, and utterance means [N, D] with class numbers [N] of others, to judge."""

    public: FeatureSet
    train: FeatureSet
    means: torch.Tensor
    targets: NDArray[np.int64]


def crowds(features: FeatureSet, genders: Mapping[str, str]) -> Iterator[Crowd]:
    """All that are judged by. Raises InputError as ``Public.of`` does."""
    of = np.array([genders[speaker] for speaker in features.index["speaker"]])
    for private in np.unique(of):
        public = _all_of(features, of != private)
        for speakers in SPEAKERS:
            crowd = drawn(_all_of(features, of == private), speakers, STRANGERS, speakers, EACH)
            others = crowd.part("test")
            yield Crowd(public, crowd.part("train"), others.means().double(), others.targets)


def _all_of(features: FeatureSet, chosen: NDArray[np.bool_]) -> FeatureSet:
    part = features.rows(chosen)
    return replace(part, index=part.index.assign(split="train"))


def rows(features: FeatureSet, genders: Mapping[str, str]) -> list[Row]:
    """Every choice with its mean UAR, the best first."""
    uars: dict[tuple[Any, ...], list[float]] = {}
    rounds = [*product(crowds(features, genders), SHIFTS, NOISE, SHARES)]
    for crowd, shift, rough, shares in track(rounds, "choosing", len(rounds), unit="rounds"):
        sigma = sigma_for(EPSILON, len(set(crowd.train.index["speaker"])))
        known = Public.of(crowd.public, sigma, rough=rough, weights=dict(zip(WEIGHTS, shares, strict=True)))
        known = moved(known, shift)
        said = said_by(crowd.train, known)[1]
        for afar in FAR:
            most = reach(sigma, afar, known.weights["level"], features.dims)
            uars.setdefault((afar, rough, shares), []).extend(_uars(crowd, replace(known, most=most), said))
    found = [dict(zip(CONSTANTS, key, strict=True)) | {"uar": fmean(values)} for key, values in uars.items()]
    return sorted(found, key=lambda row: -row["uar"])


def moved(known: Public, shift: float) -> Public:
    """As if public speech lay elsewhere, and varied otherwise."""
    random = keyed(0, int(shift))
    away, stretch = (shift * random.standard_normal(len(known.centre)) for _ in range(2))
    return replace(known, centre=known.centre + known.unit * away, unit=known.unit * np.exp(STRETCH * stretch))


def _uars(crowd: Crowd, known: Public, said: list[Said]) -> Iterator[float]:
    for seed in range(DRAWS):
        design = Release(mixed(said, known, keyed(seed)), {}, known).design
        for ppc in PPC:
            yield _uar(design, ppc, seed, crowd)


def _uar(design: Design, ppc: int, seed: int, crowd: Crowd) -> float:
    classes = len(design.mean)
    points = torch.cat([design.means(c, 0, ppc, seed) for c in range(classes)]).double()
    centre, unit = points.mean(0), scale(points.std(0, correction=0))
    targets = torch.arange(classes).repeat_interleave(ppc)
    predicted = classified((points - centre) / unit, targets, (crowd.means - centre) / unit)
    return scores(crowd.targets, predicted.numpy(), classes)["uar"]


def listed(found: list[Row]) -> str:
    """The best mean UAR with each value of each constant, as Markdown."""
    lines = []
    for name in CONSTANTS:
        for value in sorted({str(row[name]) for row in found}):
            best = max(row["uar"] for row in found if str(row[name]) == value)
            lines.append({"constant": name, "value": value, "UAR of the best with it": percent(best)})
    return markdown(lines)
