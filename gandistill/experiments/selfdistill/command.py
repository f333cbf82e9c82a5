"""``python eval/selfdistill.py``: a plan's tables and figures, from the corpus to their files."""

import argparse
from pathlib import Path

from gandistill.console import say
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import answer, parser_of
from gandistill.experiments.jobs import compute
from gandistill.experiments.selfdistill.costs import seconds, sizes
from gandistill.experiments.selfdistill.files import write
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.selfdistill.rows import Rows, measured
from gandistill.experiments.selfdistill.trials import inputs_of, jobs_of
from gandistill.experiments.store import Store


def main(what: str | None, root: Path) -> None:
    """Answer the command line of the script in the checkout ``root``; ``what`` it does."""
    parser = parser_of(what, root, "work/selfdistill/PLAN", "eval/results/selfdistill-PLAN")
    answer("selfdistill", run, parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Make the tables. Raises InputError for bad input, RunError for what failed."""
    checkout: Checkout = options.checkout
    name, plan = options.plan.stem, ExitPlan.load(options.plan).rooted(checkout.recipes)
    work = options.work or Path("work/selfdistill") / name
    inputs, store = inputs_of(plan, options.corpus, work), Store(work)
    rows = Rows(plan, inputs).all()
    weights = [sizes(row, inputs) for row in rows]
    compute(jobs_of(trial for row in rows for trial in row.of_all), store, options.jobs)
    found, times = measured(rows, store, inputs), seconds(rows, store)
    out = options.out or checkout.results(f"selfdistill-{name}")
    digest = write(name, plan, inputs, found, weights, times, checkout, out)
    say(f"Tables and figures: {out}")
    if options.out is None:
        checkout.put(f"eval/selfdistill.py {name}", digest)
