"""The command line as tests call it."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, Self

import pytest

from gandistill.cli import main


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, and what it said."""

    code: int
    out: str
    err: str

    def succeeded(self) -> Self:
        """The same, if it ended well."""
        assert self.code == 0, self.err
        return self

    @property
    def json(self) -> dict[str, Any]:
        """What a script reads: stdout is one JSON object on one line, and nothing else."""
        self.succeeded()
        assert self.out.endswith("}\n")
        assert self.out.count("\n") == 1
        return json.loads(self.out)


def run(*arguments: object) -> Done:
    """``gandistill`` with these words."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert isinstance(stopped.value.code, int)
    return Done(stopped.value.code, out.getvalue(), err.getvalue())


def settings(*pairs: str) -> list[str]:
    """``--set`` before each."""
    return [word for pair in pairs for word in ("--set", pair)]


def succeed(*arguments: object) -> Done:
    """``gandistill`` with these words, which must end well."""
    return run(*arguments).succeeded()
