"""A plan: which tables of the GAN paper are run, on which corpus, with what, how often. YAML, under ``eval/plans/``."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from gandistill.config import Config
from gandistill.controls.draws import DRAWS
from gandistill.controls.select import METHODS
from gandistill.errors import InputError
from gandistill.evaluate.speakers import ProbeConfig
from gandistill.experiments.plan import CorpusPlan, RecipePlan, check_distinct, seeded
from gandistill.features.extract import ExtractConfig
from gandistill.gan.generator import CLOSED_FORMS, FLOW, WITHOUT_BANK
from gandistill.gan.settings import GanConfig
from gandistill.heads.bank import BankConfig
from gandistill.heads.head import MODELS, PROJECTING
from gandistill.heads.training import HeadConfig

LOSSES: dict[str, tuple[str, ...]] = {
    "baseline": ("diversity", "softmax_matching"),
    "div": ("softmax_matching",),
    "sml": ("diversity",),
    "both": (),
}
"""The paper's four kinds of losses (Table 2): which terms of eq. (8) are switched off."""
Labels = Literal["hard", "soft"]
Weights = Literal["none", "balanced"]


class GeneratorPlan(RecipePlan):
    """A generator that is trained with several kinds of losses, or a closed form, which has none."""

    losses: tuple[str, ...] = tuple(LOSSES)
    """Which of the paper's kinds."""

    @field_validator("losses")
    @classmethod
    def _known(cls, losses: tuple[str, ...]) -> tuple[str, ...]:
        if not losses or not set(losses) <= LOSSES.keys():
            raise ValueError(f"expected some of [{', '.join(LOSSES)}]")
        return losses


class HeadPlan(Config):
    """A kind of head that judges."""

    kind: str
    """As ``gandistill heads`` lists them."""
    seeds: PositiveInt = 3
    """Trainings on each set of points."""
    ppc: tuple[PositiveInt, ...] | None = None
    """Of the plan's points per class those that it judges; none: all."""
    labels: tuple[Labels, ...] | None = None
    """Of the plan's kinds of labels those that it learns from; none: all."""
    repeats: PositiveInt | None = None
    """Of the plan's repeats how many it judges; none: all."""
    tables: tuple[Literal[2, 3], ...] = (2, 3)
    """Tables that it judges for."""

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in MODELS:
            raise ValueError(f"expected one of [{', '.join(MODELS)}]")
        return kind


class SpeakerPlan(Config):
    """Who is asked for speakers, in Table 4."""

    corpus: str | None = None
    """A corpus of its own for the probe, such as voxceleb1; none: the plan's corpus itself."""
    protocol: str | None = None
    """Protocol of that corpus."""
    config: Path | None = None
    """YAML of ``gandistill probe``; none: its defaults."""
    head: str = "superb"
    """Kind of head whose first layer is the speaker embedding."""

    @field_validator("head")
    @classmethod
    def _begins_with_a_projector(cls, kind: str) -> str:
        if kind not in PROJECTING:
            raise ValueError(f"expected one of [{', '.join(PROJECTING)}]")
        return kind


class Plan(CorpusPlan):
    """What is run and how often."""

    folds: tuple[PositiveInt, ...] = (1,)
    """Folds of the protocol: UARs are means over them, tests are on their pooled predictions."""
    extract: Path
    """YAML of ``gandistill extract``."""
    bank: Path
    """YAML of ``gandistill bank``; built where a generator is trained, or labels are soft."""
    head: Path
    """YAML of ``gandistill train-head``: the same student budget for every row."""
    generators: dict[str, GeneratorPlan]
    """Rows of Table 2."""
    balanced: str
    """The generator, with both losses, that stands against real data in Tables 1, 3 and 4."""
    controls: tuple[str, ...] = (
        "random",
        "real-recentred",
        "real-designed",
        "herding",
        "k-centre",
        "class-gaussian",
        "pooled",
    )
    """What a distilled set must beat."""
    ppc: tuple[PositiveInt, ...] = (50, 100, 800, 1800)
    """Points per class of Table 2."""
    labels: tuple[Labels, ...] = ("hard", "soft")
    """What heads learn from: classes, or the mean posterior of the bank, for real and generated points alike."""
    heads: tuple[HeadPlan, ...] = Field(min_length=1)
    """What judges."""
    seeds: PositiveInt = 3
    """Trainings of each generator."""
    repeats: PositiveInt = 10
    """How often what costs no training is drawn: random real points, closed-form samples, untrained generators."""
    draws: tuple[Literal["designed", "independent"], ...] = Field(default=DRAWS, min_length=1)
    """Kinds of draws from generators and closed forms, a row each; the first serves where a table has but one."""
    variants: tuple[Literal["shuffled", "with-real"], ...] = ()
    """What is made of every generator's samples, a row of Table 2 each: their frames shuffled in time, or all real data
    beside them."""
    dagger_seed: int = Field(default=0, ge=0, lt=2**63)
    """The seed of generator and head whose tests put the daggers: named here, before there is any result."""
    margin: float = Field(default=0.03, gt=0, lt=1)
    """UAR within which two rows are called on par (TOST)."""
    speakers: SpeakerPlan | None = None
    """Table 4; none: it cannot be run."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        lists = {name: getattr(self, name) for name in ("folds", "ppc", "labels", "controls", "draws", "variants")}
        check_distinct(lists | {"heads": tuple(head.kind for head in self.heads)})
        if self.balanced not in self.generators:
            raise ValueError(f"bad balanced {self.balanced!r}, expected one of [{', '.join(self.generators)}]")
        without = [name for name, generator in self.generators.items() if "both" not in generator.losses]
        if without:
            raise ValueError(f"generator {without[0]!r} lacks the losses 'both'")
        bad = [method for method in self.controls if method not in METHODS]
        if bad:
            raise ValueError(f"bad control {bad[0]!r}, expected some of [{', '.join(METHODS)}]")
        if self.dagger_seed >= min(self.seeds, *(head.seeds for head in self.heads)):
            raise ValueError(f"dagger_seed {self.dagger_seed} is not among the seeds of every head and generator")
        for head in self.heads:
            for what, some, every in (("ppc", head.ppc, self.ppc), ("labels", head.labels, self.labels)):
                if not set(some or ()) <= {*every}:
                    raise ValueError(f"head {head.kind}: its {what} must be some of the plan's {list(every)}")
            if (head.repeats or 0) > self.repeats:
                raise ValueError(
                    f"head {head.kind}: its repeats {head.repeats} are more than the plan's {self.repeats}"
                )
        return self

    def check_recipes(self) -> None:
        """Raise InputError if a recipe is missing or bad, or leaves out a loss that a generator is trained with."""
        self.resolved()  # which reads them
        for name, generator in self.generators.items():
            weights = self.generator_config(name, "both", 0).losses.to_dict()
            lacking = [term for term in LOSSES["baseline"] if not weights[term]]
            if lacking:
                raise InputError(f"{generator.recipe}: its {lacking[0]} is 0, expected the recipe of both losses")
            if self.kind(name) == FLOW and generator.losses != ("both",):
                raise InputError(f"{generator.recipe} makes a {FLOW}, which has one loss: expected losses: [both]")

    def resolved(self) -> dict[str, Any]:
        """The plan with the content of its recipes in place of their names: all that decides what is run."""
        contents: dict[str, Any] = {
            "extract": ExtractConfig.load(self.extract).to_dict(),
            "bank": BankConfig.load(self.bank).to_dict(),
            "head": self._head.to_dict(),
            "generators": {
                name: {losses: self.generator_config(name, losses, 0).to_dict() for losses in generator.losses}
                for name, generator in self.generators.items()
            },
        }
        if self.speakers is not None:
            probing = ProbeConfig.load(self.speakers.config)
            contents["speakers"] = self.speakers.model_dump(mode="json") | {"config": probing.to_dict()}
        return self.model_dump(mode="json") | contents

    @property
    def needs_bank(self) -> bool:
        """Whether any row does."""
        return "soft" in self.labels or not all(self.kind(name) in WITHOUT_BANK for name in self.generators)

    def kind(self, name: str) -> str:
        """The kind of a generator's architecture."""
        return self.generator_config(name, "both", 0).architecture.kind

    def is_closed(self, name: str) -> bool:
        """Whether a generator is a closed form: fitted without a training, so that it has no losses."""
        return self.kind(name) in CLOSED_FORMS

    def judges(self, table: int) -> Iterator[tuple[HeadPlan, Labels]]:
        """Heads of a table, with each kind of labels that they learn from."""
        for head in self.heads:
            if table in head.tables:
                for labels in head.labels or self.labels:
                    yield head, labels

    def generator_config(self, name: str, losses: str, seed: int) -> GanConfig:
        """The training of one generator, its inputs not yet named."""
        config = seeded(self._generators[name], seed)
        weights = config.losses.model_copy(update=dict.fromkeys(LOSSES[losses], 0.0))
        return config.model_copy(update={"losses": weights})

    def head_config(self, kind: str, seed: int, labels: Labels, weights: Weights) -> HeadConfig:
        """The training of one head."""
        chosen = {"head": kind, "seed": seed, "labels": labels, "class_weights": weights}
        return self._head.model_copy(update=chosen)

    @cached_property
    def _head(self) -> HeadConfig:
        return HeadConfig.load(self.head)

    @cached_property
    def _generators(self) -> dict[str, GanConfig]:
        return {name: generator.config() for name, generator in self.generators.items()}
