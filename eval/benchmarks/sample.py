"""Drawing samples, against the time that the multiply-adds of their convolutions and matrices must take.

    python eval/benchmarks/sample.py

The floor counts the multiply-adds of one sample and divides them by the rate of a large float32 matrix product, or of
a wide convolution if that is higher, in the same run and in one thread, as samples are computed. Generators: the
class-Gaussian that ships, and fresh ones of GAN-ATT, of preset small at (112, 64), with the former's bank and designed
draws, and paper at (256, 768). ``CLI`` is ``gandistill sample --ppc 1`` of the shipped generator in a fresh process;
``import torch`` is what of it nothing here can change.

Rows: ``generator``, ``frames``, ``dims``, ``labels`` (hard, or soft: with the bank's mean posterior), ``samples``
(drawn for the rate), ``samples_per_second``, ``first_sample_seconds``, ``multiply_adds`` of one sample, a soft label's
heads among them, ``matrix_rate`` (multiply-adds a second), ``floor_seconds`` of one sample, ``fraction`` (floor over
achieved). The rows ``CLI`` and ``import torch`` hold ``first_sample_seconds`` alone.
"""

import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark import Row, parser, seconds, write
from gandistill.gan.generator import Architecture, Generator
from gandistill.gan.sampling import Sampler
from gandistill.gan.shipped import shipped

SMALL, PAPER = Architecture(kind="gan-att"), Architecture(kind="gan-att", preset="paper")
PAPER_DIMS = 768
"""HuBERT's features."""


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    ours = Sampler.open(shipped())
    samplers = {"shipped": ours, "small": fresh(ours, SMALL)}
    if not options.quick:
        wide = {"mean": torch.zeros(PAPER_DIMS), "deviation": torch.ones(PAPER_DIMS), "bank": None, "design": None}
        samplers["paper"] = fresh(replace(ours, **wide), PAPER)
    rounds = 1 if options.quick else 5
    rate = matrix_rate(256 if options.quick else 2048, rounds)
    rows: list[Row] = []
    for name, sampler in samplers.items():
        count = sampler.chunk * (2 if name == "paper" or options.quick else 16)
        for labels in ("hard",) if sampler.bank is None else ("hard", "soft"):
            rows.append({"generator": name} | measured(sampler, labels == "soft", count, rounds, rate))
    for name, taken in cold_starts(rounds).items():
        rows.append({"generator": name, "first_sample_seconds": taken})
    write("sample", rows, options)


def fresh(sampler: Sampler, architecture: Architecture) -> Sampler:
    """The same with a generator that has its initial weights."""
    torch.manual_seed(0)
    return replace(sampler, generator=Generator(architecture, len(sampler.labels), len(sampler.mean)).eval())


def measured(sampler: Sampler, soft: bool, count: int, rounds: int, rate: float) -> Row:
    """What one sampler does beside its floor."""
    label = sampler.labels[0]
    draw = {
        "first": lambda: next(sampler.utterances({label: 1}, 0, soft)),
        "all": lambda: list(sampler.utterances(dict.fromkeys(sampler.labels, 0) | {label: count}, 0, soft)),
    }
    times, operations = seconds(draw, rounds), multiply_adds(sampler, soft)
    per_sample, floor = times["all"] / count, operations / rate
    return {
        "frames": sampler.generator.architecture.frames,
        "dims": sampler.generator.dims,
        "labels": "soft" if soft else "hard",
        "samples": count,
        "samples_per_second": 1 / per_sample,
        "first_sample_seconds": times["first"],
        "multiply_adds": operations,
        "matrix_rate": rate,
        "floor_seconds": floor,
        "fraction": floor / per_sample,
    }


@torch.no_grad()
def multiply_adds(sampler: Sampler, soft: bool) -> int:
    """Of one sample, by its generator and, for a soft label, the bank's heads: convolutions and matrix products; what
    is done value by value is not counted."""
    generator = sampler.generator
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        frames = generator(torch.zeros(1, dtype=torch.int64), torch.zeros(1, generator.architecture.noise))
        if soft and sampler.bank is not None:
            sampler.bank.mean_posterior(frames, torch.tensor([frames.shape[1]]))
    return counter.get_total_flops() // 2


def matrix_rate(size: int, rounds: int) -> float:
    """Multiply-adds a second in this process's threads: of a square float32 matrix product, or of a wide convolution
    where that is quicker, since the library behind products does not use every processor's widest vectors."""
    left, right = torch.randn(2, size, size)
    channels, kernel, side = 128, 3, size // 32
    convolution = nn.Conv2d(channels, channels, kernel, padding=1, bias=False)
    maps = torch.randn(1, channels, side, side).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        times = seconds({"product": partial(torch.mm, left, right), "convolution": partial(convolution, maps)}, rounds)
    return max(size**3 / times["product"], (channels * kernel * side) ** 2 / times["convolution"])


def cold_starts(rounds: int) -> dict[str, float]:
    """Seconds of fresh processes: the command line's first sample on disk, and torch's import alone."""
    with tempfile.TemporaryDirectory() as scratch:
        line = "from gandistill.cli import main; main()"
        cli = [sys.executable, "-c", line, "sample", str(shipped()), "--ppc", "1", "--out", str(Path(scratch) / "set")]
        commands = {"CLI": cli, "import torch": [sys.executable, "-c", "import torch"]}
        runs = {
            name: partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
            for name, command in commands.items()
        }
        return seconds(runs, rounds, warm_up=0 if rounds == 1 else 1)


if __name__ == "__main__":
    main()
