"""Controls as feature sets: what a distilled set must beat at equal points per class, or at equal bytes."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gandistill import artifacts
from gandistill.console import say, track
from gandistill.controls import gaussian, subsets
from gandistill.controls.draws import DESIGNED, DRAWS, INDEPENDENT, fitted_design, moved
from gandistill.errors import InputError, choices
from gandistill.features.counts import counts_per_class
from gandistill.features.featureset import KIND, FeatureSet, Utterance, scale, write_feature_set
from gandistill.features.origin import made_from
from gandistill.heads.bank import Bank
from gandistill.heads.soft import soft_labelled
from gandistill.numerics import keyed, noise

POOLED = "pooled"
RECENTRED, REAL_DESIGNED = "real-recentred", "real-designed"
SUBSETS: dict[str, Callable[[subsets.Points, int, np.random.Generator], subsets.Rows]] = {
    "random": subsets.random,
    "random-oversampled": subsets.random_oversampled,
    "herding": subsets.herding,
    "k-centre": subsets.k_centre,
    RECENTRED: subsets.random,
    REAL_DESIGNED: subsets.random,
    POOLED: subsets.random,
}
BLIND = (subsets.random, subsets.random_oversampled)
"""Draws without looking, for which nothing need be read."""
WHOLE, MEAN = "class-gaussian", "class-gaussian-mean"
CLOSED_FORMS = (WHOLE, MEAN)
METHODS = (*SUBSETS, *CLOSED_FORMS)
COMPONENTS = 64


def select(
    features: FeatureSet,
    method: str,
    counts: dict[str, int],
    seed: int,
    out: Path,
    *,
    draws: str | None = None,
    bank: Bank | None = None,
    components: int = COMPONENTS,
) -> FeatureSet:
    """Write a control with ``counts`` points of each class (others 0), made from the train part, and return it.

    A smaller count under the same seed gives the first points of a larger one, class by class; but ``real-recentred``
    moves the points chosen by one vector for each class, so that their utterance means have the class's mean, whatever
    their number. ``real-designed`` moves each to a designed mean, as closed-form generators do too unless ``draws`` are
    ``independent``. With a ``bank``, its mean posterior becomes the soft label of each point, that of ``pooled`` ones
    from all their frames; without, real points keep the soft labels that the features store. ``components`` are for
    the closed-form generators, whose samples have the train part's median length, because windows much shorter than
    clips have other means.
    Raises InputError for an unknown method or class, counts that are negative or all 0, a negative seed, a bank that
    does not fit, or an ``out`` that is taken.
    """
    check_method(method, draws=draws)
    train = _train_part(features, seed, out, bank)
    wanted = counts_per_class(train.labels, train.class_counts, counts=counts)
    made_by = _made_by(method, wanted, seed, bank)
    designed = method == REAL_DESIGNED or (method in CLOSED_FORMS and draws != INDEPENDENT)
    if method in SUBSETS:
        rows = subset(train, method, wanted, seed)
        points, drawn = real_points(train, method, rows, seed), train.rows(rows).class_counts
    else:
        fitted, units = fitted_once(train.folder, train.fingerprint, method == MEAN, None, components, seed)
        made_by |= {"frames": fitted.frames, "components": fitted.components, "explained": round(fitted.explained, 4)}
        points, drawn = _sampled(fitted, units, wanted, seed), wanted
        points = _designed(points, train, seed) if designed else points
    if designed:
        made_by |= {"draws": DESIGNED, "share": fitted_design(train.folder, train.fingerprint).share}
    for label, count in drawn.items():
        if count < wanted[label]:
            say(f"{label}: {count} points, all that the train part has (asked for {wanted[label]})")
    points = _finished(points, method, bank)
    return _write(out, train, track(points, "selecting", sum(drawn.values()), unit="points"), drawn, made_by)


def select_within(features: FeatureSet, most: int, seed: int, out: Path, *, bank: Bank | None = None) -> FeatureSet:
    """Write as many ``pooled`` points as fit in ``most`` bytes on disk, and return them; how many is said.

    It is the folder that ``select`` writes for their counts, every byte of which counts: frames, index, soft labels,
    config, card and sums. Points are dealt to the classes in turn, a class that is used up being passed over. Raises
    InputError as ``select`` does, or if not even one point of each class fits.
    """
    train = _train_part(features, seed, out, bank)
    rows = subset(train, POOLED, train.class_counts, seed)
    turns = np.concatenate([np.arange(count) for count in train.class_counts.values()])
    dealt, least = np.argsort(turns, kind="stable"), int((turns == 0).sum())
    possible = dealt[: max(least, most // (2 * train.dims))]  # frames alone take two bytes a value
    pooled = _finished(real_points(train, POOLED, rows[possible], seed), POOLED, bank)
    points = dict(zip(possible, track(pooled, "pooling", len(possible), unit="utterances"), strict=True))

    def written(folder: Path, number: int) -> FeatureSet:
        chosen = np.sort(dealt[:number])
        counts = train.rows(rows[chosen]).class_counts
        return _write(folder, train, (points[i] for i in chosen), counts, _made_by(POOLED, counts, seed, bank))

    with TemporaryDirectory() as scratch:

        def size(number: int) -> int:
            return artifacts.bytes_on_disk(written(Path(scratch) / KIND, number).folder)

        number = least - 1 + bisect_right(range(least, len(points) + 1), most, key=size)
        if number < least:
            raise InputError(f"One pooled point of each class takes {size(least):,} bytes, too many for {most:,}")
        every = "all" if number == len(train) else str(number)
        say(f"{every} of {len(train)} pooled points fit in {most:,} bytes: they take {size(number):,}")
    return written(out, number)


def check_method(method: str, within: bool = False, draws: str | None = None) -> None:
    """Raise InputError unless there is such a method, and it takes what is given.

    Only pooled points can be as many as fit ``within`` bytes, and only closed-form generators have kinds of ``draws``.
    """
    if method not in METHODS:
        raise choices("method", method, METHODS)
    if draws is not None and draws not in DRAWS:
        raise choices("--draws", draws, DRAWS)
    if draws is not None and method not in CLOSED_FORMS:
        raise InputError(f"--draws goes with --method {' or '.join(CLOSED_FORMS)}, not {method}")
    if within and method != POOLED:
        raise InputError(f"--bytes goes with --method {POOLED}, not {method}")


def _train_part(features: FeatureSet, seed: int, out: Path, bank: Bank | None) -> FeatureSet:
    """What controls are made from, once the request is known to be sound. Raises InputError."""
    if seed < 0:
        raise InputError(f"Bad seed {seed}, expected 0 or more")
    if bank is not None:
        bank.check_match(features)
    if out.resolve() == features.folder.resolve():
        raise InputError(f"{out} is the feature set to select from: choose another --out")
    artifacts.check_free(out, KIND)
    return features.training_part()


def _made_by(method: str, counts: dict[str, int], seed: int, bank: Bank | None) -> dict[str, Any]:
    labels = "hard" if bank is None else "soft"
    return {"command": "select", "method": method, "counts": counts, "seed": seed, "labels": labels}


def subset(train: FeatureSet, method: str, counts: dict[str, int], seed: int) -> subsets.Rows:
    """Rows of the real utterances of a train part that a method of ``SUBSETS`` takes, class by class, in its order."""
    choose = SUBSETS[method]
    points = np.empty((len(train), 0)) if choose in BLIND else subsets.embedding(train)
    chosen = []
    for number, count in enumerate(counts.values()):
        rows = np.flatnonzero(train.targets == number)
        chosen.append(rows[choose(points[rows], count, keyed(seed, number))])
    return np.concatenate(chosen)


def real_points(train: FeatureSet, method: str, rows: subsets.Rows, seed: int) -> Iterator[Utterance]:
    """The utterances that a method of ``SUBSETS`` took, moved as it moves them."""
    points = _real(train, rows)
    if method == RECENTRED:
        return _recentred(points, train, rows)
    return _designed(points, train, seed) if method == REAL_DESIGNED else points


def _real(train: FeatureSet, rows: subsets.Rows) -> Iterator[Utterance]:
    """The utterances themselves; a repetition's id ends in ``+1``, ``+2``, ..."""
    used: dict[str, int] = {}
    for row in rows.tolist():
        name, label, speaker, session = train.index.loc[row, ["id", "label", "speaker", "session"]]
        again = used[name] = used.get(name, -1) + 1
        soft = None if train.soft is None else torch.from_numpy(train.soft[row])
        identity = f"{name}+{again}" if again else name
        yield Utterance(identity, label, train.frames(row), speaker, session, "train", soft)


def _finished(points: Iterable[Utterance], method: str, bank: Bank | None) -> Iterator[Utterance]:
    """The points with the bank's soft labels, if any, and then pooled, if they shall be."""
    for point in points if bank is None else soft_labelled(points, bank):
        yield replace(point, frames=point.frames.mean(0, keepdim=True)) if method == POOLED else point


def _recentred(points: Iterable[Utterance], train: FeatureSet, rows: subsets.Rows) -> Iterator[Utterance]:
    """Points moved by one vector for each class, so that the mean of their utterance means is the class's own."""
    means, targets = train.means().double(), train.targets
    moves = {
        label: means[targets == number].mean(0) - means[rows[targets[rows] == number]].mean(0)
        for number, label in enumerate(train.labels)
    }
    for point in points:
        yield replace(point, frames=(point.frames + moves[point.label]).float())


def _designed(points: Iterable[Utterance], train: FeatureSet, seed: int) -> Iterator[Utterance]:
    """Points of each class moved to its designed means, in the order they come."""
    design, made = fitted_design(train.folder, train.fingerprint), dict.fromkeys(train.labels, 0)
    for point in points:
        mean = design.means(train.labels.index(point.label), made[point.label], 1, seed)[0]
        made[point.label] += 1
        yield replace(point, frames=moved(point.frames, mean))


@lru_cache(maxsize=2)
def fitted_once(folder: Path, fingerprint: str, *how: Any) -> tuple[gaussian.ClassGaussian, tuple[Tensor, Tensor]]:
    """The closed form of a feature set's train part; kept, since sets of several sizes are drawn from one fit."""
    return fitted_gaussian(FeatureSet.open(folder).training_part(), *how)


def fitted_gaussian(
    train: FeatureSet, pooled: bool, frames: int | None, components: int, seed: int
) -> tuple[gaussian.ClassGaussian, tuple[Tensor, Tensor]]:
    """The class-Gaussian of whole clips, or if ``pooled`` of utterance means, and the units that it is in.

    Clips are standardised by these, mean [D] and deviation [D] of all frames: a few dims of large values would take
    all components otherwise. ``frames`` is the length of a clip; none: the median. Of at most ``gaussian.SIDE``
    utterances. Raises InputError if a class has no utterance.
    """
    missing = [label for label, count in train.class_counts.items() if not count]
    if missing:
        raise InputError(f"{train.folder}: the train part has no utterance of {missing[0]!r} to fit a Gaussian to")
    length = 1 if pooled else frames or int(np.median(train.lengths))
    rows, (mean, deviation) = np.arange(len(train)), train.moments()
    unit = scale(deviation)
    if min(len(rows), length * train.dims) > gaussian.SIDE:
        rows = np.sort(keyed(seed).permutation(len(rows))[: gaussian.SIDE])
        say(
            f"Fitting {gaussian.SIDE} of {len(train)} utterances drawn at random: the most that a closed-form fit takes"
        )
    if pooled:
        clips = (train.rows(rows).means()[:, None] - mean) / unit
    else:
        generator = torch.Generator().manual_seed(seed)
        parts = [
            ((train.windows(part, length, torch.rand(len(part), generator=generator)) - mean) / unit).half()
            for part in np.array_split(rows, -(-len(rows) // 64))
        ]
        clips = torch.cat(parts)  # half floats, as on disk
    fitted = gaussian.fit(clips, torch.from_numpy(train.targets[rows]), len(train.labels), components)
    return fitted, (mean, unit)


def _sampled(
    fitted: gaussian.ClassGaussian, units: tuple[Tensor, Tensor], counts: dict[str, int], seed: int
) -> Iterator[Utterance]:
    mean, unit = units
    for number, (label, count) in enumerate(counts.items()):
        for i in range(count):
            clip = fitted.sample(number, noise(seed, number, i, 1, fitted.components))[0]
            yield Utterance(f"{label}-{i:06d}", label, clip * unit + mean)


def _write(
    out: Path, train: FeatureSet, points: Iterable[Utterance], counts: dict[str, int], made_by: dict[str, Any]
) -> FeatureSet:
    facts = made_from(train) | {"labels": train.labels, "dims": train.dims, "counts": counts}
    write_feature_set(out, points, artifacts.describe(KIND, made_by, **facts), _card(made_by, facts))
    return FeatureSet.open(out)


def _card(made_by: dict[str, Any], facts: dict[str, Any]) -> str:
    method, source = made_by["method"], f"`{facts['source']['features']}`"
    if method == POOLED:
        what = f"Real utterances drawn from the train part of {source}, each its mean over time as a single frame."
    elif method == RECENTRED:
        what = f"Real utterances drawn from the train part of {source}, those of a class moved to the class's mean."
    elif method == REAL_DESIGNED:
        what = f"Real utterances drawn from the train part of {source}, each moved to a designed mean."
    elif method in SUBSETS:
        what = f"Real utterances chosen from the train part of {source} by `{method}`."
    else:
        draws = "designed" if "draws" in made_by else "independent"
        what = f"Samples, {draws} draws, of a closed-form generator (`{method}`) fitted to {source}: no real clip."
    labels = " Soft labels: the mean posterior of a bank's converged heads." if made_by["labels"] == "soft" else ""
    table = "\n".join(f"| {label} | {count} |" for label, count in facts["counts"].items())
    licence = f"\nLicence of the corpus: {facts['licence']}\n" if facts.get("licence") else ""
    return (
        f"# Control `{method}`\n\n{what}{labels} A control: a distilled set with as many points per class, or bytes, "
        f"must beat it.\n\n| class | points |\n|---|---|\n{table}\n{licence}\nHow it was made is in `config.json`.\n"
    )
