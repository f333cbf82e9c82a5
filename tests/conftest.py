"""Where tests find real speech and pretrained models, or beside the checkout.

``GANDISTILL_CORPORA``, default ``../shared/data``; ``GANDISTILL_MODELS``, default ``../shared/models``.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from gandistill.features.featureset import FeatureSet
from tests.installed import Installed, built, install
from tests.privacy.conftest import write_speakers

settings.register_profile("ci", derandomize=True)  # a landing must not hang on the luck of a draw
if os.environ.get("CI"):
    settings.load_profile("ci")

SHARED = Path(__file__).parents[2] / "shared"
CORPORA = Path(os.environ.get("GANDISTILL_CORPORA", SHARED / "data"))
MODELS = Path(os.environ.get("GANDISTILL_MODELS", SHARED / "models"))


SOAK = bool(os.environ.get("GANDISTILL_SOAK"))


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether to kill and to fuzz in full (``make soak``), which takes long, and not in the short form of every day."""
    return SOAK


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Threads that wait for each other on a busy machine cost far more than they bring to arrays this small."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """Who is to be protected."""
    return write_speakers(tmp_path_factory.mktemp("speakers") / "features")


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """Another corpus, which speaks beforehand."""
    return write_speakers(tmp_path_factory.mktemp("public") / "features", seed=1, corpus="theirs")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this checkout."""
    return built(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    install(wheel, folder)
    return folder


@pytest.fixture(scope="module")
def installed(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The wheel's commands, in an empty folder."""
    with Installed(site, tmp_path_factory.mktemp("empty")) as process:
        yield process


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


def _model(name: str) -> Path:
    if not (MODELS / name).is_dir():
        pytest.skip(f"no pretrained model at {MODELS / name}: set GANDISTILL_MODELS to the folder that holds {name}/")
    return MODELS / name


@pytest.fixture(scope="session", params=["whisper-base", "whisper-tiny.en"])
def pretrained_whisper(request: pytest.FixtureRequest) -> Path:
    """Folder of a real Whisper's encoder."""
    return _model(request.param)


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Whisper of 16 dims and 4 blocks that hears 2 s, not 30."""
    import transformers

    config = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=4,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        num_mel_bins=12,
        max_source_positions=100,
        vocab_size=40,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.WhisperModel(config)
        with torch.no_grad():
            for parameter in model.parameters():  # biases begin at zero, where a lost one would not show
                parameter.add_(torch.randn_like(parameter) * 0.1)
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    return folder


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
