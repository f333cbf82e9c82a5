"""How the scripts that make tables answer: bad input is one line and exit code 2, work that failed 1, a stop 130."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from gandistill.errors import InputError, RunError
from gandistill.experiments.checkout import Checkout


def parser_of(what: str | None, root: Path, work: str, out: str) -> argparse.ArgumentParser:
    """What every script takes: a plan, its corpus, and where to work; ``work`` and ``out`` say the defaults.

    ``root`` is the checkout that the script is in.
    """
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(checkout=Checkout(root))
    parser.add_argument("plan", type=Path)
    parser.add_argument("corpus", type=Path, help="where the plan's corpus lies")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes at once, each on one thread")
    parser.add_argument("--work", type=Path, help=f"default: {work}")
    parser.add_argument("--out", type=Path, help=f"default: {out}")
    return parser


def answer(name: str, run: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Run a script's work. Exits where it cannot be done or was stopped, which keeps what is done."""
    try:
        if options.jobs < 1:
            raise InputError(f"Bad --jobs {options.jobs}, expected 1 or more")
        run(options)
    except (InputError, RunError) as error:
        _fail(f"{name}: {error}", 2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        _fail(f"{name}: stopped, what is done is kept: the same command goes on", 130)


def _fail(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)
