"""The rows of the trajectory-matching paper's Tables 2 and 3, each with the trials that it takes; and as measured.

Table 2 (``full``): students on all real data, by the teachers' schedule. Table 3 (``distilled``): students on distilled
sets after some steps, the first of which is plain real points, beside controls and generators at as many points of each
class, all by one schedule.

S sets of a row, H students on each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from gandistill.corpora.manifest import read_manifest
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions
from gandistill.experiments.differences import Floats, predictions_of, spread, uar_difference
from gandistill.experiments.inputs import MANIFEST, Inputs, inputs_in
from gandistill.experiments.names import DRAWN, FIXED, REAL, Facts
from gandistill.experiments.store import Store
from gandistill.experiments.trajectory.plan import Start, StudentPlan, TrajectoryPlan
from gandistill.experiments.trajectory.trials import ENDED, PARTS, Source, Student, Trial, run_of, teachers_of
from gandistill.features.extract import ExtractConfig, load_upstream
from gandistill.features.featureset import FeatureSet
from gandistill.heads.bank import BankConfig
from gandistill.trajectory.evaluation import student_schedule
from gandistill.trajectory.fitting import EpochSchedule

FULL, DISTILLED = "full", "distilled"
TAUGHT = f"{REAL}, teachers' schedule"
STEP_0 = "its step 0"
HARD, SOFT, LEARNED = "hard", "the bank's soft", "learned soft"
RANDOM = DRAWN["random"]
NAMES = DRAWN | FIXED
CONTROLS = [NAMES[name] for name in ("random", "real-recentred", "real-designed", "herding", "class-gaussian")]
REPORTED = ("trained", "last", "chosen")
"""Facts by which a row is one that must beat others."""


def inputs_of(plan: TrajectoryPlan, root: Path, work: Path, settings: tuple[str, ...] = ()) -> Inputs:
    """Manifest, clips and bank of the plan's fold, in ``work``; ``settings`` are of the extraction, as ``--set``'s.

    Raises InputError, before any long work, for points per class that a class does not have, and for generators whose
    samples are not as long as the clips.
    """
    prepare(plan.corpus, root, work / MANIFEST, protocol=plan.protocol, fold=plan.fold, merge_dev=plan.merge_dev)
    entries, extracting = read_manifest(work / MANIFEST), ExtractConfig.load(plan.extract, settings)
    trained = [entry.emotion for entry in entries if entry.split == "train"]
    fewest = min(sorted({entry.emotion for entry in entries}), key=trained.count)
    if max(plan.ppc) > trained.count(fewest):
        most = trained.count(fewest)
        raise InputError(f"Bad ppc {max(plan.ppc)}, expected at most {most}: so many clips of {fewest!r} train")
    frames = len(load_upstream(extracting)(torch.zeros(extracting.clip)))
    for name in plan.generators:
        made = plan.generator_config(name, 0).architecture.frames
        if made != frames:
            raise InputError(f"generator {name!r} makes {made} frames, clips have {frames}: set architecture.frames")
    return inputs_in(work, extracting, BankConfig.load(plan.bank) if plan.needs_bank else None)


@dataclass(frozen=True)
class Row:
    """One row before it is measured: of which table, what it is, and its trials [S][H]."""

    table: str
    facts: Facts
    trials: list[list[Trial]]


@dataclass(frozen=True)
class Rows:
    """The rows of a plan."""

    plan: TrajectoryPlan
    inputs: Inputs

    def all(self) -> list[Row]:
        """Of both tables."""
        return [*self.full(), *self.distilled()]

    def full(self) -> Iterator[Row]:
        """Table 2: the paper's "full dataset"."""
        for student in self.plan.students:
            teaching = self.plan.teaching(student.kind)
            schedule = EpochSchedule(**{name: getattr(teaching, name) for name in EpochSchedule.model_fields})
            facts = {"training set": TAUGHT, "labels": HARD}
            yield self.row(FULL, facts, [Source("real")], student, schedule=schedule)

    def distilled(self) -> Iterator[Row]:
        """Table 3, with what a distilled set must beat."""
        for student in self.plan.students:
            yield self.row(DISTILLED, {"training set": REAL, "labels": HARD}, [Source("real")], student)
            for ppc in self.plan.ppc:
                for facts, sources in self.rivals(ppc):
                    yield self.row(DISTILLED, facts, sources, student)
                for name, way in self.plan.matched.items():
                    if ppc in (way.ppc or self.plan.ppc):
                        yield from self._matched(name, ppc, student)

    def rivals(self, ppc: int) -> Iterator[tuple[Facts, list[Source]]]:
        """What a distilled set must beat: controls, and generators before and after their training."""
        plan = self.plan
        controls = [(method, False) for method in dict.fromkeys(("random", *plan.controls))]
        for method, soft in [*controls, *((method, True) for method in plan.soft_controls)]:
            seeds = range(plan.repeats if method in DRAWN else 1)
            facts = {"training set": NAMES[method], "labels": SOFT if soft else HARD, "ppc": ppc}
            yield facts, [Source("control", ppc, seed, method, soft) for seed in seeds]
        for name, generator in plan.generators.items():
            configs = [plan.generator_config(name, seed) for seed in range(generator.seeds)]
            trained = [Source("generator", ppc, seed, generator=config) for seed, config in enumerate(configs)]
            for sources in ([replace(source, kind="start") for source in trained], trained):
                state = "" if sources is trained else ", 0 updates"
                facts = {"training set": name + state, "labels": HARD, "ppc": ppc}
                yield facts | {"generator": name, "trained": sources is trained}, sources

    def _matched(self, name: str, ppc: int, student: StudentPlan) -> Iterator[Row]:
        """From scratch after every step that is judged; from its teachers' weights after the first and the last."""
        plan, steps = self.plan, self.plan.steps(name)
        for start in plan.starts:
            if start == "teacher" and student.kind not in plan.guides:
                continue
            for step in steps if start == "scratch" else (steps[0], steps[-1]):
                sources = [self.at_step(name, ppc, seed, step) for seed in range(plan.seeds)]
                learned = sources[0].matched is not None and sources[0].matched.distil.labels == "soft"
                facts = {"training set": f"distilled, {name}", "labels": LEARNED if learned else HARD, "ppc": ppc}
                facts |= {"matched": name, "guides": list(plan.matched[name].guides), "step": step}
                facts |= {"last": step == steps[-1]}
                yield self.row(DISTILLED, facts, sources, student, start)

    def at_step(self, name: str, ppc: int, seed: int, step: int) -> Source:
        """A distilled set. That of hard labels before any step is, to the bit, the control of its seed it starts as."""
        config = self.plan.matched_config(name, ppc, seed)
        if step == 0 and config.distil.labels == "hard":
            return Source("control", ppc, seed, config.distil.start)
        teaching = tuple(self.plan.teaching(kind) for kind in self.plan.matched[name].guides)
        return Source("distilled", ppc, seed, matched=config, teaching=teaching, step=step)

    @cached_property
    def _schedule(self) -> EpochSchedule:
        return student_schedule(FeatureSet.open(self.inputs.features), self.plan.whole)

    def row(
        self,
        table: str,
        facts: Facts,
        sources: Sequence[Source],
        student: StudentPlan,
        start: Start = "scratch",
        schedule: EpochSchedule | None = None,
    ) -> Row:
        """A row: students of consecutive seeds, ``student.seeds`` on each set, or all that other rows have on one."""
        count = student.seeds if len(sources) > 1 else student.seeds * self.plan.seeds
        teachers = self.plan.teaching(student.kind) if start == "teacher" else None
        learner = partial(Student, student.kind, schedule=schedule or self._schedule, teachers=teachers)
        trials = [
            [Trial(self.inputs, source, learner(seed)) for seed in range(s * count, (s + 1) * count)]
            for s, source in enumerate(sources)
        ]
        return Row(table, {"student": student.kind, "start": start} | facts, trials)


@dataclass(frozen=True)
class Measured:
    """A row with what its trials found [S][H]."""

    row: Row
    results: list[list[Facts]]
    features: FeatureSet

    @classmethod
    def of(cls, row: Row, store: Store, features: FeatureSet) -> "Measured":
        """From what the store holds."""
        return cls(row, [[store.result(trial) for trial in students] for students in row.trials], features)

    @property
    def parts(self) -> list[str]:
        """Of dev and test those that there are."""
        return [part for part in PARTS if part in self.results[0][0]["uar"]]

    def scores(self, what: str, part: str) -> Floats:
        """``uar`` or ``accuracy`` on a part [S, H]."""
        return np.array([[result[what][part] for result in students] for students in self.results])

    @cached_property
    def tested(self) -> list[Predictions]:
        """Predictions of the test part, of all students one after another."""
        test = self.features.part("test")
        return [predictions_of(test, result["predicted"]["test"]) for result in chain(*self.results)]

    def summary(self) -> Facts:
        """What the table says of the row, but for differences; of distilled sets also how each one [S] ended."""
        first = self.results[0][0]
        facts = self.row.facts | {"points": sum(first["points"].values()), "updates": first["updates"]}
        for part in self.parts:
            uars, accuracies = self.scores("uar", part), self.scores("accuracy", part)
            facts[part] = spread(uars) | {"uars": uars.tolist(), "accuracy": float(accuracies.mean())}
        facts |= {name: [students[0][name] for students in self.results] for name in ENDED if name in first}
        return facts | {"trials": [[trial.key[:12] for trial in students] for students in self.row.trials]}


def measured(rows: Sequence[Row], store: Store, features: FeatureSet) -> list[tuple[Measured, Facts]]:
    """Each row with what its table says of it, after which come rows of steps that were chosen on dev.

    ``dev`` and ``test``, each with ``uar`` in 0..1 and its 95 % t interval ``low`` to ``high`` (over sets where there
    are several, since students on one are not independent; else over students), ``uars`` [S][H] and ``accuracy``;
    ``points``, ``updates`` and ``cost``. A generator after its training, and a distilled set after its last step or the
    one chosen, also have ``differences`` to what they must beat: see ``uar_difference``.
    """
    judged = [Measured.of(row, store, features) for row in rows]
    judged += [
        replace(best, row=replace(best.row, facts=best.row.facts | {"chosen": "dev"})) for best in _chosen(judged)
    ]
    table = []
    for row in judged:
        facts = row.summary()
        if any(row.row.facts.get(key) for key in REPORTED):
            # The best of several on dev is above the others there by being chosen.
            parts = [part for part in row.parts if part == "test" or "chosen" not in row.row.facts]
            facts["differences"] = {
                name: {part: uar_difference(row, rival, part, paired=name == STEP_0) for part in parts}
                for name, rival in _rivals(row, judged)
            }
        table.append((row, facts | {"cost": _cost(row, store)}))
    return table


def _chosen(judged: Sequence[Measured]) -> list[Measured]:
    """Of every curve of several steps the row that is best on dev, the earliest where several are."""
    curves: dict[tuple[Any, ...], list[Measured]] = {}
    for row in judged:
        facts = row.row.facts
        if "matched" in facts and facts["start"] == "scratch" and "dev" in row.parts:
            curves.setdefault((facts["matched"], facts["ppc"], facts["student"]), []).append(row)
    return [
        max(curve, key=lambda row: float(row.scores("uar", "dev").mean())) for curve in curves.values() if curve[2:]
    ]


def _rivals(row: Measured, judged: Sequence[Measured]) -> Iterator[tuple[str, Measured]]:
    """What a row must beat, by name."""
    mine = row.row.facts
    for rival in judged:
        facts = rival.row.facts
        if rival.row.table != DISTILLED or "chosen" in facts:
            continue
        if any(facts[key] != mine[key] for key in ("student", "start")):
            continue
        if facts["training set"] == REAL:
            yield REAL, rival
        elif facts.get("ppc") != mine["ppc"]:
            continue
        elif "matched" in mine and facts.get("matched") == mine["matched"] and facts["step"] == 0:
            yield STEP_0, rival
        elif "generator" in mine and facts.get("generator") == mine["generator"] and not facts["trained"]:
            yield "its 0 updates", rival
        elif "matched" in mine and facts.get("trained"):
            yield facts["training set"], rival
        elif facts["training set"] in CONTROLS:
            yield facts["training set"] + ("" if facts["labels"] == HARD else f", {facts['labels']} labels"), rival


def _cost(row: Measured, store: Store) -> Facts:
    """Processor seconds of a student, of drawing its set, and of the runs behind the row; most memory of any; the set's
    bytes, where it was made and weighed."""
    costs = [result["cost"] for result in chain(*row.results)]
    cost: Facts = {
        "student_seconds": fmean(student["seconds"] for student in costs),
        "drawing_seconds": fmean(student["drawing_seconds"] for student in costs),
        "student_peak_bytes": max(student["peak_bytes"] for student in costs),
    }
    weighed = [student["set_bytes"] for student in costs if "set_bytes" in student]
    cost |= {"set_bytes": round(fmean(weighed))} if len(weighed) == len(costs) else {}
    trials = [students[0] for students in row.row.trials]
    inputs, source = trials[0].inputs, trials[0].source
    if source.kind in ("distilled", "generator"):
        cost |= _summed("run", [store.cost(run_of(store, trial.source, inputs)) for trial in trials], fmean)
    if source.teaching:
        folders = [teachers_of(store, teaching, inputs) for teaching in source.teaching]
        cost |= _summed("teachers", [store.cost(folder) for folder in folders], sum)
    return cost


def _summed(what: str, runs: Sequence[Facts], by: Any) -> Facts:
    seconds = [run["seconds"] for run in runs if "seconds" in run]
    whole = {f"{what}_seconds": by(seconds)} if len(seconds) == len(runs) else {}
    return whole | {f"{what}_peak_bytes": max(run.get("peak_bytes", 0) for run in runs)}
