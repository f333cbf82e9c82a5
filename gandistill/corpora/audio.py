"""The audio of a corpus: judged, and read as mono, 16 kHz, float32."""

import hashlib
import math
import os
import re
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from gandistill.console import say, track
from gandistill.corpora.containers import CHECKED, OFF, Patched, may_follow, samples_of, says_length
from gandistill.corpora.forward import Forward
from gandistill.corpora.manifest import Entry, duration_cell, read_table, write_table
from gandistill.corpora.mpg123 import quiet
from gandistill.errors import InputError
from gandistill.files import dump_compact, sha256

File = soundfile.SoundFile | Forward
SAMPLE_RATE = 16_000
SUFFIXES = (".wav", ".flac", ".rf64", ".w64", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".sph", ".ogg", ".oga")
SUFFIXES += (".opus", ".mp3")
"""Of audio that is read, the best first: of one recording in several encodings that is the one."""
OTHER_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".webm", ".ac3", ".ape", ".wv", ".mka")
"""Of audio that is not."""
OTHER_STARTS = (b"....ftyp", b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR", b"MAC ", b"wvpk", b"\x0bw", b"\xff[\xf1\xf9]")
"""Patterns of how such files begin: MP4, Matroska, Windows Media, AMR, Monkey's Audio, WavPack, AC-3, AAC."""
MALFORMED = 3
"""libsndfile's number for a file of a kind that it reads which is damaged."""
SHORTEST_SECONDS = 0.025
RATES = (1_000, 384_000)
"""Sample rates in Hz that a speech recording can have; beyond them the header is damaged."""
ROUNDED = SAMPLE_RATE // 1000
"""Samples by which the duration in a manifest may be off, at the most."""
DURATION_TOLERANCE = 0.05
"""Seconds by which a manifest's duration may differ from the file's: it forgives rounding to a tenth."""
QUARANTINED = ("id", "path", "reason")
LFS_POINTER = b"version https://git-lfs"
FULL_SCALE = 32.0
"""Beyond it float samples are not between -1 and 1 with some overshoot, but whole numbers of another scale."""
CANCELLED, APART = 0.01, 0.75
"""Of the power of a file's channels what their average has at the most where they cancel, and where they differ."""
STEPS = {"PCM_U8": 2.0**-7, "PCM_S8": 2.0**-7, "PCM_16": 2.0**-15}
"""Between two sample values, where silence may toggle: by libsndfile's names of encodings."""
BLOCK_FRAMES = 2**18
SILENCE = 1e-3


class Reason(StrEnum):
    """Why an audio file cannot be used."""

    MISSING = "no such file"
    PERMISSION = "no read permission"
    UNREADABLE = "cannot be read"
    EMPTY = "empty file"
    HEADER_ONLY = "header only, no samples"
    NOT_AUDIO = "not audio"
    OTHER_KIND = "audio of a kind that is not read"
    LFS_POINTER = "a Git LFS pointer, not the audio"
    CONTAINER = "a container whose length cannot be checked"
    TRUNCATED = "truncated or damaged"
    MORE = "more samples than its header promises"
    SAMPLE_RATE = "absurd sample rate"
    CHANNELS = "zero channels"
    NO_CHANNEL = "no such channel"
    SEGMENT = "segment outside the file"
    SHORT = f"shorter than {SHORTEST_SECONDS * 1000:.0f} ms"
    NOT_FINITE = "NaN or infinite samples"
    SILENT = "all samples are zero"
    CONSTANT = "no sound, all samples have one value"
    SCALE = "float samples beyond full scale"
    CANCEL = "channels that cancel each other"
    TOO_SHORT = "too short for the upstream"
    DURATION = "wrong duration in the manifest"


class Note(StrEnum):
    """What should be known of an audio file that is read; said of so many files."""

    UNCLOSED = "promise no samples in their headers, as recordings that were not closed do: read to their ends"
    MISSIZED = "promise sizes that are off by a header: read to their ends"
    DEAD = "have a channel that holds one value: it takes no part in the average of the others"
    APART = "have channels that differ much, which are averaged (--channel 1 takes one alone)"


MENDED = (Note.UNCLOSED, Note.MISSIZED, Note.DEAD)
"""What was put right, as the last of the notes is not."""


class AudioError(InputError):
    """An audio file that cannot be used: its ``path``, the ``reason``, and ``detail`` where there is more to say."""

    def __init__(self, path: Path, reason: Reason, detail: str = "") -> None:
        self.path, self.reason = path, reason
        self.detail = " ".join(detail.split())
        super().__init__(path, reason, self.detail)  # what a copy in another process is built from

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"

    @property
    def why(self) -> str:
        """Reason and detail, without the path."""
        return f"{self.reason} ({self.detail})" if self.detail else str(self.reason)

    def of(self, entry: Entry) -> "AudioError":
        """The same error, which says where in its file the utterance lies if it is a segment of it."""
        if entry.segment is None:
            return self
        return AudioError(
            self.path, self.reason, ", ".join(filter(None, (self.detail, f"of {entry.id!r}, {entry.segment}")))
        )


def too_short(path: Path, samples: int, least: int) -> AudioError:
    """A clip of fewer samples at 16 kHz than the ``least`` that an upstream makes a frame of."""
    return AudioError(path, Reason.TOO_SHORT, f"{samples} samples at 16 kHz, it takes at least {least}")


def load(path: Path, channel: int | None = None) -> NDArray[np.float32]:
    """Samples [samples] of an audio file, mono, 16 kHz, about -1..1.

    Of several channels the one asked for is taken (1 is the first), or their average: right for channels that carry
    the same sound or different speakers, wrong for microphones that stand apart, whose channels partly cancel, so the
    reader of such a corpus asks for one. Channels that hold one value other than 0 take no part, and those that cancel
    each other are refused. A WAV that promises no samples, or is wrong by a header's length, is read to its end. Other
    sample rates are resampled by a polyphase filter. Raises AudioError.
    """
    return np.concatenate([*stream(path, channel)])


def stream(
    path: Path,
    channel: int | None = None,
    notes: list[Note] | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Iterator[NDArray[np.float32]]:
    """What ``load`` gives, to the bit, in blocks [samples], in memory that does not grow with the file.

    From second ``start`` to second ``end`` where they are given, as if a file held these alone. What should be known of
    the file is added to ``notes``. Raises AudioError, at the end of the file where the file as a whole is bad:
    truncated, too short, silent.
    """
    notes = [] if notes is None else notes
    with _opened(path, notes) as file:
        yield from _excerpt(path, file, _place(path, file, start, end), channel, notes)


def load_utterance(entry: Entry) -> NDArray[np.float32]:
    """``load`` of what an entry is of its file: its channel, from its start to its end. Raises AudioError."""
    return np.concatenate([*stream_utterance(entry)])


def stream_utterance(entry: Entry, notes: list[Note] | None = None) -> Iterator[NDArray[np.float32]]:
    """``stream`` of what an entry is of its file. Raises AudioError, which says where in the file."""
    try:
        yield from stream(entry.path, entry.channel, notes, entry.start, entry.end)
    except AudioError as error:
        raise error.of(entry) from None


def load_segments(entries: Iterable[Entry]) -> Iterator[tuple[Entry, NDArray[np.float32] | AudioError, list[Note]]]:
    """``load_utterance`` of segments of one file, by their starts, with what should be known of it.

    The file is decoded once for all of them; in memory is one at a time, and what others have of its seconds.
    """
    segments, notes = sorted(entries, key=lambda entry: entry.start or 0.0), list[Note]()
    try:
        with _opened(segments[0].path, notes) as file:
            forward = Forward(file)
            for entry in segments:
                said = [*notes]
                yield entry, _segment(forward, entry, said), said
    except AudioError as error:  # of opening it: what is wrong with one segment is its own
        yield from ((entry, error.of(entry), []) for entry in segments)


def by_file(entries: Sequence[Entry]) -> list[list[int]]:
    """Numbers of the utterances that are decoded together: segments of one file, each other one alone."""
    groups = defaultdict[Path | int, list[int]](list)
    for number, entry in enumerate(entries):
        groups[number if entry.segment is None else entry.path].append(number)
    return list(groups.values())


def loaders(entries: Sequence[Entry]) -> Iterator[Callable[[], NDArray[np.float32]]]:
    """What gives the samples of each utterance, in order; segments are decoded as the first of their file is reached.

    What it gives raises AudioError.
    """
    group_of = {number: group for group in by_file(entries) for number in group}
    held = dict[str, NDArray[np.float32] | AudioError]()
    for number, entry in enumerate(entries):
        if entry.segment is None:
            yield partial(load_utterance, entry)
            continue
        if entry.id not in held:
            held |= {other.id: found for other, found, _ in load_segments(entries[n] for n in group_of[number])}
        yield partial(_given, held.pop(entry.id))


@dataclass(frozen=True)
class Sound:
    """What one clip is: its hash, samples at 16 kHz, rate in Hz and channels of its file, peak, silent share 0 to 1."""

    hash: str
    samples: int
    rate: int
    channels: int
    peak: float
    silent: float


def listen(entries: Sequence[Entry]) -> list[Sound | AudioError]:
    """What utterances sound like, or what is wrong with them: silent are 20 ms whose samples all lie below -60 dBFS."""
    return [_listen(entry, load) for entry, load in zip(entries, loaders(entries), strict=True)]


def promised_seconds(path: Path) -> float:
    """Seconds of audio that a file's header promises, 0 if it is no audio: for a first idea, since none is decoded."""
    try:
        with _opened(path, []) as file:
            return file.frames / file.samplerate
    except AudioError:
        return 0.0


def scan(entries: list[Entry], least: int = 1) -> tuple[list[Entry], list[AudioError]]:
    """Judge every file: the usable entries, their duration and hashes filled, and what is wrong with the others.

    Both in the manifest's order. Each file is read, and decoded unless its entry was ``checked`` as it is. An entry
    that says a duration must not differ from its file by more than ``DURATION_TOLERANCE``; a file must have ``least``
    samples at 16 kHz. What should be known of usable files that were decoded is said.
    """
    groups, verdicts = by_file(entries), dict[int, tuple[Entry | AudioError, list[Note]]]()
    with ThreadPool(os.cpu_count()) as pool:
        found = pool.imap(partial(_judge, least=least), ([entries[n] for n in group] for group in groups))
        numbered = (
            pair for group, of_group in zip(groups, found, strict=True) for pair in zip(group, of_group, strict=True)
        )
        verdicts.update(track(numbered, "Checking audio", len(entries), unit="files"))
    judged = [verdicts[number] for number in range(len(entries))]
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


def _listen(entry: Entry, load: Callable[[], NDArray[np.float32]]) -> Sound | AudioError:
    try:
        samples = load()
        with _opened(entry.path, []) as file:
            rate, channels = file.samplerate, file.channels
    except AudioError as error:
        return error
    size, digest = np.abs(samples), hashlib.sha256(samples.tobytes()).hexdigest()
    loudest = np.maximum.reduceat(size, np.arange(0, len(size), SAMPLE_RATE // 50))
    return Sound(digest, len(size), rate, channels, float(size.max()), float((loudest < SILENCE).mean()))


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


def _segment(file: Forward, entry: Entry, notes: list[Note]) -> NDArray[np.float32] | AudioError:
    try:
        place = _place(entry.path, file, entry.start, entry.end)
        file.since(place.start)
        return np.concatenate([*_excerpt(entry.path, file, place, entry.channel, notes)])
    except AudioError as error:
        return error.of(entry)


def _given(found: NDArray[np.float32] | AudioError) -> NDArray[np.float32]:
    if isinstance(found, AudioError):
        raise found
    return found


def _excerpt(
    path: Path, file: File, place: range, channel: int | None, notes: list[Note]
) -> Iterator[NDArray[np.float32]]:
    """Frames of an open file as blocks [samples], mono, 16 kHz. Raises AudioError."""
    rate, step = file.samplerate, STEPS.get(file.subtype, 0.0)
    heard = _heard(path, file, place, channel, notes)
    blocks = _checked(path, _decoded(path, file, place, heard), rate, step)
    yield from blocks if rate == SAMPLE_RATE else _resampled(blocks, rate)


def _check_header(path: Path) -> None:
    """Find what libsndfile forgives or cannot name."""
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
        if not start:
            raise AudioError(path, Reason.EMPTY)
        if start == LFS_POINTER:
            raise AudioError(path, Reason.LFS_POINTER, "'git lfs pull' fetches it")
        if any(re.match(pattern, start, re.DOTALL) for pattern in OTHER_STARTS):
            raise AudioError(path, Reason.OTHER_KIND, "convert it to WAV or FLAC")
        if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
            _check_wav(path, file)
        elif start[:4] == b"fLaC":
            _check_flac(path, file)


def _check_wav(path: Path, file: BinaryIO) -> None:
    """Walk the chunks of a WAV file up to its data."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        chunk, size = struct.unpack("<4sI", head)
        if chunk == b"data":
            return
        if chunk == b"fmt ":
            _check_format(path, file.read(16))
            file.seek(-16, os.SEEK_CUR)
        file.seek(size + size % 2, os.SEEK_CUR)
    raise AudioError(path, Reason.HEADER_ONLY, "it has no data chunk")


def _check_flac(path: Path, file: BinaryIO) -> None:
    """Walk the metadata blocks of a FLAC file up to its frames; block 0 holds the rate (20 bits) and length (36)."""
    file.seek(4)
    last, length_known = False, True
    while not last and len(head := file.read(4)) == 4:
        last, length = head[0] >= 0x80, int.from_bytes(head[1:])
        block = file.read(length)
        if head[0] & 0x7F == 0 and len(block) >= 18:
            _check_rate(path, int.from_bytes(block[10:13]) >> 4)
            length_known = int.from_bytes(block[13:18]) & (2**36 - 1) > 0
    if not file.read(1):
        raise AudioError(path, Reason.HEADER_ONLY)
    if not length_known:  # written to a pipe; libsndfile cannot read it
        raise AudioError(path, Reason.UNREADABLE, "its header leaves the length open, encode it anew")


def _check_format(path: Path, format: bytes) -> None:
    if len(format) < 16:
        raise AudioError(path, Reason.HEADER_ONLY, "its format chunk is cut short")
    _, channels, rate = struct.unpack("<HHI", format[:8])
    if channels == 0:
        raise AudioError(path, Reason.CHANNELS)
    _check_rate(path, rate)


def _check_rate(path: Path, rate: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(path, Reason.SAMPLE_RATE, f"{rate} Hz, expected {RATES[0]} to {RATES[1]}")


def _mended(path: Path, notes: list[Note]) -> Path | Patched:
    """What is to be decoded of a file: itself, or a WAV file with a size that is put right, which is noted.

    Raises AudioError if there are fewer bytes of samples than promised, or more than can be anything else.
    """
    samples = samples_of(path)
    if samples is None:
        return path
    promised, there = samples.promised, path.stat().st_size - samples.start
    if there <= 0:
        raise AudioError(path, Reason.HEADER_ONLY)
    if promised is None or promised == there:
        return path
    promise = f"its header promises {promised} bytes of samples"
    if promised > there:
        if samples.field and promised - there in OFF:  # libsndfile reads to the end of the file
            notes.append(Note.MISSIZED)
            return path
        raise AudioError(path, Reason.TRUNCATED, f"{promise}, {there} are there")
    if may_follow(path, samples.start + promised + promised % 2, samples.chunk):
        if promised:
            return path
        raise AudioError(path, Reason.HEADER_ONLY, promise)
    if samples.field and (promised == 0 or there - promised in OFF):
        notes.append(Note.MISSIZED if promised else Note.UNCLOSED)
        return Patched(path, samples.field, struct.pack("<I", there))
    raise AudioError(path, Reason.MORE, f"{promise}, {there} are there")


@contextmanager
def _opened(path: Path, notes: list[Note]) -> Iterator[soundfile.SoundFile]:
    """A file whose header promises audio, at its first sample; what had to be mended is added to ``notes``."""
    with ExitStack() as stack:
        try:
            _check_header(path)
            mended = _mended(path, notes)
            if isinstance(mended, Patched):
                stack.enter_context(mended)
            if path.suffix.lower() == ".mp3":
                stack.enter_context(quiet())
            file = stack.enter_context(soundfile.SoundFile(mended))
        except (FileNotFoundError, NotADirectoryError):
            raise AudioError(path, Reason.MISSING) from None
        except PermissionError:
            raise AudioError(path, Reason.PERMISSION) from None
        except OSError as error:
            raise AudioError(path, Reason.UNREADABLE, error.strerror or "") from None
        except ValueError as error:  # a name that no file can have, such as one with a NUL
            raise AudioError(path, Reason.UNREADABLE, str(error)) from None
        except soundfile.LibsndfileError as error:
            reason = Reason.TRUNCATED if error.code == MALFORMED else Reason.NOT_AUDIO
            raise AudioError(path, reason, _plain(error)) from None
        if file.format not in CHECKED:
            raise AudioError(path, Reason.CONTAINER, f"{file.format}: convert it to WAV or FLAC")
        _check_rate(path, file.samplerate)
        yield file


def _place(path: Path, file: File, start: float | None, end: float | None) -> range:
    """The frames of a file from second ``start`` to second ``end``; an end that was rounded up is the file's."""
    if start is None and end is None:
        return range(file.frames)
    length = file.frames / file.samplerate
    if max(start or 0.0, (end or 0.0) - DURATION_TOLERANCE) >= length:
        asked = f"it starts at {start or 0.0:.3f} s" + ("" if end is None else f" and ends at {end:.3f} s")
        raise AudioError(path, Reason.SEGMENT, f"{asked}, the file ends at {length:.3f} s")
    first = round((start or 0.0) * file.samplerate)
    last = file.frames if end is None else min(round(end * file.samplerate), file.frames)
    return range(first, last)


def _heard(path: Path, file: File, place: range, channel: int | None, notes: list[Note]) -> list[int]:
    """The channels, from 0, whose average is heard: the one asked for, or all but those that hold one value.

    A channel of zeros stays, so that a voice panned to one side keeps its level. Raises AudioError for a channel that
    is not there, or channels whose average has less than a hundredth of their power.
    """
    if channel is not None:
        if not 1 <= channel <= file.channels:
            raise AudioError(path, Reason.NO_CHANNEL, f"channel {channel} is asked for, the file has {file.channels}")
        return [channel - 1]
    if file.channels == 1:
        return [0]
    lowest, highest = np.full(file.channels, np.inf), np.full(file.channels, -np.inf)
    products, sums, count = np.zeros((file.channels, file.channels)), np.zeros(file.channels), 0
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # infinite samples are found afterwards
            for block in _blocks(file, place, "float64"):
                lowest, highest = np.minimum(lowest, block.min(0)), np.maximum(highest, block.max(0))
                products, sums, count = products + block.T @ block, sums + block.sum(0), count + len(block)
            covariance = products / max(count, 1) - np.outer(sums, sums) / max(count, 1) ** 2
    except soundfile.LibsndfileError as error:
        raise AudioError(path, Reason.TRUNCATED, _plain(error)) from None
    live = np.flatnonzero((lowest != highest) | (lowest == 0)).tolist()
    if not live or not np.isfinite(covariance).all():
        return list(range(file.channels))
    if len(live) < file.channels:
        notes.append(Note.DEAD)
    among = covariance[np.ix_(live, live)]
    power, averaged = among.diagonal().mean(), among.mean()
    if averaged < CANCELLED * power:
        raise AudioError(path, Reason.CANCEL, "choose one: a column channel of the table, or --channel 1")
    if averaged < APART * power:
        notes.append(Note.APART)
    return live


def _blocks(file: File, place: range, dtype: Literal["float32", "float64"]) -> Iterator[NDArray[Any]]:
    """Blocks [frames, channels] of a place in a file."""
    if not file.seekable():  # GSM 6.10 in WAV, which is mono: never looked at twice
        file.read(place.start, dtype, True)
    elif file.tell() != place.start:
        file.seek(place.start)
    left = len(place) if place.stop < file.frames else sys.maxsize  # a header may promise less than there is
    while left > 0 and len(block := file.read(min(left, BLOCK_FRAMES), dtype=dtype, always_2d=True)):
        left -= len(block)
        yield block


def _decoded(path: Path, file: File, place: range, heard: list[int]) -> Iterator[NDArray[np.float32]]:
    """Blocks [samples] of the average of these channels, from 0.

    A header may promise any size, so it is believed only once that many samples were there.
    """
    samples = 0
    try:
        for block in _blocks(file, place, "float32"):
            samples += len(block)
            with np.errstate(invalid="ignore", over="ignore"):  # infinite samples are found afterwards
                mono = block[:, heard].mean(axis=1)
            yield mono
    except soundfile.LibsndfileError as error:
        raise AudioError(path, Reason.TRUNCATED, _plain(error)) from None
    if not samples:
        if file.format == "OGG":  # whose length is on its last page
            raise AudioError(path, Reason.TRUNCATED, "its last page is missing")
        raise AudioError(path, Reason.HEADER_ONLY)
    if samples < len(place) and (file.format != "MP3" or says_length(path)):
        raise AudioError(path, Reason.TRUNCATED, f"its header promises {len(place)} samples, {samples} are there")


def _checked(
    path: Path, blocks: Iterable[NDArray[np.float32]], rate: int, step: float
) -> Iterator[NDArray[np.float32]]:
    """Pass blocks on, unless what they hold is no speech; samples that move by one ``step`` alone are silence."""
    samples, lowest, highest = 0, math.inf, -math.inf
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(path, Reason.NOT_FINITE)
        samples, lowest, highest = samples + len(block), min(lowest, block.min()), max(highest, block.max())
        if max(-lowest, highest) > FULL_SCALE:
            detail = f"they reach {max(-lowest, highest):,.0f}, expected -1 to 1: divide by the scale they are of"
            raise AudioError(path, Reason.SCALE, detail)
        yield block
    if samples < SHORTEST_SECONDS * rate:
        raise AudioError(path, Reason.SHORT, f"{1000 * samples / rate:.1f} ms")
    if lowest == highest == 0:
        raise AudioError(path, Reason.SILENT)
    if highest - lowest <= step:
        raise AudioError(path, Reason.CONSTANT)


def _plain(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")


def _resampled(blocks: Iterable[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    """Blocks [samples] at 16 kHz of blocks at another rate, the same bits however those are cut.

    ``down`` samples become ``up``. A block is resampled between the samples before and after it that the filter sees,
    zeros at both ends of the file: scipy's is 20 max(up, down) + 1 long at ``up`` times the rate.
    """
    from scipy.signal import resample_poly

    common = math.gcd(SAMPLE_RATE, rate)
    up, down = SAMPLE_RATE // common, rate // common
    seen = 10 * max(up, down) // up + 1
    margin = -(-seen // down)  # in steps of ``down`` samples, which become ``up`` of the output
    around = np.zeros(margin * down, np.float32)
    held = around

    def resampled(steps: int) -> NDArray[np.float32]:
        samples = resample_poly(held, up, down)
        return samples[margin * up : (margin + steps) * up].astype(np.float32)

    for block in blocks:
        held = np.concatenate([held, block])
        steps = len(held) // down - 2 * margin
        if steps > 0:
            yield resampled(steps)
            held = held[steps * down :]
    left = len(held) - len(around)
    held = np.concatenate([held, around, around])
    yield resampled(-(-left // down))[: -(-left * up // down)]
