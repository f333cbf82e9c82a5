"""What self-distillation is told: which network, which loss, how it is trained."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from gandistill.config import Config
from gandistill.selfdistill.losses import LossConfig

FREE = ("manifest", "network.upstream", "training.epochs")
"""Settings that may differ when a run goes on: what the first two name is known by its content."""


def rising(layers: tuple[int, ...]) -> tuple[int, ...]:
    """Layers as they are. Raises ValueError unless they rise."""
    if sorted(set(layers)) != list(layers):
        raise ValueError("expected different layers in rising order, such as [3, 8, 10]")
    return layers


class NetworkConfig(Config):
    """Which transformer answers where. Values are the paper's."""

    upstream: str = Field(default="facebook/wav2vec2-base", min_length=1)
    """A wav2vec 2.0, HuBERT, WavLM or Whisper: its name on the Hugging Face Hub, or a local folder."""
    depth: PositiveInt | None = None
    """Transformer layers that are kept, behind the last of which the teacher answers; none given: all of them."""
    exits: tuple[PositiveInt, ...] = (3, 8, 10)
    """Layers behind which students answer. Without any, this is plain fine-tuning of the first ``depth`` layers."""
    block: Literal["cnn", "lstm", "gru"] = "lstm"
    """What lies between a layer and its student's linear layers."""

    _rise = field_validator("exits")(rising)


class TrainingConfig(Config):
    """How a network is fitted. Values are the paper's but where it gives none, which is said there."""

    epochs: PositiveInt = 20
    """Passes over the training part."""
    batch: PositiveInt = 16
    """Clips in a batch."""
    learning_rate: PositiveFloat = 3e-5
    """Of Adam, the same from the first update to the last."""
    backbone_learning_rate: PositiveFloat | None = None
    """Of what was pretrained, where new weights shall learn faster; none given: ``learning_rate``, as in the paper."""
    clip: NonNegativeInt = 95_744
    """Samples of a clip, which a shorter one reaches by self-repetition, as in the paper's public code; 0: clips keep
    their lengths, those of like length come in one batch, and padding is masked."""
    freeze: Literal["nothing", "encoder", "half", "backbone"] = "encoder"
    """What stays as it was pretrained: nothing, the convolutional encoder, the lower half of the network's layers too,
    or all of them. The paper does not say; frozen convolutions are the custom, and save time."""
    gradient_checkpointing: bool = False
    """Compute each layer's activations anew in the backward pass: less memory, more time, the same gradients."""
    max_norm: PositiveFloat = 1.0
    """Largest norm of the gradient. The paper names none."""
    select: Literal["last", "dev"] = "last"
    """Keep the last epoch's network, as the paper does, or that whose exits have the best mean UAR on dev."""
    seed: int = Field(default=0, ge=0, lt=2**62)
    """New weights, the order of clips and dropout follow from this alone."""


class LayerwiseConfig(Config):
    """The first stage of layer-wise distillation. Values are the paper's, but DistilHuBERT's for ``cosine``."""

    layers: tuple[PositiveInt, ...] = Field(default=(4, 8, 12), min_length=1)
    """Layers of the pretrained model that are predicted, each by a block ``network.block``."""
    epochs: PositiveInt = 20
    """Passes over the training part; those of the second stage are ``training.epochs``."""
    cosine: NonNegativeFloat = 1.0
    """Weight of the cosine term, lambda."""

    _rise = field_validator("layers")(rising)


class SelfDistilConfig(Config):
    """All of one training."""

    manifest: Path | None = None
    """Manifest with train and, where there is one, dev part, as ``gandistill prepare`` writes it."""
    network: NetworkConfig = NetworkConfig()
    """Which transformer answers where."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    training: TrainingConfig = TrainingConfig()
    """How."""
    layerwise: LayerwiseConfig | None = None
    """First let the student's ``network.depth`` layers learn to predict deeper ones; none given: there is one stage."""

    @model_validator(mode="after")
    def _has_a_student(self) -> Self:
        if self.layerwise is not None and (self.network.depth is None or self.network.exits):
            raise ValueError("layerwise distils a student of network.depth layers, such as 2, with network.exits []")
        if self.layerwise is not None and self.training.freeze == "backbone":
            raise ValueError("layerwise trains the backbone, which training.freeze=backbone forbids: expected encoder")
        return self

    def shareable(self) -> dict[str, Any]:
        """The settings that shaped a network, without where things lay on somebody's disk."""
        return self.model_dump(mode="json", exclude={"manifest": True, "network": {"upstream"}})
