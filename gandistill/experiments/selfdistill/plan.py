"""A plan of self-distillation: which networks are trained, beside what, and how often.

YAML, under ``eval/plans/selfdistill/``.
"""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from gandistill.config import Config
from gandistill.errors import InputError
from gandistill.experiments.plan import CorpusPlan, check_distinct
from gandistill.selfdistill.random_upstream import RandomUpstreamConfig
from gandistill.selfdistill.settings import LayerwiseConfig, SelfDistilConfig

Block = Literal["cnn", "lstm", "gru"]
Similarity = Literal["l1", "l2", "cosine", "l1+cosine", "l2+cosine"]
Part = Literal["dev", "test"]
Precision = Literal["float16", "int8"]
Loss = Annotated[float, Field(ge=0, lt=1)]


class LayerwisePlan(Config):
    """Layer-wise distillation, as the paper's Table 2 has it."""

    blocks: tuple[Block, ...] = ("cnn", "lstm", "gru")
    """What predicts the pretrained model's layers, each a row."""
    depth: PositiveInt = 2
    """Layers of the student."""
    stage: LayerwiseConfig = LayerwiseConfig()
    """The first stage; the second is as the recipe trains."""


class LayersPlan(Config):
    """Figure 2: networks of one student each, behind one layer after another."""

    block: Block = "cnn"
    """What lies between a layer and its student's linear layers."""
    similarity: Similarity = "l2"
    """Distance of the student's representations from the teacher's."""
    layers: tuple[PositiveInt, ...] | None = None
    """Behind which a student answers; none given: each but the last."""


class CompetingPlan(Config):
    """The runs of Table 1 that Table 2 takes, named beforehand. Values are the paper's."""

    block: Block = "lstm"
    """Of both runs."""
    students: Similarity = "l1"
    """Of the run whose students are taken."""
    teacher: Similarity = "l2+cosine"
    """Of the run whose deepest exit is taken."""


class ExitPlan(CorpusPlan):
    """What is run and how often."""

    fold: PositiveInt = 1
    """Fold of the protocol."""
    recipe: Path
    """YAML of ``gandistill selfdistill train``: the exits, and how every network of the plan learns."""
    settings: tuple[str, ...] = ()
    """What differs from the recipe, as ``--set`` takes it."""
    random: RandomUpstreamConfig | None = None
    """A small model with random weights that stands in for the recipe's upstream; none given: nothing does."""
    blocks: tuple[Block, ...] = Field(default=("cnn", "lstm", "gru"), min_length=1)
    """Table 1's blocks."""
    similarities: tuple[Similarity, ...] = Field(default=("l1", "l2", "cosine", "l1+cosine", "l2+cosine"), min_length=1)
    """Table 1's similarity losses."""
    competing: CompetingPlan = CompetingPlan()
    """Of these the runs that Table 2 takes."""
    layerwise: LayerwisePlan | None = LayerwisePlan()
    """A rival in Table 2, beside plain fine-tuning of as many layers as lie below each exit."""
    layers: LayersPlan | None = LayersPlan()
    """Figure 2."""
    precisions: tuple[Precision, ...] = ("float16", "int8")
    """In which each exit of the runs that Table 2 takes is stored and judged too; empty: in none."""
    uar_losses: tuple[Loss, ...] = (0.02,)
    """By how much UAR on dev may fall where the run whose students Table 2 takes leaves early, which is judged on test;
    nothing is unless both parts are judged."""
    parts: tuple[Part, ...] = Field(default=("dev", "test"), min_length=1)
    """Judged are networks that train taught on dev, and networks that train and dev taught on test."""
    seeds: PositiveInt = 3
    """Trainings of each network."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = ("blocks", "similarities", "precisions", "uar_losses", "parts")
        lists: dict[str, tuple[Any, ...]] = {name: getattr(self, name) for name in names}
        lists["layerwise.blocks"] = () if self.layerwise is None else self.layerwise.blocks
        check_distinct(lists | {"layers.layers": (self.layers and self.layers.layers) or ()})
        taken = self.competing
        if taken.block not in self.blocks or not {taken.students, taken.teacher} <= {*self.similarities}:
            raise ValueError(
                f"competing: Table 2 takes the runs {taken.block} with {taken.students} and {taken.teacher}, "
                "which are not among blocks and similarities"
            )
        return self

    def check_recipes(self) -> None:
        """Raise InputError if the recipe is missing or does not fit."""
        whole = self.whole
        for name, value, expected in (
            ("network.depth", whole.network.depth, None),
            ("layerwise", whole.layerwise, None),
            ("training.select", whole.training.select, "last"),
        ):
            if value != expected:
                raise InputError(f"{self.recipe}: {name} must be {expected!r} here, which the plan's rows are told by")
        if not whole.network.exits:
            raise InputError(f"{self.recipe}: network.exits is empty, expected layers such as [3, 8, 10]")

    @cached_property
    def whole(self) -> SelfDistilConfig:
        """How networks learn."""
        return SelfDistilConfig.load(self.recipe, self.settings)

    def resolved(self) -> dict[str, Any]:
        """The plan with the content of its recipe in place of its name: all that decides what is run."""
        return self.model_dump(mode="json") | {"recipe": self.whole.shareable(), "upstream": self.upstream}

    @property
    def upstream(self) -> str:
        """What the networks were before: a pretrained model's name, or that its weights are random."""
        return self.whole.network.upstream if self.random is None else "random weights"

    def check_layers(self, layers: int) -> None:
        """Raise InputError unless a model of so many layers has those that the plan names."""
        named = {"network.exits": self.whole.network.exits}
        if self.layers is not None:
            named["layers.layers"] = self.layers.layers or ()
        if self.layerwise is not None:
            named["layerwise.depth"] = (self.layerwise.depth,)
        for name, values in named.items():
            if max(values, default=0) >= layers:
                raise InputError(
                    f"{name} {max(values)} is too deep: the upstream has {layers} layers, the last the teacher's"
                )
        if self.layerwise is not None and max(self.layerwise.stage.layers) > layers:
            deepest = max(self.layerwise.stage.layers)
            raise InputError(f"layerwise.stage.layers {deepest} is too deep: the upstream has {layers} layers")

    def self_distillation(
        self, block: Block, similarity: Similarity, exits: tuple[int, ...], seed: int
    ) -> SelfDistilConfig:
        """A network with students behind some layers."""
        config = self._changed(seed, exits=exits, block=block)
        return config.model_copy(update={"loss": config.loss.model_copy(update={"similarity": similarity})})

    def fine_tuning(self, depth: int | None, seed: int) -> SelfDistilConfig:
        """Plain fine-tuning of the first ``depth`` layers, none: of all."""
        return self._changed(seed, exits=(), depth=depth)

    def layer_wise(self, block: Block, plan: LayerwisePlan, seed: int) -> SelfDistilConfig:
        """Layer-wise distillation."""
        config = self._changed(seed, exits=(), depth=plan.depth, block=block)
        return config.model_copy(update={"layerwise": plan.stage})

    def _changed(self, seed: int, **network: Any) -> SelfDistilConfig:
        whole = self.whole
        return whole.model_copy(
            update={
                "network": whole.network.model_copy(update=network),
                "training": whole.training.model_copy(update={"seed": seed}),
            }
        )
