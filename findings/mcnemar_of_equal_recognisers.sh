#!/usr/bin/env bash
# Two recognisers that answer alike on every utterance are "significantly different" by statsmodels' McNemar test with
# exact=False: with its continuity correction (the default there) the statistic is (|0 - 0| - 1)^2 / 0 = inf and p = 0,
# without it NaN. The warning of a division by zero is all there is to see, and where warnings are filtered, or p-values
# go on to a correction for many tests, the row with no difference at all becomes the most significant one of a table.
# One would expect p = 1, as the exact test says. It meets whoever compares a system with itself after a change that
# changed nothing (another seed for a deterministic method, a generator before its first update with its copy).
# The correction is not clamped at 0 either: equal discordant counts, 12 and 12, give p = 0.838 and not 1.
# Seen with statsmodels 0.15.0, numpy 2.4.6, scipy 1.17.1. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import math
import warnings

from statsmodels.stats.contingency_tables import mcnemar

both_right, both_wrong = 150, 66
warnings.simplefilter("ignore")
same = [[both_right, 0], [0, both_wrong]]
corrected, plain, exact = mcnemar(same, exact=False), mcnemar(same, exact=False, correction=False), mcnemar(same)
print("no discordant pair: corrected", corrected.statistic, corrected.pvalue, "| plain", plain.pvalue, "| exact", exact.pvalue)
assert (corrected.statistic, corrected.pvalue) == (math.inf, 0.0)
assert math.isnan(plain.pvalue)
assert exact.pvalue == 1.0
even = mcnemar([[both_right, 12], [12, both_wrong]], exact=False)
print("12 and 12 discordant pairs: corrected", even.statistic, round(even.pvalue, 4))
assert even.statistic == 1 / 24
assert round(even.pvalue, 3) == 0.838
PYTHON
