"""What is made of a generated set to ask what a head learns from it.

T frames, D feature dims.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Literal

import torch

from gandistill.features.featureset import FeatureSet, HeldSet, Utterance
from gandistill.numerics import keyed

SHUFFLED, WITH_REAL = "shuffled", "with-real"
Variant = Literal["", "shuffled", "with-real"]


def varied(samples: FeatureSet, variant: Variant, real: Iterable[Utterance], seed: int) -> FeatureSet:
    """The samples, or a variant of them.

    ``shuffled``: the frames [T, D] of each in random order, by the seed: a head that loses nothing by it has learnt
    nothing of how features move. ``with-real``: the real utterances, and then the samples.
    """
    if not variant:
        return samples
    made = _shuffled(samples, seed) if variant == SHUFFLED else chain(real, samples.utterances())
    return HeldSet.of(variant, made, samples.config, "")


def _shuffled(samples: FeatureSet, seed: int) -> Iterator[Utterance]:
    for number, sample in enumerate(samples.utterances()):
        order = torch.from_numpy(keyed(seed, number).permutation(len(sample.frames)))
        yield replace(sample, frames=sample.frames[order])
