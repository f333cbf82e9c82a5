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


SOAK = bool(os.environ.get("GANDISTILL_SOAK"))


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether to kill and to fuzz in full (``make soak``), which takes long, and not in the short form of every day."""
    return SOAK


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


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a HuBERT of 16 dims. Its group norm goes over time: the variant whose features depend on padding."""
    import transformers

    config = transformers.HubertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_stride=(10, 32),
        conv_kernel=(20, 40),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="group",
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.HubertModel(config)
    folder = tmp_path_factory.mktemp("hubert")
    model.save_pretrained(folder)
    return folder
