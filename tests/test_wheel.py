"""The wheel has everything: installed alone, far from any checkout, it does what a checkout does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from gandistill import __version__

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
ALONE = ["--no-deps", "--no-index"]
SHIPPED = {"checkpoints": "checkpoints", "recipes": "recipes", "eval/plans": "plans", "eval/expected": "expected"}
DRIVER = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from gandistill.cli import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(words)
    except SystemExit as end:
        print(json.dumps([end.code, out.getvalue(), err.getvalue()]))
"""
"""One process for many commands, since each that needs torch takes seconds to import it."""


def call(*words: object, **options: Any) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    call(*PIP, "wheel", *ALONE, "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How a program is started that finds the installed wheel, whatever this environment has: where, and with what."""
    target, here = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    call(*PIP, "install", *ALONE, "--target", target, wheel)
    return {"cwd": here, "env": os.environ | {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}}


def test_it_holds_all_that_ships_and_nothing_else(wheel: Path):
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        (Path("gandistill") / name / path.relative_to(ROOT / place)).as_posix()
        for place, name in ({"gandistill": ""} | SHIPPED).items()
        for path in (ROOT / place).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == expected
    assert {"gandistill/recipes/ravdess/gan_att.yaml", "gandistill/plans/trajectory/demos.yaml"} < held


def test_its_metadata(wheel: Path):
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().partition("\n\n")[0].splitlines()
    assert f"Version: {__version__}" in lines
    needed = {line.partition("; ")[2] for line in lines if line.startswith("Requires-Dist: datasets")}
    assert needed == {"extra == 'datasets'"}, "only whoever asks for one of them needs it"
    assert not any("matplotlib" in line for line in lines), "figures are drawn without it"


def test_it_does_in_an_empty_folder_what_a_checkout_does(elsewhere: dict[str, Any]):
    assert call(sys.executable, "-m", "gandistill", "--version", **elsewhere) == f"{__version__}\n"
    found = call(sys.executable, "-c", "import gandistill; print(gandistill.__file__)", **elsewhere)
    assert found.startswith(elsewhere["env"]["PYTHONPATH"])
    commands = [
        (["recipes", "--json"], 0, ""),
        (["plans"], 0, ""),
        (["sample", "--ppc", "1", "--out", "set"], 0, ""),
        (["train", "--config", "ravdess/gan_cnn", "--set", "features=nowhere"], 2, "No feature set at nowhere"),
        (["train", "--config", "ravdess/gan_ccn"], 2, "No config file ravdess/gan_ccn, nor one of that name in"),
        (["tables", "whisper", "nowhere", "--table", "2"], 2, "nowhere"),
        (["tables", "trajectory/ravdess_quick", "nowhere"], 2, "nowhere"),
    ]
    words = json.dumps([command for command, _, _ in commands])
    done = [json.loads(line) for line in call(sys.executable, "-c", DRIVER, words, **elsewhere).splitlines()]
    for (command, code, said), (ended, _, err) in zip(commands, done, strict=True):
        assert ended == code, err
        assert said in err, command
        assert err.count("\n") <= 1 or code == 0, command
    paths = [Path(each["path"]) for each in json.loads(done[0][1])["recipes"]]
    assert {path.parents[1] for path in paths} == {Path(elsewhere["env"]["PYTHONPATH"], "gandistill", "recipes")}
    assert {path.name for path in elsewhere["cwd"].iterdir()} == {"set"}, "what is refused leaves nothing"
