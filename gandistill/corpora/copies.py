"""Audio that a corpus holds twice, under two ids or in two segments: in one part harmless, else a leak."""

import math
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.audio import DURATION_TOLERANCE
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError
from gandistill.files import sha256

LEAK = ("train", "test")


def find_copies(entries: list[Entry]) -> list[list[Entry]]:
    """Utterances of the same audio, in groups of two or more: the same samples where these were decoded.

    Else the same bytes, and the same of them: files that are not there are known by their path alone, and only those of
    one size are read.
    """
    content = _content({entry.path for entry in entries if not entry.sound})
    alike = defaultdict[tuple[str, ...], list[Entry]](list)
    for entry in entries:
        key = (entry.sound,) if entry.sound else (content[entry.path], *entry.excerpt)
        alike[key].append(entry)
    return [group for group in alike.values() if len(group) > 1]


def find_overlaps(entries: list[Entry]) -> list[tuple[Entry, Entry]]:
    """Pairs of utterances that share seconds of a file, if more than rounding explains (``DURATION_TOLERANCE``).

    Two channels of a file are two sounds. Pairs of which neither says a segment are none: those are copies.
    """
    cut = {entry.path for entry in entries if entry.segment}
    content = _content({entry.path for entry in entries}) if cut else {}
    files = defaultdict[str, list[Entry]](list)
    for entry in sorted(entries if cut else (), key=lambda entry: entry.start or 0.0):
        files[content[entry.path]].append(entry)
    pairs = []
    for utterances in files.values():
        before = list[Entry]()
        for entry in utterances:
            start = (entry.start or 0.0) + DURATION_TOLERANCE
            before = [other for other in before if _end(other) > start]
            pairs += [(other, entry) for other in before if _end(entry) > start and _share(other, entry)]
            before.append(entry)
    return pairs


def check_copies(entries: list[Entry]) -> None:
    """Say in one line that audio is there twice. Raises InputError if the same audio is in both train and test."""
    _check_overlaps(find_overlaps(entries))
    copies = find_copies(entries)
    by_part = [{entry.split: entry for entry in reversed(group)} for group in copies]
    leaks = [parts for parts in by_part if parts.keys() >= {*LEAK}]
    if leaks:
        first, second = (leaks[0][part] for part in LEAK)
        raise InputError(
            f"{len(leaks)} recordings are in both train and test under two names, the first as {_named(first)} and as "
            f"{_named(second)}: a test on audio that was trained on is refused, keep one of the two"
        )
    if copies:
        # A label that is wrong is worth more than any other pair.
        first, second, *_ = max(copies, key=lambda group: len({entry.emotion for entry in group}))
        torn = sum(len({entry.emotion for entry in group}) > 1 for group in copies)
        labels = f", {torn} of them under two labels" if torn else ""
        say(
            f"{len(copies)} recordings are here under more than one name{labels}, such as {_named(first)} and "
            f"{_named(second)}: harmless to the test, which has none that trains"
        )


def _check_overlaps(pairs: list[tuple[Entry, Entry]]) -> None:
    """As ``check_copies``, of segments that overlap; those of the very same audio are its matter."""
    pairs = [(first, second) for first, second in pairs if (first.start, first.end) != (second.start, second.end)]
    leaks = [pair for pair in pairs if {entry.split for entry in pair} == {*LEAK}]
    for what, some, so in (
        ("in train and test", leaks, "a test on audio that was trained on is refused, leave one of the two out"),
        ("of one file", pairs, "harmless to the test, which has none that trains"),
    ):
        if not some:
            continue
        first, second = (f"{_named(entry)}, {entry.segment or 'the whole file'}" for entry in some[0])
        said = f"{len(some)} pairs of segments {what} overlap, the first {first}, and {second}: {so}"
        if some is leaks:
            raise InputError(said)
        say(said)


def _end(entry: Entry) -> float:
    """The second of its file where an utterance ends; infinite where nothing says."""
    if entry.end is not None:
        return entry.end
    return math.inf if entry.duration is None else (entry.start or 0.0) + entry.duration


def _share(first: Entry, second: Entry) -> bool:
    """Whether two utterances whose seconds overlap are of one sound, and one of them is a segment."""
    return (None in (first.channel, second.channel) or first.channel == second.channel) and bool(
        first.segment or second.segment
    )


def _content(paths: set[Path]) -> dict[Path, str]:
    """What tells the audio of each path: its hash where another file has its size, else where it really lies."""
    real = {path: path.resolve() for path in paths}
    sizes = dict[Path, int]()
    for file in set(real.values()):
        with suppress(OSError):  # a manifest is audited without its audio too
            sizes[file] = file.stat().st_size
    shared = Counter(sizes.values())
    alike = [file for file, size in sizes.items() if shared[size] > 1]
    with ThreadPoolExecutor() as pool:
        hashes = dict(zip(alike, pool.map(sha256, alike), strict=True))
    return {path: hashes.get(file, str(file)) for path, file in real.items()}


def _named(entry: Entry) -> str:
    facts = (entry.emotion, entry.speaker and f"speaker {entry.speaker}", entry.split)
    return f"{entry.id!r} ({', '.join(fact for fact in facts if fact)})"
