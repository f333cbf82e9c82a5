"""One ONNX file of a generator or of a head, whichever an artifact is."""

from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.gan import export as generators
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, generator_folder
from gandistill.gan.shipped import named
from gandistill.heads import export as heads
from gandistill.heads.head import KIND as HEAD
from gandistill.heads.head import load_head


def export(source: Path | str, file: Path, draws: str | None = None) -> dict[str, Any]:
    """Write the generator or head in a folder, a run's too, or of a generator that ships, to ``file``.

    Gives what ``gan.export`` or ``heads.export`` does, and raises as they do, InputError for another kind of artifact,
    and for ``draws``, which are as for ``sample``, of what draws nothing.
    """
    folder = generator_folder(named(source))
    if artifacts.kind_of(folder, "export", (GENERATOR, HEAD)) == GENERATOR:
        return generators.export(Sampler.open(folder).drawing(draws), file)
    if draws is not None:
        raise InputError(f"{folder} holds a head, which draws nothing: leave --draws away")
    return heads.export(load_head(folder), str(source), file)
