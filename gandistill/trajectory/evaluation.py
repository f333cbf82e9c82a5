"""How useful a training set is to students that learn from it alone, by the schedule of the paper's students."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from gandistill.console import track
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import Head, check_match
from gandistill.heads.training import score
from gandistill.metrics import uar_without
from gandistill.numerics import one_thread
from gandistill.processes import device
from gandistill.trajectory.fitting import EpochSchedule, fit, fresh, updates_in_epoch
from gandistill.trajectory.matching import Network
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.trajectories import Trajectories


@dataclass(frozen=True)
class Judged:
    """Students of one kind: UAR and accuracy of each on real clips, in 0..1, in the order of their seeds."""

    student: str
    updates: int
    uars: tuple[float, ...]
    accuracies: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the means over the students."""
        means = {"uar": fmean(self.uars), "accuracy": fmean(self.accuracies)}
        scores = {"uars": list(self.uars), "accuracies": list(self.accuracies)}
        return {"student": self.student, "updates": self.updates} | means | scores


def evaluate(training: FeatureSet, features: FeatureSet, config: TrajectoryConfig) -> dict[str, Any]:
    """What ``judged`` finds, as plain values, with what it was found on. Raises InputError as it does.

    ``uar_without`` names the classes that the part lacks, where it does: UAR is over the others.
    """
    settings = config.evaluate
    facts = {"trained_on": training.folder.name, "points": len(training.training_part())}
    students = [student.to_dict() for student in judged(training, features, config)]
    part = features.part(settings.split)
    absent = uar_without(part.targets, part.labels)
    return facts | {"split": settings.split, "start": settings.start} | absent | {"students": students}


def judged(training: FeatureSet, features: FeatureSet, config: TrajectoryConfig) -> list[Judged]:
    """Train students on the training part of a set, distilled or real, and score them on a part of real clips.

    Every kind in ``evaluate.students``, from the teachers' initial weights or from scratch; a set that stores soft
    labels teaches those. Scratch means nothing but the set: features are standardised by its own moments. Raises
    InputError for input that does not fit together, or teachers that are missing where their weights are asked for.
    """
    settings, training = config.evaluate, training.training_part()
    check_match("the training set", training.labels, training.dims, training.config, features)
    part, schedule = features.part(settings.split), student_schedule(training, config)
    starts_by_kind = {kind: starts(kind, training, config) for kind in settings.students}
    updates = schedule.epochs * updates_in_epoch(len(training), schedule)
    total = len(settings.students) * settings.seeds * schedule.epochs
    scores_by_kind: dict[str, list[dict[str, float]]] = {kind: [] for kind in settings.students}

    def epochs() -> Iterator[int]:
        for kind, start in starts_by_kind.items():
            for seed in range(settings.seed, settings.seed + settings.seeds):
                with one_thread():  # on any number of cores the same bits, so that a table can be made again
                    head = start(seed).to(device())
                    yield from fit(head, training, schedule, seed)
                    scores_by_kind[kind].append(score(head, part))

    for _ in track(epochs(), "training students", total, unit="epochs"):
        pass
    return [
        Judged(kind, updates, *(tuple(values[name] for values in scores) for name in ("uar", "accuracy")))
        for kind, scores in scores_by_kind.items()
    ]


def student_schedule(training: FeatureSet, config: TrajectoryConfig) -> EpochSchedule:
    """How students learn from a set."""
    return EpochSchedule(
        **config.evaluate.model_dump(include={*EpochSchedule.model_fields}),
        batch=config.teach.batch,
        labels="hard" if training.soft is None else "soft",
    )


def starts(kind: str, training: FeatureSet, config: TrajectoryConfig) -> Callable[[int], Head]:
    """A function from a seed to an untrained student of this kind. Raises InputError if no teachers are of the kind."""
    if config.evaluate.start == "scratch":
        return partial(fresh, training, kind)
    teachers = {trajectories.kind: trajectories for trajectories in map(Trajectories.open, config.teachers)}
    if kind not in teachers:
        kinds = ", ".join(teachers) or "none"
        raise InputError(f"No teachers are {kind} networks for students to start from: {kinds} (--set teachers=[DIR])")
    own = teachers[kind]
    check_match(f"{own.folder}, the teachers,", own.labels, own.dims, own.config, training)
    settings, count = config.evaluate, own.count
    if settings.seed + settings.seeds > count:
        raise InputError(
            f"{own.folder} has {count} teachers for students to start from, but evaluate.seed {settings.seed} and "
            f"evaluate.seeds {settings.seeds} ask for more"
        )

    def from_teacher(seed: int) -> Head:
        head = own.head()
        Network(head.model).load(own.snapshot(seed, 0))
        return head

    return from_teacher
