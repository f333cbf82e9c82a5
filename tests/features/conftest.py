"""Small corpora of noise bursts, written as WAV files with a manifest, and a small feature set."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gandistill.corpora.manifest import COLUMNS
from gandistill.features.featureset import FeatureSet
from tests.features.sets import ramps, write

EMOTIONS = ("sad", "angry", "happy")
MakeManifest = Callable[..., Path]


def write_corpus(folder: Path, seconds: Sequence[float], ids: Sequence[int] | None = None) -> Path:
    """Utterance i is the same noise whatever the others are; ``ids`` picks utterances and their order."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(len(seconds)) if ids is None else ids:
        path = folder / f"u{i}.wav"
        noise = np.random.default_rng(i).normal(0, 0.05, int(seconds[i] * 16_000)).astype(np.float32)
        soundfile.write(path, noise, 16_000, subtype="PCM_16")
        split = "test" if i % 4 == 0 else "train"
        rows.append((f"u{i}", path.name, EMOTIONS[i % 3], f"speaker{i % 2}", "", "1", "", "", split))
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder / "manifest.csv"


@pytest.fixture
def corpus(tmp_path: Path) -> MakeManifest:
    """Write a corpus of utterances of these seconds below a folder of this name; gives the manifest."""

    def make(seconds: Sequence[float], ids: Sequence[int] | None = None, name: str = "corpus") -> Path:
        return write_corpus(tmp_path / name, seconds, ids)

    return make


@pytest.fixture
def small(tmp_path: Path) -> FeatureSet:
    return write(tmp_path / "set", ramps([5, 1, 3, 7]))
