"""Trials: one student, trained on one set and asked about the dev and test parts; and the jobs that do them.

Teachers, distillations and generators are run folders that can be gone on with, under hashes of what decides them.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from gandistill import artifacts, controls, experiments, gan, heads, trajectory
from gandistill.controls.select import select
from gandistill.experiments.inputs import Inputs
from gandistill.experiments.jobs import Failure, Job, Trials, attempt
from gandistill.experiments.names import Facts
from gandistill.experiments.store import Store, digest
from gandistill.features.featureset import FeatureSet
from gandistill.files import dump_compact
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import Bank
from gandistill.heads.head import posteriors
from gandistill.metrics import scores
from gandistill.processes import peak_bytes
from gandistill.run import CONFIG
from gandistill.trajectory.distillation import KIND as DISTILLED
from gandistill.trajectory.distillation import distil
from gandistill.trajectory.evaluation import starts
from gandistill.trajectory.fitting import EpochSchedule, fit, updates_in_epoch
from gandistill.trajectory.settings import EvaluateConfig, TrajectoryConfig
from gandistill.trajectory.teachers import TeachConfig, teach
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
        guides = " and ".join(teaching.head for teaching in self.teaching)
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


@dataclass(frozen=True)
class Teaching(Job):
    """The job that makes the teachers of one kind."""

    inputs: Inputs
    config: TeachConfig

    def __str__(self) -> str:
        return f"{self.config.trajectories} teachers {self.config.head}"

    def __len__(self) -> int:
        return 1

    def left(self, store: Store) -> int:
        """How many of its results are still to be found."""
        return not (teachers_of(store, self.config, self.inputs) / artifacts.CONFIG).is_file()

    def work(self, store: Store) -> list[Failure]:
        """Do it; give what failed."""
        out, start = teachers_of(store, self.config, self.inputs), time.process_time()
        begun = out.with_name(f"{out.name}.work").exists()
        try:
            teach(self.config.model_copy(update={"features": self.inputs.features}), out)
            store.timed(out, begun, start)
        except Exception as error:
            return [Failure.of(self, error)]
        return []


@dataclass(frozen=True)
class Judging(Trials[Trial]):
    """The job that makes the training sets of one origin and judges them."""

    def __str__(self) -> str:
        return str(self.trials[0].source)

    @property
    def inputs(self) -> Inputs:
        """Features and bank."""
        return self.trials[0].inputs

    def needs(self) -> Sequence[TeachConfig]:
        """The teachers that it needs."""
        guides = [teachers for trial in self.trials for teachers in trial.source.teaching]
        starting = [trial.student.teachers for trial in self.trials if trial.student.teachers is not None]
        return list({digest(teaching.shareable()): teaching for teaching in (*guides, *starting)}.values())

    def is_ready(self, store: Store) -> bool:
        """Whether the teachers that it needs are there."""
        folders = (teachers_of(store, teaching, self.inputs) for teaching in self.needs())
        return all((folder / artifacts.CONFIG).is_file() for folder in folders)

    def work(self, store: Store) -> list[Failure]:
        """Do it; give what failed."""
        failures: list[Failure] = []
        sets = _Sets(self.inputs, store)
        for source, same in groupby(self.missing(store), key=lambda trial: trial.source):
            with tempfile.TemporaryDirectory(dir=store.folder) as scratch:
                rest = list(same)
                try:
                    start = time.process_time()
                    training = sets.made(source, Path(scratch) / "set")
                    drawing = time.process_time() - start if source.kind in ("control", "start") else 0.0
                except Exception as error:
                    failures += [Failure.of(trial, error) for trial in rest]
                    continue
                for trial in rest:
                    failures += attempt(trial, store, partial(_judged, trial, training, drawing, store))
        return failures


class _Sets:
    """Makes training sets; a run that failed is not tried again for the next of its sets."""

    def __init__(self, inputs: Inputs, store: Store) -> None:
        self.inputs, self.store = inputs, store
        self.failed: dict[Path, Exception] = {}

    @cached_property
    def features(self) -> FeatureSet:
        return FeatureSet.open(self.inputs.features)

    def made(self, source: Source, out: Path) -> FeatureSet:
        """The set, in ``out`` unless it lies elsewhere. Raises whatever its making raises."""
        if source.kind == "distilled":
            return self._distilled(source)
        if source.ppc is None:
            return self.features.training_part()
        counts = dict.fromkeys(self.features.labels, source.ppc)
        if source.generator is not None:
            sample(self._sampler(source), counts, source.seed, out)
            return FeatureSet.open(out)
        bank = Bank.open(self.inputs.bank) if source.soft and self.inputs.bank is not None else None
        return select(self.features, source.method, counts, source.seed, out, bank=bank)

    def _distilled(self, source: Source) -> FeatureSet:
        assert source.matched is not None
        run = run_of(self.store, source, self.inputs)
        kept = run / f"{DISTILLED}-{source.step:04d}"
        if not (kept / artifacts.CONFIG).is_file():
            folders = tuple(teachers_of(self.store, teaching, self.inputs) for teaching in source.teaching)
            config = source.matched.model_copy(update={"features": self.inputs.features, "teachers": folders})
            self._once(run, lambda begun: distil(config, run, resume=begun))
        return FeatureSet.open(kept)

    def _sampler(self, source: Source) -> Sampler:
        assert source.generator is not None
        config = self.inputs.fill(source.generator)
        if source.kind == "start":
            return untrained(config)
        run = run_of(self.store, source, self.inputs)
        self._once(run, lambda begun: train(config, run, resume=begun))
        return Sampler.open(run)

    def _once(self, run: Path, make: Callable[[bool], None]) -> None:
        """Begin a run, or go on with it, unless that has failed before."""
        if run in self.failed:
            raise self.failed[run]
        begun, start = (run / CONFIG).is_file(), time.process_time()
        try:
            make(begun)
        except Exception as error:
            self.failed[run] = error
            raise
        if not self.store.cost(run):
            self.store.timed(run, begun, start)


def _judged(trial: Trial, training: FeatureSet, drawing: float, store: Store) -> Facts:
    """Train the student and ask it about the dev part, where there is one, and the test part."""
    student, whole = trial.student, FeatureSet.open(trial.inputs.features)
    config, number = TrajectoryConfig(), student.seed
    if student.teachers is not None:
        folder = teachers_of(store, student.teachers, trial.inputs)
        config = TrajectoryConfig(teachers=(folder,), evaluate=EvaluateConfig(start="teacher", seeds=1))
        number %= student.teachers.trajectories
    labels = "hard" if training.soft is None else "soft"
    start, schedule = time.process_time(), student.schedule.model_copy(update={"labels": labels})
    head = starts(student.kind, training, config)(number)
    for _ in fit(head, training, schedule, student.seed):
        pass
    seconds = time.process_time() - start
    result: Facts = {"uar": {}, "accuracy": {}, "predicted": {}}
    for name in [part for part in PARTS if part == "test" or part in {*whole.index["split"]}]:
        part = whole.part(name)
        predicted = posteriors(head, part).argmax(1).numpy()
        judged = scores(part.targets, predicted, len(part.labels)) | {"predicted": predicted.tolist()}
        for what, value in judged.items():
            result[what][name] = value
    updates = schedule.epochs * updates_in_epoch(len(training), schedule)
    cost = {"seconds": seconds, "drawing_seconds": drawing, "peak_bytes": peak_bytes()}
    if training.folder != whole.folder:
        cost["set_bytes"] = artifacts.bytes_on_disk(training.folder)
    made_of = {"source": trial.source.described(), "student": student.described()}
    size = {"points": training.class_counts, "updates": updates}
    matched = trial.source.kind == "distilled"
    ended = {name: training.config["distilled_by"][name] for name in ENDED} if matched else {}
    return made_of | size | ended | result | {"cost": cost}


def jobs_of(trials: Sequence[Trial]) -> list[Teaching | Judging]:
    """The jobs that all these trials take, each of them once, what takes longest first."""
    distinct = list({trial.key: trial for trial in trials}.values())
    groups: dict[str, list[Trial]] = {}
    for trial in distinct:
        alone = trial.student.described() if trial.source.kind == "real" else trial.student.teachers is not None
        if trial.source.kind in ("distilled", "generator"):
            alone = None  # a run is written by one process
        groups.setdefault(dump_compact([trial.source.origin, alone]), []).append(trial)
    judging = [
        Judging(tuple(sorted(group, key=lambda trial: str(trial.source.described())))) for group in groups.values()
    ]
    order = ("generator", "distilled", "real", "control", "start")
    judging.sort(key=lambda job: order.index(job.trials[0].source.kind))
    teachers = {digest(teaching.shareable()): teaching for job in judging for teaching in job.needs()}
    return [*(Teaching(distinct[0].inputs, teaching) for teaching in teachers.values()), *judging]
