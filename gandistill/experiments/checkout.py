"""What of a checkout tables need: recipes, the papers' values, places for results and tables, the commit."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gandistill import __version__
from gandistill.evaluate.markdown import put_table
from gandistill.shipped import folder_of

CODE = ("gandistill", "recipes", "eval/*.py", "eval/plans", "eval/expected")
"""What decides a result, in words that git takes."""
DOCUMENTS = ("README.md", "docs/*.md", "eval/results/README.md", "eval/results/*/README.md")
"""Where a table may have a place."""


@dataclass(frozen=True)
class Checkout:
    """The folder that holds ``eval`` and ``recipes``."""

    root: Path

    @property
    def recipes(self) -> Path:
        """The folder that plans name recipes in."""
        return self.root / "recipes"

    def results(self, name: str) -> Path:
        """Where the files of a plan go."""
        return self.root / "eval" / "results" / name

    @property
    def expected(self) -> Path:
        """The folder of the papers' values."""
        return self.root / "eval" / "expected"

    def reference(self, name: str) -> dict[str, Any]:
        """What a paper's table says, and of which setting."""
        return yaml.safe_load((self.expected / f"{name}.yaml").read_text(encoding="utf-8"))

    def put(self, maker: str, digest: str) -> None:
        """Put what of tables says most into the documents that have a place for it."""
        for document in [path for pattern in DOCUMENTS for path in self.root.glob(pattern)]:
            if f"<!-- table: {maker} -->" in document.read_text(encoding="utf-8"):
                put_table(document, maker, digest)

    def commit(self) -> str:
        """The commit, with a mark where there are changes; unknown where this is no checkout."""

        def git(*words: str) -> str:
            run = subprocess.run(["git", *words], cwd=self.root, capture_output=True, text=True, check=False)
            return run.stdout.strip()

        head, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", *CODE)
        return f"{head or 'unknown'}{', changed' if changed else ''}"


class Outside(Checkout):
    """The current folder, where there is no checkout: recipes and values come with the package, README stays alone."""

    def __init__(self) -> None:
        super().__init__(Path())

    @property
    def recipes(self) -> Path:
        return folder_of("recipes")

    @property
    def expected(self) -> Path:
        return folder_of("expected")

    def results(self, name: str) -> Path:
        return Path("results", name)

    def put(self, maker: str, digest: str) -> None: ...

    def commit(self) -> str:
        return f"unknown, gandistill {__version__}"
