"""Judging the audio of a corpus: what is usable, what is wrong with the rest, and where that is listed."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gandistill.console import say
from gandistill.corpora.audio import DURATION_TOLERANCE, SAMPLE_RATE, load_segments, map_by_file, stream_utterance
from gandistill.corpora.faults import MENDED, AudioError, Note, Reason, too_short
from gandistill.corpora.manifest import Entry, duration_cell, read_table, write_table
from gandistill.errors import InputError
from gandistill.files import dump_compact, sha256

ROUNDED = SAMPLE_RATE // 1000
"""Samples by which the duration in a manifest may be off, at the most."""
QUARANTINE = "quarantine.csv"
"""Beside a manifest: what was left out of it."""
QUARANTINED = ("id", "path", "reason")


def scan(entries: list[Entry], least: int = 1) -> tuple[list[Entry], list[AudioError]]:
    """Judge every file: the usable entries, their duration and hashes filled, and what is wrong with the others.

    Both in the manifest's order. Each file is read, and decoded unless its entry was ``checked`` as it is. An entry
    that says a duration must not differ from its file by more than ``DURATION_TOLERANCE``; a file must have ``least``
    samples at 16 kHz. What should be known of usable files that were decoded is said.
    """
    judged = map_by_file(partial(_judge, least=least), entries, "Checking audio")
    good = [replace(e, mended=any(note in MENDED for note in notes)) for e, notes in judged if isinstance(e, Entry)]
    for note in Note:
        noted = [result.path for result, notes in judged if isinstance(result, Entry) and note in notes]
        if noted:
            say(f"{len(noted)} of {len(entries)} files {note}; the first is {noted[0]}")
    return good, [result for result, _ in judged if isinstance(result, AudioError)]


def check(entries: list[Entry], skip_bad: bool, quarantine: Path, least: int = 1, earlier: bool = False) -> list[Entry]:
    """The usable entries, of at least so many samples at 16 kHz, durations filled.

    Bad files stop everything, all of them listed in one InputError; with ``skip_bad`` they are written to the CSV
    ``quarantine`` (id, path, reason) and left out, which is said; with ``earlier`` what it lists of others stays, which
    an earlier command has left out. Raises InputError if no file is usable.
    """
    good, errors = scan(entries, least)
    problem = f"{len(errors)} of {len(entries)} files cannot be used"
    if errors and not (skip_bad and good):
        advice = " (--skip-bad leaves them out)" if good else ""
        raise InputError("\n".join([f"{problem}{advice}:", *map(str, errors)]))
    if skip_bad:
        usable = {entry.id for entry in good}
        bad = [entry for entry in entries if entry.id not in usable]
        rows = [(entry.id, str(entry.path), error.why) for entry, error in zip(bad, errors, strict=True)]
        if earlier and quarantine.is_file():
            listed, known = read_table(quarantine, QUARANTINED, multiline=True), {entry.id for entry in entries}
            rows = [tuple(row.cells.values()) for row in listed if row.cells["id"] not in known] + rows
        write_table(quarantine, QUARANTINED, rows)
    if errors:
        kinds = ", ".join(f"{count} {reason}" for reason, count in Counter(e.reason for e in errors).most_common())
        say(f"{problem} and are left out, see {quarantine}: {kinds}")
    return good


def _judge(entries: Sequence[Entry], least: int) -> list[tuple[Entry | AudioError, list[Note]]]:
    """A verdict on an utterance, or on segments of one file, and what should be known of the file."""
    try:
        content = sha256(entries[0].path)
    except InputError:
        content = ""  # what it lacks is said by who decodes it
    entries = [replace(entry, sha256=content) for entry in entries]
    if all(entry.checked and entry.checked == _seal(entry) and _surely(entry, least) for entry in entries):
        return [(entry, []) for entry in entries]
    if entries[0].segment is None:
        notes = list[Note]()
        return [(_verdict(entry, stream_utterance(entry, notes), least), notes) for entry in entries]
    judged = {
        entry.id: (found if isinstance(found, AudioError) else _verdict(entry, [found], least), notes)
        for entry, found, notes in load_segments(entries)
    }
    return [judged[entry.id] for entry in entries]


def _verdict(entry: Entry, blocks: Iterable[NDArray[np.float32]], least: int) -> Entry | AudioError:
    """The utterance with its duration and the hash of its sound, by its samples in blocks, or what is wrong with it."""
    samples, sound = 0, hashlib.sha256()
    try:
        for block in blocks:
            samples += len(block)
            sound.update(block.tobytes())
    except AudioError as error:
        return error
    if samples < least:
        return too_short(entry.path, samples, least).of(entry)
    seconds = samples / SAMPLE_RATE
    if entry.duration is not None and round(abs(entry.duration - seconds), 3) > DURATION_TOLERANCE:
        detail = f"the manifest says {entry.duration:.3f} s, the file has {seconds:.3f} s"
        return AudioError(entry.path, Reason.DURATION, detail).of(entry)
    good = replace(entry, duration=seconds, sound=sound.hexdigest())
    return replace(good, checked=_seal(good))


def _seal(entry: Entry) -> str:
    """Hash of what decides that an utterance is good: its file's content, its excerpt, and the duration found."""
    return hashlib.sha256(dump_compact([entry.sha256, *entry.excerpt, duration_cell(entry)]).encode()).hexdigest()


def _surely(entry: Entry, least: int) -> bool:
    """Whether a duration that a manifest rounds is of ``least`` samples, however it was rounded."""
    return (entry.duration or 0.0) * SAMPLE_RATE >= least + ROUNDED
