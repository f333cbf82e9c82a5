"""HuBERT, wav2vec 2.0 and WavLM through transformers: the hidden states of one layer, the last, or a weighting."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor

from gandistill import artifacts
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.errors import InputError, choices
from gandistill.features.upstreams import LayerChoice, parameters_sha256

MODEL_TYPES = ("hubert", "wav2vec2", "wavlm")
PREPROCESSOR = "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
VARIANCE_FLOOR = 1e-7  # as in transformers' Wav2Vec2FeatureExtractor


class HubertConfig(LayerChoice):
    """Which model of the HuBERT family, and which of its hidden states."""

    model: str = Field(default="facebook/hubert-base-ls960", min_length=1)
    """A HuBERT, wav2vec 2.0 or WavLM: its name on the Hugging Face Hub, or a local folder."""


class Hubert:
    """Hidden states of a HuBERT, wav2vec 2.0 or WavLM model, one utterance at a time.

    Layer n is ``hidden_states[n]`` of transformers: 0 is what enters the first transformer layer (projected
    convolutional features with their positions), n the output of the n-th; layers above it are not run. 'last' is
    ``last_hidden_state``, which in the large models (``do_stable_layer_norm``) has one more layer norm than layer n.

    A clip of n samples gives the frames that the convolutions give: one for every 320 samples behind the first 400 in
    the published models. Audio is brought to zero mean and unit variance where the model's preprocessor_config.json
    says so, or where it has none (what transformers does by default for these models).

    Raises InputError if the model cannot be found, is of another type, lacks parameters, or has no such layer.
    """

    def __init__(self, config: HubertConfig, device: torch.device | str = "cpu") -> None:
        local = Path(config.model).is_dir()
        self.name = f"hubert {Path(config.model).resolve().name if local else config.model}"
        self.choice = config
        self.device = torch.device(device)
        self.normalise, self.normalise_from, model = _load(config.model)
        layers = model.config.num_hidden_layers
        config.check(layers, f"The model {config.model}")
        self.dims: int = model.config.hidden_size
        self.frame_rate = SAMPLE_RATE / model.config.inputs_to_logits_ratio
        self.architecture = type(model).__name__
        self.parameters = parameters_sha256(model)
        if isinstance(config.layer, int):
            model.encoder.layers = model.encoder.layers[: config.layer]
            if model.config.do_stable_layer_norm:  # here the encoder's norm comes behind its layers
                model.encoder.layer_norm = torch.nn.Identity()
        self.model = model.to(self.device).eval()

    def describe(self) -> dict[str, Any]:
        """Identity by content: the parameters' hash, wherever the model was loaded from."""
        return {
            "name": "hubert",
            "sample_rate": SAMPLE_RATE,
            "architecture": self.architecture,
            "parameters_sha256": self.parameters,
            **self.choice.describe(),
            "normalise": self.normalise,
            "normalise_from": self.normalise_from,
        }

    @torch.no_grad()
    def __call__(self, audio: Tensor) -> Tensor:
        """Audio [samples] to hidden states [T, D]."""
        audio = audio.to(self.device)
        if self.normalise:
            audio = (audio - audio.mean()) / (audio.var(correction=0) + VARIANCE_FLOOR).sqrt()
        output = self.model(audio[None], output_hidden_states=self.choice.weights is not None)
        if self.choice.weights is None:
            return output.last_hidden_state[0]
        return self.choice.mix([state[0] for state in output.hidden_states])


def _load(name: str) -> tuple[bool, str, Any]:
    """Whether to normalise, what says so, and the model in float32, from safetensors alone."""
    from transformers import AutoConfig, AutoModel
    from transformers.utils.hub import cached_file

    local: dict[str, Any] = {"local_files_only": _is_here(name)}
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(name, trust_remote_code=False, **local)
            if config.model_type not in MODEL_TYPES:
                raise choices(f"model type of {name}", config.model_type, MODEL_TYPES)
            preprocessor = cached_file(name, PREPROCESSOR, _raise_exceptions_for_missing_entries=False, **local)
            model, info = AutoModel.from_pretrained(
                name, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"Cannot load the model {name}: {' '.join(str(error).split())}") from None
    missing = sorted(set(info["missing_keys"]) - {"masked_spec_embed"})  # which only masking in training uses
    if missing:
        raise InputError(f"The model {name} lacks {len(missing)} parameters, the first is {missing[0]!r}")
    if preprocessor is None:
        return True, "default", model
    return bool(artifacts.read_json(Path(preprocessor)).get("do_normalize", True)), PREPROCESSOR, model


def _is_here(name: str) -> bool:
    """Whether the model is a folder or in the Hub's cache; otherwise the Hub must answer. Raises InputError."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(name).is_dir():
        _check_folder(Path(name))
        return True
    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str) and any(
            isinstance(try_to_load_from_cache(name, weights), str) for weights in WEIGHTS
        ):
            return True
        HfApi().model_info(name, timeout=10)
    except HFValidationError:
        raise InputError(f"No model at {name}: no such folder, and not a name on the Hugging Face Hub") from None
    except Exception as error:  # offline, refused, not found, time-out: each has its own class in each HTTP library
        raise InputError(
            f"Cannot find the model {name}: there is no such folder, it is not in the Hugging Face cache, and the Hub "
            f"did not give it ({type(error).__name__}); where there is a network, run 'hf download {name} "
            "--local-dir DIR', then point to it by --set hubert.model=DIR"
        ) from None
    return False


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is not a model folder: it has no config.json")
    if any((folder / weights).is_file() for weights in WEIGHTS):
        return
    if any(folder.glob("*.bin")):
        raise InputError(
            f"{folder} holds its weights only as pickle (.bin), which can run code and is not read; if you trust it, "
            f"convert it by: python -c \"from transformers import AutoModel; AutoModel.from_pretrained('{folder}')"
            ".save_pretrained('DIR')\", copy its preprocessor_config.json, and give --set hubert.model=DIR"
        )
    raise InputError(f"{folder} has no {WEIGHTS[0]}: the download is incomplete")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' loading report to itself: what matters of it is checked here. Download bars stay."""
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
