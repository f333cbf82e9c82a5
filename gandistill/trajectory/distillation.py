"""Distilling a set from teachers' trajectories: a short loop around one step, what is kept of it, how it goes on.

Shapes: N clips of the set, W weights of a student, T frames, D feature dims, C classes.
"""

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandistill import artifacts, processes
from gandistill.console import muted, say, track
from gandistill.controls.select import real_points, subset
from gandistill.errors import InputError, RunError
from gandistill.features.featureset import KIND as FEATURES
from gandistill.features.featureset import FeatureSet, Utterance, write_feature_set
from gandistill.features.origin import made_from
from gandistill.heads.head import check_match
from gandistill.heads.training import batches
from gandistill.numerics import generator_for, no_tf32
from gandistill.run import METRICS, Run, check_folder, stop_asked
from gandistill.trajectory.evaluation import judged
from gandistill.trajectory.matching import METHODS, Gradients, Network
from gandistill.trajectory.settings import DistilConfig, TrajectoryConfig
from gandistill.trajectory.synthetic import SyntheticSet
from gandistill.trajectory.trajectories import Trajectories

KIND = "distilled"
KEPT = re.compile(rf"{KIND}-(\d+)")
DEV = "dev/"
"""What the names of scores on dev begin with."""
SCORING = 2000
"""Added to the seeds of students that choose on dev. Judging ones have others, so that none has chosen its set."""
THROWN = 2.0
"""A matching loss above which a student was thrown off its way, so that its gradients mean little: it is 1 for one that
did not move."""
MOST_ROLLBACKS = 8
"""After which a run is given up: its rates are then a 256th of what they were."""


def set_folder(folder: Path) -> Path:
    """The folder itself, or the distilled set inside it where it is a run folder."""
    return artifacts.of_run(folder, KIND)


def distil(config: TrajectoryConfig, out: Path, resume: bool = False, inexact: bool = False) -> None:
    """Distil a set in the run folder ``out``: ``out/distilled-0000`` is its real start, ``-0010``, ... what is kept of
    its way, and ``out/distilled`` the last, or the best on dev if ``distil.choose`` says so.

    On several processes at once under ``accelerate launch``: the same set but for rounding. ``inexact``: resume even
    where the bits would differ from an uninterrupted run's. Raises InputError for bad input, RunError when the matching
    loss is no longer a number and smaller rates do not help.
    """
    check_folder(out, resume)
    distillation = processes.together(lambda: Distillation(config))
    steps, settings = config.distil.steps, config.distil
    free = ["features", "teachers", "teach", "distil.steps", "distil.checkpoint_every"]
    free += ["evaluate"] if settings.choose == "last" else []
    is_main = processes.place().is_main_process
    with (
        muted(not is_main),
        Run(out, config, resume, inexact, tuple(free), settings.seed, **distillation.inputs) as run,
        no_tf32(),
    ):
        done = max([run.step, *kept_steps(out)])
        if done > steps:
            raise InputError(f"{out} has made {done} steps already, more than distil.steps asks for")
        if run.state:
            distillation.load_state(run.step, run.state, out)
        else:
            processes.main_alone(lambda: write_kept(distillation, run))
        with stop_asked() as stop:
            todo = run.steps(steps, "step", distillation.set.state, settings.checkpoint_every, stop)
            for step in track(todo, "distilling", steps, run.step, unit="steps"):
                run.log(step, distillation.advance())
                if step == steps or step % settings.keep_every == 0:
                    processes.main_alone(partial(write_kept, distillation, run))
        say(f"Distilled set: {out / KIND}")


class Distillation:
    """A synthetic set ``step`` steps from its real start, and the trajectories that it is matched with.

    ``next`` holds the gradients of the step to come, once they are known.
    """

    def __init__(self, config: TrajectoryConfig) -> None:
        """Raises InputError for input that is missing or does not fit together."""
        if config.features is None or not config.teachers:
            raise InputError("Distilling needs a feature set and teachers: --set features=DIR --set teachers=[DIR]")
        self.config, settings, whole = config, config.distil, FeatureSet.open(config.features)
        if settings.choose == "dev":
            whole.part("dev")
        self.features = whole.training_part()
        self.pool = [Trajectories.open(folder) for folder in config.teachers]
        for folder, teachers in zip(config.teachers, self.pool, strict=True):
            _check(folder, teachers, self.pool[0], self.features, settings)
        if settings.matches % processes.place().num_processes:
            count = processes.place().num_processes
            raise InputError(f"distil.matches {settings.matches} cannot be shared by {count} processes")
        self.device = processes.device()
        self.networks = [Network(teachers.head().to(self.device).model) for teachers in self.pool]
        self.rows = real_start(self.features, settings)
        points = real_points(self.features, settings.start, self.rows, settings.seed)
        frames = torch.stack([point.frames for point in points])
        clips = ((frames - self.pool[0].mean) / self.pool[0].deviation).to(self.device)
        classes = torch.from_numpy(self.features.targets[self.rows]).to(self.device)
        self.set = SyntheticSet(clips, classes, len(self.features.labels), settings)
        self.step = 0
        self.next: Gradients | None = None

    @property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """Fingerprints of what is read, and those it had before."""
        teachers = zip(*map(artifacts.fingerprints, self.config.teachers), strict=True)
        return {"features": self.features.fingerprints, "teachers": tuple(map(",".join, teachers))}

    def advance(self) -> dict[str, float]:
        """Make a step to a set from which a further one can be made, at rates halved until it is so.

        Gives its named scalars. Raises RunError where rates were halved too often.
        """
        before, scalars = self.set.state(), None
        self.next = self.next or self.gradients()
        while self.next is None or scalars is None:
            if self.next is None:
                self.roll_back(self.step if scalars is None else self.step - 1, before)
                scalars = None
            else:
                scalars = self.descend(self.next)
            self.next = self.gradients()
        return scalars

    def gradients(self) -> Gradients | None:
        """Loss and gradients of the next step, averaged over its matches; None where one of these is not ``sane``.

        Everything drawn is keyed by seed and step. Eq. (1) and (2), Chang et al. 2024.
        """
        matches = processes.share(torch.arange(self.config.distil.matches)).tolist()
        per_match = [self._match(number) for number in matches]
        if processes.any_of(not all(map(sane, per_match))):
            return None
        parts = zip(*(vars(match).values() for match in per_match), strict=True)
        return Gradients(*(processes.mean(torch.stack(part).mean(0)) for part in parts))

    def _match(self, number: int) -> Gradients:
        settings = self.config.distil
        draws = generator_for(settings.seed, self.step, number)

        def draw(count: int) -> int:
            return int(torch.randint(count, (1,), generator=draws))

        chosen = draw(len(self.pool))
        trajectory, epoch = draw(self.pool[chosen].count), draw(settings.latest_start + 1)
        start, goal = (
            self.pool[chosen].snapshot(trajectory, at).to(self.device) for at in (epoch, epoch + settings.ahead)
        )
        clips, targets, rate = self.set.clips, self.set.targets, self.set.rate
        order = batches(len(clips), min(settings.batch, len(clips)), draw(2**62))
        rows = [batch.to(self.device) for batch in islice(order, settings.updates)]
        return METHODS[settings.method](self.networks[chosen], start, goal, clips, targets, rate, rows)

    def descend(self, gradients: Gradients) -> dict[str, float]:
        """Make a step. Gives its named scalars."""
        scalars = {"match/loss": float(gradients.loss), "match/rate": float(self.set.rate)}
        norms = self.set.descend(gradients)
        self.step += 1
        return scalars | {f"gradient/{name}": norm for name, norm in norms.items()}

    def roll_back(self, step: int, state: dict[str, Tensor]) -> None:
        """Go back to what was learned in ``step`` steps, with half the rates. Raises RunError if that is too often."""
        failed, halvings = self.step + 1, self.set.halvings + 1
        if halvings > MOST_ROLLBACKS:
            raise RunError(
                f"Distillation diverged at step {failed}: a matching loss is above {THROWN:g}, or a gradient not a "
                f"number, with rates halved {MOST_ROLLBACKS} times; a lower distil.rate may help"
            )
        self.load_state(step, state, self.features.folder)
        self.set.halve(halvings)
        say(
            f"Step {failed}: a matching loss is above {THROWN:g}, or a gradient is not a number; back to after step "
            f"{step} with half the rates"
        )

    def load_state(self, step: int, state: dict[str, Tensor], where: Path) -> None:
        """Go on from what was learned in ``step`` steps. Raises InputError if it is of another set."""
        self.set.load_state(state, where)
        self.step = step


def _check(
    folder: Path, teachers: Trajectories, first: Trajectories, features: FeatureSet, settings: DistilConfig
) -> None:
    """Raise InputError unless these teachers learned from the features, and far enough."""
    check_match(f"{folder}, the teachers,", teachers.labels, teachers.dims, teachers.config, features)
    if set(features.lengths) != {teachers.frames}:
        raise InputError(
            f"{folder} learned from clips of {teachers.frames} frames, {features.folder} has other lengths"
        )
    if teachers.config.get("source", {}).get("fingerprint") not in features.fingerprints:
        raise InputError(f"{folder} learned from another feature set than {features.folder}")
    if not (torch.equal(teachers.mean, first.mean) and torch.equal(teachers.deviation, first.deviation)):
        raise InputError(f"{folder} standardises features otherwise than {first.folder}: teach both again")
    last = settings.latest_start + settings.ahead
    if last > teachers.epochs:
        raise InputError(
            f"{folder} has {teachers.epochs} epochs, but distil.latest_start {settings.latest_start} + "
            f"distil.ahead {settings.ahead} asks for {last}"
        )


def real_start(features: FeatureSet, settings: DistilConfig) -> NDArray[np.int64]:
    """Rows of the real clips that a set starts as [N], class by class: those that ``select`` takes.

    Raises InputError naming a class that has too few.
    """
    for label, count in features.class_counts.items():
        if count < settings.ppc:
            raise InputError(f"{features.folder} has {count} clips of {label!r}, fewer than distil.ppc {settings.ppc}")
    return subset(features, settings.start, dict.fromkeys(features.labels, settings.ppc), settings.seed)


def sane(gradients: Gradients) -> bool:
    """Whether loss and gradients are numbers, and the student went anywhere near the goal."""
    return all(bool(part.isfinite().all()) for part in vars(gradients).values()) and float(gradients.loss) <= THROWN


def kept_steps(out: Path) -> list[int]:
    """Steps whose sets a run has kept; a killed run's may be ahead of its checkpoint."""
    names = (KEPT.fullmatch(path.name) for path in out.glob(f"{KIND}-*"))
    return [int(name[1]) for name in names if name]


def write_kept(distillation: Distillation, run: Run) -> None:
    """Write the set as it is now, and as the result the same, or of all that are kept the best on dev."""
    folder = _kept_folder(run, distillation.step)
    write_distilled(distillation, folder)
    if distillation.config.distil.choose == "last":
        write_distilled(distillation, run.folder / KIND)
        return
    settings = distillation.config.evaluate  # with a teacher's weights, seeds are numbers of teachers
    seed = settings.seed + (SCORING if settings.start == "scratch" else 0)
    dev_settings = settings.model_copy(update={"split": "dev", "seed": seed})
    config = distillation.config.model_copy(update={"evaluate": dev_settings})
    students = judged(FeatureSet.open(folder), FeatureSet.open(distillation.features.folder), config)
    scores = {f"{DEV}{student.student}": fmean(student.uars) for student in students}
    run.log(distillation.step, scores)
    say(f"step {distillation.step}: dev UAR of students {fmean(scores.values()):.3f}")
    best = _kept_folder(run, best_step(distillation, run))
    with artifacts.new_artifact(run.folder / KIND, FEATURES) as result:
        shutil.copytree(best, result, dirs_exist_ok=True)


def best_step(distillation: Distillation, run: Run) -> int:
    """The step, by what the run has logged, whose set scores best on dev; the first of several.

    Of those kept on the way and this one: a shorter run's last set, from where a longer one goes on, is not among them.
    """
    lines = map(json.loads, (run.folder / METRICS).read_text(encoding="utf-8").splitlines())
    scores = {
        line["step"]: fmean(value for name, value in line.items() if name.startswith(DEV))
        for line in lines
        if any(name.startswith(DEV) for name in line)
        and (line["step"] == distillation.step or line["step"] % distillation.config.distil.keep_every == 0)
    }
    return max(scores, key=lambda step: (scores[step], -step))


def _kept_folder(run: Run, step: int) -> Path:
    return run.folder / f"{KIND}-{step:04d}"


def write_distilled(distillation: Distillation, out: Path) -> None:
    """Write the set as it is now, in the features' units: a feature set like any other, all of it training part."""
    config, features = distillation.config.distil, distillation.features
    facts = made_from(features) | {
        "labels": features.labels,
        "dims": features.dims,
        "distilled_by": facts_of(distillation),
    }
    made_by = {"command": "trajectory distil", "seed": config.seed}
    write_feature_set(
        out, utterances(distillation), artifacts.describe(FEATURES, made_by, **facts), _card(distillation, facts)
    )


def facts_of(distillation: Distillation) -> dict[str, Any]:
    """What a distilled set says of its making."""
    teachers = [
        {"head": trajectories.kind, "trajectories": trajectories.count, "fingerprint": artifacts.fingerprint(folder)}
        for folder, trajectories in zip(distillation.config.teachers, distillation.pool, strict=True)
    ]
    return {
        "teachers": teachers,
        "step": distillation.step,
        "rate": float(distillation.set.rate),
        "halvings": distillation.set.halvings,
        "config": distillation.config.distil.shaping(),
        "started_from": distillation.features.index["id"].iloc[distillation.rows].tolist(),
    }


def utterances(distillation: Distillation) -> Iterator[Utterance]:
    """The clips in the features' units, with ids ``<label>-000012``; with their distributions if labels are soft."""
    first, targets = distillation.pool[0], distillation.set.targets.cpu()
    for number, (row, clip) in enumerate(zip(distillation.rows.tolist(), distillation.set.clips, strict=True)):
        label = str(distillation.features.index["label"].iloc[row])
        frames = clip.cpu() * first.deviation + first.mean
        soft = targets[number] if distillation.config.distil.labels == "soft" else None
        yield Utterance(f"{label}-{number % distillation.config.distil.ppc:06d}", label, frames, soft=soft)


def _card(distillation: Distillation, facts: dict[str, Any]) -> str:
    kinds = ", ".join(f"`{teachers.kind}`" for teachers in distillation.pool)
    start, ppc = distillation.config.distil.start, distillation.config.distil.ppc
    what = (
        f"Clips distilled by trajectory matching, {distillation.step} steps from real ones (`{start}`), against "
        f"{kinds}."
        if distillation.step
        else f"Real clips (`{start}`): the start of a distillation by trajectory matching, and its control."
    )
    return f"""# Distilled feature set

{what}
It is a feature set like any other: train on it as on real features. {ppc} clips of each class:
{", ".join(distillation.features.labels)}.

Corpus: {facts.get("corpus") or "not stated"}; licence of the corpus: {facts.get("licence") or "not stated"}.

Every clip was a real one at step 0, and nothing was measured here that would show how much of it is left: no privacy is
claimed. Settings, provenance and the ids of those real clips are in `config.json`.
"""
