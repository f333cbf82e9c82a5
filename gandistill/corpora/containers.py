"""What an audio file's container promises, held against the bytes that are there.

libsndfile reads a file that was cut in half as a shorter one, and stops where a header says so even if more samples
follow. So the size of the samples is found here, container by container; what has none that can be checked is refused.
FLAC and MP3 are checked as they are decoded.
"""

import io
import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gandistill.corpora.faults import AudioError, Note, Reason

CHECKED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")
"""libsndfile's names of the containers that are read."""
LFS_POINTER = b"version https://git-lfs"
OTHER_STARTS = (b"....ftyp", b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR", b"MAC ", b"wvpk", b"\x0bw", b"\xff[\xf1\xf9]")
"""How audio begins that is not read, as patterns: MP4, Matroska, Windows Media, AMR, Monkey's, WavPack, AC-3, AAC."""
RATES = (1_000, 384_000)
"""Sample rates in Hz that a speech recording can have; beyond them the header is damaged."""
STREAMED_BYTES = 0x7FFF_0000
"""WAV data sizes from here on are what programs write to a pipe, where they cannot know the size: not a promise."""
OFF = (8, 28, 36, 44)
"""Bytes by which writers misjudge the size of the samples: parts of a header of 44, or all of it."""
NIST_SIZES = (b"sample_count", b"channel_count", b"sample_n_bytes")
RIFF, AIFF, CAF, W64 = "<4sI", ">4sI", ">4sq", "<4s12xQ"
"""How struct reads the head of a chunk, its name and size."""
ID3_HEADER = 10
MOST_BYTES = 2**62
"""More than any file has: what a damaged header may say, and no seek can follow."""


@dataclass(frozen=True)
class Samples:
    """Where the samples of a file begin, in bytes, and how many bytes of them are promised; None: it is left open.

    ``chunk`` is how struct reads the name and size of a chunk that may follow; "": none may. ``field`` is where a plain
    WAV promises, in four bytes; 0 in other containers, whose promises are not put right.
    """

    start: int
    promised: int | None
    chunk: str = ""
    field: int = 0


class Patched(io.FileIO):
    """A file for reading, four bytes of which are others."""

    def __init__(self, path: Path, at: int, value: bytes) -> None:
        super().__init__(path)
        self._at, self._value = at, value

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        start = self.tell()
        count = super().readinto(buffer) or 0
        for place, byte in enumerate(self._value, self._at):
            if start <= place < start + count:
                memoryview(buffer)[place - start : place - start + 1] = bytes([byte])
        return count


def mended(path: Path, notes: list[Note]) -> Path | Patched:
    """What is to be decoded of a file: itself, or a WAV file with a size that is put right, which is noted.

    Raises AudioError for what libsndfile forgives or cannot name, if there are fewer bytes of samples than promised, or
    more than can be anything else.
    """
    _check_header(path)
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
    if _may_follow(path, samples.start + promised + promised % 2, samples.chunk):
        if promised:
            return path
        raise AudioError(path, Reason.HEADER_ONLY, promise)
    if samples.field and (promised == 0 or there - promised in OFF):
        notes.append(Note.MISSIZED if promised else Note.UNCLOSED)
        return Patched(path, samples.field, struct.pack("<I", there))
    raise AudioError(path, Reason.MORE, f"{promise}, {there} are there")


def samples_of(path: Path) -> Samples | None:
    """What a container promises; None if it is of another kind, or ends before its samples. Raises OSError."""
    with path.open("rb") as file:
        finder = FINDERS.get(file.read(4))
        try:
            return finder(file) if finder else None
        except (struct.error, ValueError, IndexError):  # it ends within what was to be read, or says no number
            return None


def check_rate(path: Path, rate: int) -> None:
    """Raise AudioError for a sample rate in Hz that no recording of speech has."""
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(path, Reason.SAMPLE_RATE, f"{rate} Hz, expected {RATES[0]} to {RATES[1]}")


def says_length(path: Path) -> bool:
    """Whether an MP3 file begins with a frame that counts the others; else libsndfile guesses, many times too much."""
    with path.open("rb") as file:
        head = file.read(ID3_HEADER)
        if head[:3] == b"ID3" and len(head) == ID3_HEADER:
            size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
            file.seek(ID3_HEADER + size)
        else:
            file.seek(0)
        frame = file.read(256)
        return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


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
    for chunk, _ in _chunks(file, RIFF):
        if chunk == b"data":
            return
        if chunk == b"fmt ":
            format = file.read(16)
            if len(format) < 16:
                raise AudioError(path, Reason.HEADER_ONLY, "its format chunk is cut short")
            _, channels, rate = struct.unpack_from("<HHI", format)
            if channels == 0:
                raise AudioError(path, Reason.CHANNELS)
            check_rate(path, rate)
    raise AudioError(path, Reason.HEADER_ONLY, "it has no data chunk")


def _check_flac(path: Path, file: BinaryIO) -> None:
    """Walk the metadata blocks of a FLAC file up to its frames; block 0 holds the rate (20 bits) and length (36)."""
    file.seek(4)
    last, length_known = False, True
    while not last and len(head := file.read(4)) == 4:
        last, length = head[0] >= 0x80, int.from_bytes(head[1:])
        block = file.read(length)
        if head[0] & 0x7F == 0 and len(block) >= 18:
            check_rate(path, int.from_bytes(block[10:13]) >> 4)
            length_known = int.from_bytes(block[13:18]) & (2**36 - 1) > 0
    if not file.read(1):
        raise AudioError(path, Reason.HEADER_ONLY)
    if not length_known:  # written to a pipe; libsndfile cannot read it
        raise AudioError(path, Reason.UNREADABLE, "its header leaves the length open, encode it anew")


def _may_follow(path: Path, start: int, chunk: str) -> bool:
    """Whether what lies behind samples, from byte ``start``, is none of them: a chunk, a tag, zeros, or nothing."""
    with path.open("rb") as file:
        file.seek(start)
        tail = file.read(max(struct.calcsize(chunk), 1))
        left = path.stat().st_size - start
        if chunk and len(tail) == struct.calcsize(chunk):
            name, size = struct.unpack(chunk, tail)
            if re.match(rb"[ -~]{4}", name) and size <= left:
                return True
        return (tail[:3] == b"TAG" and left == 128) or not any(tail + file.read())


def _chunks(file: BinaryIO, head: str, even: int = 2, counted: int = 0) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk, the file being at its content, up to a size that none has.

    ``head`` is how struct reads them. A size counts ``counted`` bytes of the head too, and what is stored is filled up
    to a multiple of ``even``.
    """
    while len(read := file.read(struct.calcsize(head))) == struct.calcsize(head):
        name, size = struct.unpack(head, read)
        content = file.tell()
        yield name, size - counted
        if not counted <= size < MOST_BYTES:
            return
        file.seek(content + size - counted + -size % even)


def _riff(file: BinaryIO) -> Samples | None:
    """RIFF and RF64, whose ``ds64`` says the size that four bytes cannot."""
    if file.read(8)[4:] != b"WAVE":
        return None
    wide = None
    for name, promised in _chunks(file, RIFF):
        start = file.tell()
        if name == b"ds64":
            wide = struct.unpack("<8xQ", file.read(16))[0]
        if name == b"data" and promised >= STREAMED_BYTES:
            return Samples(start, wide, RIFF)
        if name == b"data":
            return Samples(start, promised, RIFF, field=start - 4)
    return None


def _aiff(file: BinaryIO) -> Samples | None:
    if file.read(8)[4:7] != b"AIF":
        return None
    for name, promised in _chunks(file, AIFF):
        if name == b"SSND":  # two numbers come before the samples
            return Samples(file.tell() + 8, max(promised - 8, 0), AIFF)
    return None


def _au(file: BinaryIO) -> Samples:
    start, promised = struct.unpack(">II", file.read(8))
    return Samples(start, None if promised == 2**32 - 1 else promised)


def _caf(file: BinaryIO) -> Samples | None:
    file.read(4)
    for name, promised in _chunks(file, CAF, even=1):
        if name == b"data":  # a number comes before the samples
            return Samples(file.tell() + 4, None if promised < 0 else promised - 4, CAF)
    return None


def _w64(file: BinaryIO) -> Samples | None:
    """Its names are GUIDs, of which the first four bytes are the old ones, and a size counts its own chunk's head."""
    file.seek(40)
    for name, promised in _chunks(file, W64, even=8, counted=24):
        if name == b"data":
            return Samples(file.tell(), max(promised, 0), W64)
    return None


def _nist(file: BinaryIO) -> Samples | None:
    start = int(file.read(12).split()[-1])
    text = file.read(start)
    sizes = [re.search(rb"^%s -\w+ (\d+)" % name, text, re.MULTILINE) for name in NIST_SIZES]
    known = [int(size[1]) for size in sizes if size]
    return Samples(start, math.prod(known)) if len(known) == len(NIST_SIZES) else None


FINDERS: dict[bytes, Callable[[BinaryIO], Samples | None]] = {
    b"RIFF": _riff,
    b"RF64": _riff,
    b"FORM": _aiff,
    b".snd": _au,
    b"caff": _caf,
    b"riff": _w64,
    b"NIST": _nist,
}
"""By the first four bytes of a file."""
