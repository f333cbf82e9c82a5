"""The audio of a corpus: judged, and read as mono, 16 kHz, float32."""

import math
import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from gandistill.console import say, track
from gandistill.corpora.manifest import Entry, write_table
from gandistill.errors import InputError

SAMPLE_RATE = 16_000
SUFFIXES = (".wav", ".flac")
SHORTEST_SECONDS = 0.025
RATES = (1_000, 384_000)
"""Sample rates in Hz that a speech recording can have; beyond them the header is damaged."""
DURATION_TOLERANCE = 0.05
"""Seconds by which a manifest's duration may differ from the file's: it forgives rounding to a tenth."""
STREAMED_BYTES = 0x7FFF_0000
"""WAV data sizes from here on are what programs write to a pipe, where they cannot know the size: not a promise."""
BLOCK_FRAMES = 2**18


class Reason(StrEnum):
    """Why an audio file cannot be used."""

    MISSING = "no such file"
    PERMISSION = "no read permission"
    UNREADABLE = "cannot be read"
    EMPTY = "empty file"
    HEADER_ONLY = "header only, no samples"
    NOT_AUDIO = "not audio"
    TRUNCATED = "truncated or damaged"
    SAMPLE_RATE = "absurd sample rate"
    CHANNELS = "zero channels"
    NO_CHANNEL = "no such channel"
    SHORT = f"shorter than {SHORTEST_SECONDS * 1000:.0f} ms"
    NOT_FINITE = "NaN or infinite samples"
    SILENT = "all samples are zero"
    TOO_SHORT = "too short for the upstream"
    DURATION = "wrong duration in the manifest"


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


def too_short(path: Path, samples: int, least: int) -> AudioError:
    """A clip of fewer samples at 16 kHz than the ``least`` that an upstream makes a frame of."""
    return AudioError(path, Reason.TOO_SHORT, f"{samples} samples at 16 kHz, it takes at least {least}")


def load(path: Path, channel: int | None = None) -> NDArray[np.float32]:
    """Samples [samples] of a WAV or FLAC file (or anything else libsndfile decodes), mono, 16 kHz, about -1..1.

    Of several channels the one asked for is taken (1 is the first), or their average: right for channels that carry
    the same sound or different speakers, wrong for microphones that stand apart, whose channels partly cancel, so the
    reader of such a corpus asks for one. Other sample rates are resampled by a polyphase filter. Raises AudioError.
    """
    return np.concatenate([*stream(path, channel)])


def stream(path: Path, channel: int | None = None) -> Iterator[NDArray[np.float32]]:
    """What ``load`` gives, to the bit, in blocks [samples], in memory that does not grow with the file.

    Raises AudioError, at the end of the file where the file as a whole is bad: truncated, too short, silent.
    """
    with _opened(path) as file:
        rate = file.samplerate
        blocks = _checked(path, _decoded(path, file, channel), rate)
        yield from blocks if rate == SAMPLE_RATE else _resampled(blocks, rate)


def promised_seconds(path: Path) -> float:
    """Seconds of audio that a file's header promises, 0 if it is no audio: for a first idea, since none is decoded."""
    try:
        with _opened(path) as file:
            return file.frames / file.samplerate
    except AudioError:
        return 0.0


def scan(entries: list[Entry], least: int = 1) -> tuple[list[Entry], list[AudioError]]:
    """Decode every file: the usable entries with their ``duration`` filled, and what is wrong with the others.

    Both in the manifest's order. An entry that says a duration must not differ from its file by more than
    ``DURATION_TOLERANCE``; a file must have ``least`` samples at 16 kHz.
    """
    with ThreadPool(os.cpu_count()) as pool:
        judged = list(
            track(pool.imap(partial(_judge, least=least), entries), "Checking audio", len(entries), unit="files")
        )
    good = [result for result in judged if isinstance(result, Entry)]
    return good, [result for result in judged if isinstance(result, AudioError)]


def check(entries: list[Entry], skip_bad: bool, quarantine: Path, least: int = 1) -> list[Entry]:
    """The usable entries, of at least so many samples at 16 kHz, durations filled.

    Bad files stop everything, all of them listed in one InputError; with ``skip_bad`` they are written to the CSV
    ``quarantine`` (id, path, reason) and left out, which is said. Raises InputError if no file is usable.
    """
    good, errors = scan(entries, least)
    problem = f"{len(errors)} of {len(entries)} files cannot be used"
    if errors and not (skip_bad and good):
        advice = " (--skip-bad leaves them out)" if good else ""
        raise InputError("\n".join([f"{problem}{advice}:", *map(str, errors)]))
    if skip_bad:
        usable = {entry.id for entry in good}
        bad = [entry for entry in entries if entry.id not in usable]
        rows = ((entry.id, str(entry.path), error.why) for entry, error in zip(bad, errors, strict=True))
        write_table(quarantine, ("id", "path", "reason"), rows)
    if errors:
        kinds = ", ".join(f"{count} {reason}" for reason, count in Counter(e.reason for e in errors).most_common())
        say(f"{problem} and are left out, see {quarantine}: {kinds}")
    return good


def _judge(entry: Entry, least: int) -> Entry | AudioError:
    try:
        samples = sum(map(len, stream(entry.path, entry.channel)))
    except AudioError as error:
        return error
    if samples < least:
        return too_short(entry.path, samples, least)
    seconds = samples / SAMPLE_RATE
    if entry.duration is not None and round(abs(entry.duration - seconds), 3) > DURATION_TOLERANCE:
        detail = f"the manifest says {entry.duration:.3f} s, the file has {seconds:.3f} s"
        return AudioError(entry.path, Reason.DURATION, detail)
    return replace(entry, duration=seconds)


def _check_header(path: Path) -> None:
    """Find what libsndfile forgives or cannot name: it reads a truncated WAV as if it were a shorter one."""
    with path.open("rb") as file:
        start = file.read(4)
        if not start:
            raise AudioError(path, Reason.EMPTY)
        if start == b"RIFF" and file.read(8)[4:] == b"WAVE":
            _check_wav(path, file)
        elif start == b"fLaC":
            _check_flac(path, file)


def _check_wav(path: Path, file: BinaryIO) -> None:
    """Walk the chunks of a WAV file up to its data."""
    while len(head := file.read(8)) == 8:
        chunk, promised = struct.unpack("<4sI", head)
        if chunk == b"data":
            _check_data(path, promised, path.stat().st_size - file.tell())
            return
        if chunk == b"fmt ":
            _check_format(path, file.read(16))
            file.seek(-16, os.SEEK_CUR)
        file.seek(promised + promised % 2, os.SEEK_CUR)
    raise AudioError(path, Reason.HEADER_ONLY, "it has no data chunk")


def _check_flac(path: Path, file: BinaryIO) -> None:
    """Walk the metadata blocks of a FLAC file up to its frames; block 0 holds the rate (20 bits) and length (36)."""
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


def _check_data(path: Path, promised: int, there: int) -> None:
    if there <= 0:
        raise AudioError(path, Reason.HEADER_ONLY)
    if promised == 0:
        raise AudioError(path, Reason.HEADER_ONLY, f"its header promises 0 bytes of samples, {there} follow")
    if there < promised < STREAMED_BYTES:
        raise AudioError(path, Reason.TRUNCATED, f"its header promises {promised} bytes of samples, {there} are there")


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """A file whose header promises audio, at its first sample."""
    try:
        _check_header(path)
        file = soundfile.SoundFile(path)
    except (FileNotFoundError, NotADirectoryError):
        raise AudioError(path, Reason.MISSING) from None
    except PermissionError:
        raise AudioError(path, Reason.PERMISSION) from None
    except OSError as error:
        raise AudioError(path, Reason.UNREADABLE, error.strerror or "") from None
    except ValueError as error:  # a name that no file can have, such as one with a NUL
        raise AudioError(path, Reason.UNREADABLE, str(error)) from None
    except soundfile.LibsndfileError as error:
        raise AudioError(path, Reason.NOT_AUDIO, _plain(error)) from None
    with file:
        _check_rate(path, file.samplerate)
        yield file


def _decoded(path: Path, file: soundfile.SoundFile, channel: int | None) -> Iterator[NDArray[np.float32]]:
    """Blocks [samples] of a channel, or of the average of all.

    A header may promise any size, so it is believed only once that many samples were there.
    """
    if channel is not None and not 1 <= channel <= file.channels:
        raise AudioError(path, Reason.NO_CHANNEL, f"channel {channel} is asked for, the file has {file.channels}")
    heard = slice(None) if channel is None else slice(channel - 1, channel)
    samples = 0
    try:
        while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
            samples += len(block)
            with np.errstate(invalid="ignore", over="ignore"):  # infinite samples are found afterwards
                mono = block[:, heard].mean(axis=1)
            yield mono
    except soundfile.LibsndfileError as error:
        raise AudioError(path, Reason.TRUNCATED, _plain(error)) from None
    if not samples:
        raise AudioError(path, Reason.HEADER_ONLY)
    if samples < file.frames:
        raise AudioError(path, Reason.TRUNCATED, f"its header promises {file.frames} samples, {samples} are there")


def _checked(path: Path, blocks: Iterable[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    """Pass blocks on, unless what they hold is no speech."""
    samples, silent = 0, True
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(path, Reason.NOT_FINITE)
        samples, silent = samples + len(block), silent and not block.any()
        yield block
    if samples < SHORTEST_SECONDS * rate:
        raise AudioError(path, Reason.SHORT, f"{1000 * samples / rate:.1f} ms")
    if silent:
        raise AudioError(path, Reason.SILENT)


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
