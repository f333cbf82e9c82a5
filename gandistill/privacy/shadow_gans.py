"""The likelihood-ratio attack on what samples give away, by small GANs trained for it (Carlini et al. 2022, LiRA).

An attacker who knows the population trains ``GANS`` generators, each on one half of all speakers, every second on the
other half of the one before: everybody is in half of them. For each utterance x of class c the statistic t(x), the log
density of a generator's samples of c at x less its mean over the class, is compared as ``shadows.py`` does it. The GANs
are smaller than most that are attacked and start from a closed form: what only a larger one learns is not seen.

Shapes: N utterances, J shadows.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gandistill.artifacts import present
from gandistill.console import muted, say, track
from gandistill.controls.draws import Design
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler, sampled
from gandistill.gan.settings import GanConfig
from gandistill.gan.steps import Gan, one_update
from gandistill.heads.bank import Bank, BankConfig, stages
from gandistill.numerics import keyed, no_tf32
from gandistill.privacy.membership import Floats, People, Space, log_density, moments, within_class
from gandistill.privacy.shadows import ratio

GANS, UPDATES, SAMPLES = 8, 100, 128
"""How many, the updates of each, and what is drawn of each class."""
CONFIG = GanConfig.model_validate(
    {
        "architecture": {"kind": "gan-time", "start": "closed-form", "frames": 16},
        "training": {"updates": UPDATES, "learning_rate": 1e-4},
    }
)
BANK = BankConfig(heads=("superb",), seeds=1)
TIMED = 3
"""Updates that tell how long all will take."""


@dataclass(frozen=True)
class Shadow:
    """Samples of a generator that was trained on some ``speakers``."""

    samples: FeatureSet
    speakers: NDArray[np.str_]


def shadow_gans(folder: Path, features: FeatureSet, seed: int) -> list[Shadow]:
    """Train them in a folder, a generator each, or take those that are there: who is stopped loses one at the most.

    Says beforehand how long it takes. Raises InputError if the folder holds those of other features or another seed.
    """
    groups = halves(np.unique(features.index["speaker"].to_numpy(str)), seed)
    made_of = {"features": features.fingerprint, "labels": features.labels, "seed": seed, "updates": UPDATES}
    facts = [made_of | {"half": n} for n in range(GANS)]
    paths = [folder / f"shadow-{n}" for n in range(GANS)]
    missing = [n for n in range(GANS) if not _is_there(paths[n], facts[n])]
    if missing:
        seconds = len(missing) * _seconds(_spoken_by(groups[missing[0]], features), seed)
        say(f"{len(missing)} shadow GANs to train in {folder}: about {max(round(seconds / 60), 1)} min")
    for n in track(missing, "training shadow GANs", GANS, GANS - len(missing), unit="GANs"):
        sampler = _trained(_spoken_by(groups[n], features), seed + n)
        made = replace(sampler, facts=sampler.facts | {"shadow": facts[n]})
        made.save(paths[n], {"command": "attack"}, f"# Shadow GAN {n}: for attacks alone\n")
    counts = dict.fromkeys(features.labels, SAMPLES)
    return [Shadow(sampled(Sampler.open(path), counts, seed), group) for path, group in zip(paths, groups, strict=True)]


def halves(names: NDArray[np.str_], seed: int) -> list[NDArray[np.str_]]:
    """Of so many names as many halves as there are GANs, each followed by the other half."""
    generator, groups = keyed(seed, 6), list[NDArray[np.str_]]()
    for _ in range(GANS // 2):
        dealt = generator.permutation(names)
        groups += [np.sort(dealt[: len(names) // 2]), np.sort(dealt[len(names) // 2 :])]
    return groups


def _spoken_by(names: NDArray[np.str_], features: FeatureSet) -> FeatureSet:
    return features.rows(np.isin(features.index["speaker"].to_numpy(str), names))


def _is_there(path: Path, facts: dict[str, Any]) -> bool:
    if not present(path):
        return False
    if Sampler.open(path).facts.get("shadow") != facts:
        raise InputError(f"{path} is a shadow of other features or another seed: choose another --shadows or remove it")
    return True


def _untrained(features: FeatureSet, seed: int) -> Gan:
    training = CONFIG.training.model_copy(update={"seed": seed})
    held = features.held()
    bank = Bank(stages(held, held, BANK.heads[0], BANK, BANK.seed))
    return Gan(CONFIG.model_copy(update={"training": training}), features, bank, torch.device("cpu"))


def _trained(features: FeatureSet, seed: int) -> Sampler:
    with muted(True), no_tf32():
        gan = _untrained(features, seed)
        for update in range(1, UPDATES + 1):
            one_update(gan, update)
        # Its own sampler has the statistics of the whole train part.
        return replace(gan.sampler(UPDATES), design=Design.fit(features))


def _seconds(features: FeatureSet, seed: int) -> float:
    """Of one GAN, its bank included, by a few of its updates."""
    start = time.monotonic()
    with muted(True), no_tf32():
        gan = _untrained(features, seed)
        begun = time.monotonic()
        for update in range(1, TIMED + 1):
            one_update(gan, update)
    return begun - start + (time.monotonic() - begun) * UPDATES / TIMED


def shadow_ratio(records: FeatureSet, shadows: Sequence[Shadow], space: Space, people: People) -> Floats:
    """The score [N] of every utterance, members or not, by samples of the artifact and of its shadows."""
    own, *others = (
        _statistic(samples, space, people) for samples in (records, *(shadow.samples for shadow in shadows))
    )
    is_in = np.stack([np.isin(people.speakers, shadow.speakers) for shadow in shadows])
    return ratio(own, np.stack(others), is_in)


def _statistic(samples: FeatureSet, space: Space, people: People) -> Floats:
    points, statistic = space.points(moments(samples)), np.empty(len(people.points))
    for c in np.unique(people.targets):
        rows = people.targets == c
        statistic[rows] = log_density(people.points[rows], points[samples.targets == c])
    return within_class(statistic, people)
