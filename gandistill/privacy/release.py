"""The attack on a private release by who knows how it was made: which speakers does the noisy vector lean to?

What was released (``controls/private.py``), y, is read from the class means and the factor that the artifact stores; of
the covariance, what lies in the directions that were taken.
The attacker has the public features, since the artifact names them, and computes what any speaker says, a vector v.
Were that one of the S speakers, y would be Gaussian around r + (v - r) / S, and else around r, the mean over the
reference: of the two, by the noise, the log-likelihood ratio rises with

    <y - r, v - r> - |v - r|^2 / (2 S),

the best that one speaker can be told by if nothing is known of the others. Shapes: S speakers, V values.
"""

from typing import Any

import numpy as np

from gandistill.controls.draws import Design
from gandistill.controls.private import Public, bounded, said_by, scaled, stored
from gandistill.features.featureset import FeatureSet
from gandistill.privacy.membership import Bools, Floats, People, Records, judge, tracing


def released(
    design: Design, terms: dict[str, Any], known: Public, features: FeatureSet, members: Bools, seed: int
) -> dict[str, Any]:
    """What a release under such ``terms``, stored as ``design``, tells of each ``speaker``: see ``membership.roc``.

    ``features`` have their labels in the order of the design's class means.
    """
    y, directions = stored(design, known, terms["directions"])
    names, contributions = map(np.array, zip(*said_by(features, known, directions), strict=True))
    mine = set(features.index["speaker"].to_numpy(str)[members])
    how = terms["norms"], terms["weights"]
    vectors = np.stack([bounded(contribution, *how) for contribution in contributions])
    alone = np.zeros(len(names), np.int64)
    people = People(vectors, alone, names, np.array([name in mine for name in names]))

    def leaning(records: Records, judged: People, reference: People) -> Floats:
        away = judged.points - reference.points.mean(0)
        return tracing(records, judged, reference) - np.square(away).sum(1) / (2 * terms["speakers"])

    return {"speaker": judge(leaning, Records(vectors[:0], alone[:0], scaled(y, *how)[None]), people, seed)["speaker"]}
