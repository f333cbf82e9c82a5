"""Files on disk: written whole or not at all, and read without trusting them.

What is being written lies beside its final place as ``.NAME.*.part``, under a lock that ends with its process however
that ends. So the next writer of the same name knows what a killed one left behind, and removes it.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from gandistill.errors import InputError, RunError

PART, LOCK = ".part", ".lock"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TEXT_BYTES = 64 * 2**20
JSON_DEPTH = 64
TEMPORARY = re.compile(r"^\.(.+)\.[^.]+\.part$")


@contextmanager
def written_whole(path: Path, size: int | None = None) -> Iterator[Path]:
    """Give a temporary path to write ``size`` bytes to; afterwards it is flushed and renamed to ``path``.

    On failure it is removed, and what was at ``path`` stays. Raises RunError if there is no room.
    """
    with room_for(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(path, folder=False) as temporary:
            yield temporary
            temporary.chmod(0o644)  # made as 0600, and what is shared must be readable
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)


def write_text(path: Path, text: str) -> None:
    content = text.encode()
    with written_whole(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def dump_compact(value: Any) -> str:
    """JSON in one line with sorted keys: what fingerprints are taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, whole or not at all unless the process is killed. Raises RunError if there is no room."""
    content = f"{line}\n".encode()
    with room_for(path, len(content)), path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(before)
            raise


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises InputError as ``read_text`` does, if it is not a JSON object, or if it holds what we never write: a key
    twice, a number that is not finite, an integer beyond 64 bits, text that is not Unicode, 64 levels.
    """
    text = read_text(path)
    try:
        value = json.loads(text, object_pairs_hook=_distinct)
        _check_json(value, JSON_DEPTH)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def read_text(path: Path) -> str:
    """A file of at most 64 MiB. Raises InputError if it is missing, larger or not UTF-8."""
    size = size_of(path)
    if size > TEXT_BYTES:
        raise InputError(f"{path}: too large, it has {size:,} bytes, expected at most {TEXT_BYTES:,}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice")
    return values


def _check_json(value: Any, depth: int) -> None:
    if not depth:
        raise ValueError("it is nested too deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_json(key, depth)
            _check_json(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_json(inner, depth - 1)
    elif isinstance(value, str):
        value.encode()
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number has more than 64 bits")


def size_of(path: Path) -> int:
    """Bytes of a plain file. Raises InputError if it is missing, out of reach, or a folder, pipe or device."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a readable file, it is a folder, a pipe or a device")
    return status.st_size


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal. Raises InputError as ``size_of`` does."""
    size_of(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def room_for(path: Path, size: int | None = None) -> Iterator[None]:
    """Within, a full disk and a file-size limit become a RunError that names file, bytes needed and bytes free."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        shown = Path(*(TEMPORARY.sub(r"\1", part) for part in path.parts))
        existing = next(folder for folder in path.absolute().parents if folder.is_dir())
        needed = "more bytes" if size is None else f"{size:,} bytes"
        limit = ""
        if error.errno == errno.EFBIG:
            import resource  # not on Windows, which has no such limit

            limit = f", a file may have {resource.getrlimit(resource.RLIMIT_FSIZE)[0]:,} (ulimit -f)"
        raise RunError(
            f"{shown}: {os.strerror(error.errno).lower()}: it needs {needed}, {shutil.disk_usage(existing).free:,} are "
            f"free{limit}"
        ) from None


@contextmanager
def beside(path: Path, folder: bool) -> Iterator[Path]:
    """A new file or folder next to ``path`` under a name that says it is not finished; removed afterwards, if there.

    What killed processes left under such names of ``path`` is removed first. A live one holds a lock: on the file, or
    on ``.lock`` in the folder, to be removed with it or, while ``path`` is ``locked``, before it is renamed.
    """
    with locked(path):
        for leftover in leftovers(path, PART):
            # Gone already; or locked: at work; or no locks here: perhaps at work.
            with suppress(OSError), _lock_in(leftover).acquire(blocking=False):
                remove(leftover)
        names = {"prefix": f".{path.name}.", "suffix": PART, "dir": path.parent}
        if folder:
            temporary = Path(tempfile.mkdtemp(**names))
        else:
            descriptor, name = tempfile.mkstemp(**names)
            os.close(descriptor)
            temporary = Path(name)
        lock = _lock_in(temporary)
        with suppress(OSError):  # a file system without locks: nobody will take it for dead
            lock.acquire(blocking=False)
    try:
        yield temporary
    finally:
        remove(temporary)
        lock.release()


def leftovers(path: Path, suffix: str) -> list[Path]:
    """Files and folders next to ``path`` that carry its name hidden, and this suffix."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[^.]+{re.escape(suffix)}")
    return [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)]


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def lock_of(path: Path) -> FileLock:
    """The lock of a lock file, which ends with its process. Acquiring it raises OSError where there are no locks."""
    # There filelock would fall back on files that outlive a killed process.
    return FileLock(path, fallback_to_soft=False)


def _lock_in(temporary: Path) -> FileLock:
    return lock_of(temporary / LOCK if temporary.is_dir() else temporary)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within, no other process is in here for the same path, where the file system has locks. For a few renames.

    Raises InputError where no file can be made at all, such as below ``/proc``: there filelock would wait for ever.
    """
    lock = lock_of(path.with_name(f".{path.name}.lock{PART}"))
    with suppress(OSError):
        try:
            Path(lock.lock_file).touch()
        except FileNotFoundError:
            raise InputError(f"{path}: no file can be made in {path.parent}, choose another place") from None
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # while it is held: whoever waits for it makes a new one
        lock.release()
