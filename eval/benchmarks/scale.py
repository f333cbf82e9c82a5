"""Memory and time of a generator's training against the size of the corpus: both must not depend on luck or RAM.

    python eval/benchmarks/scale.py

Feature sets of noise, 25 frames of 768 dims an utterance, are written to the temporary folder (3.8 GB for the largest,
removed afterwards). Each is trained on by ``gandistill train`` in a fresh process, a small GAN-ATT with a closed-form
start, while its memory is read from ``/proc`` every 20 ms. Frames come from the page cache, as they were just written.

Rows: ``utterances``, ``bytes`` on disk, ``open_seconds`` (of the feature set), ``moments_seconds`` (one pass over all
frames), ``start_seconds`` (from the start of the process to the end of its first update; imports are in it),
``seconds_per_update`` (of the others), ``anonymous_bytes`` (peak of the memory that only the process has) and
``resident_bytes`` (peak of what it has in memory, pages of files among them).
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmark import Row, parser, write
from gandistill.artifacts import describe
from gandistill.console import say
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.files import write_text
from gandistill.gan.generator import Architecture
from gandistill.gan.settings import GanConfig, Training
from gandistill.heads.bank import BankConfig, build_bank
from gandistill.run import METRICS

FRAMES, DIMS, LABELS = 25, 768, ["angry", "happy", "neutral", "sad"]
SIZES, QUICK_SIZES = (1_000, 10_000, 100_000), (100, 1_000)
UPDATES, QUICK_UPDATES = 100, 5
TINY = Architecture(
    kind="gan-att", start="closed-form", frames=FRAMES, channels=(16, 8, 8, 8), critic_channels=(4, 4, 8, 8, 8, 8, 8, 8)
)
BANK = BankConfig(heads=("superb",), seeds=1, updates=2, half_trained=1)
OPENING = """
import json, sys, time
from gandistill.features.featureset import FeatureSet
times = [time.perf_counter()]
features = FeatureSet.open(sys.argv[1])
times.append(time.perf_counter())
features.moments()
times.append(time.perf_counter())
print(times[1] - times[0], times[2] - times[1])
"""


def main() -> None:
    options = parser(__doc__).parse_args()
    sizes, updates = (QUICK_SIZES, QUICK_UPDATES) if options.quick else (SIZES, UPDATES)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        check_room(work, max(sizes) * FRAMES * DIMS * 2)
        build_bank(noise(work / "few", 64), BANK, work / "bank", {"command": "benchmark"})
        for size in sizes:
            features = noise(work / "features", size)
            rows.append({"utterances": size} | measured(features, work, updates))
            shutil.rmtree(features.folder)
    write("scale", rows, options)


def check_room(work: Path, needed: int) -> None:
    free = shutil.disk_usage(work).free
    say(f"Writing up to {needed / 1e9:.1f} GB to {work}, {free / 1e9:.1f} GB are free there")
    if free < 1.2 * needed:
        raise SystemExit("That is not enough: set TMPDIR to a folder with more")


def noise(folder: Path, utterances: int) -> FeatureSet:
    """A feature set of noise, all of it training part."""

    def clips() -> Iterator[Utterance]:
        draws = torch.Generator().manual_seed(0)
        for i in range(utterances):
            frames = torch.randn(FRAMES, DIMS, generator=draws)
            yield Utterance(f"u{i:06d}", LABELS[i % len(LABELS)], frames, f"speaker{i % 10}")

    write_feature_set(folder, clips(), describe(KIND, {"command": "benchmark"}, labels=LABELS, dims=DIMS), "")
    return FeatureSet.open(folder)


def measured(features: FeatureSet, work: Path, updates: int) -> Row:
    """What a fresh process needs to open this set, and another to train on it."""
    opening = [sys.executable, "-c", OPENING, str(features.folder)]
    opened, moments = subprocess.run(opening, check=True, capture_output=True, text=True).stdout.split()
    training = Training(updates=updates, log_every=1, evaluate_every=updates, checkpoint_every=updates)
    config = GanConfig(features=features.folder, bank=work / "bank", architecture=TINY, training=training)
    write_text(work / "config.yaml", config.to_yaml())
    return {
        "bytes": sum(file.stat().st_size for file in features.folder.iterdir()),
        "open_seconds": float(opened),
        "moments_seconds": float(moments),
        **watched(work / "config.yaml", work / "run"),
    }


def watched(config: Path, run: Path) -> Row:
    """Train in a fresh process, looking at it from outside: its lines of metrics tell when an update is done."""
    line = "from gandistill.cli import main; main()"
    command = [sys.executable, "-c", line, "train", "--config", str(config), "--out", str(run)]
    start, done, peaks = time.perf_counter(), list[float](), {"RssAnon": 0, "VmHWM": 0}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peaks = {name: max(peak, memory(process.pid, name)) for name, peak in peaks.items()}
        if (run / METRICS).is_file():
            new = (run / METRICS).read_text().count("\n") - len(done)
            done += [time.perf_counter() - start] * new
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"The training ended with exit code {process.returncode}")
    shutil.rmtree(run)
    return {
        "start_seconds": done[0],
        "seconds_per_update": (done[-1] - done[0]) / (len(done) - 1),
        "anonymous_bytes": peaks["RssAnon"],
        "resident_bytes": peaks["VmHWM"],
    }


def memory(process: int, name: str) -> int:
    """Bytes that ``/proc`` tells of a process: RssAnon, which is no page of a file, or VmHWM, the peak of all."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


if __name__ == "__main__":
    main()
