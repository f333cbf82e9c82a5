"""Named tensors on disk: safetensors files, whose header is compared with what is expected before memory is taken."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gandistill.errors import InputError
from gandistill.files import size_of, written_whole

if TYPE_CHECKING:  # torch takes seconds to import, and who writes text only need not wait
    import torch
    from torch import Tensor

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""What our files hold, and what torch calls it; safetensors knows more, for some of which torch has no arithmetic."""


class Stored(NamedTuple):
    """What a header says of one tensor; ``dtype`` by safetensors' name."""

    dtype: str
    shape: list[int]


def save_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Write named tensors as one safetensors file, whole or not at all. Raises RunError if there is no room."""
    from safetensors.torch import save

    # Not by save_file: it writes to a hidden file of its own, which a kill leaves, and puts it in place of ours.
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    with written_whole(path, len(content)) as temporary:
        temporary.write_bytes(content)


def header(path: Path) -> dict[str, Stored]:
    """What a safetensors file says it holds, its size checked against that; takes no memory for the tensors.

    Raises InputError if the file is missing, damaged, or holds a kind of number that we never write.
    """
    from safetensors import SafetensorError, safe_open

    size_of(path)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            entries = {name: Stored(part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({' '.join(str(error).split())})") from None
    for name, stored in entries.items():
        if stored.dtype not in DTYPES:
            raise InputError(f"{path}: tensor {name!r} is {stored.dtype}, expected one of [{', '.join(DTYPES)}]")
    return entries


def check_tensors(path: Path, expected: "Mapping[str, Tensor]") -> None:
    """Raise InputError unless a file holds tensors of exactly these names, shapes and dtypes, on any device."""
    specs = {name: (stored.shape, DTYPES[stored.dtype]) for name, stored in header(path).items()}
    _require_same(specs, expected, path)


def load_tensors(path: Path) -> "dict[str, Tensor]":
    """Read a safetensors file. Raises InputError if it is missing, damaged, or holds a number that is not finite."""
    from safetensors import SafetensorError, safe_open

    tensors = {}
    for name, stored in header(path).items():
        if max(stored.shape, default=0) >= 2**63:  # which an empty tensor can claim
            raise InputError(f"{path}: tensor {name!r} has shape {stored.shape}, no tensor can")
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                tensors[name] = file.get_tensor(name).clone()  # not mapped: nothing done to the file can change it
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({' '.join(str(error).split())})") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not math.isfinite(float(tensor.abs().max() if tensor.numel() else 0.0)):
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinite values")
    return tensors


def load_module(module: "torch.nn.Module", tensors: "Mapping[str, Tensor]", where: Path) -> None:
    """Copy tensors into a module, which may have been built on the meta device: it takes memory only here.

    Raises InputError naming the first tensor whose name, shape or dtype differs.
    """
    expected = module.state_dict()
    _require_same({name: (list(t.shape), _plain(t.dtype)) for name, t in tensors.items()}, expected, where)
    if any(tensor.is_meta for tensor in expected.values()):
        module.to_empty(device="cpu")
    module.load_state_dict(tensors)


def _require_same(specs: Mapping[str, tuple[list[int], str]], expected: "Mapping[str, Tensor]", where: Path) -> None:
    for names, wrong in ((expected.keys() - specs.keys(), "missing"), (specs.keys() - expected.keys(), "not expected")):
        if names:
            raise InputError(f"{where}: tensor {min(names)!r} is {wrong}")
    for name, tensor in expected.items():
        shape, dtype = specs[name]
        if shape != list(tensor.shape):
            raise InputError(f"{where}: tensor {name!r} has shape {shape}, expected {list(tensor.shape)}")
        if dtype != _plain(tensor.dtype):
            raise InputError(f"{where}: tensor {name!r} is {dtype}, expected {_plain(tensor.dtype)}")


def _plain(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")
