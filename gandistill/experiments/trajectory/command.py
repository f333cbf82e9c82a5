"""``python eval/trajectory.py``: a plan's tables and figures, from the corpus to their files."""

import argparse
from pathlib import Path

from gandistill.console import say
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import answer, parser_of
from gandistill.experiments.jobs import compute
from gandistill.experiments.store import Store
from gandistill.experiments.trajectory.files import write
from gandistill.experiments.trajectory.jobs import jobs_of
from gandistill.experiments.trajectory.plan import TrajectoryPlan
from gandistill.experiments.trajectory.rows import Rows, inputs_of, measured
from gandistill.features.featureset import FeatureSet


def main(what: str | None, root: Path) -> None:
    """Answer the command line of the script in the checkout ``root``; ``what`` it does."""
    parser = parser_of(what, root, "work/trajectory/PLAN", "eval/results/trajectory-PLAN")
    answer("trajectory", run, parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Make the tables. Raises InputError for bad input, RunError for what failed."""
    checkout: Checkout = options.checkout
    name, plan = options.plan.stem, TrajectoryPlan.load(options.plan).rooted(checkout.recipes)
    work = options.work or Path("work/trajectory") / name
    inputs, store = inputs_of(plan, options.corpus, work), Store(work)
    rows = Rows(plan, inputs).all()
    compute(jobs_of([trial for row in rows for some in row.trials for trial in some]), store, options.jobs)
    features = FeatureSet.open(inputs.features)
    out = options.out or checkout.results(f"trajectory-{name}")
    digest = write(name, plan, features, measured(rows, store, features), checkout, out)
    say(f"Tables and figures: {out}")
    if options.out is None:
        checkout.put(f"eval/trajectory.py {name}", digest)
