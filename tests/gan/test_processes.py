"""Two processes train the generator that one would: the same losses, batch statistics, evaluation and checkpoints."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train
from gandistill.run import CHECKPOINTS, METRICS, STATE

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
EXACT = {"precision": "float64", "updates": 20, "evaluate_every": 10, "checkpoint_every": 10, "penalty_every": 2}


COMMAND = ("-m", "gandistill", "train")


def machines(
    config: str, *arguments: object, start: Sequence[str] = (f"{ROOT}/recipes/train_gan.py",), **environment: str
) -> list[subprocess.Popen[str]]:
    """Start a script or a module by an accelerate config of ours, once for each machine that it names."""
    path = ROOT / "recipes" / "accelerate" / config
    count = int(next(line for line in path.read_text().splitlines() if "num_machines" in line).split()[1])
    started, meet = [], ["--main_process_ip", "127.0.0.1", "--main_process_port", str(free_port())]
    for rank in range(count):
        place = ["--machine_rank", str(rank), *meet] if count > 1 else []
        command = [*LAUNCH, str(path), *place, *start, *map(str, arguments)]
        environ = ENVIRONMENT | environment
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ))
    return started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def finished(processes: list[subprocess.Popen[str]]) -> str:
    """What they said, once all have ended well; where one has not in time, all are ended, so that all have spoken."""
    deadline, late = time.monotonic() + 270, False
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0))  # they say too little to fill a pipe
        except subprocess.TimeoutExpired:
            late = True
            process.terminate()  # which ends its workers too
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert not late, "\n".join(said)
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return "".join(said)


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / METRICS).read_text().splitlines()]


def last_state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(max((run / CHECKPOINTS).iterdir()) / STATE)


@pytest.fixture(scope="module")
def exact(configured: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[GanConfig, Path, Path]:
    """A config in float64, the YAML file of it, and the run of one process."""
    folder, config = tmp_path_factory.mktemp("exact"), configured(training=EXACT)
    train(config, folder / "one")
    (folder / "config.yaml").write_text(config.to_yaml())
    return config, folder / "config.yaml", folder / "one"


def assert_same(run: Path, expected: Path) -> None:
    assert len(metrics(run)) == len(metrics(expected)) == 22
    for mine, theirs in zip(metrics(run), metrics(expected), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5, rel=1e-5)
    mine, theirs = last_state(run), last_state(expected)
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, rtol=1e-5, atol=1e-7, msg=name)
    label, noise = torch.tensor([1]), torch.ones(1, 4)
    samples = [Sampler.open(folder).generator(label, noise) for folder in (run, expected)]
    torch.testing.assert_close(*samples, rtol=1e-4, atol=1e-5)


def test_two_processes_equal_one(exact: tuple[GanConfig, Path, Path], tmp_path: Path):
    _, file, one = exact
    said = finished(machines("cpu.yaml", "--config", file, "--out", tmp_path / "two"))
    assert said.count("Generator: ") == 1, "one speaks for both"
    assert_same(tmp_path / "two", one)
    arithmetic = json.loads((max((tmp_path / "two" / CHECKPOINTS).iterdir()) / "config.json").read_text())["arithmetic"]
    assert arithmetic["processes"] == 2, "it were no test otherwise"


def test_two_processes_fit_the_closed_form_of_one_and_make_it_again(configured: Any, closed_form: Path, tmp_path: Path):
    config = configured(bank=None, architecture={"kind": "class-gaussian"})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    asked = ("--config", tmp_path / "config.yaml", "--out", tmp_path / "two")
    for again in ((), ("--resume",)):
        said = finished(machines("cpu.yaml", *asked, *again, start=COMMAND))
        assert said.count("Generator: ") == 1, "one speaks for both"
        made = Sampler.open(tmp_path / "two")
        assert all(map(torch.equal, made.samples(1, 5, 0), Sampler.open(closed_form).samples(1, 5, 0)))


def test_two_machines_equal_one_and_resume(exact: tuple[GanConfig, Path, Path], tmp_path: Path):
    """Two nodes of one process each, on loopback; stopped half-way, and resumed by both."""
    _, file, one = exact
    run = tmp_path / "nodes"
    finished(machines("machines.yaml", "--config", file, "--set", "training.updates=10", "--out", run))
    finished(machines("machines.yaml", "--config", file, "--resume", "--out", run))
    assert_same(run, one)


def test_a_bad_setting_ends_all_of_them(exact: tuple[GanConfig, Path, Path], tmp_path: Path):
    _, file, _ = exact
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (process,) = machines("cpu.yaml", "--config", file, "--out", tmp_path / "mine", start=COMMAND)
    said = process.communicate(timeout=300)[1]
    assert process.returncode != 0
    assert f"gandistill: {tmp_path / 'mine'} exists and is not a run" in said


ENDS = """
import atexit, sys, torch
from torch.distributed import HashStore
from gandistill.processes import leaving
atexit.register(print, "by Python's own ending")
if sys.argv[1] == "one of several":
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
with leaving():
    print("done")
    sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize("status", [0, 2])
def test_one_of_several_ends_at_once_and_says_how(status: int):
    """Python's own ending aborts where torch's threads live on, now and then: it is not left to that."""
    for who, said in (("alone", "done\nby Python's own ending\n"), ("one of several", "done\n")):
        command = [sys.executable, "-W", "error", "-c", ENDS, who, str(status)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT)
        assert (done.returncode, done.stdout) == (status, said), done.stderr
