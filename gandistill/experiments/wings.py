"""``gandistill tables``: any plan's tables, by the wing that the plan is for."""

from importlib import import_module
from pathlib import Path

from gandistill import shipped
from gandistill.config import read
from gandistill.console import say
from gandistill.errors import InputError
from gandistill.experiments.checkout import Checkout, Outside
from gandistill.experiments.command import STOPPED, carry_out

PROGRAM = "gandistill tables"
PLANS = {"gan": "Plan", "trajectory": "TrajectoryPlan", "selfdistill": "ExitPlan"}
"""Wings, and the class that reads their plans."""
WHAT = """\
{} of the paper, by a plan: every row with its controls, intervals and tests.

    gandistill tables {} path/to/RAVDESS {}

PLAN comes first. Work is kept trial by trial in the folder --work: a later run, or one after a kill, does only what is
missing. Plans of the other papers take other options: 'gandistill tables PLAN --help' says which.
"""
OF_PAPER = {
    "gan": ("A table", "whisper", "--table 2 --jobs 2"),
    "trajectory": ("Tables 2 and 3 and Figures 2 and 3", "trajectory/ravdess_quick", "--jobs 2"),
    "selfdistill": ("Tables 1 and 2 and Figure 2", "selfdistill/ravdess_quick", "--jobs 2"),
}


def main(arguments: list[str]) -> None:
    """Make what the words after ``gandistill tables`` ask for, or say what they may be.

    In a checkout all is as by the scripts under ``eval/``; elsewhere recipes, plans and the papers' values come with
    the package, and files go below the current folder. Raises InputError or RunError as ``carry_out`` does.
    """
    plan = arguments[0] if arguments else ""
    if not plan or (plan.startswith("-") and plan not in ("-h", "--help")):
        raise InputError(f"The plan comes first: {PROGRAM} PLAN CORPUS ...; 'gandistill plans' lists those there are")
    wing = "gan" if plan.startswith("-") else wing_of(plan)
    command, root = import_module(f"gandistill.experiments.{wing}.command"), shipped.checkout()
    parser = command.parser(WHAT.format(*OF_PAPER[wing]), Outside() if root is None else Checkout(root))
    parser.prog = PROGRAM
    try:
        carry_out(parser.parse_args(arguments), command.make)
    except KeyboardInterrupt:
        say(f"gandistill: {STOPPED}")
        raise


def wing_of(plan: str) -> str:
    """The wing whose plans have most of the keys of this one. Raises InputError if it cannot be read."""
    keys = read(shipped.file("plans", Path(plan))).keys()

    def known(wing: str) -> int:
        kind = getattr(import_module(f"gandistill.experiments.{wing}.plan"), PLANS[wing])
        return len(keys & kind.model_fields.keys())

    return max(PLANS, key=known)
