"""Controls as feature sets: what a distilled set must beat at equal points per class."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gandistill import artifacts
from gandistill.console import say
from gandistill.controls import gaussian, subsets
from gandistill.controls.noise import keyed, noise
from gandistill.errors import InputError, choices
from gandistill.features.featureset import KIND, FeatureSet, Utterance, made_from, write_feature_set

SUBSETS: dict[str, Callable[[subsets.Points, int, np.random.Generator], subsets.Rows]] = {
    "random": subsets.random,
    "random-oversampled": subsets.random_oversampled,
    "herding": subsets.herding,
    "k-centre": subsets.k_centre,
}
WHOLE, MEAN = "class-gaussian", "class-gaussian-mean"
METHODS = (*SUBSETS, WHOLE, MEAN)
COMPONENTS = 64


def select(
    features: FeatureSet,
    method: str,
    ppc: int,
    seed: int,
    out: Path,
    *,
    frames: int | None = None,
    components: int = COMPONENTS,
) -> FeatureSet:
    """Write a control with ``ppc`` points per class, made from the train part, and return it.

    A smaller ppc under the same seed gives the first points of a larger one, class by class. ``frames`` and
    ``components`` are for the closed-form generators; the default length is the train part's median, because windows
    much shorter than clips have other means. Raises InputError for an unknown method, ppc < 1, a negative seed, or an
    ``out`` that is taken.
    """
    if method not in METHODS:
        raise choices("method", method, METHODS)
    given = (("ppc", ppc, 1), ("seed", seed, 0), ("components", components, 1), ("frames", frames, 1))
    for what, value, least in given:
        if value is not None and value < least:
            raise InputError(f"Bad {what} {value}, expected {least} or more")
    if out.resolve() == features.folder.resolve():
        raise InputError(f"{out} is the feature set to select from: choose another --out")
    artifacts.check_free(out, KIND)
    train = features.training_part()
    made_by: dict[str, Any] = {"command": "select", "method": method, "ppc": ppc, "seed": seed}
    if method in SUBSETS:
        rows = _subset(train, method, ppc, seed)
        counts = np.bincount(train.targets[rows], minlength=len(train.labels)).tolist()
        points = _real(train, rows)
    else:
        fitted = _fitted(train, method == MEAN, frames, components, seed)
        made_by |= {"frames": fitted.frames, "components": fitted.components, "explained": round(fitted.explained, 4)}
        counts = [ppc] * len(train.labels)
        points = _sampled(fitted, train.labels, ppc, seed)
    counts = dict(zip(train.labels, counts, strict=True))
    for label, count in counts.items():
        if count < ppc:
            say(f"{label}: {count} points, all that the train part has (asked for {ppc})")
    facts = made_from(features) | {"labels": train.labels, "dims": train.dims, "counts": counts}
    write_feature_set(out, points, artifacts.describe(KIND, made_by, **facts), _card(method, counts, facts))
    return FeatureSet.open(out)


def _subset(train: FeatureSet, method: str, ppc: int, seed: int) -> subsets.Rows:
    """Rows of the train part, class by class."""
    blind = method in ("random", "random-oversampled")  # draws without looking, so nothing need be read
    points = np.empty((len(train), 0)) if blind else subsets.embedding(train)
    chosen = []
    for number in range(len(train.labels)):
        rows = np.flatnonzero(train.targets == number)
        chosen.append(rows[SUBSETS[method](points[rows], ppc, keyed(seed, number))])
    return np.concatenate(chosen)


def _real(train: FeatureSet, rows: subsets.Rows) -> Iterator[Utterance]:
    """The utterances themselves; a repetition's id ends in ``+1``, ``+2``, ..."""
    used: dict[str, int] = {}
    for row in rows.tolist():
        name, label, speaker, session = train.index.loc[row, ["id", "label", "speaker", "session"]]
        again = used[name] = used.get(name, -1) + 1
        soft = None if train.soft is None else torch.from_numpy(train.soft[row])
        identity = f"{name}+{again}" if again else name
        yield Utterance(identity, label, train.frames(row), speaker, session, "train", soft)


def _fitted(train: FeatureSet, pooled: bool, frames: int | None, components: int, seed: int) -> gaussian.ClassGaussian:
    missing = [label for label, count in train.class_counts.items() if not count]
    if missing:
        raise InputError(f"{train.folder}: the train part has no utterance of {missing[0]!r} to fit a Gaussian to")
    length = 1 if pooled else frames or int(np.median(train.lengths))
    rows = np.arange(len(train))
    if min(len(rows), length * train.dims) > gaussian.SIDE:
        rows = np.sort(keyed(seed).permutation(len(rows))[: gaussian.SIDE])
        say(
            f"Fitting {gaussian.SIDE} of {len(train)} utterances drawn at random: the most that a closed-form fit takes"
        )
    if pooled:
        clips = train.rows(rows).means()[:, None]
    else:
        generator = torch.Generator().manual_seed(seed)
        parts = [
            train.windows(part, length, torch.rand(len(part), generator=generator)).half()
            for part in np.array_split(rows, -(-len(rows) // 64))
        ]
        clips = torch.cat(parts)  # half floats, as on disk
    return gaussian.fit(clips, torch.from_numpy(train.targets[rows]), len(train.labels), components)


def _sampled(fitted: gaussian.ClassGaussian, labels: list[str], ppc: int, seed: int) -> Iterator[Utterance]:
    for number, label in enumerate(labels):
        for i in range(ppc):
            clip = fitted.sample(number, noise(seed, number, i, 1, fitted.components))[0]
            yield Utterance(f"{label}-{i:06d}", label, clip)


def _card(method: str, counts: dict[str, int], facts: dict[str, Any]) -> str:
    if method in SUBSETS:
        what = f"Real utterances chosen from the train part of `{facts['source']['features']}` by `{method}`."
    else:
        what = (
            f"Samples of a closed-form generator (`{method}`) fitted to `{facts['source']['features']}`: no real clip."
        )
    table = "\n".join(f"| {label} | {count} |" for label, count in counts.items())
    licence = f"\nLicence of the corpus: {facts['licence']}\n" if facts.get("licence") else ""
    return (
        f"# Control `{method}`\n\n{what} A control: a distilled set with as many points per class must beat it.\n\n"
        f"| class | points |\n|---|---|\n{table}\n{licence}\nHow it was made is in `config.json`.\n"
    )
