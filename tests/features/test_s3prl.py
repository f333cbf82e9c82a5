import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from gandistill.errors import InputError
from gandistill.features.s3prl import S3prl
from gandistill.features.upstreams import LayerChoice

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


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = SimpleNamespace(stub=Stub, _private=Stub, options=lambda: ["stub"])
    monkeypatch.setitem(sys.modules, "s3prl", ModuleType("s3prl"))
    monkeypatch.setitem(sys.modules, "s3prl.hub", stub)


def test_frames_are_cut_to_the_true_length():
    upstream = S3prl("stub", LayerChoice())
    assert (upstream.name, upstream.dims, upstream.frame_rate) == ("s3prl:stub", 4, 100.0)
    for samples, frames in ((400, 3), (480, 3), (481, 4), (16_000, 100)):
        assert upstream(torch.ones(samples)).shape == (frames, 4)


def test_the_shortest_clip_is_found_by_trying():
    upstream = S3prl("stub", LayerChoice())
    assert [upstream.least(frames) for frames in (1, 2, 3)] == [333, 493, 653]
    assert len(upstream(torch.ones(333))) >= 1


def test_layers_and_weights():
    audio = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    first = S3prl("stub", LayerChoice(layer=0))(audio)
    assert not first.requires_grad
    assert torch.equal(S3prl("stub", LayerChoice(layer=1))(audio), 2 * first)
    assert torch.equal(S3prl("stub", LayerChoice())(audio), 2 * first)
    torch.testing.assert_close(S3prl("stub", LayerChoice(weights=[3, 1]))(audio), 0.75 * first + 0.25 * 2 * first)


def test_unknown_names_and_layers():
    for name in ("no-such", "_private", "options"):
        with pytest.raises(InputError, match=rf"Bad upstream 's3prl:{name}', expected .* s3prl\.hub\.options\(\)"):
            S3prl(name, LayerChoice())
    with pytest.raises(InputError, match="has layers 0 to 1, so layer 2 does not exist"):
        S3prl("stub", LayerChoice(layer=2))


def test_where_the_hub_cannot_be_imported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "s3prl.hub", None)
    with pytest.raises(InputError, match=r"^--upstream s3prl:hubert needs [^\n]*torchaudio<2\.9[^\n]*$"):
        S3prl("hubert", LayerChoice())
