"""The manifest: one CSV that says what a corpus holds, whatever its layout on disk."""

from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("id", "path", "emotion", "speaker", "gender", "session", "text", "duration", "split")


@dataclass(frozen=True)
class Entry:
    """One utterance of a corpus. ``duration`` in seconds; "" where a corpus does not say; split train, dev or test."""

    id: str
    path: Path
    emotion: str
    speaker: str
    gender: str = ""
    session: str = ""
    text: str = ""
    duration: float | None = None
    split: str = ""
