"""Trials: one student, trained on one set and asked about the dev and test parts.

Teachers, distillations and generators are run folders that can be gone on with, under hashes of what decides them.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from gandistill import controls, experiments, gan, heads, trajectory
from gandistill.experiments.inputs import Inputs
from gandistill.experiments.names import Facts
from gandistill.experiments.store import Store, digest
from gandistill.gan.settings import GanConfig
from gandistill.trajectory.fitting import EpochSchedule
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.teachers import TeachConfig
from gandistill.trajectory.trajectories import KIND as TRAJECTORIES

PARTS = ("dev", "test")
ENDED = ("rate", "halvings")
"""What a trial keeps of how a distillation stood: alpha, and how often it was rolled back and its rates halved."""


@dataclass(frozen=True)
class Source:
    """A training set, before it is made: ``ppc`` points of each class, none for all there are, by a ``seed``.

    All real data (``real``), a control (``control``, ``method`` its name), what a distillation has made after ``step``
    steps (``distilled``), or a generator's samples before its first update (``start``) or after its last
    (``generator``). ``soft``: the bank's mean posterior as labels.
    """

    kind: Literal["real", "control", "distilled", "start", "generator"]
    ppc: int | None = None
    seed: int = 0
    method: str = ""
    soft: bool = False
    matched: TrajectoryConfig | None = None
    teaching: tuple[TeachConfig, ...] = ()
    step: int = 0
    generator: GanConfig | None = None

    def __str__(self) -> str:
        """What it is, in few words, for whoever must find it."""
        guides = " and ".join(each.head for each in self.teaching)
        name = f"distillation by {guides}" if self.kind == "distilled" else self.method or self.kind
        points = "all points" if self.ppc is None else f"{self.ppc} per class"
        return f"{name} {self.seed}, {points}" + (f", step {self.step}" if self.kind == "distilled" else "")

    @property
    def code(self) -> dict[str, int]:
        """Versions of the code that decides what a student makes of its points."""
        of_generator = {} if self.generator is None else {"gan": gan.VERSION}
        rooms = {"experiments": experiments.VERSION, "heads": heads.VERSION, "controls": controls.VERSION}
        return rooms | {"trajectory": trajectory.VERSION} | of_generator

    @property
    def run_facts(self) -> Facts:
        """What decides the run that makes it, if one does."""
        if self.matched is not None:
            kept = {"keep_every": self.matched.distil.keep_every}
            return {"distil": self.matched.distil.shaping() | kept, "teachers": [t.shareable() for t in self.teaching]}
        return {"generator": None if self.generator is None else self.generator.shareable()}

    def described(self) -> Facts:
        """What decides its points, beside features and bank."""
        facts = {"kind": self.kind, "ppc": self.ppc, "seed": self.seed, "method": self.method, "soft": self.soft}
        if self.matched is None:
            return facts | self.run_facts
        return facts | self.run_facts | {"distil": self.matched.distil.shaping(), "step": self.step}

    @property
    def origin(self) -> list[Any]:
        """What sets that one process makes one after another have in common."""
        if self.kind == "control":
            return [self.kind, self.method, self.ppc, self.soft]
        if self.kind == "start":
            assert self.generator is not None
            untold = {key: value for key, value in self.generator.shareable().items() if key != "training"}
            return [self.kind, untold]
        return [self.kind, self.run_facts]


@dataclass(frozen=True)
class Student:
    """Who judges: a kind of network, its seed, how it learns, and if it starts from theirs, teachers of its kind.

    Of those it takes the one of its seed, beginning again with the first where there are too few. It learns the soft
    labels of a set that has some.
    """

    kind: str
    seed: int
    schedule: EpochSchedule
    teachers: TeachConfig | None = None

    def described(self) -> Facts:
        """What decides what becomes of it, beside its training set."""
        teachers = None if self.teachers is None else self.teachers.shareable()
        return {"kind": self.kind, "seed": self.seed, "schedule": self.schedule.to_dict(), "teachers": teachers}


@dataclass(frozen=True)
class Trial:
    """One student on one training set."""

    inputs: Inputs
    source: Source
    student: Student

    def __str__(self) -> str:
        start = "" if self.student.teachers is None else " from its teacher's weights"
        return f"student {self.student.kind} {self.student.seed}{start} on {self.source}"

    @cached_property
    def key(self) -> str:
        """The hash of everything that decides it, but for versions of libraries and the machine."""
        facts: Facts = {"code": self.source.code, "features": self.inputs.fingerprint}
        facts |= {"source": self.source.described(), "student": self.student.described()}
        if self.source.soft or self.source.generator is not None:
            facts["bank"] = self.inputs.banked
        return digest(facts)


def teachers_of(store: Store, config: TeachConfig, inputs: Inputs) -> Path:
    """The folder of the trajectories of some teachers."""
    return store.run([inputs.fingerprint, config.shareable(), heads.VERSION, trajectory.VERSION], TRAJECTORIES)


def run_of(store: Store, source: Source, inputs: Inputs) -> Path:
    """The run folder of a distillation or a generator."""
    bank = None if source.generator is None else inputs.banked
    return store.run([inputs.fingerprint, bank, source.run_facts, source.code])
