"""Every benchmark runs and says what its docstring says; so does every result that is kept."""

import ast
import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from gandistill.corpora import audio
from gandistill.features.whisper import Whisper, WhisperConfig
from gandistill.gan import steps

EVAL = Path(__file__).parents[1] / "eval"
SCRIPTS = sorted((EVAL / "benchmarks").glob("*.py"))
BENCHMARKS = {path.stem: path for path in SCRIPTS if "from benchmark import" in path.read_text()}
RESULTS = sorted((EVAL / "results" / "benchmarks").glob("*.json"))
MACHINE = {"cpu", "cores", "threads", "memory", "system", "python", "torch"}


def check(name: str, found: dict[str, Any]) -> None:
    assert found.keys() == {"machine", "rows"}
    assert found["machine"].keys() - {"device"} == MACHINE
    assert found["rows"]
    said = ast.get_docstring(ast.parse(BENCHMARKS[name].read_text())) or ""
    unsaid = {key for row in found["rows"] for key in row if f"``{key}``" not in said}
    assert not unsaid, f"the docstring of {BENCHMARKS[name]} does not say what these are: {unsaid}"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_quick_run_prints_one_json_object_and_keeps_nothing(name: str, tmp_path: Path):
    before = {path: path.stat().st_mtime_ns for path in RESULTS}
    command = [sys.executable, "-W", "error", str(BENCHMARKS[name]), "--quick", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check(name, json.loads(done.stdout))
    assert {path: path.stat().st_mtime_ns for path in RESULTS} == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_what_is_kept_reads_as_its_benchmark_says(path: Path):
    check(path.stem.removesuffix("_gpu"), json.loads(path.read_text()))


@pytest.mark.parametrize("update", [3, 4], ids=["plain", "penalised"])
def test_one_pass_of_the_critic_gives_the_gradients_that_two_give(
    update: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Those of the trial ``simultaneous`` are ours, both taken at the weights before the update."""
    monkeypatch.syspath_prepend(EVAL / "benchmarks")
    import train_step
    from loops import LOOPS

    train_step.inputs(tmp_path, 8)
    settings = ["architecture.frames=20", *train_step.NARROW, "training.precision=float64"]
    ours, trial = (train_step.gan_of(LOOPS[name], tmp_path, settings) for name in ("ours", "simultaneous"))
    batch = ours.batch(update, 0)
    samples = ours.generate(batch)
    penalised = update % ours.config.training.penalty_every == 0
    steps.critic_terms(ours, batch, samples.detach(), penalised)
    _, _, gradient = steps.generator_terms(ours, batch, samples.detach().requires_grad_())
    samples.backward(gradient)
    LOOPS["simultaneous"].one_update(trial, update)
    for mine, other in ((ours.critic, trial.critic), (ours.generator, trial.generator)):
        expected, found = ([weight.grad for weight in network.parameters()] for network in (mine, other))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_means_of_all_layers_are_heard_once(tiny_whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EVAL / "benchmarks")
    import whisper_layers
    from whisper import entries_of

    entries = entries_of(None, tmp_path)[:5]
    monkeypatch.setattr(whisper_layers, "TOGETHER", 2)
    upstreams = [Whisper(WhisperConfig(model=str(tiny_whisper), layer=layer)) for layer in (0, 1, 2, 3, 4, "last")]
    means = torch.cat([*whisper_layers.kept_means(upstreams[-1], entries, tmp_path / "kept")])
    for entry, found in zip(entries, means, strict=True):
        clip = torch.from_numpy(audio.load(entry.path))
        torch.testing.assert_close(found, torch.stack([upstream(clip).mean(0) for upstream in upstreams]))
    files = sorted((tmp_path / "kept").iterdir())
    assert len(files) == 3
    files[0].unlink()
    heard = Mock(wraps=whisper_layers.layer_means)
    monkeypatch.setattr(whisper_layers, "layer_means", heard)
    assert torch.equal(torch.cat([*whisper_layers.kept_means(upstreams[-1], entries, tmp_path / "kept")]), means)
    assert heard.call_count in {1, 2}, "the clips of the one file that was lost"
    assert next(whisper_layers.kept_means(upstreams[0], entries, tmp_path / "kept")).shape == (2, 2, 16)


def test_a_table_and_a_file_of_ones_own(tmp_path: Path):
    out = tmp_path / "kept.json"
    command = [sys.executable, str(BENCHMARKS["head"]), "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    header, rule, *rows = done.stdout.splitlines()
    found = json.loads(out.read_text())
    assert header.split() == list(found["rows"][0])
    assert set(rule) <= {"-", " "}
    assert [row.split()[0] for row in rows] == [row["data"] for row in found["rows"]]


def test_beside_another_build_rows_say_its_commit_and_the_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EVAL / "benchmarks")
    import heads
    from against import Build, build_at

    numbers = {"here": iter([[4.0], [1.0], [2.0]]), "there": iter([[9.0], [5.0], [6.0]])}
    monkeypatch.setattr(Build, "measure", lambda build, *_: next(numbers[build.path.name]))
    monkeypatch.setattr(Build, "commit", "abc1234")
    monkeypatch.setattr(heads, "TASKS", [(3, ["train:attentive:64:576:80"])])
    (row,) = heads.rows([Build(Path("here")), Build(Path("there"))], Namespace(quick=False))
    assert (row["value"], row["before"], row["ratio"], row["against"], row["rounds"]) == (2.0, 6.0, 3.0, "abc1234", 3)
    with pytest.raises(SystemExit) as stopped:
        build_at(tmp_path)
    assert stopped.value.code == 2


def test_a_path_without_a_build_is_one_line(tmp_path: Path):
    command = [sys.executable, str(BENCHMARKS["heads"]), "--quick", "--against", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--against {tmp_path}: there is no build, expected a checkout")
    assert done.stderr.count("\n") == 1


def test_rows_measured_before_a_crash_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EVAL / "benchmarks")
    import benchmark

    def rows() -> Iterator[dict[str, float]]:
        yield {"seconds": 1.5}
        raise MemoryError

    options = Namespace(out=tmp_path / "kept.json", quick=False, json=True)
    with pytest.raises(MemoryError):
        benchmark.write("some", rows(), options)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.jsonl"]
    assert json.loads((tmp_path / "kept.jsonl").read_text()) == {"seconds": 1.5}
    benchmark.write("some", [{"seconds": 2.5}], options)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]


def test_every_benchmark_is_tried():
    assert sorted(BENCHMARKS) == [
        "early_exit",
        "equal_updates",
        "extract",
        "head",
        "heads",
        "levers",
        "sample",
        "scale",
        "time_to_quality",
        "train_step",
        "trajectory",
        "whisper",
        "whisper_layers",
        "wide",
    ]
