"""README's table: what the tables that are kept say of designed draws, on two corpora side by side.

    python eval/short.py

Reads ``eval/results/PLAN/table2.json`` of the plans below, and measures nothing itself.
"""

import argparse
from pathlib import Path

from gandistill.console import say
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.gan.printed import compared
from gandistill.files import read_json

CHECKOUT = Checkout(Path(__file__).parents[1])
PLANS = {"whisper": (10, 50), "whisper_many": (500,), "nemo_whisper": (10, 50), "nemo_whisper_many": (500,)}
"""Points per class that are shown of each."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    CHECKOUT.put("eval/short.py", table())
    say(table())


def table() -> str:
    """The table as Markdown."""
    kept = {plan: CHECKOUT.results(plan) / "table2.json" for plan in PLANS}
    return compared([(read_json(path), PLANS[plan]) for plan, path in kept.items()])


if __name__ == "__main__":
    main()
