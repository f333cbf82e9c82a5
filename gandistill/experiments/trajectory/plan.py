"""A plan of trajectory matching: which sets are distilled by which networks, what judges them, beside what, how often.

YAML, under ``eval/plans/trajectory/``.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from gandistill.config import Config
from gandistill.controls.select import METHODS, POOLED
from gandistill.errors import InputError
from gandistill.experiments.plan import CorpusPlan, RecipePlan, check_distinct, seeded
from gandistill.features.extract import ExtractConfig
from gandistill.gan.settings import GanConfig
from gandistill.heads.bank import BankConfig
from gandistill.heads.head import MODELS
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.teachers import TeachConfig

Start = Literal["scratch", "teacher"]


class MatchedPlan(Config):
    """One way to distil."""

    guides: tuple[str, ...] = Field(min_length=1)
    """Kinds of network whose trajectories are matched; several are a pool, of which each step draws one."""
    recipe: Path | None = None
    """YAML of ``gandistill trajectory`` whose section ``distil`` it is distilled by; none: the plan's."""
    settings: tuple[str, ...] = ()
    """What differs from the recipe and from the plan's settings, as ``--set`` takes it."""
    ppc: tuple[PositiveInt, ...] | None = None
    """Of the plan's points per class those that are distilled; none: all."""
    curve: bool = True
    """Judge every set that is kept on the way, and not only the first and the last."""


class GeneratedPlan(RecipePlan):
    """A generator whose samples are judged at equal points per class."""

    seeds: PositiveInt = 1
    """Trainings."""


class StudentPlan(Config):
    """A kind of network that judges."""

    kind: str
    """As ``gandistill heads`` lists them."""
    seeds: PositiveInt = 1
    """Students on each training set. A set that is the only one of its row gets as many times more as there are sets
    in other rows, so that no row has fewer students than another."""


class TrajectoryPlan(CorpusPlan):
    """What is run and how often."""

    fold: PositiveInt = 1
    """Fold of the protocol."""
    merge_dev: bool = False
    """The dev part trains too, as for the paper's test values: nothing is judged on dev then."""
    extract: Path
    """YAML of ``gandistill extract``: clips of one length."""
    bank: Path
    """YAML of ``gandistill bank``; built where generators are trained, or controls have soft labels."""
    recipe: Path
    """YAML of ``gandistill trajectory``: teachers of every kind, distillation, and the students' schedule."""
    settings: tuple[str, ...] = ()
    """What differs from every recipe of ``gandistill trajectory``, as ``--set`` takes it."""
    matched: dict[str, MatchedPlan] = Field(min_length=1)
    """Ways to distil, each a row of Table 3."""
    generators: dict[str, GeneratedPlan] = Field(default_factory=dict)
    """What stands beside them."""
    controls: tuple[str, ...] = ("random", "real-recentred", "herding", "class-gaussian")
    """What distilled and generated sets must beat. Random real points are always there."""
    soft_controls: tuple[str, ...] = ()
    """Those of them that also teach the bank's mean posterior, beside learned soft labels."""
    ppc: tuple[PositiveInt, ...] = (1, 5, 10, 50, 100, 150)
    """Points per class."""
    students: tuple[StudentPlan, ...] = Field(min_length=1)
    """What judges, from initial weights of its own, and if it is a guide also from its teachers'."""
    starts: tuple[Start, ...] = ("scratch", "teacher")
    """Initial weights of students: their own, or those of teachers, for the first and the last step alone."""
    seeds: PositiveInt = 3
    """Distillations of each kind, each from real points of its own."""
    repeats: PositiveInt = 10
    """Draws of what costs no training: random real points, closed-form samples. The first are the distillations'
    own starts."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        guides = {f"guides of {name}": way.guides for name, way in self.matched.items()}
        kinds = {"students": tuple(student.kind for student in self.students)} | guides
        lists = {"ppc": self.ppc, "controls": self.controls, "soft_controls": self.soft_controls, "starts": self.starts}
        check_distinct(lists | kinds)
        for name, values in kinds.items():
            if unknown := [kind for kind in values if kind not in MODELS]:
                raise ValueError(f"{name}: bad head {unknown[0]!r}, expected some of [{', '.join(MODELS)}]")
        valid = [method for method in METHODS if method != POOLED]
        if unknown := [method for method in (*self.controls, *self.soft_controls) if method not in valid]:
            raise ValueError(f"bad control {unknown[0]!r}, expected some of [{', '.join(valid)}]")
        for name, way in self.matched.items():
            if not set(way.ppc or ()) <= {*self.ppc}:
                raise ValueError(f"matched {name!r}: its ppc must be some of the plan's {list(self.ppc)}")
        if self.repeats < self.seeds:
            raise ValueError(f"repeats {self.repeats} are fewer than the {self.seeds} seeds, whose starts they hold")
        if "scratch" not in self.starts:
            raise ValueError("starts lack 'scratch', by which all rows are judged")
        if self.merge_dev and self.generators:
            raise ValueError("generators are chosen on dev, which merge_dev leaves empty: set generators to null")
        return self

    def check_recipes(self) -> None:
        """Raise InputError if a recipe is missing, or does not fit the others."""
        self.resolved()  # which reads them
        if not ExtractConfig.load(self.extract).clip:
            raise InputError(f"{self.extract} has no 'clip': teachers need clips of one length")
        epochs = self.whole.teach.epochs
        for name, config in self._matched.items():
            distil = config.distil
            if distil.latest_start + distil.ahead > epochs:
                raise InputError(
                    f"matched {name!r}: distil.latest_start {distil.latest_start} + distil.ahead {distil.ahead} are "
                    f"more than the teachers' {epochs} epochs"
                )

    def resolved(self) -> dict[str, Any]:
        """The plan with the content of its recipes in place of their names: all that decides what is run."""
        teach, evaluate = self.whole.teach.shareable(), self.whole.evaluate.to_dict()
        contents: dict[str, Any] = {
            "extract": ExtractConfig.load(self.extract).to_dict(),
            "bank": BankConfig.load(self.bank).to_dict(),
            "recipe": {"teach": teach, "evaluate": evaluate},
            "matched": {
                name: way.model_dump(mode="json", exclude={"recipe", "settings"})
                | {"distil": self.matched_config(name, 1, 0).distil.to_dict()}
                for name, way in self.matched.items()
            },
            "generators": {
                name: {"seeds": generator.seeds} | self.generator_config(name, 0).shareable()
                for name, generator in self.generators.items()
            },
        }
        return self.model_dump(mode="json") | contents

    @property
    def needs_bank(self) -> bool:
        """Whether any row has something to do with the bank."""
        return bool(self.generators or self.soft_controls)

    @property
    def guides(self) -> list[str]:
        """Kinds of all networks that guide."""
        return list(dict.fromkeys(kind for way in self.matched.values() for kind in way.guides))

    @cached_property
    def whole(self) -> TrajectoryConfig:
        """How teachers and students learn."""
        return TrajectoryConfig.load(self.recipe, self.settings)

    def teaching(self, kind: str) -> TeachConfig:
        """How teachers of one kind learn; what they learn from is not yet named."""
        return self.whole.teach.model_copy(update={"head": kind, "features": None})

    def matched_config(self, name: str, ppc: int, seed: int) -> TrajectoryConfig:
        """One distillation, what it reads not yet named."""
        config = self._matched[name]
        distil = config.distil.model_copy(update={"ppc": ppc, "seed": seed, "choose": "last"})
        return config.model_copy(update={"features": None, "teachers": (), "distil": distil})

    def steps(self, name: str) -> list[int]:
        """The distillation steps whose sets are judged: 0, the last, and if all are, what is kept between them."""
        distil = self._matched[name].distil
        between = range(0, distil.steps, distil.keep_every) if self.matched[name].curve else ()
        return sorted({0, distil.steps, *between})

    def generator_config(self, name: str, seed: int) -> GanConfig:
        """The training of one generator, its inputs not yet named."""
        return seeded(self._generators[name], seed)

    @cached_property
    def _matched(self) -> dict[str, TrajectoryConfig]:
        return {
            name: TrajectoryConfig.load(way.recipe or self.recipe, (*self.settings, *way.settings))
            for name, way in self.matched.items()
        }

    @cached_property
    def _generators(self) -> dict[str, GanConfig]:
        return {name: generator.config() for name, generator in self.generators.items()}
