"""Generators that come with the package are found by name, say what they are, and draw."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.gan.sampling import Sampler, sampled
from gandistill.gan.shipped import generators, named, shipped


def test_the_shipped_generator(monkeypatch: pytest.MonkeyPatch, trained: Path, tmp_path: Path):
    """From a checkout and from an installed package; a plain sentence where it is absent."""
    shutil.copytree(trained / "generator", tmp_path / "checkpoints" / "ravdess-logmel")
    monkeypatch.setattr("gandistill.shipped.PACKAGE", tmp_path / "gandistill")
    assert shipped() == tmp_path / "checkpoints" / "ravdess-logmel"
    shutil.move(tmp_path / "checkpoints", tmp_path / "gandistill" / "checkpoints")
    assert shipped() == tmp_path / "gandistill" / "checkpoints" / "ravdess-logmel"
    shutil.rmtree(tmp_path / "gandistill")
    with pytest.raises(InputError, match="has no checkpoints of its own: install it anew, or name a path"):
        shipped()


@pytest.mark.parametrize("facts", generators(), ids=lambda facts: facts["name"])
def test_what_ships_draws_by_its_name(facts: dict, tmp_path: Path):
    """Each whole, small, with the statistics of designed draws and a bank, and under a licence that is said."""
    artifacts.open_artifact(Path(facts["path"]), "generator", verify=True)
    sampler = Sampler.open(named(facts["name"]))
    assert facts["bytes"] < 16e6
    assert facts["licence"] == "CC BY-NC-SA 4.0"
    assert sampler.design is not None
    drawn = sampled(sampler, dict.fromkeys(facts["labels"], 2), 0, soft=True)
    assert drawn.dims == facts["dims"]
    assert drawn.config["upstream"]["name"] == facts["upstream"]
    assert drawn.soft is not None


def test_a_folder_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert named("ravdess-whisper") == shipped("ravdess-whisper")
    (tmp_path / "ravdess-whisper").mkdir()
    assert named("ravdess-whisper") == Path("ravdess-whisper")
    assert named(Path("some/where")) == Path("some/where")
    with pytest.raises(
        InputError, match=r"No generator ravdess: .* none of those that ship, \[ravdess-logmel, ravdess-wh"
    ):
        named("ravdess")
    assert named(None) == shipped()


def test_a_list_needs_no_torch():
    code = "import sys, atexit\nfrom gandistill.cli import main\n"
    code += "atexit.register(lambda: print('torch' in sys.modules))\nmain(['generators'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ravdess-whisper" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
