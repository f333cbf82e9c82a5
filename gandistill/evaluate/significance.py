"""Whether recognisers differ by more than chance: McNemar's test, bootstrap and t intervals, equivalence, Holm.

N utterances, R resamples.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandistill.console import say
from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions, Strings

EXACT_BELOW = 25
SPEAKERS_NEEDED = 6
LEVEL = 0.95
EQUIVALENCE_LEVEL = 0.90
"""Two one-sided tests at 5 % each pass when the 90 % interval lies inside the margin (Schuirmann 1987)."""
RESAMPLES = 10_000
BLOCK = 2**20
"""Draws held at a time, so that memory does not grow with the number of resamples."""


def compare(a: Path, b: Path, seed: int = 0, resamples: int = RESAMPLES, margin: float | None = None) -> dict[str, Any]:
    """Compare two predictions files over the same utterances, in any order: ``mcnemar`` and ``difference`` in one.

    ``uar_without`` is there too, and said, where no utterance has a class that could be predicted: UARs are over the
    others.
    """
    first, second = Predictions.read(a), Predictions.read(b)
    found = {**mcnemar(first, second), **difference([first], [second], seed, resamples, margin)}
    if absent := sorted({*first.absent, *second.absent}):
        say(f"No utterance of [{', '.join(absent)}] is there: UARs are over the other classes")
        found["uar_without"] = absent
    return found


def difference(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    seed: int = 0,
    resamples: int = RESAMPLES,
    margin: float | None = None,
) -> dict[str, Any]:
    """How much better a is than b, each given by one or several predictions (one per seed) of the same utterances.

    Returns ``uar_a`` and ``uar_b``, means over seeds; ``uar_difference`` = uar_a - uar_b with its 95 % bootstrap
    ``interval`` [low, high], the trained models held fixed; ``bootstrap``: "speaker", because utterances of one speaker
    are not independent, or "utterance" where fewer than six speakers are known or one is unknown; ``speakers`` and
    ``utterances``, their numbers. With ``margin`` also ``equivalence``: ``margin``, the 90 % ``interval`` of the same
    resamples and ``equivalent``, whether it lies inside (-margin, margin); only then are a and b on par.

    Raises InputError for a margin outside 0..1 or naming the first utterance that differs.
    """
    for what, value, least in (("number of resamples", resamples, 1), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"Bad {what} {value}, expected {least} or more")
    if margin is not None and not 0 < margin < 1:
        raise InputError(f"Bad margin {margin}, expected a difference in UAR above 0 and below 1 such as 0.03")
    one = a[0]
    gain = len(b) * _hits(a, one) - len(a) * _hits(b, one)  # whole numbers, so that equal rows differ by exactly 0
    over, clusters = clusters_of(one)
    gaps = bootstrap(one.labels, gain, clusters, seed=seed, resamples=resamples) / (len(a) * len(b))
    uar_a, uar_b = (math.fsum(predictions.uar for predictions in row) / len(row) for row in (a, b))
    found = {
        "uar_a": uar_a,
        "uar_b": uar_b,
        "uar_difference": uar_a - uar_b,
        "interval": percentiles(gaps, LEVEL),
        "bootstrap": over,
        "speakers": len({*one.speakers.tolist()} - {""}),
        "utterances": len(one.ids),
    }
    if margin is not None:
        low, high = percentiles(gaps, EQUIVALENCE_LEVEL)
        equivalent = -margin < low and high < margin
        found["equivalence"] = {"margin": margin, "interval": [low, high], "equivalent": equivalent}
    return found


def clusters_of(predictions: Predictions) -> tuple[str, Strings]:
    """What a bootstrap draws, ``speaker`` or ``utterance``, and the name of each utterance's [N]."""
    known = {*predictions.speakers.tolist()}
    by_speaker = len(known) >= SPEAKERS_NEEDED and "" not in known
    return ("speaker", predictions.speakers) if by_speaker else ("utterance", predictions.ids)


def uar_interval(predictions: Predictions) -> tuple[float, float, str]:
    """Bounds of the 95 % bootstrap interval of a UAR, the model held fixed, and what was drawn: as ``difference``."""
    over, clusters = clusters_of(predictions)
    hits = predictions.right.astype(np.int64)
    low, high = percentiles(bootstrap(predictions.labels, hits, clusters, seed=0, resamples=RESAMPLES), LEVEL)
    return low, high, over


def lines(found: dict[str, Any]) -> list[str]:
    """What ``compare`` gives, to read."""
    low, high = found["interval"]
    apart, alone = f"{100 * found['uar_difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]", found["discordant"]
    said = [
        f"UAR            a {100 * found['uar_a']:.1f} %, b {100 * found['uar_b']:.1f} %; {found['utterances']} "
        f"utterances of {found['speakers']} speakers",
        f"a beyond b     {apart} points, with the 95 % interval of a bootstrap by {found['bootstrap']}",
        f"McNemar        p = {found['p_value']:.3g} ({found['method']}); right alone: a {alone['a_only']}, "
        f"b {alone['b_only']}",
    ]
    if "equivalence" in found:
        within = found["equivalence"]
        low, high = within["interval"]
        shown, bounds = "yes" if within["equivalent"] else "not shown", f"[{100 * low:+.1f}, {100 * high:+.1f}]"
        said.append(f"on par         {shown}, within {100 * within['margin']:g} points: the 90 % interval is {bounds}")
    return said


def mcnemar(a: Predictions, b: Predictions) -> dict[str, Any]:
    """McNemar's test of two predictions of the same utterances, in any order.

    Returns ``p_value``, ``statistic`` and ``method`` (see ``mcnemar_of``) and ``discordant``: ``a_only`` and
    ``b_only``, how many that one alone recognises rightly. Raises InputError naming the first utterance that differs.
    """
    right_a, right_b = a.right, b.in_order_of(a).right
    a_only, b_only = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return {**mcnemar_of(a_only, b_only), "discordant": {"a_only": a_only, "b_only": b_only}}


def mcnemar_of(a_only: int, b_only: int) -> dict[str, Any]:
    """McNemar's two-sided test of as many rights that only a has as rights that only b has.

    Exact (binomial) below 25 discordant pairs, else chi-squared with continuity correction. ``method`` is "exact" or
    "chi-squared", ``statistic`` the smaller count, or chi-squared. McNemar 1947; the correction is Edwards 1948.
    """
    from statsmodels.stats.contingency_tables import mcnemar as tested

    exact = a_only + b_only < EXACT_BELOW
    found: Any = tested([[0, a_only], [b_only, 0]], exact=exact, correction=True)
    method = "exact" if exact else "chi-squared"
    return {"p_value": float(found.pvalue), "statistic": float(found.statistic), "method": method}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: below 0.05 holds for all of them together.

    The i-th smallest of m, times m - i + 1, never below the one before it (Holm 1979). Raises ValueError for a value
    outside 0..1.
    """
    from statsmodels.stats.multitest import multipletests

    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie in 0..1: {list(p_values)}")
    if not p_values:
        return []  # statsmodels 0.14 divides by how many there are
    adjusted: Any = multipletests(p_values, method="holm")[1]
    return adjusted.tolist()


def bootstrap(
    labels: Strings, gain: NDArray[np.int64], clusters: Strings, *, seed: int, resamples: int
) -> NDArray[np.float64]:
    """Difference in UAR of each resample [R]: whole clusters drawn with replacement (no stratification).

    ``gain`` [N] is by how many hits a is ahead of b at each utterance. A resample's UAR is over the classes that occur
    in it. The draws depend on the names of the clusters and the seed alone: they are the same for every row of a table.
    """
    _, cluster = np.unique(clusters, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    many = int(cluster.max()) + 1
    cell, cells = cluster * len(classes) + label, many * len(classes)
    counts = np.stack([np.bincount(cell, weights, cells) for weights in (np.ones(len(gain)), gain)])
    counts = counts.reshape(2, many, len(classes))  # utterances, and gain, of each cluster and class
    generator, rows = np.random.default_rng(seed), max(1, BLOCK // many)
    gaps = []
    for begin in range(0, resamples, rows):
        size = min(rows, resamples - begin)
        drawn = generator.integers(0, many, (size, many)) + many * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * many).reshape(size, many).astype(np.float64)
        total, ahead = times @ counts  # each [size, C], whole numbers
        gap = np.divide(ahead, total, out=np.zeros(total.shape), where=total > 0)
        gaps.append(gap.sum(axis=1) / (total > 0).sum(axis=1))
    return np.concatenate(gaps)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with the bounds of its 95 % t interval over seeds; the bounds of a single value are NaN."""
    from scipy import stats

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, np.nan, np.nan
    margin = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - margin, mean + margin


def _hits(row: Sequence[Predictions], order: Predictions) -> NDArray[np.int64]:
    """How many of a row's predictions recognise each utterance [N] rightly, in the order of ``order``."""
    return np.stack([predictions.in_order_of(order).right for predictions in row]).sum(axis=0, dtype=np.int64)


def percentiles(values: Sequence[float] | NDArray[np.float64], level: float) -> list[float]:
    """Bounds between which this share of values lies; those that are NaN do not count."""
    return np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
