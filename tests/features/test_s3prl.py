import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from gandistill.errors import InputError
from gandistill.features.s3prl import S3prl, S3prlConfig

STRIDE = 160
SHORTEST = 333


class Stub(torch.nn.Module):
    """Two hidden states of 4 dims, and three frames more than the clip has."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def get_downsample_rates(self, key: str) -> int:
        assert key == "hidden_states"
        return STRIDE

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        assert [wav.ndim for wav in wavs] == [1]
        frames = 1 + (len(wavs[0]) - 1) // STRIDE
        if len(wavs[0]) < SHORTEST:
            raise RuntimeError("kernel size can't be greater than actual input size")
        first = torch.nn.functional.pad(wavs[0], (0, (frames + 3) * STRIDE - len(wavs[0]))).view(1, -1, STRIDE)[..., :4]
        return {"hidden_states": [first, first * self.scale], "last_hidden_state": None}


def of_file(ckpt: str, *args: Any, **kwargs: Any) -> Stub:
    """As in s3prl's hub, where a checkpoint is the first argument."""
    stub = Stub()
    stub.load_state_dict(torch.load(ckpt))
    return stub


def of_url(ckpt: str, refresh: bool = False) -> Stub:
    raise OSError(f"{ckpt}:\nno network")


class Noisy(Stub):
    """It keeps a random sound to try things out on, as s3prl's ``mel`` does."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sound", torch.randn(5))


class Normalising(Stub):
    """Its deviation over one frame is not a number, of which torch warns."""

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        frames = 1 + (len(wavs[0]) - 1) // STRIDE
        states = [state[:, :frames] for state in super().forward(wavs)["hidden_states"]]
        return {"hidden_states": [state / state.std(1, keepdim=True) for state in states]}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = SimpleNamespace(stub=Stub, stub_local=of_file, stub_url=of_url, _private=Stub, options=lambda: ["stub"])
    monkeypatch.setitem(sys.modules, "s3prl", ModuleType("s3prl"))
    monkeypatch.setitem(sys.modules, "s3prl.hub", stub)


def test_frames_are_cut_to_the_true_length():
    upstream = S3prl("stub", S3prlConfig())
    assert (upstream.name, upstream.dims, upstream.frame_rate) == ("s3prl:stub", 4, 100.0)
    for samples, frames in ((400, 3), (480, 3), (481, 4), (16_000, 100)):
        assert upstream(torch.ones(samples)).shape == (frames, 4)


def test_the_shortest_clip_is_found_by_trying(monkeypatch: pytest.MonkeyPatch):
    upstream = S3prl("stub", S3prlConfig())
    assert [upstream.least(frames) for frames in (1, 2, 3)] == [333, 493, 653]
    assert len(upstream(torch.ones(333))) >= 1
    monkeypatch.setattr(sys.modules["s3prl.hub"], "stub", Normalising)
    monkeypatch.setattr(sys.modules[__name__], "SHORTEST", 1)
    assert S3prl("stub", S3prlConfig()).least() == STRIDE + 1


def test_an_upstream_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules["s3prl.hub"], "stub", Noisy)
    before = torch.random.get_rng_state()
    assert S3prl("stub", S3prlConfig()).describe() == S3prl("stub", S3prlConfig()).describe()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_layers_and_weights():
    audio = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    first = S3prl("stub", S3prlConfig(layer=0))(audio)
    assert not first.requires_grad
    assert torch.equal(S3prl("stub", S3prlConfig(layer=1))(audio), 2 * first)
    assert torch.equal(S3prl("stub", S3prlConfig())(audio), 2 * first)
    torch.testing.assert_close(S3prl("stub", S3prlConfig(weights=[3, 1]))(audio), 0.75 * first + 0.25 * 2 * first)


def test_unknown_names_and_layers():
    for name in ("no-such", "_private", "options"):
        with pytest.raises(InputError, match=rf"Bad upstream 's3prl:{name}', expected .* s3prl\.hub\.options\(\)"):
            S3prl(name, S3prlConfig())
    with pytest.raises(InputError, match="has layers 0 to 1, so layer 2 does not exist"):
        S3prl("stub", S3prlConfig(layer=2))


def test_where_the_hub_cannot_be_imported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "s3prl.hub", None)
    with pytest.raises(
        InputError, match=r"^--upstream s3prl:hubert needs [^\n]*pip install 'gandistill\[s3prl\]'[^\n]*$"
    ):
        S3prl("hubert", S3prlConfig())


def test_a_checkpoint_of_ones_own(tmp_path: Path):
    torch.save({"scale": torch.tensor(3.0)}, tmp_path / "mine.pt")
    config = S3prlConfig(checkpoint=str(tmp_path / "mine.pt"), layer=1)
    mine, audio = S3prl("stub_local", config), torch.ones(1000)
    assert torch.equal(mine(audio), 3 * S3prl("stub", S3prlConfig(layer=0))(audio))
    described = mine.describe()
    assert described["name"] == "s3prl:stub_local"
    assert described["parameters_sha256"] != S3prl("stub", S3prlConfig(layer=1)).describe()["parameters_sha256"]
    assert str(tmp_path) not in str(described)
    assert "checkpoint" not in S3prlConfig().to_dict()


@pytest.mark.parametrize(
    ("name", "checkpoint", "words"),
    [
        ("stub_local", None, r"s3prl:stub_local needs a checkpoint: --set s3prl\.checkpoint=FILE$"),
        ("stub_url", None, r"s3prl:stub_url needs a checkpoint: --set s3prl\.checkpoint=URL$"),
        ("stub", __file__, r"s3prl:stub has its own checkpoint: leave s3prl\.checkpoint away, or take [^\n]+_local"),
        ("stub_local", "no/such.pt", r"^s3prl\.checkpoint no/such\.pt: no such file$"),
        ("stub_local", __file__, r"^s3prl cannot load stub_local from [^\n]+test_s3prl\.py: [^\n]+$"),
        (
            "stub_url",
            "http://here/a.pt",
            r"^s3prl cannot load stub_url from http://here/a\.pt: OSError: [^\n]+network$",
        ),
    ],
)
def test_bad_checkpoints(name: str, checkpoint: str | None, words: str):
    with pytest.raises(InputError, match=words):
        S3prl(name, S3prlConfig(checkpoint=checkpoint))
