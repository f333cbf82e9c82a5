"""A table of a plan, from the corpus to its files."""

import argparse
import re
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import Parser, parser_of, with_settings
from gandistill.experiments.gan.files import write
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import BOTH, Fold, Rows
from gandistill.experiments.gan.tables import SPEAKERS, TABLES
from gandistill.experiments.gan.trials import bytes_of_generator, jobs_of
from gandistill.experiments.inputs import MANIFEST, inputs_of_folds
from gandistill.experiments.jobs import compute
from gandistill.experiments.store import Store
from gandistill.features.extract import ExtractConfig, extract
from gandistill.heads.bank import BankConfig


def parser(what: str | None, checkout: Checkout) -> Parser:
    """The options of ``make``; ``what`` it does."""
    taken = with_settings(parser_of("tables", what, checkout))
    taken.add_argument("--table", type=int, choices=(*TABLES,), required=True)
    taken.add_argument("--speakers", type=Path, help="where the corpus of speakers lies, if the plan names one")
    taken.add_argument("--shard", default="1/1", help="i/n: only the i-th of n parts of the work")
    return taken


def make(options: argparse.Namespace) -> str:
    """Write a table; give what of it says most. Raises InputError for bad input, RunError for what failed."""
    plan, table, work = Plan.load(options.plan).rooted(options.checkout.recipes), TABLES[options.table], options.work
    shard, extracting = part_of(options.shard), ExtractConfig.load(plan.extract, options.set)
    banking = BankConfig.load(plan.bank) if plan.needs_bank else None
    if table is SPEAKERS:
        check_speakers(plan, options)
    inputs = inputs_of_folds(
        plan.corpus, options.corpus, plan.protocol, plan.folds, work, extracting, banking, plan.ppc
    )
    speaker_features = speakers_of(plan, extracting, options) if table is SPEAKERS else None
    within = bytes_of_generator(inputs[0], plan.generator_config(plan.balanced, BOTH, 0))
    study, store = Rows(plan, [Fold.of(fold) for fold in inputs], within, speaker_features), Store(work)
    rows = [*table.rows(study)]
    trials = [trial for row in rows for trial in row.all_trials()]
    compute(jobs_of(trials, shard), store, options.jobs)
    if missing := [trial for trial in trials if not store.has(trial)]:
        say(f"{len(missing)} trials belong to other shards: copy their trials and runs into {work} and run this again")
        return ""
    digest = write(options.table, options.plan.stem, study, rows, store, options.checkout, options.out)
    say(f"Table {options.table}: {options.out / f'table{options.table}.md'}")
    return digest


def check_speakers(plan: Plan, options: argparse.Namespace) -> None:
    """Raise InputError unless it is known whose speakers Table 4 asks for, and where they are."""
    if plan.speakers is None:
        raise InputError(f"{options.plan} has no 'speakers', which Table 4 needs")
    if plan.speakers.corpus is None:
        return
    if options.speakers is None:
        raise InputError(f"Table 4 of {options.plan} needs {plan.speakers.corpus}: --speakers path/to/it")
    if not options.speakers.is_dir():
        raise InputError(f"{options.speakers}: no such folder")


def speakers_of(plan: Plan, extracting: ExtractConfig, options: argparse.Namespace) -> Path | None:
    """Features of the plan's corpus of speakers, by the same upstream; none if it is the corpus itself."""
    assert plan.speakers is not None
    if plan.speakers.corpus is None:
        return None
    folder = options.work / "speakers"
    prepare(plan.speakers.corpus, options.speakers, folder / MANIFEST, protocol=plan.speakers.protocol)
    extract(folder / MANIFEST, extracting, folder / "features")
    return folder / "features"


def part_of(text: str) -> tuple[int, int]:
    """``3/8`` as numbers. Raises InputError if it is no such part."""
    part = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if part is None or int(part[1]) > int(part[2]):
        raise InputError(f"Bad --shard {text!r}, expected i/n such as 3/8")
    return int(part[1]), int(part[2])
