"""The tables and figures of a plan, from the corpus to their files."""

import argparse

from gandistill.console import say
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import Parser, parser_of
from gandistill.experiments.jobs import compute
from gandistill.experiments.selfdistill.costs import seconds, sizes
from gandistill.experiments.selfdistill.files import write
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.selfdistill.rows import Rows, measured
from gandistill.experiments.selfdistill.trials import inputs_of, jobs_of
from gandistill.experiments.store import Store


def parser(what: str | None, checkout: Checkout) -> Parser:
    """The options of ``make``; ``what`` it does."""
    taken = parser_of("selfdistill", what, checkout, "selfdistill-")
    taken.add_argument("--upstream", help="folder of the recipe's pretrained model, default: from the Hub by its name")
    return taken


def make(options: argparse.Namespace) -> str:
    """Write the tables; give what of them says most. Raises InputError for bad input, RunError for what failed."""
    plan = ExitPlan.load(options.plan).rooted(options.checkout.recipes)
    inputs, store = inputs_of(plan, options.corpus, options.work, options.upstream), Store(options.work)
    rows = Rows(plan, inputs).all()
    weights = [sizes(row, inputs) for row in rows]
    compute(jobs_of(trial for row in rows for trial in row.trials), store, options.jobs)
    table, times = measured(rows, store, inputs), seconds(rows, store)
    digest = write(options.plan.stem, plan, inputs, table, weights, times, options.checkout, options.out)
    say(f"Tables and figures: {options.out}")
    return digest
