"""Recordings for tests: a tone, encoded, and a bad file of each kind."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.faults import Reason


def tone(seconds: float = 0.5, rate: int = SAMPLE_RATE) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def encoded(samples: NDArray[Any], kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, subtype, format=kind)
    return file.getvalue()


def with_sample(value: float) -> bytes:
    """Stereo, so that infinities of both signs meet in the average."""
    samples = np.stack([tone(), tone()], axis=1)
    samples[100] = [value, -value]
    return encoded(samples, subtype="FLOAT")


WAV = encoded(tone())
"""A plain WAV file: channels at byte 22, sample rate at 24, size of the data at 40, samples from 44."""
FLAC = encoded(np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE), "FLAC")
"""Rate (20 bits), channels, depth and length (36 bits) from byte 18."""
FLAC_HEADER = FLAC.index(b"\xff\xf8")
BAD = {
    "empty.wav": (b"", Reason.EMPTY),
    "poem.wav": (b"I am a poem.\n" * 100, Reason.NOT_AUDIO),
    "header-only.wav": (WAV[:40] + bytes(4), Reason.HEADER_ONLY),
    "header-promises.wav": (WAV[:44], Reason.HEADER_ONLY),
    "size-half.wav": (WAV[:40] + struct.pack("<I", len(WAV) // 2) + WAV[44:], Reason.MORE),
    "pointer.wav": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", Reason.LFS_POINTER),
    "constant.wav": (encoded(np.full(SAMPLE_RATE, 0.25)), Reason.CONSTANT),
    "off-by-one.wav": (encoded(np.full(SAMPLE_RATE, -1 / 128), subtype="PCM_U8"), Reason.CONSTANT),
    "integers.wav": (encoded(30_000 * tone(), subtype="FLOAT"), Reason.SCALE),
    "opposite.wav": (encoded(np.stack([tone(), -0.95 * tone()], axis=1)), Reason.CANCEL),
    "no-data-chunk.wav": (WAV[:36], Reason.HEADER_ONLY),
    "cut-in-format.wav": (WAV[:28], Reason.HEADER_ONLY),
    "truncated.wav": (WAV[:-2], Reason.TRUNCATED),
    "zero-channels.wav": (WAV[:22] + bytes(2) + WAV[24:], Reason.CHANNELS),
    "rate-zero.wav": (WAV[:24] + bytes(4) + WAV[28:], Reason.SAMPLE_RATE),
    "rate-one.wav": (WAV[:24] + struct.pack("<I", 1) + WAV[28:], Reason.SAMPLE_RATE),
    "rate-huge.wav": (WAV[:24] + struct.pack("<I", 4_000_000_000) + WAV[28:], Reason.SAMPLE_RATE),
    "nan.wav": (with_sample(np.nan), Reason.NOT_FINITE),
    "inf.wav": (with_sample(np.inf), Reason.NOT_FINITE),
    "silent.wav": (encoded(np.zeros(SAMPLE_RATE)), Reason.SILENT),
    "short.wav": (encoded(tone(0.0249)), Reason.SHORT),
    "header-only.flac": (FLAC[:FLAC_HEADER], Reason.HEADER_ONLY),
    "truncated.flac": (FLAC[: len(FLAC) // 2], Reason.TRUNCATED),
    "damaged.flac": (FLAC[:9000] + bytes(400) + FLAC[9400:], Reason.TRUNCATED),
    "rate-zero.flac": (FLAC[:18] + bytes([0, 0, FLAC[20] & 0x0F]) + FLAC[21:], Reason.SAMPLE_RATE),
    "open-length.flac": (FLAC[:21] + bytes([FLAC[21] & 0xF0, 0, 0, 0, 0]) + FLAC[26:], Reason.UNREADABLE),
}


def file(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name
