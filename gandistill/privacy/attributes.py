"""Attribute inference: does an artifact tell the gender of those who trained it, beyond what people tell of people?

The attacker knows of an utterance x of class c all but what tells gender (Fredrikson et al. 2014, Yeom et al. 2018):
u_c is how far the one gender's mean lies from the other's in the reference, whose genders are known, and x is put
half-way along it. From there half of u_c leads to what x would be of the one, half of it the other way to what it would
be of the other; the score is how much better the artifact's records fit the former, by each of ``SCORES``.

Gender can be guessed of strangers too, since the rest of a voice goes with it (Jayaraman & Evans 2022): ``others`` is
the AUC of that guess, ``members`` that of those who trained the artifact. Their difference, the ``advantage``, is what
was learnt of these people. By ``chance`` it lies, 95 times in 100, where it does if who is a member is dealt anew
within each gender. What share of them is of a gender is not asked: that tells of a group, not of a person.

Shapes: N utterances, K dims, C classes, S speakers.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gandistill.corpora.manifest import read_table
from gandistill.errors import InputError
from gandistill.numerics import keyed
from gandistill.privacy.membership import (
    SCORES,
    Bools,
    Floats,
    People,
    Records,
    by_speakers,
    halves,
    within_class,
)

FEWEST = 4
"""Held-out speakers of each gender: two as reference while the others are judged."""
DEALS = 2000


def read_genders(manifest: Path) -> dict[str, str]:
    """Speaker to gender, of those whose gender a manifest or another table says in its columns speaker and gender.

    Raises InputError for a table without them, a speaker with two genders, or other than two of these in all.
    """
    genders, lines = dict[str, str](), dict[str, int]()
    for row in read_table(manifest, ("speaker", "gender"), multiline=True):
        speaker, gender = row.cells["speaker"].strip(), row.cells["gender"].strip()
        if gender and genders.setdefault(speaker, gender) != gender:
            known = f"{genders[speaker]} on line {lines[speaker]}"
            raise InputError(f"{manifest}, line {row.line}: speaker {speaker} is {gender}, but {known}")
        lines.setdefault(speaker, row.line)
    if len(set(genders.values())) != 2:
        names = ", ".join(sorted(set(genders.values()))) or "none"
        raise InputError(f"{manifest} must tell two genders apart, its speakers have: {names}")
    return genders


def attributes(records: Records, people: People, genders: Mapping[str, str], seed: int) -> dict[str, Any] | None:
    """By each of ``SCORES`` what records tell of gender: the AUC of ``members`` and of ``others``, their difference,
    the ``advantage``, and by ``chance`` an interval of it. With ``speakers``, how many of each gender are members.

    People whose gender is not known are left out. None where fewer than ``FEWEST`` of a gender are held out, or none of
    one trained the artifact.
    """
    known = people.rows(np.isin(people.speakers, [*genders]))
    names, numbers = np.unique(known.speakers, return_index=True)
    members, first_gender = known.members[numbers], min(genders.values())
    first = np.array([genders[name] == first_gender for name in names], bool)
    held_out = [int((~members & side).sum()) for side in (first, ~first)]
    both = zip(sorted(set(genders.values())), (first, ~first), strict=True)
    trained = {gender: int((members & side).sum()) for gender, side in both}
    if min(held_out) < FEWEST or min(trained.values()) == 0:
        return None
    rounds = _rounds(known, dict(zip(names, first, strict=True)), seed)
    results = dict[str, Any]()
    for name in SCORES:
        scored = [by_speakers(_scores(name, records, *split), split[0]) for split in rounds]
        means = {who: float(np.mean([s[n == who] for s, _, n in scored if who in n])) for who in names}
        scores = np.array([means[who] for who in names])
        results[name] = _advantage(scores, first, members, keyed(seed, 5))
    return {"gender": results, "speakers": trained}


def _rounds(people: People, first: Mapping[str, bool], seed: int) -> list[tuple[People, People, Bools]]:
    """Who is judged, the reference [N], and who of that is of the first gender [N].

    Held-out speakers of each gender are dealt into two halves, each the reference while the other is judged.
    """
    is_first = np.array([first[name] for name in people.speakers])
    both = halves(people, keyed(seed, 4), (is_first, ~is_first))
    pairs = (both, both[::-1])
    return [(people.rows(people.members | mine), people.rows(other), is_first[other]) for mine, other in pairs]


def _scores(fit: str, records: Records, judged: People, reference: People, reference_first: Bools) -> Floats:
    """How much better records fit each utterance [N] as one of the first gender than as one of the other."""
    scores = np.zeros(len(judged.points))
    for c in np.unique(judged.targets):
        rows, there = judged.targets == c, reference.targets == c
        first, other = (reference.points[there & side] for side in (reference_first, ~reference_first))
        if not len(first) or not len(other):
            continue
        way, middle = first.mean(0) - other.mean(0), (first.mean(0) + other.mean(0)) / 2
        along = (judged.points[rows] - middle) @ way / max(float(way @ way), 1e-30)
        half_way = judged.points[rows] - along[:, None] * way
        of = [replace(judged.rows(rows), points=half_way + sign * way / 2) for sign in (1, -1)]
        first_fit, other_fit = (SCORES[fit](records, as_if, reference) for as_if in of)
        scores[rows] = first_fit - other_fit
    return within_class(scores, judged)


def _advantage(scores: Floats, first: Bools, members: Bools, generator: np.random.Generator) -> dict[str, Any]:
    """Of the scores of speakers [S]: the two areas, their difference, and where it lies by chance."""
    first_scores, other_scores = scores[first][:, None], scores[~first]
    wins = (first_scores > other_scores) + 0.5 * (first_scores == other_scores)

    def areas(mine: Floats, theirs: Floats) -> Floats:
        """Among some of the first gender [R, F] and of the other [R, M]."""
        return np.einsum("rf,fm,rm->r", mine, wins, theirs) / (mine.sum(1) * theirs.sum(1))

    sides = [members[side].astype(float)[None] for side in (first, ~first)]
    of_members, of_others = float(areas(*sides)[0]), float(areas(*(1 - side for side in sides))[0])
    dealt = [generator.permuted(side.repeat(DEALS, 0), axis=1) for side in sides]
    by_chance = areas(*dealt) - areas(*(1 - side for side in dealt))
    interval = np.quantile(by_chance, [0.025, 0.975]).tolist()
    return {"members": of_members, "others": of_others, "advantage": of_members - of_others, "chance": interval}
