"""Time and memory of one distillation step of trajectory matching: full unroll, TESLA, and the exact adjoint.

    python eval/benchmarks/trajectory.py

A student of head cnn6 makes Q updates on batches of 12 clips of (373, 64), and the gradient of the matching loss with
respect to the clips, their targets and the rate is taken; everything is random numbers made here. Every measurement
is one step in a fresh process, after a small one that loads the libraries' code; methods take turns. An unroll that
would not fit in the memory at hand, or in ``--memory-gb``, is extrapolated along the line through smaller Q. On a GPU
if there is one. Before it, and with ``--quick`` alone, head cnn on batches of 24 clips of (112, 64).

Rows: ``method``, ``q``, ``seconds_per_step`` (median of ``rounds``), ``peak_mb`` (the median increase of what the
process, or on a GPU torch, holds in memory, in MiB), ``stored_mb`` (of it, the Q weight vectors that the method keeps),
``cosine`` of the clips' gradient to that of ``reference``, the unroll, or the adjoint where no unroll fits (both in
float32 on the same numbers, and no row for itself); ``extrapolated``, ``head``, ``weights``, ``frames``,
``dims``, ``batch``, ``clips`` in the distilled set, ``device``.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, one_hot

from benchmark import Row, parser, write
from gandistill.console import say, track
from gandistill.heads.head import model_of
from gandistill.trajectory.matching import METHODS, Network

ORDER = ("unroll", "tesla", "adjoint")
CLASSES = 7
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """What is measured: a student, its batches, and of how many clips they are drawn."""

    head: str
    frames: int
    dims: int
    batch: int = 12
    clips: int = 70


@dataclass(frozen=True)
class Measured:
    """One step: its time, the memory it took beyond what the process held before, and the clips' gradient."""

    seconds: float
    bytes: int
    gradient: Tensor


FULL, FULL_UPDATES = Case("cnn6", 373, 64), (5, 20, 40)
QUICK, QUICK_UPDATES = Case("cnn", 112, 64, batch=24), (5, 20)
WARM_UP = Case("cnn", 32, 16, batch=2, clips=4)


def main() -> None:
    options = with_options(parser(__doc__)).parse_args()
    limit = options.memory_gb * 1e9 if options.memory_gb else available()
    cases = [(QUICK, QUICK_UPDATES)] if options.quick else [(QUICK, QUICK_UPDATES), (FULL, FULL_UPDATES)]
    rows = (row for case, updates in cases for row in measured(case, updates, options.rounds, limit))
    write("trajectory", rows, options)


def with_options(options: argparse.ArgumentParser) -> argparse.ArgumentParser:
    options.add_argument("--rounds", type=int, default=2, help="fresh processes for each row; default: 2")
    options.add_argument("--memory-gb", type=float, help="an unroll may take so much; default: what is available")
    return options


def measured(case: Case, updates: tuple[int, ...], rounds: int, limit: float) -> Iterator[Row]:
    """Rows of all methods at each Q, smallest first."""
    weights = Network(model_of(case.head)(case.dims, CLASSES)).size
    facts = {**asdict(case), "weights": weights, "device": device().type, "rounds": rounds}
    unrolled: dict[int, Row] = {}
    for q in updates:
        methods = [m for m in ORDER if m != "unroll" or fits(unrolled, q, limit)]
        runs = {method: list[Measured]() for method in methods}
        turns = [method for _ in range(rounds) for method in methods]
        for method in track(turns, f"Q = {q}", len(turns), unit="steps"):
            runs[method].append(fresh(case, method, q))
        if "unroll" not in methods:
            yield {"method": "unroll", "q": q, **extrapolated(case, unrolled, q), **facts}
        reference = "unroll" if "unroll" in methods else "adjoint"
        for method, measurements in runs.items():
            row: Row = {"method": method, "q": q, "seconds_per_step": median(run.seconds for run in measurements)}
            row |= {"peak_mb": median(run.bytes for run in measurements) / MIB}
            row |= {"stored_mb": q * weights * 4 / MIB if method == "adjoint" else 0.0}
            if method != reference:
                row |= {"reference": reference, "cosine": cosine(measurements[0].gradient, runs[reference][0].gradient)}
            yield row | {"extrapolated": False} | facts
            if method == "unroll":
                unrolled[q] = row


def fits(unrolled: dict[int, Row], q: int, limit: float) -> bool:
    """Whether an unroll of Q updates would, as far as one of fewer can tell."""
    return not unrolled or unrolled[max(unrolled)]["peak_mb"] * MIB * q / max(unrolled) < limit


def extrapolated(case: Case, unrolled: dict[int, Row], q: int) -> Row:
    """Time and memory on the line through one update and the most that were measured."""
    say(f"An unroll of {q} updates would not fit: extrapolated from 1 and {max(unrolled)}")
    first, most = fresh(case, "unroll", 1), unrolled[max(unrolled)]
    ends = {"seconds_per_step": first.seconds, "peak_mb": first.bytes / MIB}
    share = (q - 1) / (max(unrolled) - 1)
    estimates = {name: end + share * (most[name] - end) for name, end in ends.items()}
    return estimates | {"stored_mb": 0.0, "extrapolated": True}


def fresh(case: Case, method: str, q: int) -> Measured:
    """One step in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(step, case, method, q).result()


def step(case: Case, method: str, q: int) -> Measured:
    """One distillation step in this process, which has made none before but a small one."""
    METHODS[method](*inputs(WARM_UP, 1))
    arguments = inputs(case, q)
    before, start = held("VmRSS"), time.perf_counter()
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    gradient = METHODS[method](*arguments).clips.cpu()  # waits for a GPU
    return Measured(time.perf_counter() - start, held("VmHWM") - before, gradient)


def inputs(case: Case, q: int) -> tuple[Network, Tensor, Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
    """What a method takes: random numbers, a goal near the start, batches of different clips."""
    torch.manual_seed(0)
    network = Network(model_of(case.head)(case.dims, CLASSES).to(device()))
    start = network.weights()
    goal = start + 0.01 * torch.randn(len(start)).to(start)
    clips = torch.randn(case.clips, case.frames, case.dims).to(start)
    targets = one_hot(torch.arange(case.clips) % CLASSES, CLASSES).to(start)
    batches = [torch.randperm(case.clips)[: case.batch].to(device()) for _ in range(q)]
    return network, start, goal, clips, targets, torch.tensor(0.01).to(start), batches


def held(what: str) -> int:
    """Bytes of memory now (VmRSS) or at most so far (VmHWM), of this process, or on a GPU of its tensors."""
    if device().type == "cuda":
        return torch.cuda.memory_allocated() if what == "VmRSS" else torch.cuda.max_memory_allocated()
    return kilobytes(Path("/proc/self/status"), what) * 1024


def available() -> float:
    """Bytes that a step may take."""
    if device().type == "cuda":
        return torch.cuda.mem_get_info()[0]
    return kilobytes(Path("/proc/meminfo"), "MemAvailable") * 1024


def kilobytes(file: Path, name: str) -> int:
    """What a file of ``/proc`` says after a name."""
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{name}:"))


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cosine(one: Tensor, other: Tensor) -> float:
    return cosine_similarity(one.flatten().double(), other.flatten().double(), 0).item()


if __name__ == "__main__":
    main()
