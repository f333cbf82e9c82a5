"""What an audio file's container promises, held against the bytes that are there.

libsndfile reads a file that was cut in half as a shorter one, and stops where a header says so even if more samples
follow. So the size of the samples is found here, container by container; what has none that can be checked is refused.
FLAC and MP3 are checked as they are decoded.
"""

import io
import math
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHECKED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")
"""libsndfile's names of the containers that are read."""
STREAMED_BYTES = 0x7FFF_0000
"""WAV data sizes from here on are what programs write to a pipe, where they cannot know the size: not a promise."""
OFF = (8, 28, 36, 44)
"""Bytes by which writers misjudge the size of the samples: parts of a header of 44, or all of it."""
NIST_SIZES = (b"sample_count", b"channel_count", b"sample_n_bytes")


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


def samples_of(path: Path) -> Samples | None:
    """What a container promises; None if it is of another kind, or ends before its samples. Raises OSError."""
    with path.open("rb") as file:
        finder = FINDERS.get(file.read(4))
        try:
            return finder(file) if finder else None
        except (struct.error, ValueError, IndexError):  # it ends within what was to be read, or says no number
            return None


def may_follow(path: Path, start: int, chunk: str) -> bool:
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


def _riff(file: BinaryIO) -> Samples | None:
    """RIFF and RF64, whose ``ds64`` says the size that four bytes cannot."""
    if file.read(8)[4:] != b"WAVE":
        return None
    wide = None
    while len(head := file.read(8)) == 8:
        name, promised = struct.unpack("<4sI", head)
        field = file.tell() - 4
        if name == b"ds64":
            wide = struct.unpack("<8xQ", file.read(16))[0]
            file.seek(field + 4)
        if name == b"data":
            if promised >= STREAMED_BYTES:
                return Samples(field + 4, wide, "<4sI")
            return Samples(field + 4, promised, "<4sI", field)
        file.seek(promised + promised % 2, os.SEEK_CUR)
    return None


def _aiff(file: BinaryIO) -> Samples | None:
    if file.read(8)[4:7] != b"AIF":
        return None
    while len(head := file.read(8)) == 8:
        name, promised = struct.unpack(">4sI", head)
        if name == b"SSND":  # two numbers come before the samples
            return Samples(file.tell() + 8, max(promised - 8, 0), ">4sI")
        file.seek(promised + promised % 2, os.SEEK_CUR)
    return None


def _au(file: BinaryIO) -> Samples:
    start, promised = struct.unpack(">II", file.read(8))
    return Samples(start, None if promised == 2**32 - 1 else promised)


def _caf(file: BinaryIO) -> Samples | None:
    file.read(4)
    while len(head := file.read(12)) == 12:
        name, promised = struct.unpack(">4sq", head)
        if name == b"data":  # a number comes before the samples
            return Samples(file.tell() + 4, None if promised < 0 else promised - 4, ">4sq")
        if not 0 <= promised < MOST_BYTES:
            return None
        file.seek(promised, os.SEEK_CUR)
    return None


def _w64(file: BinaryIO) -> Samples | None:
    """Its names are GUIDs, of which the first four bytes are the old ones, and a size counts its own chunk's head."""
    file.seek(40)
    while len(head := file.read(24)) == 24:
        name, promised = struct.unpack("<4s12xQ", head)
        if name == b"data":
            return Samples(file.tell(), max(promised - 24, 0), "<4s12xQ")
        if not 24 <= promised < MOST_BYTES:
            return None
        file.seek(-(-promised // 8) * 8 - 24, os.SEEK_CUR)
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
