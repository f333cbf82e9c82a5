"""The self-distillation paper's Tables 1 and 2 and Figure 2 on any corpus, by a plan, with what every exit costs, and
is worth with its weights in float16 and int8, and what leaving early is worth.

    python eval/selfdistill.py eval/plans/selfdistill/ravdess_quick.yaml path/to/RAVDESS --jobs 2

Work is kept trial by trial in the folder ``--work``: a later run, or one after a kill, does only what is missing. When
nothing is, the files go to ``eval/results/selfdistill-PLAN/``, and what says most to README if it has a place.
The paper's values stand beside ours where corpus, split and upstream are the paper's, else under "other corpus".
"""

import argparse
from pathlib import Path

import selfdistill_files
from command import answer, parser_of, tell

from gandistill.console import say
from gandistill.evaluate.exit_costs import seconds, sizes
from gandistill.evaluate.exit_plan import ExitPlan
from gandistill.evaluate.exit_rows import Rows, measured
from gandistill.evaluate.exit_trials import TrialStore, inputs_of, series_of
from gandistill.evaluate.workers import compute

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = parser_of(__doc__, "work/selfdistill/PLAN", "eval/results/selfdistill-PLAN")
    answer("selfdistill", run, parser.parse_args())


def run(options: argparse.Namespace) -> None:
    name, plan = options.plan.stem, ExitPlan.load(options.plan).rooted(ROOT / "recipes")
    work = options.work or Path("work/selfdistill") / name
    inputs, store = inputs_of(plan, options.corpus, work), TrialStore(work)
    rows = Rows(plan, inputs).all()
    weights = [sizes(row, inputs) for row in rows]
    compute(series_of(trial for row in rows for trial in row.of_all), store, options.jobs)
    found, times = measured(rows, store, inputs), seconds(rows, store)
    out = options.out or ROOT / "eval" / "results" / f"selfdistill-{name}"
    digest = selfdistill_files.keep(name, plan, inputs, found, weights, times, out)
    say(f"Tables and figures: {out}")
    if options.out is None:
        tell(f"eval/selfdistill.py {name}", digest)


if __name__ == "__main__":
    main()
