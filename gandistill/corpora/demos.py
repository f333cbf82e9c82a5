"""DEMoS: elicited emotional speech in Italian, 68 speakers, 9,365 emotional and 332 neutral utterances (7.7 hours).

Source: E. Parada-Cabaleiro, G. Costantini, A. Batliner, M. Schmitt and B. Schuller, "DEMoS: An Italian emotional speech
corpus", Language Resources and Evaluation 54, 2020. Licence: end user licence agreement, academic use, no
redistribution. Get it from https://zenodo.org/records/2544829 (on request). On disk, anywhere below ROOT:

    DEMOS/(NP|PR)_[fm]_NN_<emotion>NN[a-z].wav      (or .flac; PR: prototypical, NP: not)
    NEU/[fm]_NN_neuNN[a-z].wav
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandistill.console import say
from gandistill.corpora.manifest import GENDERS, SPLITS, Entry
from gandistill.corpora.tree import read_names
from gandistill.errors import InputError

NAME = "DEMoS"
LICENCE = "DEMoS end user licence agreement: academic use, no redistribution"
EMOTIONS = {
    "rab": "anger",
    "dis": "disgust",
    "pau": "fear",
    "col": "guilt",
    "gio": "happiness",
    "tri": "sadness",
    "sor": "surprise",
    "neu": "neutral",
}
NAMES = re.compile(
    rf"(?:(?:NP|PR)_)?(?P<gender>[fm])_(?P<speaker>\d\d)_(?P<emotion>{'|'.join(EMOTIONS)})(?P<text>\d\d[a-z])"
)

TABLE1 = {
    "anger": (586, 531, 360),
    "disgust": (666, 608, 404),
    "fear": (461, 404, 291),
    "guilt": (453, 395, 281),
    "happiness": (561, 471, 363),
    "sadness": (606, 543, 381),
    "surprise": (396, 358, 246),
}
"""Utterances of each class in train, dev and test: Table 1 of Chang et al. 2024 (arXiv 2406.15119)."""
TABLE1_SPEAKERS = (27, 25, 16)
TABLE1_ORIGIN = "consistent with Table 1 of arXiv 2406.15119, not the authors' partition, which is not published"
SOLVER_SECONDS = 120.0


def read(root: Path) -> list[Entry]:
    """The utterances of DEMOS/ and NEU/, by path. Speaker is the two-digit number, text the item (``07b``).

    A speaker number belongs to one person: the corpus never uses it with both genders. Raises InputError as
    ``read_names`` does.
    """
    return read_names(root, NAME, NAMES, EMOTIONS, lambda name: GENDERS[name["gender"]], "DEMOS/NP_f_01_col07b.wav")


def mtt_table1(entries: list[Entry], fold: int, seed: int) -> list[Entry]:
    """A speaker-disjoint split that meets every number of the paper's Table 1: 3,729 / 3,310 / 2,326 utterances.

    Exactly met: the utterances of each of the seven classes in train, dev and test, and the 27 / 25 / 16 speakers.
    Neutral is left out, as in the paper. Many splits meet the table; ``seed`` chooses one, and the same seed and
    scipy version give the same. Which of them is the authors' is not published: see ``TABLE1_ORIGIN``. Paper's
    table: its F/M columns are permuted against the classes and give no numbers by part; not used.

    Raises InputError if the corpus does not hold Table 1's 9,365 utterances of 68 speakers, or no split is found.
    """
    kept = [entry for entry in entries if entry.emotion in TABLE1]
    held = Counter(entry.emotion for entry in kept)
    for emotion, counts in TABLE1.items():
        if held[emotion] != sum(counts):
            raise InputError(f"Protocol mtt-table1 needs {sum(counts)} utterances of {emotion}, found {held[emotion]}")
    speakers = sorted({entry.speaker for entry in kept})
    if len(speakers) != sum(TABLE1_SPEAKERS):
        raise InputError(f"Protocol mtt-table1 needs {sum(TABLE1_SPEAKERS)} speakers, found {len(speakers)}")

    uttered = Counter((entry.speaker, entry.emotion) for entry in kept)
    counts = np.array([[1, *(uttered[speaker, emotion] for emotion in TABLE1)] for speaker in speakers])
    part = _assign(counts, np.array([TABLE1_SPEAKERS, *TABLE1.values()]), seed)
    if left_out := len(entries) - len(kept):
        say(f"Protocol mtt-table1: left out {left_out} utterances of other classes (neutral)")
    say(f"Protocol mtt-table1: {TABLE1_ORIGIN}")
    split = {speaker: SPLITS[p] for speaker, p in zip(speakers, part, strict=True)}
    return [replace(entry, split=split[entry.speaker]) for entry in kept]


def _assign(counts: NDArray[np.int64], totals: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A part 0..P-1 for each of S speakers [S] so that ``counts`` [S, K] sum to ``totals`` [K, P].

    An integer programme in x[s, p], 1 where speaker s is in part p. Any solution will do, so the objective is random,
    which makes the seed choose among them, and the first solution is taken, which the infinite gap asks for.

    Raises InputError if there is none, or none is found in time.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    S, P = len(counts), totals.shape[1]
    once = np.kron(np.eye(S), np.ones(P))
    sums = np.kron(counts.T, np.eye(P))
    exactly: Any = np.concatenate([np.ones(S), totals.ravel()])
    split = milp(
        np.random.default_rng(seed).random(S * P),
        integrality=np.ones(S * P),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(np.vstack([once, sums]), exactly, exactly),
        options={"mip_rel_gap": np.inf, "time_limit": SOLVER_SECONDS},
    )
    if split.x is None:
        raise InputError(f"Protocol mtt-table1: no split of these speakers meets the paper's Table 1 ({split.message})")
    return split.x.reshape(S, P).argmax(axis=1)
