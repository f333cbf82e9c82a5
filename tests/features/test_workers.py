"""Extraction by several real processes that share nothing but the folder, and by those that are left."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gandistill import artifacts
from gandistill.features.extract import ExtractConfig, extract

ROOT = Path(__file__).parents[2]
SECONDS = tuple(0.1 + 0.05 * i for i in range(12))
IDS = [f"u{i}" for i in range(12)]
PAIRS = ["--set", "shard=2"]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
PLAIN = "from gandistill.cli import main; main()"
SLOW = """
import sys, time
from gandistill.cli import main
from gandistill.features import extract as extraction

compute = extraction._features

def slow(upstream, entry, load):
    time.sleep(0.1)
    print(entry.id, flush=True)
    return compute(upstream, entry, load)

extraction._features = slow
print("ready", flush=True)
sys.stdin.readline()
main()
"""
STUCK = """
import sys, time
from gandistill import artifacts, files
from gandistill.cli import main
from gandistill.features import extract as extraction

def stick(*_):
    print("stuck", flush=True)
    time.sleep(600)

PLACES = {
    "computing": (extraction, "_features"),
    "writing": (files, "flush"),
    "finishing": (artifacts, "write_sums"),
}
setattr(*PLACES[sys.argv.pop(1)], stick)
main()
"""


@pytest.fixture
def start():
    """Start a worker with this program, and kill it in the end if it is still there."""
    workers = []

    def begin(program: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        pipe = subprocess.PIPE
        workers.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()
        worker.communicate()


@pytest.fixture
def whole(corpus, tmp_path: Path) -> Path:
    """What one process makes."""
    extract(corpus(SECONDS), ExtractConfig(shard=2), tmp_path / "whole")
    return tmp_path / "whole"


def assert_same(out: Path, whole: Path) -> None:
    """The same files, each with the same content, and no other."""
    artifacts.open_artifact(out, "feature set", verify=True)
    assert artifacts.fingerprint(out) == artifacts.fingerprint(whole)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in whole.iterdir())


def slow_workers(number: int, start, corpus, out: Path) -> list[subprocess.Popen[str]]:
    """Workers that wait for each other before they begin, and then take 0.1 s for each file."""
    workers = [start(SLOW, "extract", corpus(SECONDS), "--out", out, *PAIRS) for _ in range(number)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    return workers


def test_workers_share_the_work(start, corpus, tmp_path: Path, whole: Path):
    workers = slow_workers(3, start, corpus, tmp_path / "out")
    shares = []
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
        shares.append(out.split())
    assert all(shares)
    assert sorted(id for share in shares for id in share) == sorted(IDS)  # nothing was computed twice
    assert_same(tmp_path / "out", whole)


def test_killed_at_random(start, corpus, tmp_path: Path, whole: Path, soak: bool):
    draw = random.Random(0)
    for trial in range(40 if soak else 1):
        out = tmp_path / f"out{trial}"
        *killed, last = slow_workers(3, start, corpus, out)
        for worker in killed:
            time.sleep(draw.uniform(0, 0.5))
            worker.kill()
        _, err = last.communicate(timeout=120)
        assert last.returncode == 0, err
        assert_same(out, whole)


@pytest.mark.parametrize("place", ["computing", "writing", "finishing"])
def test_another_takes_over_from_a_killed_worker(start, corpus, tmp_path: Path, whole: Path, place: str):
    out, arguments = tmp_path / "out", ["extract", corpus(SECONDS), "--out", tmp_path / "out", *PAIRS]
    stuck = start(STUCK, place, *arguments)
    assert stuck.stdout.readline() == "stuck\n"
    assert any(path.name.startswith(".") for path in out.iterdir())
    heir = start(PLAIN, *arguments)
    if place != "finishing":
        assert any("Waiting for other workers, who hold 1 of the shards" in line for line in heir.stderr)
        assert len(list(out.glob("frames-*"))) == 5
    stuck.kill()
    _, err = heir.communicate(timeout=120)
    assert heir.returncode == 0, err
    assert_same(out, whole)


def test_a_later_worker_takes_over(start, corpus, tmp_path: Path, whole: Path):
    arguments = ["extract", corpus(SECONDS), "--out", tmp_path / "out", *PAIRS]
    stuck = start(STUCK, "writing", *arguments)
    assert stuck.stdout.readline() == "stuck\n"
    stuck.kill()
    stuck.wait()
    extract(corpus(SECONDS), ExtractConfig(shard=2), tmp_path / "out")
    assert_same(tmp_path / "out", whole)


def accelerate(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A script in the two processes of the recipe for a machine without a GPU."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    config = ["--config_file", str(ROOT / "recipes" / "accelerate" / "cpu.yaml")]
    command = [*launcher, *config, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT)


RANKED = """
import runpy, sys, torch
from gandistill.processes import place
open(f"{sys.argv.pop(1)}/process {place().process_index} of {place().num_processes}", "w").close()
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_accelerate_launch_starts_workers(corpus, tmp_path: Path, tiny_hubert: Path):
    """The slowest test here: it starts three Python processes."""
    settings = ["upstream=hubert", f"hubert.model={tiny_hubert}", "shard=2"]
    manifest = corpus(SECONDS)
    extract(manifest, ExtractConfig.load(overrides=settings), tmp_path / "one")
    flags = [flag for setting in settings for flag in ("--set", setting)]
    ranked = tmp_path / "ranked.py"
    ranked.write_text(RANKED)
    recipe = ROOT / "recipes" / "extract_features.py"
    done = accelerate(ranked, tmp_path, recipe, manifest, "--out", tmp_path / "two", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.glob("process*")) == ["process 0 of 2", "process 1 of 2"]
    assert_same(tmp_path / "two", tmp_path / "one")
    assert "corpus" not in json.loads((tmp_path / "two" / "config.json").read_text())


def test_script_alone(corpus, tmp_path: Path, whole: Path):
    for arguments, code, err in (
        (["none.csv", "--out", tmp_path / "none"], 2, "none.csv: no such file\n"),
        ([corpus(SECONDS), "--out", tmp_path / "out", *PAIRS], 0, f"{tmp_path / 'out'}: 12 utterances, 64 dims\n"),
    ):
        command = [sys.executable, ROOT / "recipes" / "extract_features.py", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", err)
    assert_same(tmp_path / "out", whole)
