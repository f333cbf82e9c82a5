"""Speakers drawn in feature space: how attacks and guarantees change with their number, which no corpus at hand has.

They have the statistics of a real corpus's speakers, and are nobody. An utterance is its mean over time alone:

    x = class mean + what the speaker has + what the speaker has in this class + what this utterance has,

each of the last three a random combination of what the real speakers, or utterances, have, so that its covariance is
theirs. Shapes: N utterances, D feature dims, C classes, S real speakers.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from gandistill import artifacts
from gandistill.features.featureset import KIND, FeatureSet, HeldSet, Utterance
from gandistill.features.origin import made_from
from gandistill.numerics import keyed

EACH = 8
"""Utterances of a class by a drawn speaker."""
Floats = NDArray[np.float64]


def drawn(features: FeatureSet, train: int, test: int, seed: int, per_class: int = EACH) -> HeldSet:
    """A set of ``train`` and ``test`` speakers, each with ``per_class`` utterances of every class.

    It takes all parts of ``features``: what is drawn is a population, and nothing of it is a real result.
    """
    means, targets = features.means().double().numpy(), features.targets
    speakers, classes = np.unique(features.index["speaker"].to_numpy(str), return_inverse=True)[1], len(features.labels)
    centres = np.stack([means[targets == c].mean(0) for c in range(classes)])
    around = means - centres[targets]
    offsets = np.stack([around[speakers == s].mean(0) for s in range(speakers.max() + 1)])
    left = around - offsets[speakers]
    cells = np.zeros((len(offsets), classes, means.shape[1]))
    for s, c in {*zip(speakers.tolist(), targets.tolist(), strict=True)}:
        cells[s, c] = left[(speakers == s) & (targets == c)].mean(0)
    own = left - cells[speakers, targets]
    utterances = list[Utterance]()
    for n in range(train + test):
        generator, name = keyed(seed, n), f"drawn-{n:05d}"
        offset, cell = combined(offsets, generator), combined(cells.reshape(len(cells), -1), generator)
        for c, label in enumerate(features.labels):
            level = centres[c] + offset + cell.reshape(classes, -1)[c]
            for i in range(per_class):
                frames = torch.from_numpy(level + combined(own, generator)).float()[None]
                split = "train" if n < train else "test"
                utterances.append(Utterance(f"{name}-{label}-{i}", label, frames, name, split=split))
    facts = made_from(features) | {"labels": features.labels, "dims": features.dims}
    facts["corpus"] = f"{train + test} speakers drawn from the statistics of {features.config.get('corpus')}"
    config = artifacts.describe(KIND, {"command": "drawn", "seed": seed}, **facts)
    return HeldSet.of(f"drawn-{train}", utterances, config, "# Speakers drawn in feature space: nobody's\n")


def combined(rows: Floats, generator: np.random.Generator) -> Floats:
    """A Gaussian combination [D] of rows [n, D], whose covariance is that of the rows around 0."""
    return generator.standard_normal(len(rows)) @ rows / len(rows) ** 0.5
