"""The self-distillation paper's Tables 1 and 2 and Figure 2 on any corpus, by a plan, with what every exit costs, and
is worth with its weights in float16 and int8, and what leaving early is worth.

    python eval/selfdistill.py eval/plans/selfdistill/ravdess_quick.yaml path/to/RAVDESS --jobs 2

Work is kept trial by trial in the folder ``--work``: a later run, or one after a kill, does only what is missing. When
nothing is, the files go to ``eval/results/selfdistill-PLAN/``, and what says most to the document that has a place.
The paper's values stand beside ours where corpus, split and upstream are the paper's, else under "other corpus".
"""

from pathlib import Path

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import answer
from gandistill.experiments.selfdistill.command import make, parser


def main() -> None:
    answer(parser(__doc__, Checkout(Path(__file__).parents[1])), make)


if __name__ == "__main__":
    main()
