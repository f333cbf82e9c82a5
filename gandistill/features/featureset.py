"""The feature set: the one noun that carries the data, real or distilled.

A folder: ``config.json`` (what made it), ``index.csv`` (an utterance a row) and ``frames-*.safetensors`` shards,
utterances end to end, ``[frames, dims]`` half floats under the key ``frames``. Frames stay on disk and are read when
they are needed, so a set larger than memory trains too.

Shapes: N utterances, T frames, D feature dims, C classes, B batch.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gandistill import artifacts, hub
from gandistill.corpora.manifest import write_table
from gandistill.errors import InputError
from gandistill.features.index import COLUMNS, FRAMES, INDEX, NAMED, SOFT, header_bytes, number_types, read_index
from gandistill.files import read_text, written_whole

KIND = "feature set"
EXTRACTED = "gandistill extract"
"""The command that the config of an extracted set says made it."""
SHARD_BYTES = 256 * 2**20
MOST_DIMS = 2**20
BLOCK_VALUES = 2**18
"""Read at once where everything is read: 1 MB in float32, so that a pass stays in the processor's cache."""
HALF_STEP = 2.0**-24
HELD_BYTES = 2**30
"""Of frames that are held in memory at the most."""


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
class FeatureSet(hub.Shared, Dataset[dict[str, Any]]):
    """A feature set on disk, or a part of one. ``index`` holds a row for each utterance, in a fixed order.

    It is a torch dataset: ``DataLoader(features, batch_size=32, collate_fn=FeatureSet.collate)``.
    """

    folder: Path
    config: dict[str, Any]
    index: pd.DataFrame

    @classmethod
    def open(cls, folder: Path | str) -> "FeatureSet":
        """Read config and index, and check the shards' shapes but, since they may be huge, not their sums.

        Raises InputError naming what is missing, altered or wrong.
        """
        folder = Path(folder)
        config = artifacts.open_artifact(folder, KIND, verify=(artifacts.CONFIG, INDEX))
        labels, dims = labels_and_dims(config, folder / artifacts.CONFIG)
        return cls(folder, config, read_index(folder, labels, dims))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """One utterance: ``frames`` [T, D], ``target`` (its class number), ``id``, and ``soft`` [C] where stored."""
        row = range(len(self))[row]
        soft = {} if self.soft is None else {"soft": torch.from_numpy(self.soft[row])}
        return {"frames": self.frames(row), "target": int(self.targets[row]), "id": self._ids[row]} | soft

    @staticmethod
    def collate(utterances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A batch: ``frames`` [B, T, D], zeros behind the shorter ones, ``lengths`` [B], and the others stacked."""
        frames = [utterance["frames"] for utterance in utterances]
        soft = [utterance["soft"] for utterance in utterances if "soft" in utterance]
        return {
            "frames": torch.nn.utils.rnn.pad_sequence(frames, batch_first=True),
            "lengths": torch.tensor([len(sequence) for sequence in frames]),
            "target": torch.tensor([utterance["target"] for utterance in utterances]),
            "id": [utterance["id"] for utterance in utterances],
        } | ({"soft": torch.stack(soft)} if soft else {})

    def to_numpy(self) -> dict[str, NDArray[Any]]:
        """The whole set as arrays: ``frames`` [N, T, D] in float32, zeros behind the shorter ones, ``lengths`` [N],
        ``target`` [N], ``id`` [N], ``labels`` [C] (the names of the class numbers), and ``soft`` [N, C] where stored.

        Utterance means [N, D], which many classifiers take, are ``features.means().numpy()``.
        """
        batch = self.collate([self[row] for row in range(len(self))])
        return {key: np.asarray(value) for key, value in batch.items()} | {"labels": np.asarray(self.labels)}

    def to_npz(self, path: Path | str) -> None:
        """Write the arrays of ``to_numpy``, frames as half floats; ``numpy.load`` reads them without pickle."""
        arrays: dict[str, Any] = self.to_numpy()
        arrays["frames"] = arrays["frames"].astype(np.float16)
        with written_whole(Path(path)) as building, building.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def to_datasets(self) -> Any:
        """The whole set as a Dataset of Hugging Face's ``datasets``, in memory; ``with_format("torch")`` gives tensors.

        Columns are ``frames`` [T, D] as half floats, ``target`` (a ClassLabel, which knows the names), ``id``,
        ``speaker``, ``split`` and, where stored, ``soft`` [C]. Raises InputError where ``datasets`` is not installed.
        """
        try:
            datasets: Any = import_module("datasets")
        except ImportError:
            raise InputError("to_datasets needs 'pip install gandistill[datasets]'") from None
        text = datasets.Value("string")
        kinds = {
            "frames": datasets.Array2D((None, self.dims), "float16"),
            "target": datasets.ClassLabel(names=self.labels),
        } | dict.fromkeys(("id", "speaker", "split"), text)
        columns = {
            "frames": [self.frames(row).half().numpy() for row in range(len(self))],
            "target": self.targets,
        } | {name: self.index[name].tolist() for name in ("id", "speaker", "split")}
        if self.soft is not None:
            kinds["soft"] = datasets.List(datasets.Value("float32"), len(self.labels))
            columns["soft"] = self.soft
        return datasets.Dataset.from_dict(columns, datasets.Features(kinds))

    def save(self, folder: Path | str) -> None:
        """Write these utterances as a feature set: a copy, or of a part a set that says of which (``part_of``).

        Raises InputError if ``folder`` holds something else.
        """
        if FeatureSet.open(self.folder).index[[*NAMED]].equals(self.index[[*NAMED]]):
            artifacts.copy(self.folder, Path(folder), KIND)
            return
        config = {key: value for key, value in self.config.items() if key != "fingerprint"}
        card = read_text(self.folder / artifacts.CARD)
        write_feature_set(Path(folder), self.utterances(), config | {"part_of": self.fingerprint}, card)

    @classmethod
    def load(cls, source: Path | str, licences: Collection[str] | None = None) -> "FeatureSet":
        """Open its folder, or where there is none here, a repository of the Hugging Face Hub, OWNER/NAME.

        ``licences`` are those that will do, such as ``cc-by-4.0``; None: any. Raises InputError as ``open`` does.
        """
        return cls.open(hub.local_or_pulled(source, KIND, licences))

    def utterances(self) -> Iterator[Utterance]:
        """All utterances, as they are written."""
        for row, (name, label, speaker, session, split) in enumerate(self.index[[*NAMED]].itertuples(index=False)):
            soft = None if self.soft is None else torch.from_numpy(self.soft[row])
            yield Utterance(name, label, self.frames(row), speaker, session, split, soft)

    @property
    def labels(self) -> list[str]:
        """Class names; a class's number is its place here."""
        return self.config["labels"]

    @property
    def dims(self) -> int:
        """D, features of a frame."""
        return self.config["dims"]

    @property
    def fingerprint(self) -> str:
        """Identity of the folder's content, whatever part of it this is: see ``artifacts.fingerprint``."""
        return self.fingerprints[0]

    @cached_property
    def fingerprints(self) -> tuple[str, str]:
        """Every name that the content has been known by, for whoever compares a recorded one."""
        return artifacts.fingerprints(self.folder)

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

    @property
    def median_length(self) -> int:
        """Frames of the median utterance; of an even number the shorter of the middle two."""
        return int(np.sort(self.lengths)[(len(self.lengths) - 1) // 2])

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
            splits = sorted(set(self.index["split"]) - {""})
            raise InputError(f"{self.folder} has no {split!r} part; its splits are [{', '.join(splits) or 'none'}]")
        return self.rows(chosen)

    def training_part(self) -> "FeatureSet":
        """The train split, or everything where no split was made."""
        return self if set(self.index["split"]) == {""} else self.part("train")

    def frames(self, row: int, start: int = 0, stop: int | None = None) -> Tensor:
        """Frames of one utterance [T, D] in float32, or some of them. Raises InputError if they are damaged."""
        shard, offset, length = self._places[row]
        stop = length if stop is None else min(stop, length)
        return self._read(shard, offset + start, offset + max(stop, start))

    def padded(self, rows: Sequence[int] | NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Whole utterances, zeros behind the shorter ones: frames [B, T, D] and lengths [B]."""
        sequences = [self.frames(int(row)) for row in rows]
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True), lengths

    def windows(self, rows: Sequence[int] | NDArray[Any], length: int, places: Tensor) -> Tensor:
        """One window of ``length`` frames from each utterance [B, T, D].

        Longer utterances are cropped, at their start for a place [B] of 0 and at their end near 1; shorter ones are
        repeated from the start.
        """
        windows = []
        for row, place in zip(rows, places.tolist(), strict=True):
            available = int(self.lengths[row])
            start = int(place * (max(available - length, 0) + 1))
            frames = self.frames(int(row), start, start + length)
            windows.append(frames if available >= length else repeated(frames, length))
        return torch.stack(windows)

    def means(self) -> Tensor:
        """Mean over time of every utterance [N, D], in one pass over the disk."""
        means = torch.empty(len(self), self.dims)
        for rows, frames in self._blocks():
            for row, utterance in zip(rows, frames.split(self.lengths[rows].tolist()), strict=True):
                means[row] = utterance.mean(0)
        return means

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean [D] and standard deviation [D] over all frames, in one pass over the disk, float64 inside."""
        return self._moments

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        total, squares = torch.zeros(self.dims).double(), torch.zeros(self.dims).double()
        for _, frames in self._blocks():
            wide = frames.double()
            total += wide.sum(0)
            squares += wide.square_().sum(0)
        count = int(self.lengths.sum())
        mean = total / count
        return mean.float(), (squares / count - mean.square()).clamp(min=0).sqrt().float()

    def held(self) -> "FeatureSet":
        """The same set, its frames in memory where they take at most 1 GiB: quicker where they are read many times."""
        if 2 * int(self.lengths.sum()) * self.dims > HELD_BYTES:
            return self
        half = torch.cat([self.frames(row).half() for row in range(len(self))])
        index = self.index.assign(shard="", offset=np.cumsum(self.lengths) - self.lengths)
        return HeldSet(self.folder, self.config, index, half)

    def _blocks(self) -> Iterator[tuple[list[int], Tensor]]:
        """All utterances in the order of the disk, several at a time: row numbers, and frames [T, D] end to end."""
        rows: list[int] = []
        first, end = ("", 0), 0
        for row in np.lexsort((self.index["offset"], self.index["shard"])).tolist():
            shard, offset, length = self._places[row]
            if rows and ((shard, offset) != (first[0], end) or (end - first[1]) * self.dims >= BLOCK_VALUES):
                yield rows, self._read(*first, end)
                rows = []
            first = first if rows else (shard, offset)
            rows.append(row)
            end = offset + length
        yield rows, self._read(*first, end)

    def _read(self, shard: str, start: int, stop: int) -> Tensor:
        """Frames ``start`` to ``stop`` of a shard [T, D] in float32.

        A plain read takes a third of the time of opening the file by safetensors, and leaves no page of it mapped.
        """
        path, size, skipped = self.folder / shard, (stop - start) * self.dims, start * self.dims * 2
        try:
            values = np.fromfile(path, "<f2", size, offset=self._headers[shard] + skipped)
        except OSError as error:
            raise InputError(f"{path}: cannot be read any more ({error.strerror})") from None
        if len(values) < size:
            raise InputError(f"{path} has become shorter since it was opened")
        frames = torch.from_numpy(values).view(-1, self.dims).float()
        if not math.isfinite(frames.sum()):  # in float32, which half floats cannot leave: one bad value shows in it
            raise InputError(f"{path}: frames {start} to {stop} hold NaN or infinite values, it is damaged")
        return frames

    @cached_property
    def _headers(self) -> dict[str, int]:
        """Bytes before the frames of each shard."""
        return {shard: header_bytes(self.folder / shard) for shard in self.index["shard"].unique()}

    @cached_property
    def _ids(self) -> list[str]:
        return self.index["id"].tolist()

    @cached_property
    def _places(self) -> list[tuple[str, int, int]]:
        columns = (self.index[name].tolist() for name in ("shard", "offset", "frames"))
        return list(zip(*columns, strict=True))


@dataclass(frozen=True)
class HeldSet(FeatureSet):
    """A feature set in memory: ``half`` floats [frames of all, D], as on disk.

    One that was made here, not read, has a ``card`` and no folder: ``folder`` is but a name.
    """

    half: Tensor
    card: str = ""

    @classmethod
    def of(cls, name: str, utterances: Iterable[Utterance], config: dict[str, Any], card: str) -> "HeldSet":
        """What ``write_feature_set`` would write. Raises InputError if no utterance came, or a value does not fit."""
        given = list(utterances)
        if not given:
            raise InputError(f"{name}: no utterance was given")
        rows = shard_rows("", given, config["labels"])
        index = pd.DataFrame(rows).astype(number_types(rows[0]))
        half = end_to_end(name, [utterance.frames for utterance in given])
        return cls(Path(name), config, index, half, card)

    def held(self) -> "HeldSet":
        return self

    @cached_property
    def fingerprints(self) -> tuple[str, str]:
        """Those of its folder; of a set that has none, those that it has as soon as it is saved."""
        if not self.card:
            return artifacts.fingerprints(self.folder)
        with TemporaryDirectory() as folder:
            self.save(Path(folder) / "set")
            return artifacts.fingerprints(Path(folder) / "set")

    def save(self, folder: Path | str) -> None:
        if not self.card:
            super().save(folder)
        else:
            write_feature_set(Path(folder), self.utterances(), self.config, self.card)

    def windows(self, rows: Sequence[int] | NDArray[Any], length: int, places: Tensor) -> Tensor:
        chosen = np.asarray(rows)
        available = torch.from_numpy(self.lengths[chosen])[:, None]
        starts = (places.double()[:, None] * ((available - length).clamp(min=0) + 1)).long()
        inside = (starts + torch.arange(length)) % available  # which repeats those that are shorter
        at = inside + torch.from_numpy(self._offsets[chosen])[:, None]
        return self.half.index_select(0, at.flatten()).view(len(chosen), length, -1).float()

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        return self.index["offset"].to_numpy(np.int64)

    def _read(self, shard: str, start: int, stop: int) -> Tensor:
        return self.half[start:stop].float()


def repeated(frames: Tensor, length: int) -> Tensor:
    """Frames [T, D] repeated end to end and cut to [length, D]."""
    return frames.repeat(math.ceil(length / len(frames)), 1)[:length]


def scale(deviation: Tensor) -> Tensor:
    """What to divide dims by to standardise them [D], from their deviations [D]: 1 where a dim is constant.

    A deviation below the smallest step of the half floats that frames are stored as counts as none.
    """
    return torch.where(deviation < HALF_STEP, 1.0, deviation)


def write_feature_set(out: Path, utterances: Iterable[Utterance], config: dict[str, Any], card: str) -> None:
    """Write utterances as a feature set, whole or not at all, in memory of one shard.

    ``config`` is what ``artifacts.describe`` gave, with ``labels`` and ``dims``. Raises InputError if ``out`` holds
    something else or an extracted set, which may have taken hours, or no utterance came.
    """
    if artifacts.present(out / artifacts.CONFIG):
        maker = artifacts.read_json(out / artifacts.CONFIG).get("made_by")
        if isinstance(maker, dict) and maker.get("command") == EXTRACTED:
            raise InputError(f"{out} holds features that were extracted: choose another --out or remove it")
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
    """The file of shard 0, 1, ..."""
    return f"frames-{number:05d}.safetensors"


def save_shard(path: Path, frames: list[Tensor], metadata: dict[str, str] | None = None) -> None:
    """Utterances [T, D] end to end, as half floats. Raises InputError if a value does not fit."""
    artifacts.save_tensors(path, {FRAMES: end_to_end(path, frames)}, metadata)


def end_to_end(where: Path | str, frames: list[Tensor]) -> Tensor:
    """Utterances [T, D] as one tensor of half floats. Raises InputError, naming ``where``, if a value does not fit."""
    half = torch.cat([utterance.half() for utterance in frames])
    if not half.isfinite().all():
        raise InputError(f"{where}: features hold NaN, or values beyond half floats' 65,504")
    return half


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
    write_table(folder / INDEX, rows[0], (map(str, row.values()) for row in rows))
    artifacts.write_text(folder / artifacts.CARD, card)
    artifacts.write_json(folder / artifacts.CONFIG, config)


def _shards(utterances: Iterable[Utterance]) -> Iterator[list[Utterance]]:
    shard, size = [], 0
    for utterance in utterances:
        half = utterance.frames.half()
        shard.append(replace(utterance, frames=half))
        size += half.nbytes
        if size >= SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def labels_and_dims(config: dict[str, Any], where: Path) -> tuple[list[str], int]:
    """Class names and D of a config that has them. Raises InputError, naming ``where``, if they cannot be."""
    labels, dims = config.get("labels"), config.get("dims")
    if not isinstance(labels, list) or not labels or not all(map(_is_name, labels)) or len({*labels}) < len(labels):
        raise InputError(f"{where}: 'labels' is missing or bad, expected different names of one line each")
    if type(dims) is not int or not 1 <= dims <= MOST_DIMS:
        raise InputError(f"{where}: 'dims' is missing or bad, expected a whole number from 1 to {MOST_DIMS:,}")
    return labels, dims


def _is_name(label: Any) -> bool:
    return isinstance(label, str) and label.splitlines() == [label] and "\0" not in label
