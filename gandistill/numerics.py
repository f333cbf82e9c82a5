"""Numbers that are the same each time: draws keyed by what they are for, one thread, all digits on a GPU."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor

from gandistill.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's ``mallopt``: beyond so many bytes free memory goes back, and an array has pages of its own."""
KEPT_BYTES = 2**30


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


def generator_for(*key: int) -> torch.Generator:
    """A torch generator whose draws depend on these non-negative numbers alone, such as (seed, purpose, step)."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initial weights and dropout can only draw from torch's global generators: seed them inside, restore the CPU's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def drawn_by(*key: int) -> AbstractContextManager[None]:
    """Within, torch's global generator, the only one that new weights and dropout draw from, follows from a key."""
    return seeded(generator_for(*key).initial_seed())


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes in one thread: the same bits whatever the number of cores, and for small arrays the
    fastest way, since threads that wait for each other lose far more on a busy machine than they bring.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def keep_memory() -> None:
    """From now on what torch frees stays with this process for what it asks for next, where the C library is glibc.

    Else every array of some hundred kilobytes comes from the system anew, a page at a time: up to a third of an update.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(library, "mallopt"):
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            library.mallopt(parameter, KEPT_BYTES)


def no_tf32() -> AbstractContextManager[None]:
    """Within, float32 convolutions on a GPU have all their digits: TensorFloat-32 keeps three."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False)
