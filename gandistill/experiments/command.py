"""How the scripts that make tables answer: bad input is one line and exit code 2, work that failed 1, a stop 130."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from gandistill.errors import InputError, RunError
from gandistill.experiments.checkout import Checkout


def parser_of(script: str, what: str | None, root: Path, prefix: str = "") -> argparse.ArgumentParser:
    """What every script takes: a plan, its corpus, and where to work.

    ``root`` is the checkout that the script is in, ``prefix`` begins the name of the folder of results.
    """
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(script=script, checkout=Checkout(root), prefix=prefix)
    parser.add_argument("plan", type=Path)
    parser.add_argument("corpus", type=Path, help="where the plan's corpus lies")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes at once, each on one thread")
    parser.add_argument("--work", type=Path, help=f"default: work/{script}/PLAN")
    parser.add_argument("--out", type=Path, help=f"default: eval/results/{prefix}PLAN")
    return parser


def answer(parser: argparse.ArgumentParser, make: Callable[[argparse.Namespace], str]) -> None:
    """Let ``make`` write a plan's files; what it gives goes to the document that has a place for it, unless
    ``--out`` says where the files go.

    Exits where the work cannot be done or was stopped, which keeps what is done.
    """
    options = parser.parse_args()
    script, plan, is_kept = options.script, options.plan.stem, options.out is None
    options.work = options.work or Path("work", script, plan)
    options.out = options.out or options.checkout.results(f"{options.prefix}{plan}")
    try:
        if options.jobs < 1:
            raise InputError(f"Bad --jobs {options.jobs}, expected 1 or more")
        digest = make(options)
        if is_kept and digest:
            options.checkout.put(f"eval/{script}.py {plan}", digest)
        return
    except (InputError, RunError) as error:
        message, code = str(error), 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        message, code = "stopped, what is done is kept: the same command goes on", 130
    print(f"{script}: {message}", file=sys.stderr)
    sys.exit(code)
