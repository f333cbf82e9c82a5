"""An upstream with random weights, saved as transformers saves one: where no pretrained one is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from gandistill import files
from gandistill.config import Config
from gandistill.errors import InputError, choices
from gandistill.features.pretrained import quiet
from gandistill.numerics import seeded
from gandistill.selfdistill.backbone import MODEL_TYPES
from gandistill.selfdistill.model import transformer


class RandomUpstreamConfig(Config):
    """A model with random weights."""

    settings: dict[str, Any]
    """transformers' settings, such as ``hidden_size``, ``model_type`` among them; the base model's where none is."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """All weights follow from this alone."""


def make_upstream(out: Path, settings: Mapping[str, Any], seed: int) -> None:
    """Write a model folder whose weights follow from ``seed``, that ``network.upstream`` can name.

    ``settings`` are transformers' own (``hidden_size``, ``num_hidden_layers``, ...), ``model_type`` among them; what
    they leave open is as in the base model. The same settings and seed give the same bytes. Raises InputError for
    settings that transformers does not know or that do not fit together, or if ``out`` exists.
    """
    from transformers import AutoConfig

    where = f"the settings of {out}"
    kind = settings.get("model_type")
    if kind not in MODEL_TYPES:
        raise choices(f"model_type in {where}:", kind, MODEL_TYPES)
    base = AutoConfig.for_model(kind).to_dict()
    unknown = sorted(set(settings) - set(base))
    if unknown:
        raise InputError(f"{where}: transformers' {kind} has no {unknown[0]!r}")
    if out.exists():
        raise InputError(f"{out} exists: choose another folder for the model, or remove it")
    with seeded(seed):
        model = transformer(dict(settings), None, where)
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.beside(out, folder=True) as building:
        with quiet():
            model.save_pretrained(building)
        building.chmod(0o755)
        (building / files.LOCK).unlink()
        building.replace(out)
