"""Pieces: what one process does of a plan of trajectory matching, each kept, so that a later run does only the rest.

A judgement is one student, trained on one set and asked about the dev and test parts. It is a small file under the hash
of what decides it. Teachers, distillations and generators are run folders that can be gone on with, under such hashes
too.
"""

import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch

from gandistill import __version__, artifacts
from gandistill.console import muted, say, track
from gandistill.controls.select import select
from gandistill.errors import InputError, RunError
from gandistill.evaluate.inputs import Inputs
from gandistill.features.featureset import FeatureSet, dump_compact
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import Bank
from gandistill.heads.head import posteriors
from gandistill.metrics import accuracy, confusion_matrix, unweighted_average_recall
from gandistill.run import CONFIG
from gandistill.trajectory.distillation import KIND as DISTILLED
from gandistill.trajectory.distillation import distil
from gandistill.trajectory.evaluation import starts
from gandistill.trajectory.fitting import EpochSchedule, fit, updates_in_epoch
from gandistill.trajectory.settings import EvaluateConfig, TrajectoryConfig
from gandistill.trajectory.teachers import TeachConfig, teach
from gandistill.trajectory.trajectories import KIND as TRAJECTORIES

POLL_SECONDS = 1.0
PARTS = ("dev", "test")
Facts = dict[str, Any]


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
    def run(self) -> Facts:
        """What decides the run that makes it, if one does."""
        if self.matched is not None:
            kept = {"keep_every": self.matched.distil.keep_every}
            return {"distil": self.matched.distil.shaping() | kept, "teachers": [t.shareable() for t in self.teaching]}
        return {"generator": None if self.generator is None else self.generator.shareable()}

    def described(self) -> Facts:
        """What decides its points, beside features and bank."""
        facts = {"kind": self.kind, "ppc": self.ppc, "seed": self.seed, "method": self.method, "soft": self.soft}
        if self.matched is None:
            return facts | self.run
        distil = self.matched.distil.shaping()
        return facts | {"distil": distil, "teachers": self.run["teachers"], "step": self.step}

    @property
    def origin(self) -> list[Any]:
        """What sets that one process makes one after another have in common."""
        if self.kind == "control":
            return [self.kind, self.method, self.ppc, self.soft]
        if self.kind == "start":
            assert self.generator is not None
            untold = {key: value for key, value in self.generator.shareable().items() if key != "training"}
            return [self.kind, untold]
        return [self.kind, self.run]


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
class Judgement:
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
        facts: Facts = {"version": __version__, "features": self.inputs.fingerprint}
        facts |= {"source": self.source.described(), "student": self.student.described()}
        if self.source.soft or self.source.generator is not None:
            facts["bank"] = self.inputs.banking.to_dict()
        return _hash(facts)


@dataclass(frozen=True)
class Store:
    """The folder of all that is computed."""

    folder: Path

    def judgement(self, judgement: Judgement) -> Path:
        """The file of a judgement."""
        return self.folder / "judgements" / f"{judgement.key}.json"

    def teachers(self, config: TeachConfig, inputs: Inputs) -> Path:
        """The folder of trajectories."""
        return self.folder / TRAJECTORIES / _hash([inputs.fingerprint, config.shareable()])[:16]

    def run(self, source: Source, inputs: Inputs) -> Path:
        """The run folder of a distillation or a generator."""
        bank = None if source.generator is None else inputs.banking.to_dict()
        return self.folder / "runs" / _hash([inputs.fingerprint, bank, source.run])[:16]

    def result(self, judgement: Judgement) -> Facts:
        """What a judgement found. Raises InputError if its file is damaged."""
        return artifacts.read_json(self.judgement(judgement))

    def cost(self, run: Path) -> Facts:
        """``seconds`` of the processor, if it was not interrupted, and ``peak_bytes`` of what lies in ``run``."""
        path = self.folder / "costs" / f"{run.name}.json"
        return artifacts.read_json(path) if path.is_file() else {}

    def put(self, path: Path, facts: Facts) -> None:
        """Keep something, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(path, facts)

    def timed(self, run: Path, begun: bool, start: float) -> None:
        """Keep what a run has cost that this process began, or only went on with, at the processor time ``start``."""
        seconds = {} if begun else {"seconds": time.process_time() - start}
        self.put(self.folder / "costs" / f"{run.name}.json", seconds | {"peak_bytes": _peak()})


@dataclass(frozen=True)
class Failure:
    """What could not be computed, why, and whether its input is to blame."""

    what: str
    message: str
    is_input: bool

    @classmethod
    def of(cls, what: object, error: Exception) -> "Failure":
        """From what was raised."""
        kind = "" if isinstance(error, InputError | RunError) else f"{type(error).__name__}: "
        return cls(str(what), kind + " ".join(str(error).split()), isinstance(error, InputError))


@dataclass(frozen=True)
class Teaching:
    """The piece of work that makes the teachers of one kind."""

    inputs: Inputs
    config: TeachConfig

    def __str__(self) -> str:
        return f"{self.config.trajectories} teachers {self.config.head}"

    def left(self, store: Store) -> int:
        """How much of it is still to be done."""
        return not (store.teachers(self.config, self.inputs) / artifacts.CONFIG).is_file()

    def needs(self) -> Sequence[TeachConfig]:
        """The teachers that it needs."""
        return ()

    def work(self, store: Store) -> list[Failure]:
        """Do it; give what failed."""
        out, start = store.teachers(self.config, self.inputs), time.process_time()
        begun = out.with_name(f"{out.name}.work").exists()
        try:
            teach(self.config.model_copy(update={"features": self.inputs.features}), out)
            store.timed(out, begun, start)
        except Exception as error:
            return [Failure.of(self, error)]
        return []


@dataclass(frozen=True)
class Judging:
    """The piece of work that makes the training sets of one origin and judges them."""

    judgements: tuple[Judgement, ...]

    def __str__(self) -> str:
        return str(self.judgements[0].source)

    @property
    def inputs(self) -> Inputs:
        """Features and bank."""
        return self.judgements[0].inputs

    def left(self, store: Store) -> int:
        """How much of it is still to be done."""
        return sum(not store.judgement(each).is_file() for each in self.judgements)

    def needs(self) -> Sequence[TeachConfig]:
        """The teachers that it needs."""
        guides = [teachers for each in self.judgements for teachers in each.source.teaching]
        starting = [each.student.teachers for each in self.judgements if each.student.teachers is not None]
        return list({_hash(each.shareable()): each for each in (*guides, *starting)}.values())

    def work(self, store: Store) -> list[Failure]:
        """Do it; give what failed."""
        failures: list[Failure] = []
        missing = [each for each in self.judgements if not store.judgement(each).is_file()]
        sets = _Sets(self.inputs, store)
        for source, same in groupby(missing, key=lambda each: each.source):
            with tempfile.TemporaryDirectory(dir=store.folder) as scratch:
                mine = list(same)
                try:
                    start = time.process_time()
                    training = sets.made(source, Path(scratch) / "set")
                    drawing = time.process_time() - start if source.kind in ("control", "start") else 0.0
                except Exception as error:
                    failures += [Failure.of(each, error) for each in mine]
                    continue
                for each in mine:
                    try:
                        store.put(store.judgement(each), _judged(each, training, drawing, store))
                    except Exception as error:  # whatever it is, the others are worth computing
                        failures.append(Failure.of(each, error))
        return failures


Piece = Teaching | Judging


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
        bank = Bank.open(self.inputs.bank) if source.soft else None
        counts = None if source.ppc is None else dict.fromkeys(self.features.labels, source.ppc)
        if source.generator is not None:
            sampler = self._sampler(source)
            sample(sampler, counts or self.features.training_part().class_counts, source.seed, out, source.soft)
            return FeatureSet.open(out)
        if counts is None:
            return self.features.training_part()
        return select(self.features, source.method, counts, source.seed, out, bank=bank)

    def _distilled(self, source: Source) -> FeatureSet:
        assert source.matched is not None
        run = self.store.run(source, self.inputs)
        kept = run / f"{DISTILLED}-{source.step:04d}"
        if not (kept / artifacts.CONFIG).is_file():
            folders = tuple(self.store.teachers(each, self.inputs) for each in source.teaching)
            config = source.matched.model_copy(update={"features": self.inputs.features, "teachers": folders})
            self._once(run, lambda begun: distil(config, run, resume=begun))
        return FeatureSet.open(kept)

    def _sampler(self, source: Source) -> Sampler:
        assert source.generator is not None
        config = source.generator.model_copy(update={"features": self.inputs.features, "bank": self.inputs.bank})
        if source.kind == "start":
            return untrained(config)
        run = self.store.run(source, self.inputs)
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


def _judged(judgement: Judgement, training: FeatureSet, drawing: float, store: Store) -> Facts:
    """Train the student and ask it about the dev part, where there is one, and the test part."""
    student, whole = judgement.student, FeatureSet.open(judgement.inputs.features)
    config, number = TrajectoryConfig(), student.seed
    if student.teachers is not None:
        folder = store.teachers(student.teachers, judgement.inputs)
        config = TrajectoryConfig(teachers=(folder,), evaluate=EvaluateConfig(start="teacher", seeds=1))
        number %= student.teachers.trajectories
    labels = "hard" if training.soft is None else "soft"
    start, schedule = time.process_time(), student.schedule.model_copy(update={"labels": labels})
    head = starts(student.kind, training, config)(number)
    for _ in fit(head, training, schedule, student.seed):
        pass
    seconds = time.process_time() - start
    found: Facts = {"uar": {}, "accuracy": {}, "predicted": {}}
    for name in [part for part in PARTS if part == "test" or part in {*whole.index["split"]}]:
        part = whole.part(name)
        predicted = posteriors(head, part).argmax(1).numpy()
        confusion = confusion_matrix(part.targets, predicted, len(part.labels))
        found["uar"][name], found["accuracy"][name] = unweighted_average_recall(confusion), accuracy(confusion)
        found["predicted"][name] = predicted.tolist()
    updates = schedule.epochs * updates_in_epoch(len(training), schedule)
    cost = {"seconds": seconds, "drawing_seconds": drawing, "peak_bytes": _peak()}
    made_of = {"source": judgement.source.described(), "student": student.described()}
    said = {"points": training.class_counts, "updates": updates, "versions": artifacts.versions()}
    return made_of | said | found | {"cost": cost}


def pieces_of(judgements: Sequence[Judgement]) -> list[Piece]:
    """The pieces of work that all these judgements take, each of them once, what takes longest first."""
    distinct = list({each.key: each for each in judgements}.values())
    groups: dict[str, list[Judgement]] = {}
    for each in distinct:
        alone = each.student.described() if each.source.kind == "real" else each.student.teachers is not None
        if each.source.kind in ("distilled", "generator"):
            alone = None  # a run is written by one process
        groups.setdefault(dump_compact([each.source.origin, alone]), []).append(each)
    judging = [
        Judging(tuple(sorted(group, key=lambda each: str(each.source.described())))) for group in groups.values()
    ]
    order = ("generator", "distilled", "real", "control", "start")
    judging.sort(key=lambda piece: order.index(piece.judgements[0].source.kind))
    teachers = {_hash(each.shareable()): each for piece in judging for each in piece.needs()}
    return [*(Teaching(distinct[0].inputs, each) for each in teachers.values()), *judging]


def compute(pieces: Sequence[Piece], store: Store, jobs: int = 1) -> None:
    """Do what is left of all pieces, ``jobs`` at once in processes of one thread, so that no digit depends on jobs.

    A piece begins when the teachers that it needs are there. One that fails is said by name and leaves the others; once
    they are done, an InputError or a RunError says how many failed.
    """
    total, left = (
        sum(1 if isinstance(each, Teaching) else len(each.judgements) for each in pieces),
        _left(pieces, store),
    )
    store.folder.mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    if left:
        for _ in track(_spread(pieces, store, jobs, failures), "computing", total, total - left, unit="results"):
            pass
    for failure in failures:
        say(f"failed: {failure.what}: {failure.message}")
    if failures:
        error = InputError if all(failure.is_input for failure in failures) else RunError
        raise error(f"{len(failures)} results failed, what is done is kept; the first: {failures[0].message}")


def _left(pieces: Sequence[Piece], store: Store) -> int:
    return sum(each.left(store) for each in pieces)


def _spread(pieces: Sequence[Piece], store: Store, jobs: int, failures: list[Failure]) -> Iterator[None]:
    """Do pieces in processes of their own, passing once for each result that is there."""
    waiting, running = [each for each in pieces if each.left(store)], dict[Future[list[Failure]], Piece]()
    left = _left(waiting, store)
    shown = list(waiting)
    # A fresh process for each: its peak memory is its own, and no thread of this one is forked.
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        try:
            while waiting or running:
                ready = [each for each in waiting if _is_ready(each, store)]
                for piece in ready[: jobs - len(running)]:
                    waiting.remove(piece)
                    running[pool.submit(_work, piece, store, jobs > 1)] = piece
                if not running:  # their teachers have failed
                    failures += [Failure(str(each), "the teachers that it needs failed", False) for each in waiting]
                    return
                for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                    del running[future]
                    failures += future.result()
                before, left = left, _left(shown, store)
                yield from (None for _ in range(before - left))
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                why = "A process was killed, perhaps for want of memory; what is done is kept: run this again"
                raise RunError(why) from None
            raise


def _is_ready(piece: Piece, store: Store) -> bool:
    """Whether the teachers that it needs are there."""
    return all((store.teachers(each, piece.inputs) / artifacts.CONFIG).is_file() for each in piece.needs())


def _work(piece: Piece, store: Store, quiet: bool) -> list[Failure]:
    """One piece, in a process of its own, which does it in silence if it is one of several."""
    torch.set_num_threads(1)
    with muted(quiet):
        return piece.work(store)


def _hash(facts: Any) -> str:
    return hashlib.sha256(dump_compact(facts).encode()).hexdigest()


def _peak() -> int:
    """The most memory that this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
