"""Trajectories: the weights of teachers before training and after every epoch, on disk.

A folder: ``config.json``, ``trajectory-N.safetensors`` with one tensor ``weights`` [epochs + 1, W], and
``moments.safetensors`` with the ``mean`` and ``deviation`` [D] by which the teachers standardise.

Shapes: T frames, D feature dims, W weights of a network, E snapshots of a trajectory.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from gandistill import artifacts, files
from gandistill.errors import InputError
from gandistill.heads.head import Head, build_head
from gandistill.numerics import seeded
from gandistill.trajectory.matching import Network

KIND = "trajectories"
WEIGHTS, MOMENTS = "weights", "moments.safetensors"


@dataclass(frozen=True)
class Trajectories:
    """Teachers' weights after every epoch, on disk; ``config`` is the artifact's, ``dev_uar`` at the last epoch."""

    folder: Path
    config: dict[str, Any]
    kind: str
    """Of head."""
    labels: list[str]
    dims: int
    """D"""
    frames: int
    """T of the clips that taught them."""
    mean: Tensor
    """[D], of the frames that taught them."""
    deviation: Tensor
    """[D], 1 where a dim is constant."""
    epochs: int
    """The last snapshot's number; the first is 0."""
    count: int
    """Trajectories."""
    size: int
    """W"""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what describes them and, since they may be huge, their files' shapes but not their sums.

        Raises InputError naming what is missing, altered or wrong.
        """
        config = artifacts.open_artifact(folder, KIND, verify=(artifacts.CONFIG, artifacts.CARD))
        where = folder / artifacts.CONFIG
        head = build_head(config.get("head"), config, {}, where)
        frames, epochs, count = (_whole(config, name, where) for name in ("frames", "epochs", "trajectories"))
        size = Network(head.model).size
        moments = artifacts.load_verified(folder / MOMENTS, {"mean": head.mean, "deviation": head.deviation})
        if not (moments["deviation"] > 0).all():
            raise InputError(f"{folder / MOMENTS}: a deviation is not above 0")
        for number in range(count):
            expected = torch.empty(epochs + 1, size, device="meta")
            artifacts.check_tensors(folder / file_of(number), {WEIGHTS: expected})
        return cls(
            folder=folder,
            config=config,
            kind=head.kind,
            labels=head.labels,
            dims=head.dims,
            frames=frames,
            **moments,
            epochs=epochs,
            count=count,
            size=size,
        )

    def head(self) -> Head:
        """A head of the teachers' kind with initial weights that none of them had, standardising as they do."""
        with seeded(0):
            head = Head(self.kind, self.labels, self.dims)
        head.mean.copy_(self.mean)
        head.deviation.copy_(self.deviation)
        return head

    def snapshot(self, trajectory: int, epoch: int) -> Tensor:
        """Weights [W] of a teacher after an epoch, 0 for its initial ones, in the order of ``Network``.

        Raises InputError if there is no such snapshot, or it is damaged.
        """
        from safetensors import safe_open

        if not (0 <= trajectory < self.count and 0 <= epoch <= self.epochs):
            raise InputError(
                f"{self.folder} has no epoch {epoch} of trajectory {trajectory}, expected 0..{self.epochs} of "
                f"0..{self.count - 1}"
            )
        path = self.folder / file_of(trajectory)
        with safe_open(path, framework="pt") as file:
            weights = file.get_slice(WEIGHTS)[epoch].clone()
        if not weights.isfinite().all():
            raise InputError(f"{path}: epoch {epoch} holds NaN or infinite values, it is damaged")
        return weights


def _whole(config: dict[str, Any], name: str, where: Path) -> int:
    value = config.get(name)
    if type(value) is not int or value < 1:
        raise InputError(f"{where}: {name!r} is missing or bad, expected a whole number from 1")
    return value


def file_of(number: int) -> str:
    """The file of trajectory 0, 1, ..."""
    return f"trajectory-{number}.safetensors"


def write_row(path: Path, shape: tuple[int, int], row: int, weights: Tensor) -> None:
    """Write one row [W] of the tensor ``weights`` [E, W] that is all of a safetensors file, and flush it to the disk.

    Row 0 comes first; the file is whole once it has the last one. So neither the tensor needs to be in memory, nor what
    is on disk be written again. The format: the length of a JSON header in eight bytes, the header, the numbers.
    """
    content = weights.detach().cpu().numpy().astype("<f4").tobytes()
    entry = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, shape[0] * len(content)]}
    header = json.dumps({WEIGHTS: entry}).encode()
    header += b" " * (-len(header) % 8)
    with files.room_for(path, len(content)):
        with path.open("r+b" if row else "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.seek(row * len(content), os.SEEK_CUR)
            file.write(content)
        files.flush(path)
