"""Students that judge a training set: from where they start, how long they learn, on what they are scored."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.trajectory.evaluation import evaluate, judged, starts, student_schedule
from gandistill.trajectory.matching import Network
from gandistill.trajectory.trajectories import Trajectories
from tests.commands import run, succeed
from tests.trajectory.conftest import write_clips


@pytest.fixture
def training(distilled: Path) -> FeatureSet:
    return FeatureSet.open(distilled / "distilled")


def test_what_is_told(configured: Any, training: FeatureSet, clips: FeatureSet):
    config = configured(evaluate={"students": ["cnn", "superb"], "split": "dev"})
    found = evaluate(training, clips, config)
    assert found == evaluate(training, clips, config), "the same bits again"
    assert {key: found[key] for key in ("trained_on", "points", "split", "start")} == {
        "trained_on": "distilled",
        "points": 6,
        "split": "dev",
        "start": "scratch",
    }
    assert [student["student"] for student in found["students"]] == ["cnn", "superb"]
    for student in found["students"]:
        assert student["updates"] == 3, "three epochs of six clips, all in one batch"
        assert len(student["uars"]) == len(student["accuracies"]) == 2
        assert student["uar"] == pytest.approx(sum(student["uars"]) / 2)


def test_a_run_stands_for_the_set_in_it(distilled: Path, clips: FeatureSet):
    settings = ["evaluate.students=[superb]", "evaluate.seeds=1", "evaluate.epochs=1"]
    words = [clips.folder, "--json", *(word for setting in settings for word in ("--set", setting))]
    found = [succeed("trajectory", "evaluate", folder, *words).json for folder in (distilled, distilled / "distilled")]
    assert found[0] == found[1]
    done = run("trajectory", "evaluate", distilled.parent, *words)
    assert (done.code, done.err) == (
        2,
        f"gandistill: {distilled.parent} is not a gandistill feature set: it has no config.json\n",
    )


def test_students_learn(configured: Any, clips: FeatureSet):
    """On all the real clips, whose classes are easily told apart."""
    (students,) = judged(clips, clips, configured(evaluate={"epochs": 20, "epoch_updates": 5}))
    assert students.updates == 100
    assert min(students.uars) > 0.6


def test_a_budget_is_the_same_for_sets_of_any_size(configured: Any, training: FeatureSet, clips: FeatureSet):
    config = configured(evaluate={"epoch_updates": 2})
    assert [judged(features, clips, config)[0].updates for features in (training, clips)] == [6, 6]
    config = configured()
    assert [judged(features, clips, config)[0].updates for features in (training, clips)] == [3, 9]


def test_students_learn_by_adam_whatever_the_teachers_did(configured: Any, training: FeatureSet, tmp_path: Path):
    faster = {"decay": 0.5, "decay_every": 2, "learning_rate": 0.1}
    config = configured(teach={"optimiser": "sgd", "learning_rate": 0.3, "decay": 1.0}, evaluate=faster)
    schedule = student_schedule(training, config)
    assert (schedule.epochs, schedule.batch, schedule.labels) == (3, 6, "hard")
    assert (schedule.learning_rate, schedule.decay, schedule.decay_every) == (0.1, 0.5, 2)
    assert schedule.optimiser == "adam"
    assert student_schedule(write_clips(tmp_path / "soft", soft=True), config).labels == "soft"


def test_from_scratch_is_from_the_set_alone(configured: Any, training: FeatureSet):
    start = starts("cnn", training, configured(teachers=[]))
    mean, _ = training.moments()
    assert torch.equal(start(0).mean, mean)
    weights = [Network(start(seed).model).weights() for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_from_the_teachers_fixed_initialisation(configured: Any, training: FeatureSet, clips: FeatureSet):
    config = configured(evaluate={"start": "teacher"})
    teachers = Trajectories.open(config.teachers[0])
    for seed in (0, 1):
        head = starts("cnn", training, config)(seed)
        assert torch.equal(Network(head.model).weights(), teachers.snapshot(seed, 0))
        assert torch.equal(head.mean, teachers.mean)
    assert evaluate(training, clips, config)["start"] == "teacher"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluate": {"start": "teacher", "seeds": 3}}, "has 2 teachers .* evaluate.seeds 3 ask for more"),
        ({"evaluate": {"start": "teacher", "students": ["superb"]}}, "No teachers are superb networks"),
        ({"evaluate": {"start": "teacher"}, "teachers": []}, r"--set teachers=\[DIR\]"),
    ],
)
def test_refused(configured: Any, training: FeatureSet, clips: FeatureSet, changes: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        evaluate(training, clips, configured(**changes))


def test_other_classes_are_refused(configured: Any, training: FeatureSet, tmp_path: Path):
    with pytest.raises(InputError, match="has 6 dims, but the training set expects 8"):
        evaluate(training, write_clips(tmp_path / "other", dims=6), configured())
    with pytest.raises(InputError, match="students"):
        configured(evaluate={"students": ["cnn7"]})
