"""The main job in one call: corpus, features, bank, generator, balanced set, recogniser, beside honest controls."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gandistill import artifacts, processes
from gandistill.console import say, track
from gandistill.controls.select import select
from gandistill.corpora.synthetic import synthesise
from gandistill.evaluate.markdown import percent, plain
from gandistill.evaluate.significance import interval
from gandistill.experiments.inputs import make_inputs
from gandistill.experiments.utility import Utility, utility
from gandistill.features.extract import ExtractConfig
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import Architecture
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.settings import GanConfig, Training
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import Bank, BankConfig
from gandistill.run import CONFIG

HEADS = ("superb", "cnn-attention")
"""What judges: the paper's head, which sees an utterance's mean alone, and one that sees time and is quick to train."""
SEEDS = (0, 1, 2)
PPC = 50
TRAINING = Training(updates=150, evaluate_every=50)
"""Enough for a demonstration within minutes on two cores, from a closed-form start; a recipe takes more."""
Maker = Callable[[int], FeatureSet]


def with_inputs(config: GanConfig, out: Path) -> GanConfig:
    """The config itself, or where it names no input, with those of the synthetic corpus, made beside ``out``."""
    if config.features is not None or config.bank is not None:
        return config
    with processes.place().main_process_first():
        features, bank = inputs(None, out.parent / "synthetic")
    return config.model_copy(update={"features": features, "bank": bank})


def inputs(corpus: Path | None, work: Path) -> tuple[Path, Path]:
    """Log-Mels and bank of RAVDESS at ``corpus``, or of a corpus synthesised into ``work``."""
    if corpus is None and not (work / "corpus" / artifacts.CONFIG).is_file():
        synthesise(work / "corpus")
    reader, protocol = ("synthetic", "speaker-independent") if corpus is None else ("ravdess", "ravdess-dyads")
    prepared = make_inputs(reader, corpus or work / "corpus", protocol, 1, work, ExtractConfig(), BankConfig())
    assert prepared.bank is not None
    return prepared.features, prepared.bank


def demo(corpus: Path | None, work: Path, as_json: bool) -> None:
    """Run it all in the folder ``work`` and print a table of what heads reach on speakers nobody trained on."""
    start = time.monotonic()
    features, bank = inputs(corpus, work)
    cold = GanConfig(features=features, bank=bank, training=TRAINING)
    config, run = cold.model_copy(update={"architecture": Architecture(start="closed-form")}), work / "gan"
    train(config, run, resume=(run / CONFIG).is_file())
    whole = FeatureSet.open(features)
    generators = {
        "generator, untrained": untrained(cold),
        "generator, its start": untrained(config),
        "generator": Sampler.open(run),
    }
    rows = judge(whole, Bank.open(bank), generators, work)
    report(rows, whole, run / GENERATOR, time.monotonic() - start, as_json)


def judge(whole: FeatureSet, bank: Bank, generators: Mapping[str, Sampler], work: Path) -> list[Utility]:
    """UAR on the test part of heads trained on all real data, on controls and on samples, a draw and a head a seed.

    The last generator, and as many real points, are judged a second time with soft labels, the bank's for both. What
    was judged in ``work`` is not judged again.
    """
    counts, last = dict.fromkeys(whole.labels, PPC), [*generators][-1]

    def control(method: str, teacher: Bank | None = None) -> Maker:
        out = work / f"{method}{'-soft' if teacher else ''}"
        return lambda seed: select(whole, method, counts, seed, out / str(seed), bank=teacher)

    def samples(name: str, soft: bool = False) -> Maker:
        def draw(seed: int) -> FeatureSet:
            out = work / f"{name.replace(', ', '-').replace(' ', '-')}{'-soft' if soft else ''}-samples" / str(seed)
            sample(generators[name], counts, seed, out, soft)
            return FeatureSet.open(out)

        return draw

    jobs: dict[str, Maker] = {"real, all of it": lambda seed: whole, "real, random": control("random")}
    jobs |= {"class-Gaussian": control("class-gaussian")} | {name: samples(name) for name in generators}
    jobs |= {"real, random, soft labels": control("random", bank), f"{last}, soft labels": samples(last, soft=True)}
    rows, test = [], whole.part("test")
    for name, make in track(jobs.items(), "judging", len(jobs), unit="rows"):
        ppc = None if name == "real, all of it" else PPC
        rows += utility(name, make, test, HEADS, SEEDS, ppc, work / "judged")
    return rows


def report(rows: list[Utility], whole: FeatureSet, generator: Path, seconds: float, as_json: bool) -> None:
    """Print the result: one JSON object, or a table with its caption."""
    corpus, test = whole.config.get("corpus"), whole.part("test")
    size = artifacts.bytes_on_disk(generator)
    if as_json:
        facts = {"corpus": corpus, "generator": str(generator), "generator_bytes": size, "seconds": seconds}
        print(json.dumps(facts | {"rows": [row.to_dict() for row in rows]}))
        return
    print(f"UAR (%) of heads on {len(test)} real test utterances of {len(set(test.index['speaker']))} speakers that")
    print(f"nothing was trained on. Corpus: {corpus}. Mean and 95 % interval over {len(SEEDS)} seeds.")
    print(f"Chance: {percent(1 / len(whole.labels))}.\n")
    print(plain(side_by_side(rows)), end="")
    say(f"\nThe generator is {size / 1e6:.1f} MB: {generator}. All of this took {seconds:.0f} s.")


def side_by_side(rows: Sequence[Utility]) -> list[dict[str, Any]]:
    """A table row for each training set, a column for each kind of head: UAR in per cent with its interval."""
    table: dict[tuple[str, int | None], dict[str, Any]] = {}
    for row in rows:
        facts = {"training set": row.row, "ppc": row.ppc, "points": row.points, "seeds": len(row.uars)}
        cells = table.setdefault((row.row, row.ppc), facts)
        cells[row.head] = percent(*interval(row.uars))
    return list(table.values())
