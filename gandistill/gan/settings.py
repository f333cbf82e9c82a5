"""What a generator's training is told: what it reads, its shape, its losses, its schedule."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from gandistill.config import Config
from gandistill.gan.generator import CLOSED_FORMS, Architecture
from gandistill.gan.losses import LossWeights
from gandistill.heads.head import MODELS

Decay = Annotated[float, Field(ge=0, lt=1)]


class Training(Config):
    """How long and how fast. The paper gives none of these: they are ours, from a few trials without test data."""

    updates: PositiveInt = 1500
    """Generator updates."""
    critic_steps: PositiveInt = 1
    """Critic updates before each generator update."""
    batch: PositiveInt = Field(default=16, multiple_of=2)
    """B, real samples and generated samples in each update, whatever the number of processes; even, since samples
    come in pairs of one class."""
    chunks: PositiveInt = 1
    """Parts that a batch is computed in, one after another, to save memory: the same gradients but for rounding.
    Doubled, and said, when memory runs out."""
    penalty_every: PositiveInt = 4
    """Critic updates between two gradient penalties, each weighted by as much; it is half of a critic update's time."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Arithmetic of generator and critic. bfloat16, in mixed precision, is quicker where the processor knows it; the
    gradient penalty, the bank's heads and all weights stay float32. float64 is for comparisons."""
    learning_rate: PositiveFloat = 1e-3
    """Adam's learning rate of the generator's first update."""
    critic_learning_rate: PositiveFloat = 1e-3
    """Adam's learning rate of the critic's first update."""
    decay: Literal["none", "cosine"] = "none"
    """How both rates fall: not at all, or along half a cosine to zero, so that the last weights come to rest."""
    betas: tuple[Decay, Decay] = (0.0, 0.9)
    """Adam's decay rates of both, as WGAN-GP."""
    average: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the generator's weight average (EMA) over updates 1, 2, ..., from which samples are drawn; 0: the last
    weights."""
    keep: Literal["best", "last"] = "best"
    """Which generator is kept: the best by its dev score, or the last, which is scored once."""
    evaluate_every: PositiveInt = 250
    """Updates between two scorings on the dev part, where the best generator is kept."""
    evaluate_ppc: PositiveInt = 50
    """Samples of each class that a scoring trains its heads on."""
    evaluate_seeds: PositiveInt = 3
    """Heads of each kind that a scoring trains, each on samples of its own: a single one tells generators apart by
    luck."""
    evaluate_heads: tuple[str, ...] = Field(default=("superb", "cnn-attention"), min_length=1)
    """Kinds of heads that a scoring trains; the score is the mean dev UAR over all of them."""
    checkpoint_every: PositiveInt = 250
    """Updates between two checkpoints."""
    log_every: PositiveInt = 10
    """Updates between two lines of metrics."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides initial weights, batches and noise."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.chunks > self.batch // 2:
            raise ValueError(f"chunks {self.chunks} are more than the {self.batch // 2} pairs of a batch")
        return self

    @field_validator("evaluate_heads")
    @classmethod
    def _known(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        if not set(heads) <= MODELS.keys():
            raise ValueError(f"expected some of [{', '.join(MODELS)}]")
        return heads


class Privacy(Config):
    """Differential privacy of whole speakers, for a class-Gaussian (``controls/private.py``)."""

    epsilon: PositiveFloat | None = None
    """What an outcome may tell of one speaker at the most; none: no guarantee. delta is 1 / (10 x speakers)."""
    public: Path | None = None
    """Feature set of another corpus, by the same upstream, whose training part says beforehand how speech lies and
    moves. It is not protected."""


class GanConfig(Config):
    """A generator's training, whole."""

    features: Path | None = None
    """Feature set to distil; none: the synthetic corpus of the demo."""
    bank: Path | None = None
    """Bank of frozen heads for the softmax matching loss and for soft labels."""
    architecture: Architecture = Architecture()
    """Sizes of generator and critic."""
    losses: LossWeights = LossWeights()
    """The lambdas of eq. (1)-(8)."""
    training: Training = Training()
    """The schedule."""
    privacy: Privacy = Field(default=Privacy(), exclude_if=lambda privacy: privacy == Privacy())
    """A guarantee for the speakers."""

    @model_validator(mode="after")
    def _private(self) -> Self:
        private = self.privacy.epsilon is not None
        if self.privacy.public is not None and not private:
            raise ValueError("privacy.public is given but no privacy.epsilon: there would be no guarantee")
        if private and self.architecture.kind not in CLOSED_FORMS:
            raise ValueError(
                f"privacy.epsilon is for {', '.join(CLOSED_FORMS)} alone, not for {self.architecture.kind}"
            )
        if private and self.bank is not None:
            raise ValueError("privacy.epsilon goes without a bank, which has seen the data")
        if private and self.privacy.public is None:
            raise ValueError("privacy.epsilon needs privacy.public, a feature set of another corpus")
        return self

    def shareable(self) -> dict[str, Any]:
        """The settings that shaped a generator, without where things lay on somebody's disk."""
        return self.model_dump(mode="json", exclude={"features": True, "bank": True, "privacy": {"public"}})
