"""What processes that share the work of tables have in common: how their failures are told, what memory they took."""

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from gandistill.console import say
from gandistill.errors import InputError, RunError


@dataclass(frozen=True)
class Failure:
    """What could not be computed, why, and whether its input is to blame."""

    what: str
    message: str
    is_input: bool

    @classmethod
    def of(cls, what: object, error: Exception) -> "Failure":
        """From what was raised."""
        kind = "" if isinstance(error, InputError | RunError) else f"{type(error).__name__}: "
        return cls(str(what), kind + " ".join(str(error).split()), isinstance(error, InputError))


def tell(failures: Sequence[Failure], noun: str) -> None:
    """Say each failure by name. Raises an InputError, or a RunError unless all inputs are to blame, if there is any."""
    for failure in failures:
        say(f"failed: {failure.what}: {failure.message}")
    if failures:
        error = InputError if all(failure.is_input for failure in failures) else RunError
        raise error(f"{len(failures)} {noun} failed, what is done is kept; the first: {failures[0].message}")


def peak_bytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
