"""What can be wrong with an audio file, and what should be known of one that is read."""

from enum import StrEnum
from pathlib import Path

from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError

SHORTEST_SECONDS = 0.025


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
