"""Names that differ in spelling alone: one class, or one speaker, that counts as two."""

import re
import unicodedata
from collections import Counter, defaultdict
from shlex import quote

from gandistill.console import say
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError

SHOWN = 5
"""Names, or pairs of them, that a line gives."""
LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
WHOLE = re.compile(r"(\d+)\.0+")
"""A whole number that a program wrote as another, ``1.0``."""
NO_LABELS = ("nan", "none", "null", "<na>", "n/a", "na", "nat", "-", "?")
"""What tables hold where there is no label."""


def spelled_alike(names: Counter[str]) -> list[list[str]]:
    """Names that differ in case, spaces, leading zeros, ``.0`` or Unicode form alone, the most frequent first."""
    groups = defaultdict[str, list[str]](list)
    for name in sorted(names, key=lambda name: (-names[name], name)):
        groups[_plain(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def check_spellings(entries: list[Entry], known_speakers: bool = False) -> None:
    """Say in one line each which labels, and which speakers, are spelled in more than one way, and how to merge them.

    Labels that look like none are said too.
    Raises InputError if a speaker is in both train and test under two spellings, unless naming speakers is the
    protocol's task (``known_speakers``).
    """
    speakers = spelled_alike(Counter(entry.speaker for entry in entries if entry.speaker))
    if not known_speakers:
        _check_apart(entries, speakers)
    labels = spelled_alike(Counter(entry.emotion for entry in entries))
    for what, groups in (("classes", labels), ("speakers", speakers)):
        if groups:
            say(f"Perhaps one, but counted apart by their spelling are the {what} {_rules(groups)}")
    if unlabelled := sorted({entry.emotion for entry in entries if entry.emotion.strip().lower() in NO_LABELS}):
        drops = " ".join(f"--drop {quote(name)}" for name in unlabelled)
        say(f"Perhaps no classes are [{', '.join(unlabelled)}]: {drops} leaves their utterances out")


def _check_apart(entries: list[Entry], groups: list[list[str]]) -> None:
    parts = {part: {entry.speaker for entry in entries if entry.split == part} for part in ("train", "test")}
    shared = [group for group in groups if all(spoken.intersection(group) for spoken in parts.values())]
    if shared:
        both = "; ".join(" and ".join(_shown(group)) for group in shared[:SHOWN])
        raise InputError(
            f"{len(shared)} speakers are in both train and test under spellings of their own ({both}): write "
            f"{_shown(shared[0])[0]} for the first everywhere, or name two people by more than spelling"
        )


def _rules(groups: list[list[str]]) -> str:
    """What to write for the names of each group: the most frequent one."""
    shown = map(_shown, groups[:SHOWN])
    rules = [f"{' and '.join(names)} (to merge them, write {names[0]})" for names in shown]
    return ", ".join(rules) + (", ..." if len(groups) > SHOWN else "")


def _plain(name: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    plain = LEADING_ZEROS.sub("", "".join(folded.split()))
    return whole[1] if (whole := WHOLE.fullmatch(plain)) else plain


def _shown(group: list[str]) -> list[str]:
    """Names as a terminal can tell them apart."""
    alike = len({unicodedata.normalize("NFC", name) for name in group}) < len(group)
    return [ascii(name) if alike else repr(name) for name in group]
