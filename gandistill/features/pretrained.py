"""Pretrained speech models of transformers: found in a folder, in the Hub's cache or on the Hub, and loaded."""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from gandistill import artifacts
from gandistill.errors import InputError, choices

PREPROCESSOR = "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
PARTS = {"whisper": "encoder."}
"""How the names of the parameters begin that are needed, by type of model, where not all are."""
VARIANCE_FLOOR = 1e-7  # as in transformers' Wav2Vec2FeatureExtractor


def normalised(audio: Tensor) -> Tensor:
    """Audio [samples] brought to zero mean and unit variance, as most of these models were trained on."""
    return (audio - audio.mean()) / (audio.var(correction=0) + VARIANCE_FLOOR).sqrt()


def normalisation(preprocessor: dict[str, Any] | None) -> tuple[bool, str]:
    """Whether audio is to be ``normalised``, and what says so: the preprocessor's config or, without one, a default."""
    return (True, "default") if preprocessor is None else (bool(preprocessor.get("do_normalize", True)), PREPROCESSOR)


def least_samples(config: Any, frames: int = 1) -> int:
    """The fewest samples of which a model's convolutions, as its ``config`` has them, make so many frames."""
    samples = frames
    for kernel, stride in reversed([*zip(config.conv_kernel, config.conv_stride, strict=True)]):
        samples = (samples - 1) * stride + kernel
    return samples


def load_pretrained(name: str, setting: str, types: Sequence[str]) -> tuple[Any, dict[str, Any] | None]:
    """A model in float32, from safetensors alone, and what its preprocessor_config.json says, None if it has none.

    ``name`` is a local folder or a name on the Hugging Face Hub, ``setting`` where the user can give another. Raises
    InputError if the model cannot be found, is of none of the ``types``, or lacks parameters that are needed.
    """
    from transformers import AutoConfig, AutoModel
    from transformers.utils.hub import cached_file

    online = _on_hub(name, setting)
    local: dict[str, Any] = {"local_files_only": online is None}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(name, trust_remote_code=False, **local)
            if config.model_type not in types:
                raise choices(f"model type of {name}", config.model_type, [*types])
            preprocessor = cached_file(name, PREPROCESSOR, _raise_exceptions_for_missing_entries=False, **local)
            model, info = AutoModel.from_pretrained(
                name, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if online is not None and online.isdisjoint(WEIGHTS) and not online.isdisjoint(PICKLED):
            raise _pickled(name, setting, online) from None
        raise InputError(f"Cannot load the model {name}: {' '.join(str(error).split())}") from None
    lacking = set(info["missing_keys"]) - {"masked_spec_embed"}  # which only masking in training uses
    missing = sorted(key for key in lacking if key.startswith(PARTS.get(config.model_type, "")))
    if missing:
        raise InputError(f"The model {name} lacks {len(missing)} parameters, the first is {missing[0]!r}")
    return model, None if preprocessor is None else artifacts.read_json(Path(preprocessor))


def _on_hub(name: str, setting: str) -> set[str] | None:
    """The files that the Hub has of a model; None for one that is a folder or in the Hub's cache. Raises InputError."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(name).is_dir():
        _check_folder(Path(name), setting)
        return None
    try:
        files = ("config.json", PREPROCESSOR, *WEIGHTS, *PICKLED)
        cached = {file for file in files if isinstance(try_to_load_from_cache(name, file), str)}
    except HFValidationError:
        raise InputError(f"No model at {name}: no such folder, and not a name on the Hugging Face Hub") from None
    if "config.json" in cached and not cached.isdisjoint(WEIGHTS):
        return None
    try:
        return {sibling.rfilename for sibling in HfApi().model_info(name, timeout=10).siblings or ()}
    except Exception as error:  # offline, refused, not found, time-out: each has its own class in each HTTP library
        if not cached.isdisjoint(PICKLED):
            raise _pickled(name, setting, cached) from None
        raise InputError(
            f"Cannot find the model {name}: there is no such folder, it is not in the Hugging Face cache, and the Hub "
            f"did not give it ({type(error).__name__}); where there is a network, run 'hf download {name} "
            f"--local-dir DIR', then point to it by --set {setting}=DIR (if its weights are pickle, it says what next)"
        ) from None


def _check_folder(folder: Path, setting: str) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a model folder: it has no config.json")
    if any((folder / weights).is_file() for weights in WEIGHTS):
        return
    files = {path.name for path in folder.iterdir()}
    if not files.isdisjoint(PICKLED):
        raise _pickled(str(folder), setting, files)
    raise InputError(f"{folder} has no {WEIGHTS[0]}: the download is incomplete")


def _pickled(name: str, setting: str, files: set[str]) -> InputError:
    """What to say of a model that has these files, its weights among them only as pickle: how to convert it."""
    kinds = ["AutoModel"] + ["AutoFeatureExtractor"] * (PREPROCESSOR in files)
    saved = "; ".join(f'{kind}.from_pretrained({json.dumps(name)}).save_pretrained("DIR")' for kind in kinds)
    code = f"from transformers import {', '.join(kinds)}; {saved}"
    return InputError(
        f"{name} holds its weights only as pickle (.bin), which can run code and is not read; if you trust it, convert "
        f"it by: python -c {shlex.quote(code)}, and give --set {setting}=DIR"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' reports and bars of loading and saving to itself. Download bars stay."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
