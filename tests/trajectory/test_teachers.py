import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill import artifacts
from gandistill.errors import InputError, RunError
from gandistill.features.featureset import FeatureSet
from gandistill.heads.training import Schedule, score, untrained
from gandistill.numerics import seeded
from gandistill.run import Run
from gandistill.trajectory import teachers as room
from gandistill.trajectory.matching import Network
from gandistill.trajectory.teachers import TeachConfig, Trajectories, fit, teach


@pytest.fixture
def config(clips: FeatureSet) -> TeachConfig:
    return TeachConfig(features=clips.folder, head="cnn", trajectories=2, epochs=3, batch=6)


@pytest.fixture(scope="module")
def taught(clips: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted teaching of ``config``."""
    out = tmp_path_factory.mktemp("taught") / "trajectories"
    teach(TeachConfig(features=clips.folder, head="cnn", trajectories=2, epochs=3, batch=6), out)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failing(work: Callable[..., Any], at: int) -> Callable[..., Any]:
    """The same, but for its call number ``at``, which raises."""
    calls = []

    def failing_once(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == at:
            raise MemoryError
        return work(*given, **named)

    return failing_once


def test_the_papers_settings_are_the_defaults():
    config = TeachConfig()
    assert (config.head, config.trajectories, config.epochs) == ("cnn6", 5, 50)
    assert (config.learning_rate, config.decay, config.decay_every) == (1e-3, 0.7, 5)


def test_snapshots_are_the_weights_after_each_epoch_of_training_from_a_seed(
    taught: Path, config: TeachConfig, clips: FeatureSet
):
    found, training = Trajectories.open(taught), clips.training_part()
    for trajectory in range(2):
        with seeded(3000 + trajectory):
            head = untrained(training, "cnn", Schedule())
        network = Network(head.model)
        assert torch.equal(found.snapshot(trajectory, 0), network.weights())
        for epoch in fit(head, training, config, 3000 + trajectory):
            assert torch.equal(found.snapshot(trajectory, epoch), network.weights())
        flat = torch.nn.utils.parameters_to_vector(head.model.parameters())
        assert torch.equal(found.snapshot(trajectory, 3), flat), "in the order of the parameters"
        assert found.config["dev_uar"][trajectory] == score(head, clips.part("dev"))["uar"]
    assert not torch.equal(found.snapshot(0, 0), found.snapshot(1, 0)), "every teacher starts elsewhere"


def test_a_snapshot_is_a_copy_that_later_epochs_do_not_change(
    config: TeachConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given: list[torch.Tensor] = []
    then: list[torch.Tensor] = []
    write = room.write_row

    def watched(path: Path, shape: tuple[int, int], row: int, weights: torch.Tensor) -> None:
        given.append(weights)
        then.append(weights.clone())
        write(path, shape, row, weights)

    monkeypatch.setattr(room, "write_row", watched)
    teach(config.model_copy(update={"trajectories": 1}), tmp_path / "out")
    assert len(given) == 4
    assert all(map(torch.equal, given, then))
    assert not any(torch.equal(*pair) for pair in pairwise(given))


@pytest.mark.parametrize(
    "what, at", [("row", 1), ("row", 3), ("row", 6), ("checkpoint", 1), ("checkpoint", 5), ("write", 1)]
)
def test_a_killed_teaching_goes_on_to_the_same_bits(
    taught: Path, config: TeachConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, at: int
):
    place, name = {"row": (room, "write_row"), "checkpoint": (Run, "checkpoint"), "write": (room, "_card")}[what]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, failing(getattr(place, name), at))
        with pytest.raises(MemoryError):
            teach(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    torch.rand(3)
    teach(config, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(taught)
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing is left beside it"


def test_going_on_makes_only_the_epochs_that_are_missing(
    config: TeachConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    rows: list[int] = []
    write = room.write_row

    def watched(path: Path, shape: tuple[int, int], row: int, weights: torch.Tensor) -> None:
        rows.append(row)
        write(path, shape, row, weights)

    monkeypatch.setattr(room, "write_row", watched)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "checkpoint", failing(Run.checkpoint, 5))  # of the second teacher the second
        with pytest.raises(MemoryError):
            teach(config, tmp_path / "out")
    assert rows == [0, 1, 2, 3, 0, 1, 2]
    rows.clear()
    capsys.readouterr()
    teach(config, tmp_path / "out")
    assert rows == [2, 3]
    assert "where 4 of 6 epochs are there" in capsys.readouterr().err


def test_ctrl_c_stops_after_the_epoch_and_processes_go_on_to_the_same_bits(
    taught: Path,
    config: TeachConfig,
    clips: FeatureSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    write = room.write_row

    def interrupted(path: Path, shape: tuple[int, int], row: int, weights: torch.Tensor) -> None:
        write(path, shape, row, weights)
        if row == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(room, "write_row", interrupted)
        with pytest.raises(KeyboardInterrupt):
            teach(config, tmp_path / "out")
    assert "the same command goes on from" in capsys.readouterr().err
    assert room._epochs_done(config, tmp_path / "out.work") == 2
    elsewhere = shutil.copytree(clips.folder, tmp_path / clips.folder.name)
    teach(config.model_copy(update={"features": elsewhere}), tmp_path / "out", jobs=2)
    assert contents(tmp_path / "out") == contents(taught)


def test_ctrl_c_from_a_terminal_is_the_first_process_s_to_hear(clips: FeatureSet, tmp_path: Path):
    """A terminal sends it to all, here while those of two teachers still start: no traceback, and it can go on."""
    settings = [f"features={clips.folder}", "teach.head=cnn", "teach.trajectories=2", "teach.epochs=1000"]
    command = [sys.executable, "-c", "from gandistill.cli import main; main()", "trajectory", "teach", "--jobs", "2"]
    command += ["--out", str(tmp_path / "out"), *[flag for each in settings for flag in ("--set", each)]]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while len(children.read_text().split()) < 3:  # two, and what keeps track of their resources
            time.sleep(0.05)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "the same command goes on from" in said


def test_where_a_process_fails_its_error_is_said_and_the_rest_kept(config: TeachConfig, tmp_path: Path):
    diverging = config.model_copy(update={"learning_rate": 1e12})
    with pytest.raises(RunError, match="Training diverged at step 2: cnn/loss"):
        teach(diverging, tmp_path / "out", jobs=2)
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "out.work").glob("trajectory-*/trajectory-*.safetensors"))


def test_what_is_complete_is_left_as_it_is(taught: Path, config: TeachConfig, capsys: pytest.CaptureFixture[str]):
    before = {path: path.stat().st_mtime_ns for path in taught.iterdir()}
    teach(config, taught)
    assert {path: path.stat().st_mtime_ns for path in taught.iterdir()} == before
    assert f"{taught} holds these trajectories already" in capsys.readouterr().err


def test_trajectories_of_other_settings_are_not_overwritten(taught: Path, config: TeachConfig, make_clips):
    with pytest.raises(InputError, match=r"holds trajectories of other \[epochs, batch\]: choose another --out"):
        teach(config.model_copy(update={"epochs": 4, "batch": 5}), taught)
    with pytest.raises(InputError, match=r"holds trajectories of other \[features\]"):
        teach(config.model_copy(update={"features": make_clips(seed=1).folder}), taught)


def test_work_of_other_settings_is_not_gone_on_from(
    config: TeachConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clips
):
    monkeypatch.setattr(Run, "checkpoint", failing(Run.checkpoint, 2))
    with pytest.raises(MemoryError):
        teach(config, tmp_path / "out")
    with pytest.raises(InputError, match=r"out.work was started with other values of \[batch\]"):
        teach(config.model_copy(update={"batch": 5}), tmp_path / "out")
    with pytest.raises(InputError, match=r"out.work was started with other content of \[features\]"):
        teach(config.model_copy(update={"features": make_clips(seed=1).folder}), tmp_path / "out")


def test_two_do_not_teach_into_one_folder(config: TeachConfig, tmp_path: Path, clips: FeatureSet):
    with (
        Run(tmp_path / "out.work", config, False, free=room.FREE, seed=config.seed, features=clips.fingerprint),
        pytest.raises(InputError, match=rf"out.work is being written by process {os.getpid()} on"),
    ):
        teach(config, tmp_path / "out")


def test_bad_input_is_refused_before_anything_is_written(config: TeachConfig, tmp_path: Path, make_clips):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="Teaching needs a feature set: --set features=DIR"):
        teach(TeachConfig(), out)
    with pytest.raises(InputError, match="has clips of 5 to 16 frames, expected one length"):
        teach(config.model_copy(update={"features": make_clips("mixed", lengths=(5,)).folder}), out)
    with pytest.raises(InputError, match="Bad head 'x', expected one of"):
        teach(config.model_copy(update={"head": "x"}), out)
    with pytest.raises(InputError, match="stores no soft labels"):
        teach(config.model_copy(update={"labels": "soft"}), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed"]
    (out / "other").mkdir(parents=True)
    with pytest.raises(InputError, match="exists and is not a gandistill trajectories"):
        teach(config, out)


def test_processes_that_share_batches_do_not_teach(
    config: TeachConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(room.processes, "world", lambda: 2)
    with pytest.raises(InputError, match="start one process, with --jobs"):
        teach(config, tmp_path / "out")


def test_clips_that_only_the_training_part_has_of_one_length_do(make_clips, config: TeachConfig, tmp_path: Path):
    features = make_clips(each={"train": 3, "dev": 2}, lengths=(16,) * 9 + (30,))
    taught = config.model_copy(update={"features": features.folder, "trajectories": 1, "epochs": 1})
    teach(taught, tmp_path / "out")
    assert Trajectories.open(tmp_path / "out").config["utterances"] == {"neutral": 3, "happy": 3, "sad": 3}


def test_without_dev_nothing_is_measured(make_clips, config: TeachConfig, tmp_path: Path):
    features = make_clips(each={"train": 3})
    teach(config.model_copy(update={"features": features.folder, "trajectories": 1, "epochs": 1}), tmp_path / "out")
    assert Trajectories.open(tmp_path / "out").config["dev_uar"] is None
    assert "after the last epoch: not measured" in (tmp_path / "out" / artifacts.CARD).read_text()


def test_where_files_cannot_be_linked_they_are_copied(
    taught: Path, config: TeachConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def cannot(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(room.os, "link", cannot)
    teach(config, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(taught)


def test_what_many_snapshots_will_take_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    room._say_size(TeachConfig(), 4_440_000, tmp_path / "out")  # 5 x 51 x 4.44 M x 4 bytes
    assert f"The trajectories will take 4.5 GB at {tmp_path / 'out'}" in capsys.readouterr().err
    room._say_size(TeachConfig(), 100_000, tmp_path / "out")
    assert capsys.readouterr().err == ""
