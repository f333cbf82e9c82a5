"""The main job in one call: corpus, features, bank, generator, balanced set, recogniser, beside honest controls."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gandistill import artifacts, processes
from gandistill.console import say, track
from gandistill.controls.select import select
from gandistill.corpora.synthetic import synthesise
from gandistill.evaluate.inputs import make_inputs
from gandistill.evaluate.report import percent, plain
from gandistill.evaluate.significance import interval
from gandistill.evaluate.utility import Utility, utility
from gandistill.features.extract import ExtractConfig
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import Architecture
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.settings import GanConfig, Training
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import BankConfig
from gandistill.run import CONFIG

HEADS = ("superb", "cnn-attention")
"""What judges: the paper's head, which sees an utterance's mean alone, and one that sees time and is quick to train."""
SEEDS = (0, 1, 2)
PPC = 50
TRAINING = Training(updates=150, evaluate_every=50)
"""Enough for a demonstration within minutes on two cores, from a closed-form start; a recipe takes more."""
Maker = Callable[[int], FeatureSet]
Seeds = Sequence[int]


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
    made = make_inputs(reader, corpus or work / "corpus", protocol, 1, work, ExtractConfig(), BankConfig())
    return made.features, made.bank


def demo(corpus: Path | None, work: Path, as_json: bool) -> None:
    """Run it all in the folder ``work`` and print a table of what heads reach on speakers nobody trained on."""
    start = time.monotonic()
    features, bank = inputs(corpus, work)
    cold = GanConfig(features=features, bank=bank, training=TRAINING)
    config, run = cold.model_copy(update={"architecture": Architecture(start="closed-form")}), work / "gan"
    train(config, run, resume=(run / CONFIG).is_file())
    whole = FeatureSet.open(features)
    generators = {
        "generator, untrained": [untrained(cold)],
        "generator, its start": [untrained(config)],
        "generator": [Sampler.open(run)],
    }
    rows = judge(whole, generators, [PPC], HEADS, work, soft=["generator"])
    report(rows, whole, run / GENERATOR, time.monotonic() - start, as_json)


def judge(
    whole: FeatureSet,
    generators: Mapping[str, Sequence[Sampler]],
    ppcs: Sequence[int],
    heads: Sequence[str],
    work: Path,
    soft: Collection[str] = (),
) -> list[Utility]:
    """UAR on the test part of heads trained on all real data, and at each ppc on each control and on samples.

    Generators named in ``soft`` are judged a second time, with the bank's soft labels on their samples. Seed s draws
    from generator s where a name has several, and from the one with seed s otherwise; a name with more generators than
    there are seeds is judged with a seed for each. What was judged in ``work`` is not judged again.
    """
    jobs: list[tuple[str, int | None, Maker, Seeds]] = [("real, all of it", None, lambda seed: whole, SEEDS)]
    for ppc in ppcs:
        jobs.append(("real, random", ppc, _selected(whole, "random", ppc, work), SEEDS))
        jobs.append(("class-Gaussian", ppc, _selected(whole, "class-gaussian", ppc, work), SEEDS))
        for name, samplers in generators.items():
            seeds = range(max(len(samplers), len(SEEDS)))
            jobs.append((name, ppc, _sampled(samplers, ppc, work / _stem(name)), seeds))
            if name in soft:
                labelled = f"{name}, soft labels"
                jobs.append((labelled, ppc, _sampled(samplers, ppc, work / _stem(labelled), soft=True), seeds))
    rows, test = [], whole.part("test")
    for name, ppc, make, seeds in track(jobs, "judging", len(jobs), unit="rows"):
        rows += utility(name, make, test, heads, seeds, ppc, work / "judged")
    return rows


def _selected(whole: FeatureSet, method: str, ppc: int, work: Path) -> Maker:
    counts = dict.fromkeys(whole.labels, ppc)
    return lambda seed: select(whole, method, counts, seed, work / f"{method}-{ppc}-{seed}")


def _sampled(samplers: Sequence[Sampler], ppc: int, stem: Path, soft: bool = False) -> Maker:
    def draw(seed: int) -> FeatureSet:
        sampler, out = samplers[seed % len(samplers)], stem.with_name(f"{stem.name}-{ppc}-{seed}")
        sample(sampler, dict.fromkeys(sampler.labels, ppc), seed, out, soft)
        return FeatureSet.open(out)

    return draw


def _stem(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


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
