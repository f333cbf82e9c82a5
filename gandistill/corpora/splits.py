"""Protocols: named ways to split a corpus into train, dev and test, and the auditor that checks what they did.

A protocol is a function of the utterances, a fold (1, 2, ...) and a seed, and returns the utterances with their
``split`` filled. It may merge classes or leave some out, and says so.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import combinations
from pathlib import Path
from shlex import quote
from typing import TypeVar

import numpy as np

from gandistill.console import say
from gandistill.corpora.audio import SUFFIXES
from gandistill.corpora.copies import check_copies
from gandistill.corpora.deals import complete, lacking
from gandistill.corpora.folders import same_form
from gandistill.corpora.manifest import SPLITS, Entry, Row, read_table, seconds_in
from gandistill.corpora.spellings import check_spellings
from gandistill.errors import InputError, choices

Split = Callable[[list[Entry], int, int], list[Entry]]
T = TypeVar("T")
CUSTOM = "custom"
SAME_START = 5e-4
"""Seconds by which tables may differ that round to the millisecond."""
MOST_FOLDS = 5
DYAD_SESSIONS = ((1, 2, 3), (4, 5), (6, 7), (8, 9), (10, 11, 12))
"""The dyads (actors 1 and 2, 3 and 4, ...) of RAVDESS that play each of IEMOCAP's five sessions."""
DYAD_EMOTIONS = {"neutral": "neutral", "calm": "neutral", "happiness": "happy", "sadness": "sad", "anger": "angry"}
TRIOS = (("EB0", "MK0", "SM0"), ("KS0", "IC0", "TP0"), ("KD0", "MP0", "WR0"))
"""nEMO's speakers in threes: its four women (EB0, IC0, KD0, MK0), then its five men, each by name, dealt in turn.

Listed, so that a part of the corpus is split as the whole is. The first of a trio, who has about as many utterances of
every class (MK0 has no surprise, MP0 is sparse), is chosen so that two women and three men train in every fold.
"""


@dataclass(frozen=True)
class Protocol:
    """A named split, the corpora it is valid for (none: all), how many folds it has, and the parts it fills.

    With ``known_speakers`` its task is to name the speaker, out of those of train.
    """

    split: Split
    corpora: tuple[str, ...] = ()
    folds: int = 1
    parts: tuple[str, ...] = SPLITS
    known_speakers: bool = False


def apply(name: str, corpus: str, entries: list[Entry], fold: int = 1, seed: int = 0) -> list[Entry]:
    """The utterances that the protocol ``name`` keeps of a corpus, with their ``split``.

    Raises InputError, naming the choices, for an unknown protocol, one of another corpus, or a wrong fold; for a
    negative seed; and if a part that the protocol promises stays empty.
    """
    valid = [key for key, protocol in PROTOCOLS.items() if not protocol.corpora or corpus in protocol.corpora]
    if name not in valid:
        raise choices(f"protocol for {corpus}", name, valid)
    protocol = PROTOCOLS[name]
    if fold not in range(1, protocol.folds + 1):
        raise choices(f"fold of {name}", fold, [str(number) for number in range(1, protocol.folds + 1)])
    if seed < 0:
        raise InputError(f"Bad seed {seed}, expected 0 or more")
    split = protocol.split(entries, fold, seed)
    for part in protocol.parts:
        if all(entry.split != part for entry in split):
            raise InputError(f"Protocol {name}, fold {fold}, leaves no utterance for {part}: is the corpus complete?")
    return split


def speaker_independent(entries: list[Entry], fold: int, seed: int) -> list[Entry]:
    """Parts that share no speaker: one fold of the groups is test, the next (cyclically) dev, the others train.

    The groups are the sessions, where every utterance has one, no speaker is in two and there are at least three;
    else the speakers. They are dealt to at most five folds, the largest first to the emptiest fold, ties as ``seed``
    draws them; folds are numbered by the first group they hold.

    Where a part of some fold lacks a class so, as few utterances as can be change their fold until every part of every
    fold has every class: one deal for all folds, which test each speaker once, so that a fold may change that needed
    nothing but gives. Where no folds can have that, the parts of this one are made so, if groups or at least
    speakers allow it: then its test part may share speakers with another fold's. What cannot be had is said.

    Raises InputError if an utterance has no speaker, there are fewer than three speakers, or no such fold.
    """
    if nameless := [entry for entry in entries if not entry.speaker]:
        raise InputError(
            f"Protocol speaker-independent needs every speaker: {len(nameless)} utterances name none, "
            f"the first is {nameless[0].id!r}"
        )
    group = _group_of(entries)
    sizes = Counter(group(entry) for entry in entries)
    if len(sizes) < len(SPLITS):
        raise InputError(f"Protocol speaker-independent needs at least 3 speakers, found [{', '.join(sorted(sizes))}]")
    folds = _dealt(sizes, min(MOST_FOLDS, len(sizes)), seed)
    if fold not in range(1, len(folds) + 1):
        raise choices("fold of speaker-independent", fold, [str(number) for number in range(1, len(folds) + 1)])
    dealt = {name: number for number, members in enumerate(folds) for name in members}
    parts = _with_every_class(entries, [group(entry) for entry in entries], dealt, fold)
    return [replace(entry, split=part) for entry, part in zip(entries, parts, strict=True)]


def ravdess_dyads(entries: list[Entry], fold: int, seed: int) -> list[Entry]:
    """RAVDESS in IEMOCAP's shape: twelve dyads play five sessions, in the four classes neutral, happy, sad, angry.

    Calm counts as neutral; the other classes are left out. Fold k tests on session k; its dev part is the first dyad
    of session k + 1 (cyclically), the rest of that session trains. Nothing is drawn, so ``seed`` does not count.
    """
    session_of = {dyad: str(number) for number, dyads in enumerate(DYAD_SESSIONS, 1) for dyad in dyads}
    parts = _parts_of(DYAD_SESSIONS, fold)
    kept = []
    for entry in entries:
        if entry.emotion in DYAD_EMOTIONS:
            dyad = (int(entry.speaker) + 1) // 2
            emotion = DYAD_EMOTIONS[entry.emotion]
            kept.append(replace(entry, emotion=emotion, session=session_of[dyad], split=parts[dyad]))
    if calm := sum(entry.emotion == "calm" for entry in entries):
        say(f"Protocol ravdess-dyads: {calm} utterances of calm count as neutral")
    _say_left_out("ravdess-dyads", (entry for entry in entries if entry.emotion not in DYAD_EMOTIONS))
    return kept


def speaker_trios(entries: list[Entry], fold: int, seed: int) -> list[Entry]:
    """nEMO's nine speakers in three trios of both genders (``TRIOS``), with every class in every part.

    Fold k tests on trio k; its dev part is the first speaker of trio k + 1 (cyclically), the other five speakers train.
    Nothing is drawn, so ``seed`` does not count.

    Raises InputError for a speaker who is in no trio, or if a part lacks a class that another has.
    """
    parts = _parts_of(TRIOS, fold)
    for entry in entries:
        if entry.speaker not in parts:
            raise choices(f"speaker of {entry.id}", entry.speaker, list(parts))
    split = [replace(entry, split=parts[entry.speaker]) for entry in entries]
    for part, counts in audit(split).counts.items():
        if lacking := [emotion for emotion, count in counts.items() if count == 0]:
            raise InputError(
                f"Protocol speaker-trios, fold {fold}, leaves no utterance of [{', '.join(lacking)}] for {part}: "
                "is the corpus complete?"
            )
    return split


def custom(entries: list[Entry], fold: int, seed: int) -> list[Entry]:
    """The split that the utterances bring along; those without one are left out."""
    _say_left_out(CUSTOM, (entry for entry in entries if not entry.split))
    return [entry for entry in entries if entry.split]


def with_partition(entries: list[Entry], path: Path) -> list[Entry]:
    """The utterances with the split that a CSV gives them, empty where it gives none.

    Its columns are ``split`` and one of ``id``, ``path`` and ``file``; an utterance is found by its id, its file's
    name or the end of its path, with or without suffix, in any Unicode form. A file's name stands for all utterances of
    it, or with a column ``start`` for the one that begins there. Rows that name no utterance are said.

    Raises InputError, naming the line, for a bad split, a name that fits several files, or two splits for an utterance.
    """
    rows = read_table(path, ("split",))
    key = next((column for column in ("id", "path", "file") if column in rows[0].cells), None)
    if key is None:
        raise InputError(f"{path}, line 1: lacks a column that names the utterances, expected id, path or file")
    by_id, by_name = {same_form(entry.id): entry for entry in entries}, defaultdict[str, list[Entry]](list)
    for entry in entries:
        by_name[_parts(str(entry.path))[-1]].append(entry)
    split, strangers = dict[str, str](), list[str]()
    for row in rows:
        name, part = same_form(row.cells[key].strip()), row.cells["split"].strip()
        if part not in SPLITS:
            raise InputError(f"{path}, line {row.line}: {choices('split', part, SPLITS)}")
        named = [by_id[name]] if name in by_id else _from(row, path, _ending_in(name, by_name))
        if len({entry.path for entry in named}) > 1:
            raise InputError(f"{path}, line {row.line}: {name!r} fits {len(named)} utterances, name it by id or path")
        if not named:
            strangers.append(name)
        if any(split.setdefault(entry.id, part) != part for entry in named):
            raise InputError(f"{path}, line {row.line}: puts {name!r} in {part}, an earlier line in another part")
    if strangers:
        say(f"{path}: {len(strangers)} of {len(rows)} rows name no utterance of the corpus, such as {strangers[0]!r}")
    return [replace(entry, split=split.get(entry.id, "")) for entry in entries]


@dataclass(frozen=True)
class Audit:
    """What a split did: utterances of each class in each part, speakers of each part, speakers that two parts share.

    Parts are in the order train, dev, test; "" is what was not split. ``nameless`` counts the utterances of each part
    whose speaker is not known, where there are any.
    """

    counts: dict[str, dict[str, int]]
    speakers: dict[str, list[str]]
    overlaps: dict[tuple[str, str], list[str]]
    nameless: dict[str, int]

    def __str__(self) -> str:
        """A table of counts, a row a part, and a line for each pair of parts."""
        classes = list(next(iter(self.counts.values())))
        rows: list[tuple[str, ...]] = [("", *classes, "all", "speakers")]
        for part, counts in self.counts.items():
            numbers = (*counts.values(), sum(counts.values()), len(self.speakers[part]))
            rows.append((part or "not split", *map(str, numbers)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
        for (first, second), shared in self.overlaps.items():
            names = f"{len(shared)} ({_some(shared)})" if shared else "none"
            lines.append(f"speakers in both {first or 'not split'} and {second or 'not split'}: {names}")
        if self.nameless:
            counts = ", ".join(f"{part or 'not split'} {count}" for part, count in self.nameless.items())
            lines.append(f"utterances of unknown speakers, who may be in any part: {counts}")
        return "\n".join(lines)


def merge_dev(entries: list[Entry]) -> list[Entry]:
    """The same utterances, those of the dev part in the train part: for what is trained after all choices are made."""
    return [replace(entry, split="train") if entry.split == "dev" else entry for entry in entries]


def audit(entries: list[Entry]) -> Audit:
    """Count classes and speakers by part, and find the speakers that parts share. Unnamed speakers do not count."""
    present = {entry.split for entry in entries}
    parts = [part for part in (*SPLITS, "") if part in present]
    classes = sorted({entry.emotion for entry in entries})
    uttered = Counter((entry.split, entry.emotion) for entry in entries)
    speakers = {part: sorted({e.speaker for e in entries if e.split == part and e.speaker}) for part in parts}
    return Audit(
        counts={part: {emotion: uttered[part, emotion] for emotion in classes} for part in parts},
        speakers=speakers,
        overlaps={pair: sorted(set.intersection(*(set(speakers[p]) for p in pair))) for pair in combinations(parts, 2)},
        nameless={p: n for p in parts if (n := sum(e.split == p and not e.speaker for e in entries))},
    )


def check(entries: list[Entry], report: Audit, protocol: str | None = None) -> None:
    """Refuse what would make a test worth nothing, and say what may surprise later.

    Raises InputError as ``check_speakers`` does, and if the same audio, or one speaker under two spellings, is in both
    train and test.
    """
    check_speakers(report, protocol)
    check_spellings(entries, known_speakers=protocol in KNOWN_SPEAKERS)
    check_copies(entries)
    if "train" not in report.counts:
        return
    untaught = [name for name, count in report.counts["train"].items() if not count]
    if untaught:
        say(
            f"No utterance of [{', '.join(untaught)}] is in train, and nothing can learn it: prepare again with "
            f"{' '.join(f'--drop {quote(name)}' for name in untaught)} to leave it out"
        )


def check_speakers(audit: Audit, protocol: str | None = None) -> None:
    """Raise InputError if any speaker is in both train and test.

    A protocol whose task is to name the speaker turns that round: its parts share speakers, which is said, and
    InputError is raised if one of dev or test is not in train.
    """
    if protocol in KNOWN_SPEAKERS:
        known = set(audit.speakers.get("train", ()))
        for part, speakers in audit.speakers.items():
            if strangers := sorted(set(speakers) - known):
                raise InputError(
                    f"{len(strangers)} speakers of {part} are not in train ({_some(strangers)}): "
                    f"protocol {protocol} names speakers that were trained on, and these cannot be"
                )
        say(f"Protocol {protocol} names speakers, so its parts share them: it is no test on unseen speakers")
        return
    shared = audit.overlaps.get(("train", "test"))
    if shared:
        raise InputError(
            f"{len(shared)} speakers are in both train and test ({_some(shared)}): "
            "a test on speakers that were trained on is refused, expected disjoint speakers"
        )


def _parts_of(groups: Sequence[Sequence[T]], fold: int) -> dict[T, str]:
    """Part of each member: group ``fold`` is test, the first of the next group (cyclically) dev, all others train."""
    dev = groups[fold % len(groups)][0]
    names = {member: "dev" if member == dev else "train" for group in groups for member in group}
    return names | dict.fromkeys(groups[fold - 1], "test")


def _group_of(entries: list[Entry]) -> Callable[[Entry], str]:
    sessions = defaultdict[str, set[str]](set)
    for entry in entries:
        sessions[entry.speaker].add(entry.session)
    disjoint = all(len(of) == 1 and "" not in of for of in sessions.values())
    enough = len(set().union(*sessions.values())) >= len(SPLITS)
    return (lambda entry: entry.session) if disjoint and enough else (lambda entry: entry.speaker)


def _with_every_class(entries: list[Entry], groups: list[str], folds: dict[str, int], fold: int) -> list[str]:
    """Part of each utterance by its group's fold (0, 1, ...), or another where a part would lack a class so."""
    said, count = f"Protocol speaker-independent, fold {fold}", max(folds.values()) + 1
    emotions, speakers = [entry.emotion for entry in entries], [entry.speaker for entry in entries]
    if any(lacking(groups, emotions, folds, count)):
        again = complete(groups, emotions, folds, count)
        if not any(lacking(groups, emotions, again, count)):
            moved = sum(folds[group] != again[group] for group in groups)
            say(f"{said}: {moved} utterances are in another fold than by size alone, so that each has every class")
            folds = again
    named = {fold - 1: "test", fold % count: "dev"}
    first = {group: SPLITS.index(named.get(number, "train")) for group, number in folds.items()}
    deals = [(groups, first)]
    if any(lacking(groups, emotions, first, len(SPLITS))):
        of_speaker = {speaker: first[group] for speaker, group in zip(speakers, groups, strict=True)}
        for units, deal in ((groups, first), (speakers, of_speaker)):
            deals.append((units, complete(units, emotions, deal, len(SPLITS))))
    units, best = min(deals, key=lambda deal: sum(map(len, lacking(deal[0], emotions, deal[1], len(SPLITS)))))
    parts = [best[unit] for unit in units]
    if moved := sum(part != first[group] for part, group in zip(parts, groups, strict=True)):
        say(
            f"{said}: {moved} utterances are in another part than by folds, so that parts lack fewer classes: "
            "its test part may share speakers with another fold's"
        )
    for part, gaps in zip(SPLITS, lacking(units, emotions, best, len(SPLITS)), strict=True):
        if gaps:
            say(
                f"{said}: no utterance of [{', '.join(gaps)}] for {part}, too few speakers utter it to be in every part"
            )
    return [SPLITS[part] for part in parts]


def _dealt(sizes: dict[str, int], folds: int, seed: int) -> list[list[str]]:
    """Groups dealt to folds of about equal size."""
    names = sorted(sizes)
    drawn = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    dealt: list[list[str]] = [[] for _ in range(folds)]
    for name in sorted(drawn, key=lambda name: -sizes[name]):
        min(dealt, key=lambda fold: sum(sizes[member] for member in fold)).append(name)
    return sorted(sorted(fold) for fold in dealt)


def _ending_in(name: str, by_name: dict[str, list[Entry]]) -> list[Entry]:
    parts = _parts(name)
    return [entry for entry in by_name.get(parts[-1], []) if _parts(str(entry.path))[-len(parts) :] == parts]


def _from(row: Row, path: Path, named: list[Entry]) -> list[Entry]:
    """Of utterances those that begin where a row of the table at ``path`` says, or all if it says nothing."""
    start = seconds_in(row.cells.get("start", "").strip(), "start", f"{path}, line {row.line}")
    return named if start is None else [entry for entry in named if abs((entry.start or 0.0) - start) < SAME_START]


def _parts(path: str) -> list[str]:
    """The parts of a path, the last without the suffix of an audio file."""
    file = Path(same_form(path))
    return list((file.with_suffix("") if file.suffix.lower() in SUFFIXES else file).parts) or [""]


def _say_left_out(protocol: str, left_out: Iterable[Entry]) -> None:
    counts = Counter(entry.emotion for entry in left_out)
    if counts:
        classes = ", ".join(f"{emotion} {count}" for emotion, count in sorted(counts.items()))
        say(f"Protocol {protocol}: left out {counts.total()} utterances: {classes}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _of_corpus(corpus: str, name: str) -> Split:
    """A split that lives in its corpus's module, which is imported when it is asked."""

    def split(entries: list[Entry], fold: int, seed: int) -> list[Entry]:
        return getattr(import_module(f"gandistill.corpora.{corpus}"), name)(entries, fold, seed)

    return split


PROTOCOLS = {
    "speaker-independent": Protocol(speaker_independent, folds=MOST_FOLDS),
    "ravdess-dyads": Protocol(ravdess_dyads, ("ravdess",), folds=len(DYAD_SESSIONS)),
    "speaker-trios": Protocol(speaker_trios, ("nemo",), folds=len(TRIOS)),
    "superb": Protocol(_of_corpus("iemocap", "superb"), ("iemocap",), folds=5),
    "mtt-table1": Protocol(_of_corpus("demos", "mtt_table1"), ("demos",)),
    "superb-sid": Protocol(_of_corpus("voxceleb1", "superb_sid"), ("voxceleb1",), known_speakers=True),
    CUSTOM: Protocol(custom, parts=("train",)),
}
KNOWN_SPEAKERS = tuple(name for name, protocol in PROTOCOLS.items() if protocol.known_speakers)
