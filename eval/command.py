"""How the scripts that make tables answer: bad input is one line and exit code 2, work that failed 1, a stop 130."""

import argparse
import sys
from collections.abc import Callable

from gandistill.errors import InputError, RunError


def answer(name: str, run: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Run a script's work. Exits where it cannot be done or was stopped, which keeps what is done."""
    try:
        run(options)
    except (InputError, RunError) as error:
        _fail(f"{name}: {error}", 2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        _fail(f"{name}: stopped, what is done is kept: the same command goes on", 130)


def _fail(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)
