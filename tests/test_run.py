"""A run folder: what it refuses, what it keeps, and how a training goes on."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from gandistill import artifacts
from gandistill.config import Config
from gandistill.errors import InputError, RunError
from gandistill.run import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    Run,
    check_finite,
    generator_for,
    load_optimiser_state,
    optimiser_state,
    stop_asked,
)


class Inner(Config):
    rate: float = 0.1
    updates: int = 5


class Settings(Config):
    where: Path | None = None
    inner: Inner = Inner()


FREE = ("where", "inner.updates")


def steps(run: Run) -> list[int]:
    return [json.loads(line)["step"] for line in (run.folder / METRICS).read_text().splitlines()]


def test_a_new_run_writes_its_settings(tmp_path: Path):
    run = Run(tmp_path / "a" / "run", Settings(where=tmp_path), resume=False)
    assert (run.step, run.best, run.state) == (0, None, {})
    assert Settings.load(tmp_path / "a" / "run" / CONFIG) == Settings(where=tmp_path)
    (tmp_path / "empty").mkdir()
    Run(tmp_path / "empty", Settings(), resume=False)


def test_folders_that_are_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    Run(tmp_path / "run", Settings(), resume=False)
    for name, resume, message in (
        ("file", False, "is a file, expected a folder"),
        ("file", True, "is a file, expected a folder"),
        ("mine", False, "exists and is not a run"),
        ("mine", True, "holds no run to resume"),
        ("nothing", True, "holds no run to resume"),
        ("run", False, "--resume continues it"),
    ):
        with pytest.raises(InputError, match=message):
            Run(tmp_path / name, Settings(), resume)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine", "run"]


@pytest.mark.parametrize("best", [None, 0.0, 1 / 3])
def test_a_resumed_run_has_step_best_and_state(tmp_path: Path, best: float | None):
    run = Run(tmp_path, Settings(), resume=False)
    for step in range(1, 5):
        run.log(step, {"loss": 1 / step})
    run.best = best
    run.checkpoint(3, {"weights": torch.tensor([0.1, 0.2]), "count": torch.tensor(7)})
    again = Run(tmp_path, Settings(), resume=True)
    assert (again.step, again.best) == (3, best)
    assert again.state.keys() == {"weights", "count"}
    assert torch.equal(again.state["weights"], torch.tensor([0.1, 0.2]))
    assert steps(again) == [1, 2, 3], "what came after the checkpoint is made again"


def test_without_a_checkpoint_it_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = Run(tmp_path, Settings(), resume=False)
    run.log(1, {"loss": 1.0})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 2, "lo')
    again = Run(tmp_path, Settings(), resume=True)
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert (again.step, again.state) == (0, {})
    again.log(1, {"loss": 1.0})
    assert steps(again) == [1]


def test_settings_must_be_those_of_the_run(tmp_path: Path):
    Run(tmp_path, Settings(), resume=False)
    with pytest.raises(InputError, match=r"other values of \[inner.rate\] \(its config.yaml\)"):
        Run(tmp_path, Settings(inner=Inner(rate=0.2, updates=9)), True, FREE)
    assert Settings.load(tmp_path / CONFIG) == Settings()
    run = Run(tmp_path, Settings(where=Path("elsewhere"), inner=Inner(updates=9)), True, FREE)
    assert Settings.load(tmp_path / CONFIG) == Settings(), "the record changes with the first new checkpoint"
    run.checkpoint(1, {})
    assert Settings.load(tmp_path / CONFIG) == Settings(where=Path("elsewhere"), inner=Inner(updates=9))


def test_a_run_goes_on_with_the_same_inputs_only(tmp_path: Path):
    Run(tmp_path, Settings(), resume=False, features="aa", bank="bb")
    Run(tmp_path, Settings(), resume=True, features="aa", bank="bb")
    with pytest.raises(InputError, match=r"other content of \[bank\]"):
        Run(tmp_path, Settings(), resume=True, features="aa", bank="cc")


def test_a_checkpoint_that_is_none(tmp_path: Path):
    Run(tmp_path, Settings(), resume=False)
    artifacts.save_tensors(tmp_path / CHECKPOINT, {"progress": torch.zeros(3)})
    with pytest.raises(InputError, match="not a checkpoint of a run"):
        Run(tmp_path, Settings(), resume=True)
    (tmp_path / CHECKPOINT).write_bytes(b"cut")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        Run(tmp_path, Settings(), resume=True)


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
        assert not stop
        os.kill(os.getpid(), signal.SIGINT)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capsys.readouterr().err.count("\n") == 1
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
    load_optimiser_state(other, artifacts.load_tensors(tmp_path / "state"))
    for _ in range(3):
        step(first, adam)
        step(second, other)
    assert torch.equal(first, second)
