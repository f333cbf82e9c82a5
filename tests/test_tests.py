"""Whoever looks for the tests of a public noun finds them under the name of its file."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "gandistill"
ELSEWHERE = {
    "experiments/gan/command.py": ("experiments/gan/test_tables.py", "a script is run whole, by its command line"),
    "experiments/trajectory/command.py": ("experiments/trajectory/test_script.py", "so is this one"),
    "experiments/selfdistill/command.py": ("experiments/selfdistill/test_script.py", "and this"),
    "experiments/report/command.py": ("experiments/report/test_report.py", "the command is the whole page"),
    "experiments/report/generators.py": ("experiments/report/test_report.py", "read off the page that it is part of"),
    "experiments/report/papers.py": ("experiments/report/test_report.py", "read off the page that it is part of"),
    "experiments/report/distilled.py": ("experiments/report/test_runs.py", "read off the page of such a run"),
    "experiments/report/networks.py": ("experiments/report/test_runs.py", "read off the page of such a run"),
    "experiments/report/training.py": ("experiments/report/test_runs.py", "read off the pages of both"),
    "experiments/report/known.py": ("experiments/report/test_runs.py", "read off the pages of both"),
}
"""Modules whose tests have another name, and why."""


def has_public_noun(module: Path) -> bool:
    """Whether it defines a class or function without an underscore."""
    defined = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return any(isinstance(node, defined) and not node.name.startswith("_") for node in tree.body)


def lacking(package: Path, tests: Path) -> list[str]:
    """Modules with a public noun and no test file of their name; those with underscores have none."""
    modules = [path.relative_to(package) for path in sorted(package.rglob("*.py")) if not path.stem.startswith("_")]
    return [
        str(module.as_posix())
        for module in modules
        if has_public_noun(package / module) and not (tests / module.with_name(f"test_{module.name}")).is_file()
    ]


def test_each_file_that_holds_a_public_noun_has_a_test_file_of_its_name():
    assert sorted(lacking(PACKAGE, TESTS)) == sorted(ELSEWHERE), (
        "neither more nor fewer: ELSEWHERE names the exceptions"
    )


@pytest.mark.parametrize("module", ELSEWHERE)
def test_an_exception_is_tested_where_it_says(module: str):
    path, reason = ELSEWHERE[module]
    assert "def test_" in (TESTS / path).read_text(encoding="utf-8")
    assert reason


def test_what_lacks_a_test_file_is_found(tmp_path: Path):
    package, tests = tmp_path / "package", tmp_path / "tests"
    for name, text in {
        "a.py": "def noun(): ...",
        "room/b.py": "class Noun: ...",
        "room/c.py": "def _own(): ...\nLIMIT = 3",
        "room/__init__.py": "def __getattr__(name): ...",
        "room/d.py": "def noun(): ...",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    (tests / "room").mkdir(parents=True)
    (tests / "room" / "test_d.py").touch()
    (tests / "test_b.py").touch()
    assert lacking(package, tests) == ["a.py", "room/b.py"]
