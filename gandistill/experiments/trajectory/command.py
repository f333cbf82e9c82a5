"""The tables and figures of a plan, from the corpus to their files."""

import argparse

from gandistill.console import say
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import Parser, parser_of, with_settings
from gandistill.experiments.jobs import compute
from gandistill.experiments.store import Store
from gandistill.experiments.trajectory.files import write
from gandistill.experiments.trajectory.plan import TrajectoryPlan
from gandistill.experiments.trajectory.rows import Rows, inputs_of, measured
from gandistill.experiments.trajectory.trials import jobs_of
from gandistill.features.featureset import FeatureSet


def parser(what: str | None, checkout: Checkout) -> Parser:
    """The options of ``make``; ``what`` it does."""
    return with_settings(parser_of("trajectory", what, checkout, "trajectory-"))


def make(options: argparse.Namespace) -> str:
    """Write the tables; give what of them says most. Raises InputError for bad input, RunError for what failed."""
    plan = TrajectoryPlan.load(options.plan).rooted(options.checkout.recipes)
    inputs, store = inputs_of(plan, options.corpus, options.work, tuple(options.set)), Store(options.work)
    rows = Rows(plan, inputs).all()
    compute(jobs_of([trial for row in rows for students in row.trials for trial in students]), store, options.jobs)
    features = FeatureSet.open(inputs.features)
    digest = write(options.plan.stem, plan, features, measured(rows, store, features), options.checkout, options.out)
    say(f"Tables and figures: {options.out}")
    return digest
