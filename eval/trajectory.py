"""The trajectory-matching paper's tables 2 and 3 and figures 2 and 3 on any corpus, by a plan, with their controls.

    python eval/trajectory.py eval/plans/trajectory/nemo_quick.yaml path/to/nEMO --jobs 2

Work is kept trial by trial in the folder ``--work``: a later run, or one after a kill, does only what is missing. When
nothing is, the files go to ``eval/results/trajectory-PLAN/``, and what says most to the document with a place for it.
The paper's values stand beside ours where networks, points per class and steps are the paper's.
"""

from pathlib import Path

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import answer
from gandistill.experiments.trajectory.command import make, parser


def main() -> None:
    answer(parser(__doc__, Checkout(Path(__file__).parents[1])), make)


if __name__ == "__main__":
    main()
