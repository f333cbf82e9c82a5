"""``python eval/tables.py``: a plan's table, from the corpus to its files."""

import argparse
import re
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import answer, parser_of
from gandistill.experiments.gan.files import write
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import BOTH, Fold, Rows
from gandistill.experiments.gan.tables import Balance, Losses, Sizes, Speakers
from gandistill.experiments.gan.trials import bytes_of_generator, jobs_of
from gandistill.experiments.inputs import MANIFEST, inputs_of_folds
from gandistill.experiments.jobs import compute
from gandistill.experiments.store import Store
from gandistill.features.extract import ExtractConfig, extract
from gandistill.heads.bank import BankConfig

TABLES = {1: Sizes, 2: Losses, 3: Balance, 4: Speakers}


def main(what: str | None, root: Path) -> None:
    """Answer the command line of the script in the checkout ``root``; ``what`` it does."""
    parser = parser_of(what, root, "work/tables/PLAN", "eval/results/PLAN")
    parser.add_argument("--table", type=int, choices=(*TABLES,), required=True)
    parser.add_argument("--speakers", type=Path, help="where the corpus of speakers lies, if the plan names one")
    parser.add_argument("--set", action="append", default=[], help="of the extraction, such as whisper.model=FOLDER")
    parser.add_argument("--shard", default="1/1", help="i/n: only the i-th of n parts of the work")
    answer("tables", run, parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Make a table. Raises InputError for bad input, RunError for what failed."""
    checkout: Checkout = options.checkout
    name, plan = options.plan.stem, Plan.load(options.plan).rooted(checkout.recipes)
    shard, work = part_of(options.shard), options.work or Path("work/tables") / name
    extracting = ExtractConfig.load(plan.extract, options.set)
    banking = BankConfig.load(plan.bank) if plan.needs_bank else None
    if options.table == 4:
        check_speakers(plan, options)
    inputs = inputs_of_folds(
        plan.corpus, options.corpus, plan.protocol, plan.folds, work, extracting, banking, plan.ppc
    )
    given = (plan, [Fold.of(one) for one in inputs], Store(work))
    table = Speakers(*given, speakers_of(plan, options, work)) if options.table == 4 else TABLES[options.table](*given)
    within = bytes_of_generator(inputs[0], plan.generator_config(plan.balanced, BOTH, 0))
    rows = [*table.rows(Rows(plan, table.folds, within))]
    trials = [trial for row in rows for trial in row.all_trials()]
    compute(jobs_of(trials, shard), table.store, options.jobs)
    if missing := [trial for trial in trials if not table.store.has(trial)]:
        say(f"{len(missing)} trials belong to other shards: copy their trials and runs into {work} and run this again")
        return
    out = options.out or checkout.results(name)
    digest = write(options.table, name, table, rows, map(table.store.result, trials), checkout, out)
    say(f"Table {options.table}: {out / f'table{options.table}.md'}")
    if options.out is None and digest:
        checkout.put(f"eval/tables.py {name}", digest)


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


def speakers_of(plan: Plan, options: argparse.Namespace, work: Path) -> Path | None:
    """Features of the plan's corpus of speakers, by the same upstream; none if it is the corpus itself."""
    assert plan.speakers is not None
    if plan.speakers.corpus is None:
        return None
    manifest = work / "speakers" / MANIFEST
    prepare(plan.speakers.corpus, options.speakers, manifest, protocol=plan.speakers.protocol)
    extract(manifest, ExtractConfig.load(plan.extract, options.set), work / "speakers" / "features")
    return work / "speakers" / "features"


def part_of(text: str) -> tuple[int, int]:
    """``3/8`` as numbers. Raises InputError if it is no such part."""
    found = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise InputError(f"Bad --shard {text!r}, expected i/n such as 3/8")
    return int(found[1]), int(found[2])
