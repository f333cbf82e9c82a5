"""From a corpus on disk to its manifest: read, split, listen to every file, audit, write."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.console import say
from gandistill.corpora import splits, verdicts
from gandistill.corpora.manifest import Entry, origin_path, write_manifest
from gandistill.corpora.tree import audio_files
from gandistill.corpora.verdicts import QUARANTINE
from gandistill.errors import InputError, choices

AUDFORMAT = "audformat"
OWN = ("tabular", AUDFORMAT)
"""Corpora of the user's own, whose columns may be called otherwise."""
READERS = (
    "ravdess",
    "nemo",
    "iemocap",
    "demos",
    "emodb",
    "emovo",
    "cremad",
    "voxceleb1",
    "tabular",
    AUDFORMAT,
    "synthetic",
)
"""The corpora: each is a module of this package with ``read``, ``NAME`` and ``LICENCE``, imported when it is asked."""
DEV_MERGED = {"dev": "counts as train"}
"""What the origin of a manifest says whose dev part trains."""


def prepare(
    corpus: str,
    root: Path,
    out: Path,
    *,
    protocol: str | None = None,
    fold: int | None = None,
    seed: int = 0,
    merge_dev: bool = False,
    skip_bad: bool = False,
    partition: Path | None = None,
    columns: dict[str, str] | None = None,
    tables: Sequence[str] = (),
    column: str | None = None,
    channel: int | None = None,
    labels: Sequence[str] = (),
    drop: Sequence[str] = (),
    name: str | None = None,
    licence: str | None = None,
) -> list[Entry]:
    """Write the manifest of the corpus under ``root`` to ``out``, and its origin as JSON beside it.

    Without a ``protocol`` the split column is empty; with one, no ``fold`` means fold 1. With ``merge_dev`` dev
    trains too, as for the test results of the trajectory-matching and self-distillation papers. ``partition`` is a CSV
    for the protocol ``custom``. Of a corpus of one's own ``columns`` maps our column names to its own, ``name`` and
    ``licence`` say what it is called and under which terms it may be used; of a database in audformat ``tables`` say
    which utterances, and their ``column`` (none: ``emotion``) which classes. ``channel`` (1 is the first) is the one of
    all files that is heard. Of the corpus's classes ``labels`` are kept alone, or ``drop`` left out, by their names in
    the corpus, before a protocol merges any; each is a class, or several with commas between. With ``skip_bad``
    unusable audio goes to ``quarantine.csv`` beside the manifest and is left out.

    Raises InputError, before anything is written, if something given is wrong, any audio is unusable (all of it is
    listed), or a speaker (unless naming speakers is what the protocol is for) or the same audio is in both train and
    test.
    """
    reader = _reader(corpus)
    _check_own(corpus, {"Column names": columns, "A name and a licence": name or licence}, OWN)
    _check_own(corpus, {"Tables and their column": tables or column}, (AUDFORMAT,))
    if partition is not None and protocol != splits.CUSTOM:
        raise InputError(f"A partition file goes with the protocol {splits.CUSTOM}, not with {protocol or 'none'}")
    if fold is not None and protocol is None:
        raise InputError(f"Fold {fold} of what? A fold goes with a protocol, as in --protocol speaker-independent")
    if merge_dev and protocol is None:
        raise InputError("The dev part of what? It goes with a protocol, as in --protocol speaker-independent")
    if labels and drop:
        raise InputError("Choose one of --labels, which classes stay, and --drop, which go")
    fold = 1 if fold is None else fold
    _check_out(out, (root, partition))

    if corpus == AUDFORMAT:
        entries = reader.read(root, tables, column, columns)
    else:
        entries = reader.read(root, columns) if columns else reader.read(root)
    if partition is not None:
        entries = splits.with_partition(entries, partition)
    entries = entries if channel is None else _heard(entries, channel)
    wanted = _of_classes(entries, labels, drop)
    kept = (
        splits.apply(protocol, corpus, wanted, fold, seed)
        if protocol
        else [replace(entry, split="") for entry in wanted]
    )
    if merge_dev and all(entry.split != "dev" for entry in kept):
        raise InputError(f"Protocol {protocol} leaves no dev part that could train: prepare without merging it")
    kept = splits.merge_dev(kept) if merge_dev else kept
    usable = verdicts.check(kept, skip_bad, out.with_name(QUARANTINE))
    report = splits.audit(usable)
    say(str(report))
    splits.check(usable, report, protocol)

    say(_account(_folders(root, entries), entries, wanted, kept, usable))
    write_manifest(out, usable)
    left_out = {"protocol": _missing(wanted, kept), "bad audio": _missing(kept, usable)}
    if labels or drop:
        left_out = {"classes": _missing(entries, wanted)} | left_out
    known = reader.origin(root) if corpus == AUDFORMAT else (reader.NAME, reader.LICENCE)
    origin = {"corpus": name or known[0], "licence": licence or known[1]}
    if protocol is not None:
        origin |= {"protocol": protocol, "fold": fold, "seed": seed} | (DEV_MERGED if merge_dev else {})
    artifacts.write_json(origin_path(out), origin | {"utterances": len(usable), "left_out": left_out})
    say(f"{origin['corpus']}: {len(usable)} utterances in {out}")
    if protocol is None:
        hint = f" (the protocol {splits.CUSTOM} uses the corpus's own split)"
        why = "No protocol was asked for: nothing is split, and there is no test part to evaluate on"
        say(why + hint if any(entry.split for entry in entries) else why)
    return usable


def _reader(corpus: str) -> Any:
    if corpus not in READERS:
        raise choices("corpus", corpus, READERS)
    return import_module(f"gandistill.corpora.{corpus}")


def _check_own(corpus: str, given: dict[str, Any], corpora: tuple[str, ...]) -> None:
    """Raise InputError if anything is given that goes with other corpora."""
    for what, value in given.items():
        if value and corpus not in corpora:
            raise InputError(f"{what} can be given for {' and '.join(corpora)}, not for {corpus}")


def _check_out(out: Path, sources: tuple[Path | None, ...]) -> None:
    """Refuse, before the work, a manifest that cannot be written or would replace what it is made from."""
    if out.suffix.lower() != ".csv" or out.is_dir() or out.name == QUARANTINE:
        raise InputError(f"Cannot write the manifest to {out}: expected a file name such as work/manifest.csv")
    for source in sources:
        if source is not None and source.resolve() == out.resolve():
            raise InputError(f"Cannot write the manifest to {out}: it would replace the file that it is made from")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"Cannot write the manifest to {out}: {folder} is not a folder that can be written to")


def _heard(entries: list[Entry], channel: int) -> list[Entry]:
    """The utterances, of that channel. Raises InputError if the corpus itself says another."""
    if others := [entry for entry in entries if entry.channel not in (None, channel)]:
        first = others[0]
        raise InputError(
            f"--channel {channel} contradicts {len(others)} utterances of the corpus, which have a channel of their "
            f"own, the first {first.id!r} channel {first.channel}: leave it away"
        )
    return [replace(entry, channel=channel) for entry in entries]


def _of_classes(entries: list[Entry], labels: Sequence[str], drop: Sequence[str]) -> list[Entry]:
    """The utterances of the classes asked for; how many are left out is said."""
    counts = Counter(entry.emotion for entry in entries)
    stay, go = (_classes(counts, given, option) for given, option in ((labels, "--labels"), (drop, "--drop")))
    left_out = {name: counts[name] for name in sorted(counts) if name in go or (stay and name not in stay)}
    if left_out:
        said = ", ".join(f"{name} {count}" for name, count in left_out.items())
        say(f"Left out {sum(left_out.values())} utterances of {len(left_out)} classes: {said}")
    if len(left_out) == len(counts):
        raise InputError(f"--drop leaves no class of [{', '.join(sorted(counts))}]")
    return [entry for entry in entries if entry.emotion not in left_out]


def _classes(known: Collection[str], given: Sequence[str], option: str) -> set[str]:
    """The classes that the values of an option name: each one, or several with commas between."""
    found = set[str]()
    for value in given:
        for name in [value] if value in known else map(str.strip, value.split(",")):
            if name not in known:
                named = ", as the corpus names them before a protocol merges or renames any"
                raise InputError(f"{choices(f'class in {option}', name, sorted(known))}{named}")
            found.add(name)
    return found


def _folders(root: Path, entries: list[Entry]) -> list[Path]:
    """Where a corpus lies: its folder; of a table the folder that holds all its files, or those that hold any."""
    if root.is_dir():
        return [root]
    folders = {entry.path.absolute().parent for entry in entries}
    above = Path(os.path.commonpath(folders))
    return [above] if above.is_relative_to(root.absolute().parent) else sorted(folders)


def _account(folders: list[Path], *stages: list[Entry]) -> str:
    """Where every audio file below the folders went, as the reader, classes, protocol and the audio's check left it.

    A file counts once, whatever its names and its utterances, of which one that is read is enough.
    """
    there = {_real(file) for folder in folders if folder.is_dir() for file in audio_files(folder)}
    named, wanted, asked, read = ({_real(entry.path) for entry in some} for some in stages)
    mended = {_real(entry.path) for entry in stages[-1] if entry.mended}
    parts = [
        ("read as they are", read - mended),
        ("put right and read", mended),
        ("refused", asked - read),
        ("left out by the protocol", wanted - asked),
        *([("of classes that are left out", named - wanted)] if wanted != named else []),
        ("left aside by the reader", there - named),
    ]
    counts = ", ".join(f"{len(files & there)} {what}" for what, files in parts)
    gone = len(named - there)
    return f"Of {len(there)} audio files on disk {counts}" + (f"; {gone} more are named and not there" if gone else "")


def _real(path: Path) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:  # a name that no file can have
        return str(path)


def _missing(before: list[Entry], after: list[Entry]) -> dict[str, int]:
    """How many utterances of each class went from one list to the next."""
    kept = {entry.id for entry in after}
    return dict(sorted(Counter(entry.emotion for entry in before if entry.id not in kept).items()))
