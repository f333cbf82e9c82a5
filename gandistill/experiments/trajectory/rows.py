"""The rows of the trajectory-matching paper's Tables 2 and 3, each with the trials that it takes; and as measured.

Table 2 (``full``): students on all real data, by the teachers' schedule. Table 3 (``distilled``): students on distilled
sets after some steps, the first of which is plain real points, beside controls and generators at as many points of each
class, all by one schedule.

S sets of a row, H students on each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from gandistill.corpora.manifest import read_manifest
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions
from gandistill.experiments.differences import Floats, spread, uar_difference
from gandistill.experiments.inputs import MANIFEST, Inputs, inputs_in
from gandistill.experiments.names import DRAWN, FIXED, REAL, Facts
from gandistill.experiments.store import Store
from gandistill.experiments.trajectory.plan import Start, StudentPlan, TrajectoryPlan
from gandistill.experiments.trajectory.trials import ENDED, PARTS, Source, Student, Trial, run_of, teachers_of
from gandistill.features.extract import ExtractConfig, make_upstream
from gandistill.features.featureset import FeatureSet
from gandistill.heads.bank import BankConfig
from gandistill.trajectory.evaluation import student_schedule
from gandistill.trajectory.fitting import EpochSchedule

FULL, DISTILLED = "full", "distilled"
TABLES = (FULL, DISTILLED)
TAUGHT = f"{REAL}, teachers' schedule"
STEP_0 = "its step 0"
HARD, SOFT, LEARNED = "hard", "the bank's soft", "learned soft"
RANDOM = DRAWN["random"]
CONTROLS = (RANDOM, DRAWN["real-recentred"], DRAWN["real-designed"], FIXED["herding"], DRAWN["class-gaussian"])
REPORTED = ("trained", "last", "chosen")
"""Facts by which a row is one that must beat others."""


def inputs_of(plan: TrajectoryPlan, root: Path, work: Path) -> Inputs:
    """Manifest, clips and bank of the plan's fold, in ``work``.

    Raises InputError, before any long work, for points per class that a class does not have, and for generators whose
    samples are not as long as the clips.
    """
    prepare(plan.corpus, root, work / MANIFEST, protocol=plan.protocol, fold=plan.fold, merge_dev=plan.merge_dev)
    entries, extracting = read_manifest(work / MANIFEST), ExtractConfig.load(plan.extract)
    trained = [entry.emotion for entry in entries if entry.split == "train"]
    fewest = min(sorted({entry.emotion for entry in entries}), key=trained.count)
    if max(plan.ppc) > trained.count(fewest):
        most = trained.count(fewest)
        raise InputError(f"Bad ppc {max(plan.ppc)}, expected at most {most}: so many clips of {fewest!r} train")
    frames = len(make_upstream(extracting)(torch.zeros(extracting.clip)))
    for name in plan.generators:
        made = plan.generator_config(name, 0).architecture.frames
        if made != frames:
            raise InputError(f"generator {name!r} makes {made} frames, clips have {frames}: set architecture.frames")
    return inputs_in(work, extracting, BankConfig.load(plan.bank))


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
        plan = self.plan
        for student in plan.students:
            yield self.row(DISTILLED, {"training set": REAL, "labels": HARD}, [Source("real")], student)
            for ppc in plan.ppc:
                for soft, methods in ((False, self._controls()), (True, plan.soft_controls)):
                    for method in methods:
                        yield self._control(method, ppc, soft, student)
                for name in plan.generators:
                    for start in (True, False):
                        yield self._generator(name, start, ppc, student)
                for name, each in plan.matched.items():
                    if ppc in (each.ppc or plan.ppc):
                        yield from self._matched(name, ppc, student)

    def _controls(self) -> tuple[str, ...]:
        return ("random", *(method for method in self.plan.controls if method != "random"))

    def _control(self, method: str, ppc: int, soft: bool, student: StudentPlan) -> Row:
        drawn = method in DRAWN
        sources = [Source("control", ppc, seed, method, soft) for seed in range(self.plan.repeats if drawn else 1)]
        name = DRAWN[method] if drawn else FIXED[method]
        facts = {"training set": name, "labels": SOFT if soft else HARD, "ppc": ppc}
        return self.row(DISTILLED, facts, sources, student)

    def _generator(self, name: str, start: bool, ppc: int, student: StudentPlan) -> Row:
        seeds = range(self.plan.generators[name].seeds)
        kind = "start" if start else "generator"
        configs = [self.plan.generator_config(name, seed) for seed in seeds]
        sources = [Source(kind, ppc, seed, generator=one) for seed, one in zip(seeds, configs, strict=True)]
        facts = {"training set": f"{name}{', 0 updates' if start else ''}", "labels": HARD, "ppc": ppc}
        return self.row(DISTILLED, facts | {"generator": name, "trained": not start}, sources, student)

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
        """A distilled set. That of hard labels before any step is, to the bit, the random control of its seed."""
        config = self.plan.matched_config(name, ppc, seed)
        if step == 0 and config.distil.labels == "hard":
            return Source("control", ppc, seed, "random")
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
        plan = self.plan
        each = student.seeds if len(sources) > 1 else student.seeds * plan.seeds
        learning = schedule or self._schedule
        teachers = plan.teaching(student.kind) if start == "teacher" else None
        judges = [
            [Student(student.kind, s * each + h, learning, teachers) for h in range(each)] for s in range(len(sources))
        ]
        trials = [
            [Trial(self.inputs, source, one) for one in some] for source, some in zip(sources, judges, strict=True)
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
        return cls(row, [[store.result(one) for one in some] for some in row.trials], features)

    @property
    def parts(self) -> list[str]:
        """Of dev and test those that there are."""
        return [part for part in PARTS if part in self.results[0][0]["uar"]]

    def scores(self, what: str, part: str) -> Floats:
        """``uar`` or ``accuracy`` on a part [S, H]."""
        return np.array([[one[what][part] for one in some] for some in self.results])

    @cached_property
    def tested(self) -> list[Predictions]:
        """Predictions of the test part, of all students one after another."""
        return [predictions_of(one, "test", self.features) for some in self.results for one in some]

    def summary(self) -> Facts:
        """What the table says of the row, but for differences; of distilled sets also how each one [S] ended."""
        first = self.results[0][0]
        said: Facts = {"points": sum(first["points"].values()), "updates": first["updates"]}
        for part in self.parts:
            uars = self.scores("uar", part)
            said[part] = spread(uars) | {"uars": uars.tolist(), "accuracy": float(self.scores("accuracy", part).mean())}
        said |= {name: [some[0][name] for some in self.results] for name in ENDED if name in first}
        keys = [[one.key[:12] for one in some] for some in self.row.trials]
        return self.row.facts | said | {"trials": keys}


def predictions_of(result: Facts, part: str, features: FeatureSet) -> Predictions:
    """What one student said of a part."""
    asked = features.part(part)
    ids, speakers, labels = (asked.index[column].to_numpy(str) for column in ("id", "speaker", "label"))
    return Predictions(ids, speakers, labels, np.array(asked.labels)[result["predicted"][part]], str(asked.folder))


def measured(rows: Sequence[Row], store: Store, features: FeatureSet) -> list[tuple[Measured, Facts]]:
    """Each row with what its table says of it, after which come rows of steps that were chosen on dev.

    ``dev`` and ``test``, each with ``uar`` in 0..1 and its 95 % t interval ``low`` to ``high`` (over sets where there
    are several, since students on one are not independent; else over students), ``uars`` [S][H] and ``accuracy``;
    ``points``, ``updates`` and ``cost``. A generator after its training, and a distilled set after its last step or the
    one chosen, also have ``differences`` to what they must beat: see ``uar_difference``.
    """
    found = [Measured.of(row, store, features) for row in rows]
    found += [replace(one, row=replace(one.row, facts=one.row.facts | {"chosen": "dev"})) for one in _chosen(found)]
    table = []
    for one in found:
        entry = one.summary()
        if any(one.row.facts.get(key) for key in REPORTED):
            for name, rival in _rivals(one, found):
                # The best of several on dev is above the others there by being chosen.
                parts = [part for part in one.parts if part == "test" or "chosen" not in one.row.facts]
                entry.setdefault("differences", {})[name] = {
                    part: uar_difference(one, rival, part, paired=name == STEP_0) for part in parts
                }
        table.append((one, entry | {"cost": _cost(one, store)}))
    return table


def _chosen(found: Sequence[Measured]) -> list[Measured]:
    """Of every curve of several steps the row that is best on dev, the earliest where several are."""
    curves: dict[tuple[Any, ...], list[Measured]] = {}
    for one in found:
        facts = one.row.facts
        if "matched" in facts and facts["start"] == "scratch" and "dev" in one.parts:
            curves.setdefault((facts["matched"], facts["ppc"], facts["student"]), []).append(one)
    return [
        max(curve, key=lambda one: float(one.scores("uar", "dev").mean())) for curve in curves.values() if curve[2:]
    ]


def _rivals(one: Measured, found: Sequence[Measured]) -> Iterator[tuple[str, Measured]]:
    """What a row must beat, by name."""
    mine = one.row.facts
    alike = [each for each in found if each.row.table == DISTILLED and "chosen" not in each.row.facts]
    alike = [each for each in alike if each.row.facts["student"] == mine["student"]]
    for each in alike:
        facts = each.row.facts
        same_points, same_start = facts.get("ppc") == mine["ppc"], facts["start"] == mine["start"]
        if facts["training set"] == REAL and same_start:
            yield REAL, each
        elif not same_points or not same_start:
            continue
        elif "matched" in mine and facts.get("matched") == mine["matched"] and facts["step"] == 0:
            yield STEP_0, each
        elif "generator" in mine and facts.get("generator") == mine["generator"] and not facts["trained"]:
            yield "its 0 updates", each
        elif "matched" in mine and facts.get("trained"):
            yield facts["training set"], each
        elif facts["training set"] in CONTROLS:
            yield facts["training set"] + ("" if facts["labels"] == HARD else f", {facts['labels']} labels"), each


def _cost(one: Measured, store: Store) -> Facts:
    """Processor seconds of a student, of drawing its set, and of the runs behind the row; most memory of any."""
    results = [result for some in one.results for result in some]
    cost: Facts = {
        "student_seconds": fmean(result["cost"]["seconds"] for result in results),
        "drawing_seconds": fmean(result["cost"]["drawing_seconds"] for result in results),
        "student_peak_bytes": max(result["cost"]["peak_bytes"] for result in results),
    }
    first = one.row.trials[0][0]
    if first.source.kind in ("distilled", "generator"):
        runs = [store.cost(run_of(store, some[0].source, some[0].inputs)) for some in one.row.trials]
        cost |= _summed("run", runs, fmean)
    if first.source.teaching:
        folders = [teachers_of(store, each, first.inputs) for each in first.source.teaching]
        cost |= _summed("teachers", [store.cost(folder) for folder in folders], sum)
    return cost


def _summed(what: str, runs: Sequence[Facts], by: Any) -> Facts:
    seconds = [run["seconds"] for run in runs if "seconds" in run]
    whole = {f"{what}_seconds": by(seconds)} if len(seconds) == len(runs) else {}
    return whole | {f"{what}_peak_bytes": max(run.get("peak_bytes", 0) for run in runs)}
