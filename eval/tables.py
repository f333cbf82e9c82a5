"""The GAN paper's tables 1 to 4 on any corpus, by a plan: every row with its controls, intervals and tests.

    python eval/tables.py eval/plans/ravdess.yaml path/to/RAVDESS --table 2
    python eval/tables.py eval/plans/ravdess.yaml path/to/RAVDESS --table 2 --jobs 16 --shard 3/8

Work is a set of trials, kept in the folder ``--work``: a later run, or one after a kill, computes only what is missing,
and shards that were computed on other machines are merged by copying their folders into one. When no trial is missing,
the table's files go to ``eval/results/PLAN/``. The paper's values stand beside ours where the corpus
is the same, and under "other corpus" where it is not.
"""

from pathlib import Path

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import answer
from gandistill.experiments.gan.command import make, parser


def main() -> None:
    answer(parser(__doc__, Checkout(Path(__file__).parents[1])), make)


if __name__ == "__main__":
    main()
