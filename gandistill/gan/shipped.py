"""Generators that come with the package, by name. Nothing here needs torch."""

from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.shipped import folder_of

SHIPPED = "ravdess-logmel"
"""What is drawn from where no generator is named."""


def shipped(name: str = SHIPPED) -> Path:
    """A generator that comes with the package. Raises InputError if this installation lacks it."""
    return folder_of("checkpoints") / name


def named(source: Path | str | None) -> Path:
    """The folder that a source names: itself, or where there is none, the generator of that name that ships.

    None is ``SHIPPED``. Raises InputError if there is neither, or this installation lacks its own.
    """
    if source is None:
        return shipped()
    if artifacts.present(Path(source)):
        return Path(source)
    ours = [path.parent.name for path in sorted(folder_of("checkpoints").glob(f"*/{artifacts.CONFIG}"))]
    if str(source) in ours:
        return shipped(str(source))
    if Path(source).name == str(source):
        raise InputError(f"No generator {source}: no such folder, and none of those that ship, [{', '.join(ours)}]")
    return Path(source)


def generators() -> list[dict[str, Any]]:
    """Of each generator that ships its ``name``, ``kind``, ``corpus``, ``licence``, ``labels``, ``upstream`` (what its
    features come from), ``dims``, ``bytes`` and ``path``."""
    described = []
    for path in sorted(folder_of("checkpoints").glob(f"*/{artifacts.CONFIG}")):
        facts, folder = artifacts.read_json(path), path.parent
        row = {key: facts[key] for key in ("corpus", "licence", "labels", "dims")}
        row |= {"upstream": facts["upstream"]["name"], "kind": facts["architecture"]["kind"]}
        described.append({"name": folder.name} | row | {"bytes": artifacts.bytes_on_disk(folder), "path": str(folder)})
    return described
