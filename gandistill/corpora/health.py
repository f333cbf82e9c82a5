"""What a careful person looks at in a corpus before training: lengths, rates, channels, levels, silence."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gandistill.charts import Chart, Look, Point, Row, dots, histogram, together
from gandistill.corpora.audio import SAMPLE_RATE, loaders, map_by_file, opened
from gandistill.corpora.faults import AudioError
from gandistill.corpora.manifest import SPLITS, Entry
from gandistill.errors import InputError

EDGES = (1, 2, 4, 8, 16, 30)
"""Seconds between which clips are counted."""
FLOOR = -100.0
"""dBFS of what is lower."""
SILENCE = 1e-3


@dataclass(frozen=True)
class Sound:
    """What one clip is: its hash, samples at 16 kHz, rate in Hz and channels of its file, peak, silent share 0 to 1."""

    hash: str
    samples: int
    rate: int
    channels: int
    peak: float
    silent: float


@dataclass(frozen=True)
class Health:
    """What the N clips of a manifest that can be used sound like, in its order, and what is wrong with the others."""

    entries: Sequence[Entry]
    sounds: Sequence[Sound]
    errors: Sequence[AudioError] = ()

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Lengths [N]."""
        return np.array([sound.samples / SAMPLE_RATE for sound in self.sounds])

    @property
    def peaks(self) -> NDArray[np.float64]:
        """Largest samples [N] in dBFS."""
        return np.array([decibels(sound.peak) for sound in self.sounds])

    @property
    def silence(self) -> NDArray[np.float64]:
        """Share of each clip [N] that is silent, 0 to 1."""
        return np.array([sound.silent for sound in self.sounds])

    def __str__(self) -> str:
        """A line for each of the facts."""
        unusable = f"unusable      {len(self.errors)} clips; the first: {self.errors[0]}" if self.errors else ""
        return "\n".join(filter(None, (self._table() if self.sounds else "", unusable)))

    def _table(self) -> str:
        seconds, peaks, silence = self.seconds, self.peaks, 100 * self.silence
        loud = sum(sound.peak >= 1 for sound in self.sounds)
        names = [f"under {EDGES[0]} s", *(f"{low} to {high} s" for low, high in pairwise(EDGES))]
        counts = np.bincount(np.searchsorted(EDGES, seconds, "right"), minlength=len(EDGES) + 1)
        names.append(f"over {EDGES[-1]} s")
        lengths = [f"{name}: {count}" for name, count in zip(names, counts, strict=True) if count]
        rows = {
            "clips": f"{len(seconds)}, {seconds.sum() / 3600:.2f} h; {_range(seconds, '.1f')} s",
            "lengths": ", ".join(lengths),
            "sample rates": _counted(sound.rate for sound in self.sounds) + " (Hz: clips)",
            "channels": _counted(sound.channels for sound in self.sounds),
            "peaks": f"{_range(peaks, '.0f')} dBFS; {loud} clips reach full scale",
            "silence": f"{_range(silence, '.0f')} % of a clip",
        }
        return "\n".join(f"{name:<14}{text}" for name, text in rows.items())

    def chart(self) -> Chart:
        """Lengths, peaks and silence of the clips, and the classes of each part. Raises InputError if there is none."""
        if not self.sounds:
            raise InputError("There is no usable clip to draw a figure of")
        drawn = [
            histogram("Lengths", self.seconds, "length (s)", "clips"),
            histogram("Peaks", self.peaks, "peak (dBFS)", "clips"),
            histogram("Silence", 100 * self.silence, "silence (% of a clip)", "clips"),
        ]
        counts = Counter((entry.emotion, entry.split) for entry in self.entries)
        looks = {part: Look(f"class{at}") for at, part in enumerate((*SPLITS, "")) if part in {p for _, p in counts}}
        rows = [
            Row(label, [(look, Point(counts[label, part], 0)) for part, look in looks.items()])
            for label in sorted({label for label, _ in counts})
        ]
        key = [(part or "not split", look) for part, look in looks.items()]
        return together([*drawn, dots("Classes of each part", rows, "clips", key=key)], columns=2)


def health(entries: Sequence[Entry]) -> Health:
    """Listen to every clip."""
    sounds = map_by_file(lambda some: [*map(_listen, some, loaders(some))], entries, "Listening")
    pairs = zip(entries, sounds, strict=True)
    usable = [(replace(entry, sound=sound.hash), sound) for entry, sound in pairs if isinstance(sound, Sound)]
    errors = [sound for sound in sounds if isinstance(sound, AudioError)]
    return Health([entry for entry, _ in usable], [sound for _, sound in usable], errors)


def _listen(entry: Entry, load: Callable[[], NDArray[np.float32]]) -> Sound | AudioError:
    """What an utterance sounds like, or what is wrong with it: silent are 20 ms whose samples lie below -60 dBFS."""
    try:
        samples = load()
        with opened(entry.path, []) as file:
            rate, channels = file.samplerate, file.channels
    except AudioError as error:
        return error
    size, digest = np.abs(samples), hashlib.sha256(samples.tobytes()).hexdigest()
    loudest = np.maximum.reduceat(size, np.arange(0, len(size), SAMPLE_RATE // 50))
    return Sound(digest, len(size), rate, channels, float(size.max()), float((loudest < SILENCE).mean()))


def decibels(amplitude: float) -> float:
    """Of full scale; -100 for what is lower."""
    return max(20 * float(np.log10(max(amplitude, 1e-12))), FLOOR)


def _range(values: NDArray[np.float64], form: str) -> str:
    return f"{values.min():{form}} to {values.max():{form}}, median {np.median(values):{form}}"


def _counted(values: Iterable[int]) -> str:
    return ", ".join(f"{value}: {count}" for value, count in sorted(Counter(values).items()))
