"""Real features beside generated or distilled ones: how they look, where they lie, how they agree, what they teach.

N utterances, T frames, D dims, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandistill.charts import CLASSES, Chart, Look, cloud, images, shares
from gandistill.console import say, track
from gandistill.controls.select import select
from gandistill.evaluate.markdown import percent
from gandistill.evaluate.predict import class_scores
from gandistill.evaluate.significance import interval
from gandistill.experiments.names import DRAWN, REAL
from gandistill.experiments.report import page
from gandistill.features.featureset import FeatureSet, scale
from gandistill.gan.sampling import Sampler, sampled
from gandistill.heads.head import check_match, posteriors
from gandistill.heads.training import HeadConfig, train_head
from gandistill.metrics import uar_without
from gandistill.numerics import one_thread

PPC = 50
"""Points per class that are compared, or as many as the smallest class has."""
SEEDS = (0, 1, 2)
SHOWN = 2
"""Samples of each class that are drawn."""
MOST_DIMS = 64
"""That are drawn of a sample."""
DEVIATIONS = 2.5
"""At which the colours of what is drawn end."""
SAMPLES, RANDOM = "samples", "random real clips"


@dataclass(frozen=True)
class Beside:
    """Real utterances beside made ones, in the units of ``whole``, all that is known of real ones.

    ``are`` says what made ones are in a word, ``which`` and ``what`` which real ones, and what made ones these are.
    """

    whole: FeatureSet
    real: FeatureSet
    made: FeatureSet
    are: str = "generated"
    which: str = RANDOM
    what: str = SAMPLES


def compared(sampler: Sampler, features: FeatureSet, split: str) -> str:
    """A generator beside the features that it was made from, judged on one of their parts.

    Raises InputError if they have other labels or dims, or come from another upstream or fold; or lack the part.
    """
    check_match("the generator", sampler.labels, sampler.generator.dims, sampler.facts, features)
    whole, part = features.training_part(), features.part(split).held()
    counts = {label: min(PPC, *filter(None, whole.class_counts.values())) for label in whole.labels}
    say(f"Comparing {max(counts.values())} samples of each class with as many real clips")
    with one_thread():
        random = drawn(features, counts)
        made = [sampled(sampler.drawing(None), counts, seed) for seed in SEEDS]
        shown = Beside(whole, random[0], made[0])
        taught = {SAMPLES: made, DRAWN["random"]: random, REAL: [whole.held()]}
        chosen = split == "dev" and bool(sampler.facts["trained"].get("dev_uar"))
        note = remark(sampler.facts, features, part, chosen)
        return looks(shown) + lies(shown) + agreement(shown, random[0]) + teaches(taught, part, note)


def drawn(features: FeatureSet, counts: dict[str, int]) -> list[FeatureSet]:
    """For each of ``SEEDS`` as many random real clips of each class."""
    with TemporaryDirectory() as scratch:
        return [select(features, "random", counts, seed, Path(scratch) / str(seed)).held() for seed in SEEDS]


def remark(facts: Mapping[str, Any], features: FeatureSet, part: FeatureSet, chosen: bool) -> str:
    """What is to be known of a comparison of what has these ``facts``, and may be ``chosen`` by its UAR on the part."""
    same = facts.get("source", {}).get("fingerprint") in features.fingerprints
    note = "" if same else "These features are not known to be those that it was made from. "
    note += "It was chosen by its UAR on this part, which flatters it. " if chosen else ""
    for absent in uar_without(part.targets, part.labels).values():
        note += f"No utterance of the part is [{', '.join(absent)}]: UAR is over the other classes. "
    return note


def looks(shown: Beside) -> str:
    """A few of each class as images on one scale of colours."""
    mean, deviation = shown.whole.moments()
    dims = telling_dims(shown.whole)
    frames = int(shown.made.lengths[0])

    def seen(features: FeatureSet, label: int) -> list[NDArray[np.float64]]:
        rows = np.flatnonzero(features.targets == label)[:SHOWN].tolist()
        return [_image((features.frames(row)[:frames] - mean) / scale(deviation), dims, frames) for row in rows]

    rows = [
        (label, seen(shown.real, number) + seen(shown.made, number)) for number, label in enumerate(shown.whole.labels)
    ]
    chart = images(f"Real and {shown.are} features", rows, ["real"] * SHOWN + [shown.are] * SHOWN)
    every, some = "all dims", f"the {len(dims)} of {shown.whole.dims} dims whose means differ most by class"
    which = every if len(dims) == shown.whole.dims else some
    caption = (
        f"Of each class {SHOWN} {shown.which} and {SHOWN} {shown.what}: {frames} frames to the right, {which} upwards, "
        f"each standardised by {len(shown.whole)} real clips; blue is {DEVIATIONS:g} deviations below the mean, red as "
        "many above."
    )
    return page.part("Side by side", page.figure([chart], caption))


def _image(frames: Tensor, dims: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """Of standardised frames [T, D] these dims, zeros behind what is shorter [length, dims]."""
    values = frames[:, dims].double().numpy() / DEVIATIONS
    return np.pad(values, ((0, length - len(values)), (0, 0)))


def telling_dims(features: FeatureSet, most: int = MOST_DIMS) -> NDArray[np.int64]:
    """Dims, in order, whose utterance means differ most between classes for how they differ within one."""
    means, targets = features.means().double().numpy(), features.targets
    of_class = [means[targets == number] for number in np.unique(targets)]
    between = np.var([of.mean(axis=0) for of in of_class], axis=0)
    within = np.mean([of.var(axis=0) for of in of_class], axis=0)
    return np.sort(np.argsort(-between / np.maximum(within, 1e-12), kind="stable")[:most])


def lies(shown: Beside) -> str:
    """A map of utterance means by class, real beside made."""
    whole = shown.whole.means().double()
    mean, deviation = whole.mean(0), scale(whole.std(0, correction=0))
    standard = (whole - mean) / deviation
    _, values, axes = torch.linalg.svd(standard, full_matrices=False)
    explained = float(values[:2].square().sum() / values.square().sum())
    placed = [((of.means().double() - mean) / deviation @ axes[:2].T).numpy() for of in (shown.real, shown.made)]
    both = np.concatenate(placed)
    low, high = both.min(axis=0), both.max(axis=0)
    box = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    maps = [
        cloud(f"{name}: utterance means", _by_class(of, points, hollow), box)
        for name, of, points, hollow in (
            ("Real", shown.real, placed[0], False),
            (shown.are.capitalize(), shown.made, placed[1], True),
        )
    ]
    caption = (
        f"Means over time of {len(shown.real)} {shown.which} and of {len(shown.made)} {shown.what}, on the first two "
        f"principal components of the means of {len(whole)} real clips, which have {percent(explained)} % of their "
        "variance. Both maps have the same axes."
    )
    return page.part("A map of both", page.figure(maps, caption))


def _by_class(
    features: FeatureSet, points: NDArray[np.float64], hollow: bool
) -> list[tuple[str, Look, NDArray[np.float64]]]:
    return [
        (label, Look(f"class{number % len(CLASSES)}", hollow=hollow), points[features.targets == number])
        for number, label in enumerate(features.labels)
        if (features.targets == number).any()
    ]


def agreement(shown: Beside, random: FeatureSet) -> str:
    """How far the moments of made ones, and of as many random real clips, are from those of all real data, by class."""
    rows = []
    for number, label in enumerate(shown.whole.labels):
        if shown.whole.class_counts[label]:
            for name, features in ((shown.what, shown.made), (DRAWN["random"], random)):
                rows.append({"class": label, "points": name} | apart(shown.whole, features, number))
    note = (
        "Beside all real clips of the class: how far its mean is off, in deviations of utterance means (root mean "
        "square over dims, 0 is none); how wide utterance means and frames spread, as a share of the real (median of "
        "dims, 1 is alike). As many random real clips say how much of that is chance."
    )
    return page.part("Agreement of moments", page.paragraph(note), page.table(rows))


def apart(whole: FeatureSet, features: FeatureSet, number: int) -> dict[str, str]:
    """What a row of ``agreement`` says of class ``number``."""
    real, other = (of.rows(of.targets == number) for of in (whole, features))
    means, others = real.means().double(), other.means().double()
    spread = scale(means.std(0, correction=0))
    off = float(((others.mean(0) - means.mean(0)) / spread).square().mean().sqrt())
    frames = (other.moments()[1] / scale(real.moments()[1])).median()
    return {
        "mean off by": f"{off:.3f}",
        "spread of means": f"{float((others.std(0, correction=0) / spread).median()):.3f}",
        "spread of frames": f"{float(frames):.3f}",
    }


def teaches(taught: Mapping[str, Sequence[FeatureSet]], part: FeatureSet, remark: str) -> str:
    """What heads reach that learned from each of these alone: from a set for each of ``SEEDS``, or from one by all."""
    jobs = [(name, of[n % len(of)], seed) for name, of in taught.items() for n, seed in enumerate(SEEDS)]
    predicted: dict[str, list[NDArray[np.int64]]] = {}
    for name, of, seed in track(jobs, "judging", len(jobs), unit="heads"):
        head = train_head(of, HeadConfig(seed=seed, labels="hard" if of.soft is None else "soft"))
        predicted.setdefault(name, []).append(posteriors(head, part).argmax(1).numpy())
    scores = {
        name: [class_scores(part.targets, labels, part.labels) for labels in of] for name, of in predicted.items()
    }
    rows = [
        {"trained on": name, "utterances": len(taught[name][0]), "UAR, %": percent(*interval([s["uar"] for s in of]))}
        for name, of in scores.items()
    ]
    charts = [
        confusion(f"{row['trained on']}: UAR {row['UAR, %']} %", scores[row["trained on"]], part.labels) for row in rows
    ]
    speakers = len({*part.index["speaker"]} - {""})
    caption = (
        f"Heads of the kind {HeadConfig().head}, {len(SEEDS)} seeds of each, on {len(part)} real utterances of "
        f"{speakers} speakers (the {part.index['split'].iloc[0]} part); UAR with its 95 % t interval over seeds, "
        f"chance is {percent(1 / len(part.labels))} %; per cent of each class. {remark}"
        "Measured while this page was made."
    )
    return page.part("What it teaches", page.table(rows), page.figure(charts, caption.strip()))


def confusion(title: str, scores: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Chart:
    """The mean of some confusions [C, C], as ``class_scores`` has them, in per cent of each class."""
    counts = np.mean([score["confusion"] for score in scores], axis=0)
    return shares(title, labels, 100 * counts / counts.sum(axis=1, keepdims=True).clip(min=1))
