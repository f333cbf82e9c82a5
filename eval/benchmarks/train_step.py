"""Seconds of one update of critic and generator, ours against a textbook loop, term by term.

    python eval/benchmarks/train_step.py

``reference`` is the loop of ``reference.py``; ``ours`` the trainer of the package at its defaults, and ``ours,
bfloat16`` in mixed precision; ``loops.py`` names the others, trials that are timed whole. All do one critic and one
generator update on batches of the same size, from features and a bank of random numbers made here. A term's time is
what an update costs more with it than without it; ``data`` is the reading of the batches alone, and ``adversarial`` all
that is left. On a GPU all compute without TensorFloat-32, as the trainer does. Preset paper at (256, 768) is measured
whole only, with two samples in a batch on a CPU, where 16 would need more memory than there is.

Rows: ``variant``, ``generator``, ``preset``, ``frames``, ``dims``, ``batch``, ``threads`` of torch, ``device``,
``term``, ``seconds_per_update``, and where the term is all, ``speedup`` over the reference; on a GPU also
``matrix_fraction``, the counted multiply-adds over those of a large matrix product in the same time, and ``hours`` for
100,000 updates.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark import Row, parser, seconds, write
from gandistill import artifacts
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.gan.settings import GanConfig
from gandistill.gan.steps import Gan
from gandistill.heads.bank import BankConfig, build_bank
from gandistill.numerics import no_tf32
from loops import LOOPS, Loop

SIZES = {"small": (112, 64), "paper": (256, 768)}
KINDS = ("gan-cnn", "gan-att")
TERMS = ("gradient_penalty", "feature_matching", "diversity", "softmax_matching")
VARIANTS = ("reference", "ours", "ours, bfloat16")
"""Timed at every size and split by term; the other loops whole, at the small one."""
NARROW = ["architecture.channels=[8,8,8]", f"architecture.critic_channels={[4] * 8}"]
UPDATES = 8
"""Updates timed together: as many as lie between the rarest of penalties."""


def main() -> None:
    options = with_options(parser(__doc__)).parse_args()
    with tempfile.TemporaryDirectory() as scratch, no_tf32():
        write("train_step", rows(options, Path(scratch)), options)


def rows(options: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    for preset in options.presets:
        for kind in KINDS[1:] if options.quick else KINDS:
            for threads in options.threads:
                torch.set_num_threads(threads)
                yield from measured(scratch / preset, preset, kind, options.quick)


def with_options(options: argparse.ArgumentParser) -> argparse.ArgumentParser:
    options.add_argument("--presets", nargs="+", choices=list(SIZES), default=["small"])
    threads = torch.get_num_threads()
    options.add_argument("--threads", type=int, nargs="+", default=[threads], help=f"of torch; default: {threads}")
    return options


def measured(work: Path, preset: str, kind: str, quick: bool) -> Iterator[Row]:
    """Rows of one generator: each variant whole, and for small ones each term."""
    frames, dims = (20, 8) if quick else SIZES[preset]
    batch = 2 if preset == "paper" and not torch.cuda.is_available() else 16
    inputs(work, dims)
    sizes = [f"architecture.preset={preset}", f"architecture.kind={kind}", f"architecture.frames={frames}"]
    if quick:
        sizes += NARROW

    def timed(variants: Iterable[str], without: str | None = None) -> dict[str, Callable[[], object]]:
        lost = [f"losses.{without}=0"] if without else []
        settings = [*sizes, *lost, f"training.batch={batch}"]
        return {name: updates(LOOPS[name], gan_of(LOOPS[name], work, settings)) for name in variants}

    rounds, warm_up = (1, 0) if quick or preset == "paper" else (7, 1)
    whole = timed(LOOPS if preset == "small" else VARIANTS)
    calls = {("all", variant): call for variant, call in whole.items()}
    if preset == "small":
        for term in TERMS:
            calls |= {(term, variant): call for variant, call in timed(VARIANTS, term).items()}
        gan = gan_of(LOOPS["ours"], work, [*sizes, f"training.batch={batch}"])
        calls |= {("data", variant): partial(read, gan, variant) for variant in VARIANTS}
    named = {f"{term}|{variant}": call for (term, variant), call in calls.items()}
    taken = {tuple(key.split("|")): duration / UPDATES for key, duration in seconds(named, rounds, warm_up).items()}
    place = {"generator": kind, "preset": preset, "frames": frames, "dims": dims, "batch": batch}
    place |= {"threads": torch.get_num_threads()}
    place |= {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    for variant in whole:
        total = taken["all", variant]
        row = {"variant": variant} | place | {"term": "all", "seconds_per_update": total}
        row |= {"speedup": taken["all", "reference"] / total}
        if torch.cuda.is_available():
            fraction = operations(whole[variant]) / UPDATES / total / matrix_rate()
            row |= {"matrix_fraction": fraction, "hours": total * 100_000 / 3600}
        yield row
        if preset == "small" and variant in VARIANTS:
            parts = {term: total - taken[term, variant] for term in TERMS} | {"data": taken["data", variant]}
            parts["adversarial"] = total - sum(parts.values())
            yield from ({"variant": variant} | place | {"term": t, "seconds_per_update": s} for t, s in parts.items())


def gan_of(loop: Loop, work: Path, settings: list[str]) -> Gan:
    folders = [f"features={work / 'features'}", f"bank={work / 'bank'}"]
    return loop.start(GanConfig.load(None, [*folders, *settings, *loop.settings]))


def updates(loop: Loop, gan: Gan) -> Callable[[], object]:
    """A function that makes the next few updates."""
    numbers = count(1)
    return lambda: [loop.one_update(gan, next(numbers)) for _ in range(UPDATES)]


def read(gan: Gan, variant: str) -> None:
    """The batches of as many updates."""
    for update in range(UPDATES * (2 if variant == "reference" else 1)):
        gan.batch(1, update)


def operations(call: Callable[[], object]) -> float:
    """Multiply-adds of a call, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2


def matrix_rate(size: int = 8192) -> float:
    """Multiply-adds a second of a large bfloat16 matrix product on the GPU."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return size**3 / seconds({"product": lambda: a @ b}, 10)["product"]


def inputs(work: Path, dims: int) -> None:
    """A feature set of four classes, 240 utterances of 300 frames, half to train on, and a bank of three kinds."""
    if (work / "bank").exists():
        return
    labels, draws = ["angry", "happy", "neutral", "sad"], torch.Generator().manual_seed(0)
    splits = ["train"] * 4 + ["dev"] * 4
    utterances = (
        Utterance(f"{i:03d}", labels[i % 4], torch.randn(300, dims, generator=draws) + i % 4, split=splits[i // 4 % 8])
        for i in range(240)
    )
    write_feature_set(work / "features", utterances, artifacts.describe(KIND, {}, labels=labels, dims=dims), "")
    build_bank(FeatureSet.open(work / "features"), BankConfig(seeds=1, updates=2, half_trained=1), work / "bank", {})


if __name__ == "__main__":
    main()
