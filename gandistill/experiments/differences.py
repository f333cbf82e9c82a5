"""By how much the UAR of one row of a table is above another's, and how sure that is.

S sets (or trainings) of a row, H students on each.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gandistill.evaluate.predictions import Predictions
from gandistill.evaluate.significance import LEVEL, difference, interval
from gandistill.features.featureset import FeatureSet

RESAMPLES = 2000
Floats = NDArray[np.float64]


class Judged(Protocol):
    """A row whose students were judged."""

    def scores(self, what: str, part: str) -> Floats:
        """``uar`` or ``accuracy`` on a part [S, H]."""
        ...

    @cached_property
    def tested(self) -> list[Predictions]:
        """Predictions of the test part, of all students one after another."""
        ...


def predictions_of(part: FeatureSet, predicted: Sequence[int]) -> Predictions:
    """What one student said of the utterances of a part, by class numbers."""
    ids, speakers, labels = (part.index[column].to_numpy(str) for column in ("id", "speaker", "label"))
    return Predictions(ids, speakers, labels, np.array(part.labels)[predicted], source=str(part.folder))


def uar_difference(row: Judged, rival: Judged, part: str, paired: bool) -> dict[str, Any]:
    """How much higher a row's UAR is than a rival's.

    ``uar_difference``, with the 95 % t interval ``low`` to ``high`` over sets (or students): of differences ``paired``
    by seed, or Welch's. On test also ``bootstrap``: the interval over speakers, or utterances, the trained students
    held fixed.
    """
    a, b = row.scores("uar", part), rival.scores("uar", part)
    gap = _beyond(a - b) if paired else welch(_independent(a), _independent(b))
    if part == "test":
        resampled = difference(row.tested, rival.tested, resamples=RESAMPLES)
        gap["bootstrap"] = {"interval": resampled["interval"], "over": resampled["bootstrap"]}
    return {"paired": paired} | gap


def uar_beyond(row: Judged, level: float, part: str) -> dict[str, Any]:
    """How much higher a row's UAR is than a fixed one, such as chance, with the t interval of one sample."""
    return _beyond(row.scores("uar", part) - level)


def _beyond(gaps: Floats) -> dict[str, Any]:
    mean = spread(gaps)
    return {"uar_difference": mean.pop("uar")} | mean


def spread(values: Floats) -> dict[str, Any]:
    """Mean of [S, H] as ``uar`` with its 95 % t interval ``low`` to ``high``, if there is one."""
    mean, low, high = interval(_independent(values).tolist())
    return {"uar": mean} | ({} if math.isnan(low) else {"low": low, "high": high})


def bounds(entry: Mapping[str, Any]) -> tuple[float, float]:
    """``low`` and ``high`` of an interval, NaN where there is none."""
    return entry.get("low", math.nan), entry.get("high", math.nan)


def _independent(values: Floats) -> Floats:
    """Means of sets, since students on one are not independent; of one set, its students."""
    return values.mean(axis=1) if len(values) > 1 else values[0]


def welch(a: Floats, b: Floats) -> dict[str, Any]:
    """Difference of the means of independent values, with Welch's 95 % t interval where each has two or more."""
    from scipy import stats

    apart = float(a.mean() - b.mean())
    shares = [float(values.var(ddof=1)) / len(values) if len(values) > 1 else math.nan for values in (a, b)]
    if not sum(shares) > 0:
        return {"uar_difference": apart} | ({"low": apart, "high": apart} if sum(shares) == 0 else {})
    freedom = sum(shares) ** 2 / sum(share**2 / (len(v) - 1) for share, v in zip(shares, (a, b), strict=True))
    margin = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(sum(shares))
    return {"uar_difference": apart, "low": apart - margin, "high": apart + margin}
