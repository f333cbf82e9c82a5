"""HuBERT and its relatives through transformers: the hidden states of one layer, the last, or a weighting."""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.features.pretrained import least_samples, load_pretrained, normalisation, normalised
from gandistill.features.upstreams import LayerChoice, parameters_sha256

CONFORMER = "wav2vec2-conformer"
MODEL_TYPES = ("hubert", "wav2vec2", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", CONFORMER)
"""As transformers calls them; XLS-R and MMS are of type wav2vec2."""


class HubertConfig(LayerChoice):
    """Which model of the HuBERT family, and which of its hidden states."""

    model: str = Field(default="facebook/hubert-base-ls960", min_length=1)
    """A HuBERT, wav2vec 2.0 (also XLS-R, MMS, Conformer), WavLM, data2vec-audio or UniSpeech (also SAT).

    Its name on the Hugging Face Hub, or a local folder.
    """


class Hubert:
    """Hidden states of a HuBERT or one of its relatives (``MODEL_TYPES``), one utterance at a time.

    Layer n is ``hidden_states[n]`` of transformers: 0 is what enters the first transformer layer (projected
    convolutional features with their positions), n the output of the n-th; layers above it are not run. 'last' is
    ``last_hidden_state``, which in the large models (``do_stable_layer_norm``) and the Conformer has one more layer
    norm than layer n. What some models have behind their transformer to lower the frame rate (``add_adapter``) is left
    out.

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
        model, preprocessor = load_pretrained(config.model, "hubert.model", MODEL_TYPES)
        self.normalise, self.normalise_from = normalisation(preprocessor)
        layers = model.config.num_hidden_layers
        config.check(layers, f"The model {config.model}")
        self.dims: int = model.config.hidden_size
        self.frame_rate = SAMPLE_RATE / model.config.inputs_to_logits_ratio
        self.architecture = type(model).__name__
        self.parameters = parameters_sha256(model)
        if getattr(model.config, "add_adapter", False):
            model.adapter = None
        if isinstance(config.layer, int):
            model.encoder.layers = model.encoder.layers[: config.layer]
            is_conformer = model.config.model_type == CONFORMER
            if is_conformer or getattr(model.config, "do_stable_layer_norm", False):  # here the norm follows the layers
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

    def least(self, frames: int = 1) -> int:
        """The fewest samples that give so many frames."""
        return least_samples(self.model.config, frames)

    @torch.no_grad()
    def __call__(self, audio: Tensor) -> Tensor:
        """Audio [samples] to hidden states [T, D]."""
        audio = audio.to(self.device)
        if self.normalise:
            audio = normalised(audio)
        output = self.model(audio[None], output_hidden_states=self.choice.weights is not None)
        if self.choice.weights is None:
            return output.last_hidden_state[0]
        return self.choice.mix([state[0] for state in output.hidden_states])
