"""The main job in one call: corpus, features, generator, balanced set, recogniser, beside honest controls."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gandistill import artifacts, processes
from gandistill.console import say, track
from gandistill.controls.select import RECENTRED, select
from gandistill.corpora import kinds
from gandistill.corpora.prepare import READERS
from gandistill.corpora.synthetic import NAME as SYNTHETIC
from gandistill.corpora.synthetic import synthesise
from gandistill.errors import InputError, choices
from gandistill.evaluate.markdown import percent, plain
from gandistill.evaluate.significance import interval
from gandistill.experiments.inputs import Inputs, inputs_in, make_inputs
from gandistill.experiments.utility import Utility, utility
from gandistill.features.extract import ExtractConfig
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import WITHOUT_BANK, Architecture
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.settings import GanConfig, Training
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import Bank, BankConfig
from gandistill.metrics import say_absent
from gandistill.numerics import one_thread
from gandistill.run import CONFIG

MEAN, TIME = "superb", "cnn-attention"
HEADS = {MEAN: (0, 1, 2, 3, 4), TIME: (0, 1, 2)}
"""What judges, with its seeds: the paper's head, which sees an utterance's mean alone and is trained in a second, and
one that sees time, which takes ten times as long."""
FEW, MANY = 10, 50
"""Points of each class."""
RANDOM, CLOSED_FORM = "real, random", "class-Gaussian"
GAUSSIAN = Architecture(kind="class-gaussian", noise=16)
TRAINING = Training(updates=150, evaluate_every=50)
"""Enough for a demonstration within minutes on two cores, from a closed-form start; a recipe takes more."""
SAID_OF_SYNTHETIC = ", made-up voices: these numbers say nothing about human speech"
Maker = Callable[[int], FeatureSet]


@dataclass(frozen=True)
class Row:
    """A training set of the table: how it is made from a seed, and with how many points of each class (none: all)."""

    name: str
    ppc: int | None
    make: Maker


@dataclass(frozen=True)
class Source:
    """A corpus on disk, and how it is split."""

    kind: str
    root: Path
    protocol: str


def with_inputs(config: GanConfig, out: Path) -> GanConfig:
    """The config itself, or where it names no input, with the synthetic corpus's, made beside ``out``.

    That is a bank too for kinds that take one.
    """
    if config.features is not None or config.bank is not None:
        return config
    banking = None if config.architecture.kind in WITHOUT_BANK else BankConfig()
    trained = "" if banking is None else ", and a bank trained there"
    say(f"No features were named: a corpus is synthesised in {out.parent / 'synthetic'}{trained}")
    with processes.place().main_process_first():
        made = synthetic_inputs(out.parent / "synthetic", banking)
    return config.model_copy(update={"features": made.features, "bank": made.bank})


def synthetic_inputs(work: Path, banking: BankConfig | None) -> Inputs:
    """Log-Mels of a corpus that is synthesised into ``work``, and a bank if one is asked for."""
    return inputs(synthetic(work), work, banking)


def synthetic(work: Path) -> Source:
    """The corpus that is synthesised into ``work``, unless it is there."""
    root = work / "corpus"
    if not (root / artifacts.CONFIG).is_file():
        synthesise(root)
    return Source("synthetic", root, kinds.usual_protocol("synthetic"))


def recognised(corpus: Path, kind: str | None, protocol: str | None) -> Source:
    """A corpus of the user's, its kind told by its files and its protocol the usual one where they are not given.

    Raises InputError if there is none, its kind cannot be told, or it names no emotions.
    """
    kind = kind or kinds.kind_of(corpus)
    if kind not in READERS:
        raise choices("--corpus-kind", kind, READERS)
    if kind == "voxceleb1":
        raise InputError(f"{corpus}: nobody labelled the emotions of {kind}, so there are no classes to distil")
    return Source(kind, corpus, protocol or kinds.usual_protocol(kind))


def inputs(source: Source, work: Path, banking: BankConfig | None) -> Inputs:
    """Log-Mels of a corpus, and a bank if one is asked for, in ``work``."""
    return make_inputs(source.kind, source.root, source.protocol, 1, work, ExtractConfig(), banking)


def demo(
    corpus: Path | None,
    out: Path | None,
    as_json: bool,
    kind: str | None = None,
    protocol: str | None = None,
    full: bool = False,
) -> None:
    """Run it all in the folder ``out`` and print a table of what heads reach on speakers nobody trained on.

    Without ``out`` it is a folder below ``work`` for each kind of corpus. ``full`` trains a GAN too, beside its bank,
    and judges soft labels. What was judged in ``out`` is not judged again. Raises InputError if ``corpus`` cannot be
    read.
    """
    start = time.monotonic()
    if corpus is None and (kind or protocol):
        raise InputError("--corpus-kind and --protocol go with --corpus: the synthetic corpus has its own")
    given = None if corpus is None else recognised(corpus, kind, protocol)
    work = out or Path("work", "demo" if given is None else f"demo-{given.kind}")
    if given is None:
        say("Synthesising a corpus: made-up voices say made-up sentences in four emotions.")
    source = given or synthetic(work)
    say(f"Reading {source.kind} by the protocol {source.protocol}, and turning its audio into log-Mel features.")
    bench = Bench(FeatureSet.open(inputs(source, work, None).features), work)
    generator = quick(bench)
    if full:
        generator = in_full(bench)
    report(bench, generator, time.monotonic() - start, as_json)


class Bench:
    """Judges training sets made of a corpus's features, in the folder ``work``: ``rows`` is what was found so far."""

    def __init__(self, whole: FeatureSet, work: Path) -> None:
        self.whole, self.work, self.rows = whole, work, list[Utility]()

    def real(self) -> Row:
        """All real data."""
        return Row("real, all of it", None, lambda seed: self.whole)

    def control(self, name: str, method: str, ppc: int, bank: Bank | None = None) -> Row:
        """Points of the train part that ``select`` takes, with the bank's soft labels if one is given."""
        out = self.work / f"{method}{'-soft' if bank else ''}-{ppc}"
        return Row(
            name, ppc, lambda seed: select(self.whole, method, self._counts(ppc), seed, out / str(seed), bank=bank)
        )

    def samples(self, name: str, sampler: Sampler, ppc: int, soft: bool = False) -> Row:
        """Samples of a generator."""
        out = self.work / f"{name.replace(', ', '-').replace(' ', '-')}-{ppc}"

        def draw(seed: int) -> FeatureSet:
            sample(sampler, self._counts(ppc), seed, out / str(seed), soft)
            return FeatureSet.open(out / str(seed))

        return Row(name, ppc, cache(draw))

    def judge(self, rows: Sequence[Row], *heads: str) -> None:
        """UAR on the test part of heads trained on each row's set, a draw and a head a seed; each is said at once."""
        test = self.whole.part("test")
        say_absent(test.targets, test.labels, "test")
        for row in track(rows, "judging", len(rows), unit="sets"):
            for head in heads:
                results = utility(row.name, row.make, test, (head,), HEADS[head], row.ppc, self.work / "judged")
                self.rows += results
                size = f"{row.ppc} of each class" if row.ppc else "of each class as many as there are"
                say(f"  {row.name}, {size}: {percent(*interval(results[0].uars))} ({head})")

    def _counts(self, ppc: int) -> dict[str, int]:
        return dict.fromkeys(self.whole.labels, ppc)


def quick(bench: Bench) -> Path:
    """What a closed-form generator's samples teach, which needs no training, beside as many real points and all."""
    run, real = bench.work / "gaussian", bench.whole.training_part()
    train(GanConfig(features=bench.whole.folder, architecture=GAUSSIAN), run, resume=(run / CONFIG).is_file())
    size, replaced = artifacts.bytes_on_disk(run / GENERATOR), 2 * int(real.lengths.sum()) * real.dims
    say(
        f"Fitted a Gaussian to each class, with no training: {size / 1e6:.1f} MB that replace the "
        f"{replaced / 1e6:.1f} MB of features of {len(real)} utterances."
    )
    samples = Sampler.open(run)
    few, many = (
        (
            bench.samples(CLOSED_FORM, samples, ppc),
            bench.control(RANDOM, "random", ppc),
            bench.control("real, recentred", RECENTRED, ppc),
        )
        for ppc in (FEW, MANY)
    )
    first = (*few[:2], bench.real())
    say(f"{FEW} samples of each class, then {FEW} random real utterances, then all: each teaches the same small head.")
    say(f"UAR in % on speakers it never heard, chance {percent(1 / len(real.labels))}, with 95 % intervals:")
    bench.judge(first, MEAN)
    say(f"Random real utterances moved so that their class means are those of all; then {MANY} of each class, thrice.")
    bench.judge((few[2], *many), MEAN)
    say("The first three once more, teaching a head that hears how a sound moves; it takes ten times as long.")
    bench.judge(first, TIME)
    return run / GENERATOR


def in_full(bench: Bench) -> Path:
    """What samples of a GAN teach, which takes a bank of heads and minutes, and what soft labels add."""
    say("Training a bank of heads, which tell a GAN what a sample sounds like.")
    made, run = inputs_in(bench.work, ExtractConfig(), BankConfig()), bench.work / "gan"
    assert made.bank is not None
    shape = Architecture(kind="gan-att")
    cold = GanConfig(features=made.features, bank=made.bank, architecture=shape, training=TRAINING)
    config = cold.model_copy(update={"architecture": Architecture(kind="gan-att", start="closed-form")})
    say("Training a GAN: heads that learn from its samples are judged on the dev part on the way; the best is kept.")
    with one_thread():  # quicker wherever anything else runs, since heads score the GAN on the way
        train(config, run, resume=(run / CONFIG).is_file())
    bank, generator = Bank.open(made.bank), Sampler.open(run)
    say(f"{MANY} of each class of untrained GANs and of the trained one, then with the bank's opinions as soft labels.")
    rows = (
        bench.samples("generator, untrained", untrained(cold), MANY),
        bench.samples("generator, its start", untrained(config), MANY),
        bench.samples("generator", generator, MANY),
        bench.control("real, random, soft labels", "random", MANY, bank),
        bench.samples("generator, soft labels", generator, MANY, soft=True),
    )
    bench.judge(rows, *HEADS)
    say(f"{MANY} of each class of the Gaussian and of real utterances, teaching the other head too.")
    closed_form = bench.samples(CLOSED_FORM, Sampler.open(bench.work / "gaussian"), MANY)
    bench.judge((closed_form, bench.control(RANDOM, "random", MANY)), TIME)
    return run / GENERATOR


def report(bench: Bench, generator: Path, seconds: float, as_json: bool) -> None:
    """Print the result: one JSON object, or a table with its caption."""
    whole, size = bench.whole, artifacts.bytes_on_disk(generator)
    corpus, test = whole.config.get("corpus"), whole.part("test")
    if as_json:
        facts = {"corpus": corpus, "generator": str(generator), "generator_bytes": size, "seconds": seconds}
        print(json.dumps(facts | {"rows": [row.to_dict() for row in bench.rows]}))
        return
    seeds = " and ".join(f"{len(numbers)} seeds ({head})" for head, numbers in HEADS.items())
    print(f"UAR (%) of heads on {len(test)} test utterances of {len(set(test.index['speaker']))} speakers that nothing")
    print(f"was trained on. Corpus: {corpus}{SAID_OF_SYNTHETIC if corpus == SYNTHETIC else ''}.")
    print(f"Mean and 95 % interval over draws and heads of {seeds}.")
    print(f"Chance: {percent(1 / len(whole.labels))}.\n")
    print(plain(side_by_side(bench.rows)), end="")
    say(f"\nThe generator is {size / 1e6:.1f} MB: {generator}. All of this took {seconds:.0f} s.")


def side_by_side(rows: Sequence[Utility]) -> list[dict[str, Any]]:
    """A table row for each training set, all real data first, then by points: UAR in per cent with its interval, a
    column for each kind of head."""
    table: dict[tuple[str, int | None], dict[str, Any]] = {}
    for row in rows:
        facts = {"training set": row.row, "ppc": row.ppc, "points": row.points}
        cells = table.setdefault((row.row, row.ppc), facts)
        cells[row.head] = percent(*interval(row.uars))
    return sorted(table.values(), key=lambda cells: cells["ppc"] or 0)
