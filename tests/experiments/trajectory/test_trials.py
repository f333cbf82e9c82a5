"""What decides a trial of trajectory matching, and the jobs that share its runs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from gandistill import heads, trajectory
from gandistill.errors import RunError
from gandistill.experiments.inputs import Inputs
from gandistill.experiments.store import Store
from gandistill.experiments.trajectory import trials
from gandistill.experiments.trajectory.rows import Row
from gandistill.experiments.trajectory.trials import (
    Judging,
    Source,
    Student,
    Teaching,
    Trial,
    jobs_of,
    run_of,
    teachers_of,
)
from gandistill.trajectory.fitting import EpochSchedule
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.teachers import TeachConfig

STUDENT = Student("superb", 0, EpochSchedule(epochs=1))
MATCHED = Source("distilled", 2, matched=TrajectoryConfig(), teaching=(TeachConfig(head="cnn"),), step=10)


def test_what_a_set_is_called(inputs: list[Inputs]):
    assert str(Source("real")) == "real 0, all points"
    assert str(Source("control", 2, 3, "random")) == "random 3, 2 per class"
    assert str(MATCHED) == "distillation by cnn 0, 2 per class, step 10"
    trial = Trial(inputs[0], MATCHED, replace(STUDENT, teachers=TeachConfig(head="cnn")))
    assert str(trial) == "student superb 0 from its teacher's weights on distillation by cnn 0, 2 per class, step 10"


@pytest.mark.parametrize(
    ("source", "student"),
    [
        (replace(MATCHED, step=20), STUDENT),
        (replace(MATCHED, ppc=3), STUDENT),
        (replace(MATCHED, seed=1), STUDENT),
        (replace(MATCHED, teaching=(TeachConfig(head="cnn", epochs=9),)), STUDENT),
        (MATCHED, replace(STUDENT, seed=1)),
        (MATCHED, replace(STUDENT, kind="cnn")),
        (MATCHED, replace(STUDENT, schedule=EpochSchedule(epochs=2))),
        (MATCHED, replace(STUDENT, teachers=TeachConfig(head="superb"))),
    ],
)
def test_what_decides_a_trial_is_in_its_key(source: Source, student: Student, inputs: list[Inputs]):
    assert Trial(inputs[0], source, student).key != Trial(inputs[0], MATCHED, STUDENT).key


def test_which_features_decide_and_not_where_they_lie(inputs: list[Inputs], tmp_path: Path):
    key = Trial(inputs[0], MATCHED, STUDENT).key
    assert Trial(inputs[1], MATCHED, STUDENT).key != key
    copytree(inputs[0].features, tmp_path / "there")
    assert Trial(replace(inputs[0], features=tmp_path / "there"), MATCHED, STUDENT).key == key


def test_steps_of_one_distillation_share_its_run_and_other_code_does_not(
    inputs: list[Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, mine = Store(tmp_path), inputs[0]
    run, teachers = run_of(store, MATCHED, mine), teachers_of(store, MATCHED.teaching[0], mine)
    assert run_of(store, replace(MATCHED, step=20), mine) == run
    assert run_of(store, replace(MATCHED, teaching=(TeachConfig(head="cnn6"),)), mine) != run
    monkeypatch.setattr(trajectory, "VERSION", trajectory.VERSION + 1)
    assert run_of(store, MATCHED, mine) != run
    monkeypatch.undo()
    monkeypatch.setattr(heads, "VERSION", heads.VERSION + 1)
    assert teachers_of(store, MATCHED.teaching[0], mine) != teachers


def test_a_run_that_failed_is_not_begun_again_for_its_other_steps(
    inputs: list[Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun = list[Path]()

    def broken(config: TrajectoryConfig, run: Path, resume: bool) -> None:
        begun.append(run)
        raise RunError("diverged")

    monkeypatch.setattr(trials, "distil", broken)
    store = Store(tmp_path)
    steps = [Trial(inputs[0], replace(MATCHED, step=step), STUDENT) for step in (10, 20)]
    (job,) = [job for job in jobs_of(steps) if isinstance(job, Judging)]
    failures = job.work(store)
    assert len(failures) == 2
    assert len(begun) == 1
    assert job.left(store) == 2, "nothing is taken for done"


def test_what_takes_longest_comes_first(inputs: list[Inputs]):
    sources = [Source("control", 2, method="random"), Source("real"), MATCHED]
    jobs = jobs_of([Trial(inputs[0], source, STUDENT) for source in sources])
    assert isinstance(jobs[0], Teaching)
    assert [job.trials[0].source.kind for job in jobs if isinstance(job, Judging)] == ["distilled", "real", "control"]


def test_teachers_once_and_sets_of_one_run_together(rows: Callable[..., list[Row]]):
    pieces = jobs_of([one for row in rows() for some in row.trials for one in some])
    taught = [piece.config.head for piece in pieces if isinstance(piece, Teaching)]
    assert taught == ["cnn", "attentive"]
    judging = [piece for piece in pieces if isinstance(piece, Judging)]
    keys = [one.key for piece in judging for one in piece.trials]
    assert len(keys) == len(set(keys))
    (one,) = [
        piece
        for piece in judging
        if str(piece).startswith("distillation by cnn 1, 2 per class")
        and piece.trials[0].source.matched.distil.labels == "hard"  # type: ignore[union-attr]
    ]
    assert {each.source.step for each in one.trials} == {10, 20, 25}
    assert any(each.student.teachers is not None for each in one.trials), "whoever judges: one process writes it"
    assert [each.head for each in one.needs()] == ["cnn"]
    made = [piece for piece in judging if piece.trials[0].source.kind in ("distilled", "generator")]
    runs = [str(run) for piece in made for run in {str(each.source.run_facts) for each in piece.trials}]
    assert len(runs) == len(set(runs)), "no run is written by two"
    controls = [piece for piece in judging if piece.trials[0].source.kind == "control"]
    assert any(not piece.needs() for piece in controls), "they need no teacher, and do not wait for one"
