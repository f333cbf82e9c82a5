"""How what makes tables answers: bad input is one line and exit code 2, work that failed 1, a stop 130."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from gandistill.errors import InputError, RunError
from gandistill.experiments.checkout import Checkout
from gandistill.shipped import file

Make = Callable[[argparse.Namespace], str]
STOPPED = "stopped, what is done is kept: the same command goes on"


class Parser(argparse.ArgumentParser):
    """One that raises InputError for bad options."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def parser_of(script: str, what: str | None, checkout: Checkout, prefix: str = "") -> Parser:
    """What all that makes tables takes: a plan, its corpus, and where to work.

    ``checkout`` has the recipes that plans name, ``prefix`` begins the name of the folder of results.
    """
    parser = Parser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(script=script, checkout=checkout, prefix=prefix)
    parser.add_argument("plan", type=Path, help="YAML, or a name that 'gandistill plans' lists")
    parser.add_argument("corpus", type=Path, help="where the plan's corpus lies")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes at once, each on one thread")
    parser.add_argument("--work", type=Path, help=f"default: work/{script}/PLAN")
    parser.add_argument("--out", type=Path, help=f"default: {checkout.results(f'{prefix}PLAN')}")
    return parser


def with_settings(parser: Parser) -> Parser:
    """It, taking settings of the extraction."""
    parser.add_argument("--set", action="append", default=[], help="of the extraction, such as whisper.model=FOLDER")
    return parser


def carry_out(options: argparse.Namespace, make: Make) -> None:
    """Let ``make`` write a plan's files; what it gives goes to the document that has a place for it, unless
    ``--out`` says where the files go.

    Raises InputError or RunError where the work cannot be done.
    """
    options.plan = file("plans", options.plan)
    script, plan, is_kept = options.script, options.plan.stem, options.out is None
    options.work = options.work or Path("work", script, plan)
    options.out = options.out or options.checkout.results(f"{options.prefix}{plan}")
    if options.jobs < 1:
        raise InputError(f"Bad --jobs {options.jobs}, expected 1 or more")
    digest = make(options)
    if is_kept and digest:
        options.checkout.put(f"eval/{script}.py {plan}", digest)


def answer(parser: Parser, make: Make) -> None:
    """Do what a script's command line says. Exits where that cannot be or was stopped, which keeps what is done."""
    try:
        carry_out(parser.parse_args(), make)
        return
    except (InputError, RunError) as error:
        message, code = str(error), 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        message, code = STOPPED, 130
    print(f"{parser.get_default('script')}: {message}", file=sys.stderr)
    sys.exit(code)
