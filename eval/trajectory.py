"""The trajectory-matching paper's tables 2 and 3 and figures 2 and 3 on any corpus, by a plan, with their controls.

    python eval/trajectory.py eval/plans/trajectory/nemo_quick.yaml path/to/nEMO --jobs 2

Work is kept piece by piece in the folder ``--work``: a later run, or one after a kill, does only what is missing. When
nothing is, the files go to ``eval/results/trajectory-PLAN/``, and what says most to README where it has a place for it.
The paper's values stand beside ours where networks, points per class and steps are the paper's.
"""

import argparse
from pathlib import Path

import trajectory_files
from command import answer, parser_of, tell

from gandistill.console import say
from gandistill.evaluate.judgements import Store
from gandistill.evaluate.matching_plan import TrajectoryPlan
from gandistill.evaluate.matchings import Rows, inputs_of, measured
from gandistill.evaluate.pieces import pieces_of
from gandistill.evaluate.workers import compute
from gandistill.features.featureset import FeatureSet

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = parser_of(__doc__, "work/trajectory/PLAN", "eval/results/trajectory-PLAN")
    answer("trajectory", run, parser.parse_args())


def run(options: argparse.Namespace) -> None:
    name, plan = options.plan.stem, TrajectoryPlan.load(options.plan).rooted(ROOT / "recipes")
    work = options.work or Path("work/trajectory") / name
    inputs, store = inputs_of(plan, options.corpus, work), Store(work)
    rows = Rows(plan, inputs).all()
    compute(pieces_of([one for row in rows for some in row.judgements for one in some]), store, options.jobs)
    features = FeatureSet.open(inputs.features)
    out = options.out or ROOT / "eval" / "results" / f"trajectory-{name}"
    digest = trajectory_files.keep(name, plan, features, measured(rows, store, features), out)
    say(f"Tables and figures: {out}")
    if options.out is None:
        tell(f"eval/trajectory.py {name}", digest)


if __name__ == "__main__":
    main()
