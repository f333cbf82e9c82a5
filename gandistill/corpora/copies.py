"""Audio that a corpus holds twice, under two ids: harmless in one part, a leak from train to test."""

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from gandistill.console import say
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


def check_copies(entries: list[Entry]) -> None:
    """Say in one line that audio is there twice. Raises InputError if the same audio is in both train and test."""
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
