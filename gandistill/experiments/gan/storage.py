"""Bytes on disk: a corpus's training part as audio and as features, beside the generator that replaces it.

Source: Table 1, Ritter-Gutierrez et al. 2024. Paper: one figure each for audio, features and generator. Here: every
byte that would have to be shipped, of folders written and weighed: card, config, index, soft labels and bank too.
"""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from numpy.typing import NDArray

from gandistill import artifacts
from gandistill.console import muted, track
from gandistill.controls.select import POOLED, select
from gandistill.corpora.audio import SAMPLE_RATE, load_utterance
from gandistill.corpora.manifest import Entry, read_manifest
from gandistill.errors import InputError
from gandistill.evaluate.markdown import Row
from gandistill.features.featureset import FeatureSet
from gandistill.gan.compression import compress
from gandistill.gan.sampling import BANK, COMPRESSED, Sampler, generator_folder
from gandistill.heads.bank import Bank
from gandistill.precision import FULL, REDUCED

WAV_HEADER, WAV_SAMPLE = 44, 2
OPUS_BITS = 16_000
"""Bits a second that the encoder aims at. Its rate is variable: silence takes fewer, and short files more, since the
container alone takes about 900 bytes of each."""
OPUS_RANGE = 6_000, 256_000
"""Bits a second that libsndfile's compression levels 1 and 0 stand for."""


@dataclass(frozen=True)
class Audio:
    """What utterances of so many ``seconds`` take as files of 16 kHz mono audio, one each, in bytes."""

    seconds: float
    wav: int
    opus: int


def storage_rows(
    manifest: Path, features: FeatureSet, generators: Mapping[str, Path], work: Path, bank: Bank | None = None
) -> list[Row]:
    """What the training part of ``features`` takes in each form, and the generators that replace it.

    A row has ``what``, ``bytes``, and by how much of their bytes it is ``smaller than WAV``, ``Opus`` and ``features``
    (float32): 0.95 where the paper writes 95 %, below 0 where it is larger; one of a ``generator`` has its name and
    its ``form``. Audio is counted without its labels. With a ``bank`` features are also weighed with its soft labels.
    ``generators`` have a name each and float32 weights. What is written to be weighed lies below ``work`` until it is.

    Raises InputError if the manifest lacks an utterance of the training part, if its audio cannot be used, or if a
    generator replaces another training part or is compressed already.
    """
    training = features.training_part()
    for folder in generators.values():
        _check_replaces(folder, training)
    audio = audio_bytes(_entries(manifest, training))
    opus = f"Opus at {OPUS_BITS / 1000:.0f} kbit/s (measured {audio.opus * 8 / audio.seconds / 1000:.1f})"
    held = feature_bytes(features, work, bank)
    references = {"WAV": audio.wav, "Opus": audio.opus, "features": next(iter(held.values()))}
    sizes = {"audio, WAV": audio.wav, f"audio, {opus}": audio.opus} | held
    rows: list[Row] = [{"what": what, "bytes": size} for what, size in sizes.items()]
    for name, folder in generators.items():
        for form, size in generator_bytes(folder, work).items():
            rows.append({"what": f"{name}, {form}", "generator": name, "form": form, "bytes": size})
    return [row | {f"smaller than {name}": 1 - row["bytes"] / of for name, of in references.items()} for row in rows]


def audio_bytes(entries: Sequence[Entry]) -> Audio:
    """Utterances as 16-bit WAV and as Opus, each decoded, brought to 16 kHz and encoded in memory.

    Raises AudioError naming a file that cannot be used.
    """
    with ThreadPool(os.cpu_count()) as pool:
        encoded = list(track(pool.imap(_encoded, entries), "encoding audio", len(entries), unit="files"))
    samples, opus = map(sum, zip(*encoded, strict=True))
    return Audio(samples / SAMPLE_RATE, WAV_HEADER * len(entries) + WAV_SAMPLE * samples, opus)


def opus_bytes(samples: NDArray[np.float32]) -> int:
    """Bytes of an Ogg Opus file of mono 16 kHz ``samples``, the encoder aiming at ``OPUS_BITS`` a second."""
    least, most = OPUS_RANGE
    level = (most - OPUS_BITS) / (most - least)
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, "OPUS", format="OGG", compression_level=level)
    return file.getbuffer().nbytes


def feature_bytes(features: FeatureSet, work: Path, bank: Bank | None = None) -> dict[str, int]:
    """The training part as feature sets: in float32, in float16, and each utterance its mean over time in float16.

    Then the same with the soft labels of ``bank``. No feature set is float32 on disk: two more bytes a value.
    """
    training = features.training_part()
    values = int(training.lengths.sum()) * training.dims
    sizes = {}
    for teacher in (None, bank) if bank else (None,):
        for method in ("random", POOLED):
            with _scratch(work) as folder:
                written = select(features, method, training.class_counts, 0, Path(folder) / method, bank=teacher)
                size = artifacts.bytes_on_disk(written.folder)
            soft = "" if written.soft is None else ", soft labels"
            if method == POOLED:
                sizes[f"features, time-pooled, float16{soft}"] = size
            else:
                sizes |= {f"features, float32{soft}": size + 2 * values, f"features, float16{soft}": size}
    return sizes


def generator_bytes(generator: Path, work: Path) -> dict[str, int]:
    """A float32 generator in each precision; where it has a bank, also without it: only soft labels need that."""
    sizes = {}
    for precision in (FULL, *REDUCED):
        with _scratch(work) as folder:
            stored = generator_folder(generator)
            if precision != FULL:
                stored = Path(folder) / precision
                with muted(True):  # where it lay for a moment is nothing to say
                    compress(generator, precision, stored)
            sizes[precision] = artifacts.bytes_on_disk(stored)
            if (stored / BANK).is_file():
                sizes[f"{precision}, without bank"] = sizes[precision] - (stored / BANK).stat().st_size
    return sizes


def _scratch(work: Path) -> TemporaryDirectory[str]:
    work.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(dir=work)


def _encoded(entry: Entry) -> tuple[int, int]:
    """Samples of an utterance, and bytes of its Opus file."""
    samples = load_utterance(entry)
    return len(samples), opus_bytes(samples)


def _entries(manifest: Path, training: FeatureSet) -> list[Entry]:
    """The utterances of the training part, as the manifest has them."""
    entries = {entry.id: entry for entry in read_manifest(manifest)}
    for name in training.index["id"]:
        if name not in entries:
            raise InputError(f"{manifest} lacks {name!r}, which is in the training part of {training.folder}")
    return [entries[name] for name in training.index["id"]]


def _check_replaces(generator: Path, training: FeatureSet) -> None:
    facts = Sampler.open(generator).facts
    if COMPRESSED in facts:
        raise InputError(f"{generator} is compressed already: weigh the float32 generator that it was made from")
    replaced, held = (facts["class_counts"], facts["dims"]), (training.class_counts, training.dims)
    if replaced != held:
        raise InputError(
            f"{generator} replaces utterances {replaced[0]} of {replaced[1]} dims, but the training part of "
            f"{training.folder} has {held[0]} of {held[1]} dims"
        )
