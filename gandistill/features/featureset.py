"""The feature set: the one noun that carries the data, real or distilled.

A folder: ``config.json`` (what made it), ``index.csv`` (an utterance a row) and ``frames-*.safetensors`` shards,
utterances end to end, ``[frames, dims]`` half floats under the key ``frames``. Frames stay on disk and are
memory-mapped for each read, so a set larger than memory trains too.

Shapes: N utterances, T frames, D feature dims, C classes, B batch.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gandistill import artifacts
from gandistill.errors import InputError

KIND = "feature set"
INDEX = "index.csv"
COLUMNS = ("id", "label", "speaker", "session", "split", "frames", "shard", "offset")
SOFT = "q_"
PARTS = ("train", "dev", "test")
SHARD_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Utterance:
    """One labelled example on its way into a feature set: frames [T, D]; soft [C] sums to 1 where given."""

    id: str
    label: str
    frames: Tensor
    speaker: str = ""
    session: str = ""
    split: str = "train"
    soft: Tensor | None = None


@dataclass(frozen=True)
class FeatureSet:
    """A feature set on disk, or a part of one. ``index`` holds a row for each utterance, in a fixed order."""

    folder: Path
    config: dict[str, Any]
    index: pd.DataFrame

    @classmethod
    def open(cls, folder: Path | str) -> "FeatureSet":
        """Read config and index and check the shards' shapes. Raises InputError naming what is missing or wrong."""
        folder = Path(folder)
        config = artifacts.open_artifact(folder, KIND, verify=False)
        for key, kind in (("labels", list), ("dims", int)):
            if not isinstance(config.get(key), kind):
                raise InputError(f"{folder / artifacts.CONFIG}: {key!r} is missing or not a {kind.__name__}")
        return cls(folder, config, _read_index(folder, config["labels"], config["dims"]))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def labels(self) -> list[str]:
        """Class names; a class's number is its place here."""
        return self.config["labels"]

    @property
    def dims(self) -> int:
        return self.config["dims"]

    @cached_property
    def fingerprint(self) -> str:
        return artifacts.fingerprint(self.folder)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Class numbers [N]."""
        number = {label: i for i, label in enumerate(self.labels)}
        return np.array([number[label] for label in self.index["label"]], dtype=np.int64)

    @cached_property
    def soft(self) -> NDArray[np.float32] | None:
        """Soft labels [N, C] where the set stores them."""
        columns = [SOFT + label for label in self.labels]
        return self.index[columns].to_numpy(np.float32) if columns[0] in self.index else None

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each utterance [N]."""
        return self.index["frames"].to_numpy(np.int64)

    @cached_property
    def class_counts(self) -> dict[str, int]:
        """Utterances of each class, zeros included, in label order."""
        counts = np.bincount(self.targets, minlength=len(self.labels))
        return dict(zip(self.labels, counts.tolist(), strict=True))

    def rows(self, selection: Sequence[int] | NDArray[Any]) -> "FeatureSet":
        """The utterances at these row numbers, or where this mask is true."""
        return replace(self, index=self.index.iloc[np.asarray(selection)].reset_index(drop=True))

    def part(self, split: str) -> "FeatureSet":
        """The utterances of one split. Raises InputError naming the splits there are."""
        chosen = (self.index["split"] == split).to_numpy()
        if not chosen.any():
            found = sorted(set(self.index["split"]) - {""})
            raise InputError(f"{self.folder} has no {split!r} part; its splits are [{', '.join(found) or 'none'}]")
        return self.rows(chosen)

    def training_part(self) -> "FeatureSet":
        """The train split, or everything where no split was made."""
        return self if set(self.index["split"]) == {""} else self.part("train")

    def frames(self, row: int, start: int = 0, stop: int | None = None) -> Tensor:
        """Frames of one utterance [T, D] in float32, or some of them."""
        entry = self._places[row]
        stop = entry[2] if stop is None else min(stop, entry[2])
        with safe_open(self.folder / entry[0], framework="pt") as shard:
            return shard.get_slice("frames")[entry[1] + start : entry[1] + stop].float()

    def padded(self, rows: Sequence[int] | NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Whole utterances, zeros behind the shorter ones: frames [B, T, D] and lengths [B]."""
        sequences = [self.frames(int(row)) for row in rows]
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True), lengths

    def windows(self, rows: Sequence[int] | NDArray[Any], length: int, generator: torch.Generator) -> Tensor:
        """One window of ``length`` frames from each utterance [B, T, D].

        Longer utterances are cropped at a place drawn from ``generator``; shorter ones are repeated from the start.
        """
        places = torch.rand(len(rows), generator=generator).tolist()
        windows = []
        for row, place in zip(rows, places, strict=True):
            available = int(self.lengths[row])
            start = int(place * (max(available - length, 0) + 1))
            frames = self.frames(int(row), start, start + length)
            windows.append(frames if available >= length else repeated(frames, length))
        return torch.stack(windows)

    def means(self) -> Tensor:
        """Mean over time of every utterance [N, D]."""
        return torch.stack([self.frames(row).mean(0) for row in range(len(self))])

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean [D] and standard deviation [D] over all frames, in one pass over the disk, float64 inside."""
        total, squares, count = torch.zeros(self.dims).double(), torch.zeros(self.dims).double(), 0
        for row in range(len(self)):
            frames = self.frames(row).double()
            total, squares, count = total + frames.sum(0), squares + frames.square().sum(0), count + len(frames)
        mean = total / count
        return mean.float(), (squares / count - mean.square()).clamp(min=0).sqrt().float()

    @cached_property
    def _places(self) -> list[tuple[str, int, int]]:
        columns = (self.index[name].tolist() for name in ("shard", "offset", "frames"))
        return list(zip(*columns, strict=True))


def repeated(frames: Tensor, length: int) -> Tensor:
    """Frames [T, D] repeated end to end and cut to [length, D]."""
    return frames.repeat(math.ceil(length / len(frames)), 1)[:length]


def write_feature_set(out: Path, utterances: Iterable[Utterance], config: dict[str, Any], card: str) -> None:
    """Write utterances as a feature set, whole or not at all, in memory of one shard.

    ``config`` is what ``artifacts.describe`` gave, with ``labels`` and ``dims``. Raises InputError if ``out`` holds
    something else, or no utterance came.
    """
    with artifacts.new_artifact(out, KIND) as folder:
        rows = []
        for number, shard in enumerate(_shards(utterances)):
            name = shard_name(number)
            save_shard(folder / name, [utterance.frames for utterance in shard])
            rows += shard_rows(name, shard, config["labels"])
        if not rows:
            raise InputError(f"Nothing to write to {out}: no utterance was given")
        finish(folder, rows, config, card)


def shard_name(number: int) -> str:
    return f"frames-{number:05d}.safetensors"


def save_shard(path: Path, frames: list[Tensor], metadata: dict[str, str] | None = None) -> None:
    """Utterances [T, D] end to end, as half floats. Raises InputError if a value does not fit."""
    joined = torch.cat(frames)
    half = joined.half()
    if not half.isfinite().all():
        raise InputError(f"{path}: features hold NaN, or values beyond half floats' 65,504")
    artifacts.save_tensors(path, {"frames": half}, metadata)


def shard_rows(name: str, utterances: Sequence[Utterance], labels: list[str]) -> list[dict[str, Any]]:
    """Index rows of the utterances in one shard."""
    rows, offset = [], 0
    for u in utterances:
        fields = (u.id, u.label, u.speaker, u.session, u.split, len(u.frames), name, offset)
        soft = {} if u.soft is None else {SOFT + label: float(q) for label, q in zip(labels, u.soft, strict=True)}
        rows.append(dict(zip(COLUMNS, fields, strict=True)) | soft)
        offset += len(u.frames)
    return rows


def finish(folder: Path, rows: list[dict[str, Any]], config: dict[str, Any], card: str) -> None:
    """Write index, config and card beside the shards: from here on the folder is a feature set."""
    artifacts.write_text(folder / INDEX, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    artifacts.write_text(folder / artifacts.CARD, card)
    artifacts.write_json(folder / artifacts.CONFIG, config)


def _shards(utterances: Iterable[Utterance]) -> Iterator[list[Utterance]]:
    shard, size = [], 0
    for utterance in utterances:
        shard.append(utterance)
        size += utterance.frames.numel() * 2
        if size >= SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def _read_index(folder: Path, labels: list[str], dims: int) -> pd.DataFrame:
    path = folder / INDEX
    try:
        index = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable CSV file ({' '.join(str(error).split())})") from None
    missing = [column for column in COLUMNS if column not in index]
    if missing:
        raise InputError(f"{path}: lacks the columns [{', '.join(missing)}]")
    if index.empty:
        raise InputError(f"{path}: holds no utterance")
    soft = [SOFT + label for label in labels]
    numeric = {"frames": np.int64, "offset": np.int64} | (dict.fromkeys(soft, np.float32) if soft[0] in index else {})
    try:
        index = index.astype(numeric)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: a number is missing or not a number ({error})") from None
    unknown = index.loc[~index["label"].isin(labels), "label"]
    if len(unknown):
        raise InputError(f"{path}: bad label {unknown.iloc[0]!r}, expected one of [{', '.join(labels)}]")
    for shard in index["shard"].unique():
        entries = index[index["shard"] == shard]
        available = _shard_frames(folder, str(shard), dims)
        wrong = (entries["offset"] < 0) | (entries["frames"] < 1) | (entries["offset"] + entries["frames"] > available)
        outside = entries.loc[wrong, "id"].tolist()
        if outside:
            raise InputError(f"{path}: {outside[0]!r} lies outside {shard} ({available} frames)")
    return index


def _shard_frames(folder: Path, name: str, dims: int) -> int:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise InputError(f"{path}: no such shard")
    try:
        with safe_open(path, framework="pt") as shard:
            frames = shard.get_slice("frames")
            shape, dtype = frames.get_shape(), frames.get_dtype()
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable shard ({error})") from None
    if dtype != "F16" or len(shape) != 2 or shape[1] != dims:
        raise InputError(f"{path}: frames are {dtype} {shape}, expected F16 [frames, {dims}]")
    return shape[0]


def made_from(features: FeatureSet) -> dict[str, Any]:
    """Where a derived artifact came from: folder name, fingerprint, upstream, corpus and licence of its source."""
    keys = ("upstream", "frame_rate", "corpus", "protocol", "fold", "licence")
    source = {"features": features.folder.name, "fingerprint": features.fingerprint}
    return {key: features.config[key] for key in keys if key in features.config} | {"source": source}


def dump_compact(value: Any) -> str:
    """JSON in one line with sorted keys: what fingerprints are taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
