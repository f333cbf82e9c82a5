"""From a corpus on disk to its manifest: read, split, listen to every file, audit, write."""

import os
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.console import say
from gandistill.corpora import audio, splits
from gandistill.corpora.manifest import Entry, origin_path, write_manifest
from gandistill.corpora.tree import audio_files
from gandistill.errors import InputError, choices

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
    "synthetic",
)
"""The corpora: each is a module of this package with ``read``, ``NAME`` and ``LICENCE``, imported when it is asked."""
QUARANTINE = "quarantine.csv"
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
) -> list[Entry]:
    """Write the manifest of the corpus under ``root`` to ``out``, and its origin as JSON beside it.

    Without a ``protocol`` the split column is empty; with one, no ``fold`` means fold 1. With ``merge_dev`` dev
    trains too, as for the test results of the trajectory-matching and self-distillation papers. ``partition`` is a CSV
    for the protocol ``custom``, ``columns`` maps our column names to those of a tabular corpus. With ``skip_bad``
    unusable audio goes to ``quarantine.csv`` beside the manifest and is left out.

    Raises InputError, before anything is written, if something given is wrong, any audio is unusable (all of it is
    listed), or a speaker is in both train and test (unless naming speakers is what the protocol is for).
    """
    reader = _reader(corpus)
    if columns and corpus != "tabular":
        raise InputError(f"Column names can be given for a tabular corpus, not for {corpus}")
    if partition is not None and protocol != splits.CUSTOM:
        raise InputError(f"A partition file goes with the protocol {splits.CUSTOM}, not with {protocol or 'none'}")
    if fold is not None and protocol is None:
        raise InputError(f"Fold {fold} of what? A fold goes with a protocol, as in --protocol speaker-independent")
    if merge_dev and protocol is None:
        raise InputError("The dev part of what? It goes with a protocol, as in --protocol speaker-independent")
    fold = 1 if fold is None else fold
    _check_out(out, (root, partition))

    entries = reader.read(root, columns) if columns else reader.read(root)
    if partition is not None:
        entries = splits.with_partition(entries, partition)
    kept = splits.apply(protocol, corpus, entries, fold, seed) if protocol else _unsplit(entries)
    if merge_dev and all(entry.split != "dev" for entry in kept):
        raise InputError(f"Protocol {protocol} leaves no dev part that could train: prepare without merging it")
    kept = splits.merge_dev(kept) if merge_dev else kept
    usable = audio.check(kept, skip_bad, out.with_name(QUARANTINE))
    report = splits.audit(usable)
    say(str(report))
    splits.check_speakers(report, protocol)

    if root.is_dir():
        say(_account(audio_files(root), entries, kept, usable))
    write_manifest(out, usable)
    left_out = {"protocol": _missing(entries, kept), "bad audio": _missing(kept, usable)}
    origin = {"corpus": reader.NAME, "licence": reader.LICENCE}
    if protocol is not None:
        origin |= {"protocol": protocol, "fold": fold, "seed": seed} | (DEV_MERGED if merge_dev else {})
    artifacts.write_json(origin_path(out), origin | {"utterances": len(usable), "left_out": left_out})
    say(f"{reader.NAME}: {len(usable)} utterances in {out}")
    return usable


def _reader(corpus: str) -> Any:
    if corpus not in READERS:
        raise choices("corpus", corpus, READERS)
    return import_module(f"gandistill.corpora.{corpus}")


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


def _unsplit(entries: list[Entry]) -> list[Entry]:
    if any(entry.split for entry in entries):
        say(f"No protocol was asked for: the corpus's own split is not used (the protocol {splits.CUSTOM} uses it)")
    return [replace(entry, split="") for entry in entries]


def _account(there: list[Path], entries: list[Entry], kept: list[Entry], usable: list[Entry]) -> str:
    """Where every audio file of the corpus went."""
    named, asked, read = ({entry.path for entry in some} for some in (entries, kept, usable))
    parts = (("read", read), ("refused", asked - read), ("left out by the protocol", named - asked))
    counts = ", ".join(f"{len(files)} {what}" for what, files in parts)
    return f"Of {len(there)} audio files on disk {counts}, {len(set(there) - named)} left aside by the reader"


def _missing(before: list[Entry], after: list[Entry]) -> dict[str, int]:
    """How many utterances of each class went from one list to the next."""
    kept = {entry.id for entry in after}
    return dict(sorted(Counter(entry.emotion for entry in before if entry.id not in kept).items()))
