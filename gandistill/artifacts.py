"""Folders on disk: what every command reads and writes.

An artifact is a folder with ``config.json`` (its kind and what made it), tensors as safetensors, a ``README.md``
card and ``SHA256SUMS`` over those files. Nothing is pickled, so nothing a user loads can run code. A folder appears
complete or not at all: it is written beside its final place, flushed to disk and renamed.
"""

import hashlib
import json
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gandistill import __version__
from gandistill.errors import InputError

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
CARD = "README.md"
SUMS = "SHA256SUMS"
FORMAT = 1
LIBRARIES = ("torch", "numpy", "safetensors", "transformers")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; afterwards it is flushed and renamed to ``path``, or removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.chmod(0o644)  # safetensors writes 0600, and what is shared must be readable
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; InputError if it is missing or not a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


@contextmanager
def new_artifact(out: Path, kind: str) -> Iterator[Path]:
    """Give an empty folder to fill; on success it becomes ``out``, sums written, everything flushed.

    An earlier artifact of the same kind at ``out`` is replaced only after the new one is complete. Raises InputError
    if ``out`` is a file, or holds anything else.
    """
    check_free(out, kind)
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        building.chmod(0o755)
        yield building
        write_sums(building)
        for file in building.rglob("*"):
            _flush(file)
        if out.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
            out.replace(replaced)
            try:
                building.replace(out)
            finally:
                if out.exists():
                    shutil.rmtree(replaced)
                else:
                    replaced.replace(out)
        else:
            building.replace(out)
        _flush(out.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def check_free(out: Path, kind: str) -> None:
    """Refuse to write over what is not an artifact of this kind. Raises InputError."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not (out / CONFIG).is_file():
        raise InputError(f"{out} exists and is not a gandistill {kind}: choose another --out or remove it")
    found = read_json(out / CONFIG).get("kind")
    if found != kind:
        raise InputError(f"{out} holds a gandistill {found}, not a {kind}: choose another --out or remove it")


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` (the format of ``sha256sum``) over every file of the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    write_text(folder / SUMS, "".join(f"{sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files))


def read_sums(folder: Path) -> dict[str, str]:
    """File name to SHA-256, as ``SHA256SUMS`` says. Raises InputError if it is missing or unreadable."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{folder}: {SUMS} is missing or unreadable, the artifact is incomplete") from None
    pairs = [line.split("  ", 1) for line in lines]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"{folder / SUMS}: not in the format of sha256sum")
    sums = {name: digest for digest, name in pairs}
    if CONFIG not in sums:
        raise InputError(f"{folder / SUMS}: lacks {CONFIG}, the artifact is incomplete")
    return sums


def fingerprint(folder: Path) -> str:
    """Identity of an artifact: SHA-256 of its sums, so of every byte in it that counts."""
    read_sums(folder)
    return sha256(folder / SUMS)


def open_artifact(folder: Path, kind: str, verify: bool = True) -> dict[str, Any]:
    """The config of an artifact, after checking its kind, format and (unless too large to) every sum.

    Raises InputError naming the file that is missing, altered, or of another kind.
    """
    if not folder.exists():
        raise InputError(f"No {kind} at {folder}: no such folder")
    if not folder.is_dir() or not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is not a gandistill {kind}: it has no {CONFIG}")
    config = read_json(folder / CONFIG)
    if config.get("kind") != kind:
        raise InputError(f"{folder} holds a gandistill {config.get('kind')}, expected a {kind}")
    if config.get("format") != FORMAT:
        raise InputError(f"{folder} has format {config.get('format')!r}, this version reads format {FORMAT}")
    if verify:
        for name, digest in read_sums(folder).items():
            file = folder / name
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise InputError(f"{folder / SUMS}: names a file outside the folder: {name!r}")
            if not file.is_file():
                raise InputError(f"{file} is missing, the artifact is incomplete")
            if sha256(file) != digest:
                raise InputError(f"{file} has changed since it was written (its SHA-256 differs from {SUMS})")
    return config


def describe(kind: str, made_by: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """The content of ``config.json``: kind, what made it (command and settings), versions, then the facts."""
    return {"kind": kind, "format": FORMAT, "made_by": made_by | {"versions": versions()}, **facts}


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries whose arithmetic decides the bits."""
    found = {"gandistill": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def save_tensors(path: Path, tensors: dict[str, "torch.Tensor"], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors as one safetensors file, whole or not at all."""
    from safetensors.torch import save_file

    with written_whole(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)


def load_tensors(path: Path) -> dict[str, "torch.Tensor"]:
    """Read a safetensors file. Raises InputError if it is missing, damaged, or holds a number that is not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not math.isfinite(float(tensor.abs().max() if tensor.numel() else 0.0)):
            raise InputError(f"{path}: tensor {name!r} holds NaN or infinite values")
    return tensors


def load_module(module: "torch.nn.Module", tensors: dict[str, "torch.Tensor"], where: Path) -> None:
    """Copy tensors into a module after checking names and shapes. Raises InputError naming the first that differs."""
    expected = module.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            raise InputError(f"{where}: tensor {name!r} is {'missing' if name not in tensors else 'not expected'}")
        if tensors[name].shape != expected[name].shape:
            shapes = f"{list(tensors[name].shape)}, expected {list(expected[name].shape)}"
            raise InputError(f"{where}: tensor {name!r} has shape {shapes}")
    module.load_state_dict(tensors)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
