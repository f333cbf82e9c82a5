"""Where tests find real speech: ``GANDISTILL_CORPORA``, or ``../shared/data`` beside the checkout."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("ci", derandomize=True)  # a landing must not hang on the luck of a draw
if os.environ.get("CI"):
    settings.load_profile("ci")

CORPORA = Path(os.environ.get("GANDISTILL_CORPORA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Threads that wait for each other on a busy machine cost far more than they bring to arrays this small."""
    torch.set_num_threads(1)


def _folder(name: str) -> Path:
    if not (CORPORA / name).is_dir():
        pytest.skip(f"no real corpus at {CORPORA / name}: set GANDISTILL_CORPORA to the folder that holds {name}/")
    return CORPORA / name


@pytest.fixture(scope="session")
def ravdess_root() -> Path:
    return _folder("ravdess")


@pytest.fixture(scope="session")
def nemo_root() -> Path:
    return _folder("nemo")


@pytest.fixture(scope="session")
def names_root() -> Path:
    """Holds ``iemocap/four-class.csv`` and ``demos/files.txt``: names and labels, no audio."""
    _folder("iemocap")
    _folder("demos")
    return CORPORA
