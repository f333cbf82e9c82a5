"""Whether two heads differ by more than chance: McNemar's test, bootstrap and t intervals.

N utterances, C classes, R resamples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandistill import metrics
from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions, Strings

EXACT_BELOW = 25
SPEAKERS_NEEDED = 6
LEVEL = 0.95
Bools = NDArray[np.bool_]


def compare(a: Path, b: Path, seed: int = 0, resamples: int = 10_000) -> dict[str, Any]:
    """Compare two predictions files over the same utterances, in any order.

    Returns ``p_value``, ``statistic``, ``method`` ("exact" or "chi-squared") and ``discordant`` (``a_only``,
    ``b_only``: rightly recognised by that one alone) of McNemar's test; ``uar_a``, ``uar_b`` and ``uar_difference``
    = uar_a - uar_b with its 95 % bootstrap ``interval`` [low, high]; ``bootstrap`` ("speaker" or "utterance", see
    ``bootstrap_interval``), ``speakers`` and ``utterances``. Raises InputError naming the first difference.
    """
    for what, value, least in (("number of resamples", resamples, 1), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"Bad {what} {value}, expected {least} or more")
    first, second = _same_utterances(Predictions.read(a), Predictions.read(b))
    right_a, right_b = first.predicted == first.labels, second.predicted == second.labels
    a_only, b_only = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    known = set(first.speakers.tolist())
    by_speaker = len(known) >= SPEAKERS_NEEDED and "" not in known
    clusters = first.speakers if by_speaker else first.ids
    uar_a, uar_b = _uar(first), _uar(second)
    return {
        **mcnemar(a_only, b_only),
        "discordant": {"a_only": a_only, "b_only": b_only},
        "uar_a": uar_a,
        "uar_b": uar_b,
        "uar_difference": uar_a - uar_b,
        "interval": list(bootstrap_interval(first.labels, right_a, right_b, clusters, seed=seed, resamples=resamples)),
        "bootstrap": "speaker" if by_speaker else "utterance",
        "speakers": len(known - {""}),
        "utterances": len(first.ids),
    }


def mcnemar(a_only: int, b_only: int) -> dict[str, Any]:
    """McNemar's two-sided test of as many rights that only a has as rights that only b has.

    Exact (binomial) below 25 discordant pairs, else chi-squared with continuity correction. ``statistic`` is the
    smaller count, or chi-squared. McNemar 1947; the correction is Edwards 1948.
    """
    from scipy import stats

    fewer, pairs = min(a_only, b_only), a_only + b_only
    if pairs < EXACT_BELOW:
        p_value = min(1.0, 2 * float(stats.binom.cdf(fewer, pairs, 0.5)))
        return {"p_value": p_value, "statistic": float(fewer), "method": "exact"}
    statistic = (abs(a_only - b_only) - 1) ** 2 / pairs
    return {"p_value": float(stats.chi2.sf(statistic, df=1)), "statistic": statistic, "method": "chi-squared"}


def bootstrap_interval(
    labels: Strings, right_a: Bools, right_b: Bools, clusters: Strings, *, seed: int, resamples: int
) -> tuple[float, float]:
    """95 % percentile interval of UAR a - UAR b, whole clusters resampled with replacement (no stratification).

    ``clusters`` [N] are speakers, because utterances of one speaker are not independent, or utterance ids where there
    are too few speakers to resample. A resample's UAR is over the classes that occur in it.
    """
    _, cluster = np.unique(clusters, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    shape = (cluster.max() + 1, len(classes))
    counts = [np.zeros(shape, np.int64) for _ in range(3)]
    for table, weight in zip(counts, (np.ones(len(labels), np.bool_), right_a, right_b), strict=True):
        np.add.at(table, (cluster, label), weight)
    # Clusters with equal counts are interchangeable: drawing how often each kind comes is the same, and far smaller.
    kinds, many = np.unique(np.concatenate(counts, axis=1), axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(shape[0], many / shape[0], size=resamples) @ kinds  # [R, 3 C]
    total, hits_a, hits_b = np.split(drawn, 3, axis=1)
    gap = np.divide(hits_a - hits_b, total, out=np.zeros(total.shape), where=total > 0)
    differences = gap.sum(axis=1) / (total > 0).sum(axis=1)
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with the bounds of its 95 % t interval over seeds; the bounds of a single value are NaN."""
    from scipy import stats

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, np.nan, np.nan
    margin = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - margin, mean + margin


def _same_utterances(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Both, b in the order of a."""
    place = {name: row for row, name in enumerate(b.ids.tolist())}
    for path, other, strangers in (
        (a.path, b.path, [name for name in a.ids.tolist() if name not in place]),
        (b.path, a.path, sorted(place.keys() - set(a.ids.tolist()), key=lambda name: place[name])),
    ):
        if strangers:
            raise InputError(f"{path} holds the utterance {strangers[0]!r}, {other} does not: compare the same ones")
    order = [place[name] for name in a.ids.tolist()]
    b = Predictions(b.path, b.ids[order], b.speakers[order], b.labels[order], b.predicted[order])
    for what, left, right in (("label", a.labels, b.labels), ("speaker", a.speakers, b.speakers)):
        rows = np.flatnonzero(left != right)
        if len(rows):
            name, x, y = a.ids[rows[0]], str(left[rows[0]]), str(right[rows[0]])
            raise InputError(f"The {what} of {str(name)!r} is {x!r} in {a.path} but {y!r} in {b.path}")
    return a, b


def _uar(predictions: Predictions) -> float:
    classes = np.unique([predictions.labels, predictions.predicted])
    numbers = [np.searchsorted(classes, column) for column in (predictions.labels, predictions.predicted)]
    return metrics.unweighted_average_recall(metrics.confusion_matrix(numbers[0], numbers[1], len(classes)))
