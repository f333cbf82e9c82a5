"""The package as its wheel installs it, far from any checkout."""

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.commands import Done

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
ALONE = ["--no-deps", "--no-index"]
DRIVER = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from gandistill.cli import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(json.loads(line))
    except SystemExit as end:
        print(json.dumps([end.code, out.getvalue(), err.getvalue()]), flush=True)
"""


def call(*words: object, **options: Any) -> str:
    """What another program prints, which must end well."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def built(folder: Path) -> Path:
    """The wheel of this checkout, built without a network."""
    call(*PIP, "wheel", *ALONE, "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


def install(wheel: Path, site: Path) -> None:
    """Its files and no others; what it needs is there."""
    call(*PIP, "install", *ALONE, "--target", site, wheel)


class Installed(AbstractContextManager["Installed"]):
    """One process for many commands of what is installed in ``site``, since to import torch takes seconds.

    It works in ``folder``, and finds the installed package whatever this environment has. Warnings are errors.
    """

    def __init__(self, site: Path, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.place: dict[str, Any] = {
            "cwd": folder,
            "env": os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **self.place,
        )

    def run(self, *words: object) -> Done:
        """``gandistill`` with these words."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([*map(str, words)]), file=self.process.stdin, flush=True)
        return Done(*json.loads(self.process.stdout.readline()))

    def call(self, *words: object) -> str:
        """What ``python`` with these words prints there, in a process of its own, which must end well."""
        return call(sys.executable, *words, **self.place)

    def __exit__(self, *_: object) -> None:
        self.process.communicate()
