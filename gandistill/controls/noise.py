"""Noise keyed by what it is for, so that a sample stays the same however many are drawn beside it."""

import numpy as np
import torch
from torch import Tensor

from gandistill.errors import InputError


def noise(seed: int, label: int, first: int, count: int, size: int) -> Tensor:
    """Standard normal noise [count, size] of samples ``first`` to ``first + count - 1`` of class number ``label``.

    Each row depends on (seed, label, its sample number) alone. Raises InputError for a negative seed.
    """
    rows = [
        keyed(seed, label, sample).standard_normal(size, dtype=np.float32) for sample in range(first, first + count)
    ]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, size)


def keyed(seed: int, *key: int) -> np.random.Generator:
    """A random stream of its own for (seed, key). Raises InputError for a negative seed."""
    if seed < 0:
        raise InputError(f"Bad seed {seed}, expected 0 or more")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
