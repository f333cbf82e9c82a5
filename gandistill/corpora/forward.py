"""A file that is decoded once, from its start on, for all its segments."""

from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

INEXACT = ("MP3", "OGG")
"""libsndfile's names of the containers in which it may seek to a place and decode other samples than on the way."""


class Forward:
    """An open file, for the little that reading it in blocks takes, whose frames are read in order of ``since``.

    What was decoded behind the frame ``since`` is kept, for a second look and for the next segment that overlaps. Gaps
    are sought over where that is exact, and decoded else.
    """

    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file, self._since, self._at, self._end = file, 0, 0, 0
        self._kept = list[tuple[int, NDArray[Any]]]()
        self.frames, self.samplerate, self.channels = file.frames, file.samplerate, file.channels
        self.format, self.subtype = file.format, file.subtype

    def since(self, frame: int) -> None:
        """Forget what lies before a frame, which is where reading goes on."""
        self._since = self._at = frame
        self._forget()

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, frame: int) -> None:
        self._at = frame

    def read(self, frames: int, dtype: Literal["float32", "float64"], always_2d: bool) -> NDArray[Any]:
        """Up to so many frames [frames, channels] from the current one. Raises LibsndfileError."""
        if self._since > self._end and self.format not in INEXACT and self._file.seekable():
            self._end = self._file.seek(self._since)
        stop = self._at + frames
        while self._end < stop:
            block = self._file.read(min(stop - self._end, frames), "float64", always_2d)
            if not len(block):
                break
            self._kept.append((self._end, block))
            self._end += len(block)
            self._forget()
        parts = [block[max(self._at - first, 0) : max(stop - first, 0)] for first, block in self._kept]
        found = np.concatenate(parts or [np.empty((0, self.channels))]).astype(dtype)
        self._at += len(found)
        return found

    def _forget(self) -> None:
        self._kept = [(first, block) for first, block in self._kept if first + len(block) > self._since]
