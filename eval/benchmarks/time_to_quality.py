"""How soon a generator's samples are worth training on: UAR on dev against seconds of generator training.

    python eval/benchmarks/time_to_quality.py --corpus path/to/RAVDESS

RAVDESS, ``ravdess-dyads`` fold 1, log-Mels, preset small: the textbook loop of ``reference.py``, ours by the recipe
``gan_att.yaml``, and ours from the closed-form start of ``gan_att_closed_form.yaml``, each for the same processor
seconds of training on one thread (setting up is in them, judging is not): on an idle machine those are seconds, and on
a busy one they still are what an idle one would take. At each mark heads are trained on samples alone, with hard and
with soft labels, and scored on the dev part; beside them random real utterances and class-Gaussian samples of the same
number. Dev has two speakers and 72 utterances, so differences of a few points mean nothing. Without ``--corpus`` the
corpus of the demo is synthesised.

Rows: ``variant``, processor ``seconds`` of training, ``updates`` made, ``labels``, ``ppc``, ``head``, ``uar`` (mean
over the seeds of the head, 0 to 1), ``uars``. Controls have 0 seconds, and no soft labels.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import torch

import train_step
from benchmark import Row, parser, write
from gandistill import demo
from gandistill.console import say
from gandistill.controls.select import select
from gandistill.experiments.inputs import make_inputs
from gandistill.features.extract import ExtractConfig
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.settings import GanConfig
from gandistill.heads.bank import BankConfig
from gandistill.heads.training import HeadConfig, score, train_head
from gandistill.numerics import no_tf32
from loops import LOOPS, Loop

RECIPES = Path(__file__).parents[2] / "recipes" / "ravdess"
MARKS = (30, 60, 120, 240)
"""Processor seconds of training."""
HEADS, SEEDS, PPC = ("superb", "cnn-attention"), (0, 1), 50


def main() -> None:
    options = with_corpus(parser(__doc__)).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, no_tf32():
        write("time_to_quality", rows(options, options.work or Path(scratch), Path(scratch)), options)


def with_corpus(arguments: argparse.ArgumentParser) -> argparse.ArgumentParser:
    arguments.add_argument("--corpus", type=Path, help="RAVDESS on disk")
    arguments.add_argument("--work", type=Path, help="where features and bank are kept; default: nowhere")
    return arguments


def inputs(options: argparse.Namespace, work: Path) -> tuple[list[str], FeatureSet]:
    """Settings that name features and bank, made in ``work`` where they are not there yet, and the features."""
    small: list[str] = []
    if options.quick:
        train_step.inputs(work, 8)
        features, bank, small = work / "features", work / "bank", ["architecture.frames=20", *train_step.NARROW]
    elif options.corpus is None:
        made = demo.synthetic_inputs(work, BankConfig())
        features, bank = made.features, made.bank
    else:
        recipes = ExtractConfig.load(RECIPES / "logmel.yaml"), BankConfig.load(RECIPES / "bank.yaml")
        prepared = make_inputs("ravdess", options.corpus, "ravdess-dyads", 1, work, *recipes)
        features, bank = prepared.features, prepared.bank
    return [f"features={features}", f"bank={bank}", *small], FeatureSet.open(features)


def rows(options: argparse.Namespace, work: Path, scratch: Path) -> Iterator[Row]:
    settings, whole = inputs(options, work)
    marks, seeds, ppc = ((1,), SEEDS[:1], 2) if options.quick else (MARKS, SEEDS, PPC)
    heads = HEADS[:1] if options.quick else HEADS
    for method in ("random", "class-gaussian"):
        control = select(whole, method, dict.fromkeys(whole.labels, ppc), 0, scratch / method)
        yield from judged(control, whole, {"variant": method, "seconds": 0.0, "updates": 0}, heads, seeds, ("hard",))
    for variant, loop, recipe in (
        ("reference", LOOPS["reference"], "gan_att"),
        ("ours", LOOPS["ours"], "gan_att"),
        ("ours, closed-form start", LOOPS["ours"], "gan_att_closed_form"),
    ):
        config = GanConfig.load(RECIPES / f"{recipe}.yaml", settings)
        for seconds, updates, sampler in trained(config, loop, marks):
            distilled = scratch / "distilled"
            sample(sampler, dict.fromkeys(sampler.labels, ppc), 0, distilled, soft=True)
            row = {"variant": variant, "seconds": seconds, "updates": updates}
            yield from judged(FeatureSet.open(distilled), whole, row, heads, seeds, ("hard", "soft"))


def trained(config: GanConfig, loop: Loop, marks: tuple[int, ...]) -> Iterator[tuple[float, int, Sampler]]:
    """Train until each mark in turn: processor seconds taken, updates made, the averaged generator."""
    start = time.process_time()
    gan = loop.start(config)
    update, paused = 0, 0.0
    for mark in marks:
        while time.process_time() - start - paused < mark:
            update += 1
            loop.one_update(gan, update)
        seconds, stopped = time.process_time() - start - paused, time.process_time()
        yield seconds, update, gan.sampler(update)
        paused += time.process_time() - stopped


def judged(
    features: FeatureSet,
    whole: FeatureSet,
    row: Row,
    heads: Sequence[str],
    seeds: Sequence[int],
    labels: Sequence[str],
) -> Iterator[Row]:
    """The row for each kind of head and label, with the UAR on dev."""
    dev = whole.part("dev")
    for kind in labels:
        for head in heads:
            configs = [HeadConfig.build({"head": head, "seed": seed, "labels": kind}, "here") for seed in seeds]
            uars = [score(train_head(features, config), dev)["uar"] for config in configs]
            ppc = max(features.class_counts.values())
            yield row | {"labels": kind, "ppc": ppc, "head": head, "uar": fmean(uars), "uars": uars}
            say(f"{row['variant']}, {row['seconds']:.0f} s, {kind} labels, {head}: {fmean(uars):.3f}")


if __name__ == "__main__":
    main()
