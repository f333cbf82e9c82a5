"""A run folder: what it refuses, what it keeps, and how a training goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gandistill import artifacts
from gandistill.config import Config
from gandistill.errors import InputError, RunError
from gandistill.numerics import generator_for
from gandistill.run import (
    CHECKPOINTS,
    CONFIG,
    HOLDER,
    INPUTS,
    LOCK,
    METRICS,
    SECONDS,
    STATE,
    Run,
    arithmetic,
    check_finite,
    configured,
    load_optimiser_state,
    optimiser_state,
    spent,
    stop_asked,
)


class Inner(Config):
    rate: float = 0.1
    updates: int = 5


class Settings(Config):
    where: Path | None = None
    inner: Inner = Inner()


FREE = ("where", "inner.updates")


def opened(folder: Path, settings: Settings | None = None, resume: bool = True, **inputs: str) -> Run:
    """A run that is let go of at once, as if its process had ended."""
    with Run(folder, settings or Settings(), resume, free=FREE, **inputs) as run:
        return run


def steps(run: Run) -> list[int]:
    return [json.loads(line)["step"] for line in (run.folder / METRICS).read_text().splitlines()]


def test_a_new_run_writes_its_settings(tmp_path: Path):
    run = opened(tmp_path / "a" / "run", Settings(where=tmp_path), resume=False)
    assert (run.step, run.best, run.state) == (0, None, {})
    assert Settings.load(tmp_path / "a" / "run" / CONFIG) == Settings(where=tmp_path)
    (tmp_path / "empty").mkdir()
    opened(tmp_path / "empty", resume=False)
    (tmp_path / "killed").mkdir()
    unfinished = [f".{name}.a1b2.part" for name in (HOLDER, INPUTS, CONFIG)]
    for name in (LOCK, HOLDER, INPUTS, *unfinished):  # what a kill before the first step may leave
        (tmp_path / "killed" / name).write_text("{}")
    opened(tmp_path / "killed", resume=False)


def test_folders_that_are_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    opened(tmp_path / "run", resume=False)
    for name, resume, message in (
        ("file", False, "is a file, expected a folder"),
        ("file", True, "is a file, expected a folder"),
        ("mine", False, "exists and is not a run"),
        ("mine", True, "holds no run to resume"),
        ("nothing", True, "holds no run to resume"),
        ("run", False, "--resume continues it"),
    ):
        with pytest.raises(InputError, match=message):
            opened(tmp_path / name, resume=resume)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine", "run"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_run_has_one_writer(tmp_path: Path):
    with (
        Run(tmp_path, Settings(), resume=False),
        pytest.raises(InputError, match=rf"is being written by process {os.getpid()} on \S+: wait, or stop it"),
    ):
        opened(tmp_path)
    opened(tmp_path)


@pytest.mark.parametrize("best", [None, 0.0, 1 / 3])
def test_a_resumed_run_has_step_best_and_state(tmp_path: Path, best: float | None):
    with Run(tmp_path, Settings(), resume=False) as run:
        for step in range(1, 5):
            run.log(step, {"loss": 1 / step})
        run.best = best
        run.checkpoint(3, {"weights": torch.tensor([0.1, 0.2]), "count": torch.tensor(7)})
    again = opened(tmp_path)
    assert (again.step, again.best) == (3, best)
    assert again.state.keys() == {"weights", "count"}
    assert torch.equal(again.state["weights"], torch.tensor([0.1, 0.2]))
    assert steps(again) == [1, 2, 3], "what came after the checkpoint is made again"


def test_two_checkpoints_are_kept(tmp_path: Path):
    with Run(tmp_path, Settings(), resume=False) as run:
        for step in (5, 10, 100):
            run.checkpoint(step, {"weights": torch.full((1,), float(step))})
    assert sorted(path.name for path in (tmp_path / CHECKPOINTS).iterdir()) == ["000000010", "000000100"]


def clock(monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
    """What a clock says each time that it is asked."""
    left = iter(times)
    monkeypatch.setattr("gandistill.run.time", SimpleNamespace(monotonic=lambda: next(left)))


def test_seconds_of_its_steps_are_summed_over_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of the steps alone, until each checkpoint; a change of what they are computed with is another part."""

    def state() -> dict[str, torch.Tensor]:
        return {"weights": torch.zeros(1)}

    clock(monkeypatch, 0, 50, 53, 60)
    with Run(tmp_path, Settings(), resume=False) as begun:
        assert spent(tmp_path) == [], "nothing is done yet"
        assert list(begun.steps(5, "step", state, 3, lambda: False)) == [1, 2, 3, 4, 5]
    (part,) = spent(tmp_path)
    assert part == {"seconds": 10.0, "steps": 5} | arithmetic()
    clock(monkeypatch, 100, 100, 104)
    with Run(tmp_path, Settings(), resume=True) as again:
        assert list(again.steps(7, "step", state, 9, lambda: False)) == [6, 7]
    assert spent(tmp_path) == [{"seconds": 14.0, "steps": 7} | arithmetic()]
    clock(monkeypatch, 200, 201)
    other = arithmetic() | {"threads": 99}
    monkeypatch.setattr("gandistill.run.arithmetic", lambda: other)
    with Run(tmp_path, Settings(), resume=True, inexact=True) as again:
        again.checkpoint(8, state())
    assert spent(tmp_path) == [part | {"seconds": 14.0, "steps": 7}, {"seconds": 1.0, "steps": 1} | other]


@pytest.mark.parametrize("damaged", ["{", '{"parts": 1}', '{"parts": [{"seconds": "1"}]}'])
def test_a_damaged_record_of_seconds_stops_no_run(tmp_path: Path, damaged: str):
    with Run(tmp_path, Settings(), resume=False) as begun:
        begun.checkpoint(1, {"weights": torch.zeros(1)})
        (tmp_path / SECONDS).write_text(damaged)
        with pytest.raises(InputError, match=SECONDS):
            spent(tmp_path)
        begun.checkpoint(2, {"weights": torch.zeros(1)})
    assert [part["steps"] for part in spent(tmp_path)] == [1]


def test_without_a_checkpoint_it_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with Run(tmp_path, Settings(), resume=False) as run:
        run.log(1, {"loss": 1.0})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 2, "lo')
    with Run(tmp_path, Settings(), resume=True) as again:
        assert "from the beginning: it has no checkpoint" in capsys.readouterr().err
        assert (again.step, again.state) == (0, {})
        again.log(1, {"loss": 1.0})
        assert steps(again) == [1]


def test_settings_must_be_those_of_the_run(tmp_path: Path):
    opened(tmp_path, resume=False)
    with pytest.raises(InputError, match=r"other values of \[inner.rate\] \(its config.yaml\)"):
        opened(tmp_path, Settings(inner=Inner(rate=0.2, updates=9)))
    assert Settings.load(tmp_path / CONFIG) == Settings()
    changed = Settings(where=Path("elsewhere"), inner=Inner(updates=9))
    with Run(tmp_path, changed, resume=True, free=FREE) as run:
        assert Settings.load(tmp_path / CONFIG) == Settings(), "the record changes with the first new checkpoint"
        run.checkpoint(1, {"weights": torch.zeros(1)})
    assert Settings.load(tmp_path / CONFIG) == changed


@pytest.mark.parametrize("text", ["inner: {rate: 0.2, updates: 5}\n", "where: null\n"])
def test_an_edited_or_truncated_record_is_noticed(tmp_path: Path, text: str):
    """Without --config a run goes on by its own record: its checkpoint knows better."""
    with Run(tmp_path, Settings(inner=Inner(rate=0.3)), resume=False, free=FREE) as run:
        run.checkpoint(1, {"weights": torch.zeros(1)})
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(InputError, match=r"other values of \[inner.rate\] \(its 000000001\)"):
        opened(tmp_path, configured(Settings, None, [], tmp_path, resume=True))


@pytest.mark.parametrize("line", [b"\xff\n", b'{"loss": 1.0}\n', b"[1]\n", b'{"step": "2"}\n', b"[" * 9999 + b"\n"])
def test_damaged_metrics_stop_no_run(tmp_path: Path, line: bytes):
    with Run(tmp_path, Settings(), resume=False) as run:
        run.log(1, {"loss": 1.0})
        run.checkpoint(1, {"weights": torch.zeros(1)})
    with (tmp_path / METRICS).open("ab") as file:
        file.write(line)
    assert steps(opened(tmp_path)) == [1]


def test_a_run_goes_on_with_the_same_inputs_only(tmp_path: Path):
    opened(tmp_path, resume=False, features="aa", bank="bb")
    opened(tmp_path, features="aa", bank="bb")
    with pytest.raises(InputError, match=r"other content of \[bank\]"):
        opened(tmp_path, features="aa", bank="cc")


CHANGES: list[dict[str, object]] = [
    {"step": 0},
    {"step": "3"},
    {"step": True},
    {"best": "high"},
    {"best": 1},
    {"settings": 1},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_that_does_not_say_where_it_stands(tmp_path: Path, change: dict[str, object]):
    with Run(tmp_path, Settings(), resume=False) as run:
        run.checkpoint(3, {"weights": torch.zeros(1)})
    folder = tmp_path / CHECKPOINTS / "000000003"
    artifacts.write_json(folder / artifacts.CONFIG, artifacts.read_json(folder / artifacts.CONFIG) | change)
    artifacts.write_sums(folder)
    with pytest.raises(InputError, match="has no whole checkpoint to resume from"):
        opened(tmp_path)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path):
    """A file-size limit stands for it, in a process of its own: bytes needed are named, what was there stays."""
    script = f"""
import resource, torch
from pathlib import Path
from gandistill.config import Config
from gandistill.errors import RunError
from gandistill.run import Run
torch.set_num_threads(1)
with Run(Path({str(tmp_path / "run")!r}), Config(), resume=False) as run:
    run.checkpoint(1, {{"weights": torch.ones(1000)}})
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        run.checkpoint(2, {{"weights": torch.ones(50_000)}})
    except RunError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    assert f"{STATE}: file too large: it needs 200," in done.stdout
    with Run(tmp_path / "run", Config(), resume=True) as run:
        assert run.step == 1
        assert torch.equal(run.state["weights"], torch.ones(1000))
    assert [path.name for path in (tmp_path / "run" / CHECKPOINTS).iterdir()] == ["000000001"]


def test_check_finite_names_every_bad_term():
    check_finite(1, {"a": 0.0, "b": -1e6})
    with pytest.raises(RunError, match=r"diverged at step 7: b = nan, c = -inf, d = 2e\+06; a lower"):
        check_finite(7, {"a": 1.0, "b": float("nan"), "c": float("-inf"), "d": 2e6})


def test_draws_depend_on_the_key_alone():
    keys = [(0, 0), (0, 1, 1), (0, 1, 2), (0, 2, 1), (1, 1, 1), (0, 1, 1, 1)]
    draws = {torch.rand(4, generator=generator_for(*key)).numpy().tobytes() for key in keys}
    assert len(draws) == len(keys)
    torch.manual_seed(1)
    assert torch.rand(4, generator=generator_for(*keys[0])).numpy().tobytes() in draws
    expected = torch.rand(1, generator=torch.Generator().manual_seed(generator_for(2, 3).initial_seed()))
    assert torch.equal(torch.rand(1, generator=generator_for(2, 3)), expected)


def test_the_first_ctrl_c_waits_for_the_step_and_the_second_does_not(capsys: pytest.CaptureFixture[str]):
    before = signal.getsignal(signal.SIGINT)
    with stop_asked() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capsys.readouterr().err.count("\n") == 1
    with stop_asked() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop(), "a cluster's announcement never cuts a step in half"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_optimiser_goes_on_from_its_named_tensors(tmp_path: Path):
    def step(weights: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        weights.pow(2).sum().backward()
        optimiser.step()

    first = torch.tensor([1.0, -2.0], requires_grad=True)
    adam = torch.optim.Adam([first], 0.1, betas=(0.0, 0.9))
    assert optimiser_state(adam) == {}
    step(first, adam)
    artifacts.save_tensors(tmp_path / "state", optimiser_state(adam))
    second = first.detach().clone().requires_grad_()
    other = torch.optim.Adam([second], 0.1, betas=(0.0, 0.9))
    load_optimiser_state(other, artifacts.load_tensors(tmp_path / "state"), tmp_path)
    for _ in range(3):
        step(first, adam)
        step(second, other)
    assert torch.equal(first, second)
