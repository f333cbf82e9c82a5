"""Code that decides results has a version, by which tables know results of older code: it is raised where that changes.

Comments and docstrings decide nothing. Whoever changes other code in such a room raises its ``VERSION`` if results may
change, which makes tables compute them again, and notes the new digest in ``versions.json`` either way.
"""

import ast
import hashlib
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE, NOTED = Path(__file__).parents[1] / "gandistill", Path(__file__).with_name("versions.json")
ROOMS = {name: (f"{name}/*.py",) for name in ("heads", "controls", "gan", "trajectory", "selfdistill", "evaluate")}
ROOMS["experiments"] = (
    "experiments/*/trials.py",
    "experiments/gan/variants.py",
    "experiments/selfdistill/further.py",
    "numerics.py",
    "metrics.py",
    "precision.py",
    "batch_norm.py",
)


def digest(folder: Path, *patterns: str) -> str:
    """Of the code in some modules, whatever is said about it."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(body := getattr(node, "body", None), list):
                node.body = [each for each in body if not is_said(each)]
        found.update(f"{path.name} {ast.dump(tree)}".encode())
    return found.hexdigest()[:16]


def is_said(statement: ast.stmt) -> bool:
    """Whether a statement is a string alone, or the version itself."""
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id == "VERSION"
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


@pytest.mark.parametrize("room", ROOMS)
def test_the_version_of_code_that_decides_results_is_raised_where_it_changes(room: str):
    noted = json.loads(NOTED.read_text(encoding="utf-8"))
    if sys.version_info[:2] != tuple(noted["python"]):
        pytest.skip(f"digests are noted of syntax trees of Python {noted['python']}")
    found = {"version": import_module(f"gandistill.{room}").VERSION, "digest": digest(PACKAGE, *ROOMS[room])}
    assert found == noted[room], (
        f"code that gandistill/{room} answers for has changed: raise VERSION in its __init__.py if results may change, "
        f"and note {json.dumps(found)} in {NOTED.name}"
    )


def test_what_is_said_of_code_does_not_count(tmp_path: Path):
    def of(text: str) -> str:
        (tmp_path / "room.py").write_text(text)
        return digest(tmp_path, "*.py")

    code = 'def f(x):\n    """Doc."""\n    return x + 1\n'
    same = '"""Room."""\n\nVERSION = 3\n"""Of it."""\n\n\ndef f(x):\n    # Why.\n    return x + 1\n'
    assert of(code) == of(same)
    assert of(code) != of(code.replace("1", "2"))
