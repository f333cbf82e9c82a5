"""The private kind's constants, chosen for a corpus that no table of the price judges: the rows of ``eval/budget.py``.

Who is private are crowds drawn from the statistics of a corpus's women (``drawn.py``), with its men as public speakers,
of its men with the women, and of all of it with another corpus. A linear classifier that learns from designed points of
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
from gandistill.controls.private import WEIGHTS, Public, Release, Said, mixed, said_by, sigma_for
from gandistill.evaluate.markdown import markdown, percent
from gandistill.features.featureset import FeatureSet, scale
from gandistill.metrics import scores
from gandistill.numerics import keyed
from gandistill.privacy.drawn import drawn

CONSTANTS = "afar", "weights"
FAR = (1.0, 2.0, 4.0)
SHARES = ((0.25, 0.65, 0.1), (0.2, 0.5, 0.3), (0.15, 0.35, 0.5))
"""Of level, contrasts and covariance in the budget."""
SPEAKERS, STRANGERS, EACH = (200, 1000), 50, 6
EPSILON, DRAWS, PPC = 4.0, 2, (10, 50)
Row = dict[str, Any]


@dataclass(frozen=True)
class Crowd:
    """Speakers who are nobody: what trains, and utterance means [N, D] with class numbers [N] of others, to judge."""

    public: FeatureSet
    train: FeatureSet
    means: torch.Tensor
    targets: NDArray[np.int64]


def crowds(features: FeatureSet, genders: Mapping[str, str], other: FeatureSet) -> Iterator[Crowd]:
    """All that are judged by."""
    of = np.array([genders[speaker] for speaker in features.index["speaker"]])
    private = {gender: _all_of(features, of == gender) for gender in np.unique(of)}
    pairs = [*zip(private.values(), reversed(private.values()), strict=True)]
    for mine, public in [*pairs, (_all_of(features, np.ones(len(of), bool)), other.training_part())]:
        for speakers in SPEAKERS:
            crowd = drawn(mine, speakers, STRANGERS, speakers, EACH)
            others = crowd.part("test")
            yield Crowd(public, crowd.part("train"), others.means().double(), others.targets)


def _all_of(features: FeatureSet, chosen: NDArray[np.bool_]) -> FeatureSet:
    part = features.rows(chosen)
    return replace(part, index=part.index.assign(split="train"))


def rows(features: FeatureSet, genders: Mapping[str, str], other: FeatureSet) -> list[Row]:
    """Every choice with its mean UAR, the best first. Raises InputError as ``Public.of`` does."""
    uars: dict[tuple[Any, ...], list[float]] = {}
    rounds = [*product(crowds(features, genders, other), SHARES, FAR)]
    for crowd, shares, afar in track(rounds, "choosing", len(rounds), unit="rounds"):
        sigma = sigma_for(EPSILON, len(set(crowd.train.index["speaker"])))
        known = Public.of(crowd.public, sigma, afar, dict(zip(WEIGHTS, shares, strict=True)))
        contributions = [contribution for _, contribution in said_by(crowd.train, known)]
        uars.setdefault((afar, shares), []).extend(_uars(crowd, known, contributions))
    choices = [dict(zip(CONSTANTS, key, strict=True)) | {"uar": fmean(values)} for key, values in uars.items()]
    return sorted(choices, key=lambda row: -row["uar"])


def _uars(crowd: Crowd, known: Public, contributions: list[Said]) -> Iterator[float]:
    for seed in range(DRAWS):
        design = Release(mixed(contributions, known, keyed(seed)), {}, known).design
        for ppc in PPC:
            yield _uar(design, ppc, seed, crowd)


def _uar(design: Design, ppc: int, seed: int, crowd: Crowd) -> float:
    classes = len(design.mean)
    points = torch.cat([design.means(c, 0, ppc, seed) for c in range(classes)]).double()
    centre, unit = points.mean(0), scale(points.std(0, correction=0))
    targets = torch.arange(classes).repeat_interleave(ppc)
    predicted = classified((points - centre) / unit, targets, (crowd.means - centre) / unit)
    return scores(crowd.targets, predicted.numpy(), classes)["uar"]


def listed(choices: list[Row]) -> str:
    """The best mean UAR with each value of each constant, as Markdown."""
    lines = []
    for name in CONSTANTS:
        for value in sorted({str(row[name]) for row in choices}):
            best = max(row["uar"] for row in choices if str(row[name]) == value)
            lines.append({"constant": name, "value": value, "UAR of the best with it": percent(best)})
    return markdown(lines)
