"""Labelled audio of one part of a manifest, and the batches of an epoch.

Shapes: N utterances, B batch, S samples. Audio stays on disk until a batch asks for it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gandistill import artifacts
from gandistill.console import track
from gandistill.corpora import audio
from gandistill.corpora.faults import too_short
from gandistill.corpora.manifest import SPLITS, Entry, read_manifest
from gandistill.errors import InputError, choices
from gandistill.files import dump_compact
from gandistill.numerics import generator_for
from gandistill.selfdistill.model import Network
from gandistill.selfdistill.windows import shortest_of

ORDER = 1
"""Purpose of the draws that shuffle an epoch."""
JITTER = 0.1
"""Share of a clip's length by which bucketing may misjudge it, so that batches differ from epoch to epoch."""

ROUNDING = round(audio.DURATION_TOLERANCE * audio.SAMPLE_RATE)
"""Samples by which a manifest's duration may be wrong."""


@dataclass(frozen=True)
class Utterances:
    """The entries of one part of a manifest, and the classes [C] that their emotions are among."""

    entries: list[Entry]
    labels: list[str]

    @classmethod
    def read(cls, manifest: Path, split: str, labels: list[str] | None = None) -> Self:
        """The part ``split`` of a manifest; ``labels`` None: the sorted emotions of the whole manifest.

        Raises InputError if the manifest cannot be read, has no such part, or an emotion is not among the labels.
        """
        if split not in SPLITS:
            raise choices("split", split, SPLITS)
        whole = read_manifest(manifest)
        entries = [entry for entry in whole if entry.split == split]
        if not entries:
            splits = ", ".join(sorted({entry.split or "none" for entry in whole}))
            raise InputError(f"{manifest}: has no {split} part, its splits are [{splits}]")
        classes = sorted({entry.emotion for entry in whole}) if labels is None else labels
        for entry in entries:
            if entry.emotion not in classes:
                raise choices(f"emotion of {entry.id} in {manifest}:", entry.emotion, classes)
        return cls(entries, classes)

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Class numbers [N]."""
        number = {label: number for number, label in enumerate(self.labels)}
        return np.array([number[entry.emotion] for entry in self.entries])

    @cached_property
    def samples(self) -> NDArray[np.int64]:
        """Lengths [N] in samples at 16 kHz by the manifest's durations, which are whole milliseconds, or the files."""
        entries = track(self.entries, "Measuring audio", len(self.entries), unit="files")
        return np.array([_samples(entry) for entry in entries])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, emotions, channels, segments and audio files, wherever those lie. Raises InputError."""
        with ThreadPool() as pool:
            paths = list({entry.path for entry in self.entries})
            digests = track(pool.imap(artifacts.sha256, paths), "Reading audio", len(paths), unit="files")
            hashes = dict(zip(paths, digests, strict=True))
        rows = [[e.id, e.emotion, e.channel, hashes[e.path], *filter(None, [e.segment])] for e in self.entries]
        return hashlib.sha256(dump_compact([self.labels, rows]).encode()).hexdigest()

    def check_lengths(self, network: Network) -> None:
        """Raises InputError, naming every utterance that is too short for a network which hears them as they are."""
        least, longest = shortest_of(network), network.backbone.longest
        if network.clip:
            if network.clip < least:
                raise InputError(f"Bad training.clip {network.clip}: the upstream takes at least {least} samples")
            if longest is not None and network.clip > longest:
                raise InputError(f"Bad training.clip {network.clip}: the upstream takes at most {longest} samples")
            return
        # Manifests round durations: those that may be too short by them are read.
        doubtful = [e for e, samples in zip(self.entries, self.samples, strict=True) if samples < least + ROUNDING]
        lengths = ((entry, len(audio.load_utterance(entry))) for entry in doubtful)
        errors = [too_short(e.path, samples, least).of(e) for e, samples in lengths if samples < least]
        if errors:
            raise InputError("\n".join(map(str, errors)))

    def check_whole(self, network: Network) -> None:
        """Raises InputError, naming the first utterance that is too long for a network to hear whole, as it learns."""
        longest = network.backbone.longest
        if network.clip or longest is None:
            return
        for entry, samples in zip(self.entries, self.samples, strict=True):
            if samples + ROUNDING > longest:
                raise InputError(
                    f"{entry.path}: {samples / audio.SAMPLE_RATE:.1f} s is longer than the upstream hears at once, "
                    f"{longest / audio.SAMPLE_RATE:g} s: set training.clip to so many samples or fewer"
                )

    def batch(self, rows: Sequence[int] | NDArray[np.int64], network: Network) -> tuple[Tensor, Tensor | None]:
        """Clips [B, S] of some rows as the network hears them, and their lengths [B] in samples.

        None instead of lengths where all clips are equally long, as they are where the network sets a length. Raises
        AudioError.
        """
        entries = [self.entries[int(row)] for row in rows]
        clips = [network.prepared(torch.from_numpy(audio.load_utterance(entry))) for entry in entries]
        lengths = torch.tensor([len(clip) for clip in clips])
        if (lengths == lengths[0]).all():
            return torch.stack(clips), None
        return pad_sequence(clips, batch_first=True), lengths


def epoch_batches(rows: int, batch: int, samples: NDArray[np.int64] | None, seed: int, epoch: int) -> list[NDArray]:
    """The rows [B] of each batch of an epoch of N ``rows``; the same for the same seed and epoch.

    Every row comes once, and the first of the epoch's order again until the last batch is whole too, so that processes
    share all batches evenly. By their lengths [N], ``samples``, rows of like length come together, which saves padding;
    None: they come as they are drawn.
    """
    draws = generator_for(seed, ORDER, epoch)
    order = np.resize(torch.randperm(rows, generator=draws).numpy(), -(-rows // batch) * batch)
    if samples is not None:
        jittered = samples[order] * (1 + JITTER * torch.rand(len(order), generator=draws).numpy())
        order = order[np.argsort(jittered, kind="stable")]
    batches = order.reshape(-1, batch)
    return list(batches[torch.randperm(len(batches), generator=draws).numpy()])


def _samples(entry: Entry) -> int:
    if entry.duration is None:
        return len(audio.load_utterance(entry))
    return round(entry.duration * audio.SAMPLE_RATE)
