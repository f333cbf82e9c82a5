import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import selu
from torch.testing import assert_close

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.features.pretrained import load_pretrained, normalisation
from gandistill.numerics import seeded
from gandistill.selfdistill.backbone import MODEL_TYPES, backbone_of
from gandistill.selfdistill.model import (
    BLOCKS,
    KIND,
    Convolution,
    Exit,
    Network,
    Recurrence,
    exits_of,
    load_network,
    make_block,
    save_network,
)
from tests.features.test_hubert import KINDS, LAYERS, make_model

LABELS = ["neutral", "sad", "surprised, loudly"]
LENGTHS = torch.tensor([4000, 2500])


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def network(kind: str = "wav2vec2", block: str = "lstm", exits: tuple[int, ...] = (1, 2), **facts: Any) -> Network:
    with seeded(0):
        return Network(backbone_of(make_model(kind)), exits_of(LAYERS, exits, block), LABELS, **facts).eval()


@pytest.mark.parametrize(("block", "kind"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
@torch.no_grad()
def test_recurrent_blocks_begin_with_zeros(block: str, kind: Any):
    made, hidden = make_block(block, 16).eval(), noise(2, 7, 16)
    assert isinstance(made, Recurrence)
    zeros = torch.zeros(1, 2, 16)
    plain, _ = made.recurrence(hidden, (zeros, zeros) if kind is nn.LSTM else zeros)
    assert type(made.recurrence) is kind
    assert_close(made(hidden, None), selu(made.norm(plain)))
    with seeded(5):
        again = made(hidden, None)
    assert torch.equal(again, made(hidden, None)), "nothing is drawn"


def test_the_convolution_has_four_parameters_and_hears_the_clips_alone():
    block, hidden = Convolution(), noise(2, 6, 16)
    assert sum(parameter.numel() for parameter in block.parameters()) == 4
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
    loud = hidden.masked_fill(~mask[..., None], 1e6)
    found = block(loud, mask)
    heard = hidden[mask] * block.convolution.weight.item() + block.convolution.bias.item()
    expected = ((heard - heard.mean()) / (heard.var(correction=0) + block.norm.eps).sqrt()).relu()
    assert_close(found[mask], expected)
    assert not found[~mask].any()
    assert_close(block.norm.running_mean, 0.1 * heard.mean().reshape(1))
    block.eval()
    assert_close(block(hidden, None)[mask], block(loud, mask)[mask])


@pytest.mark.parametrize("block", [*BLOCKS, None])
@torch.no_grad()
def test_an_exit_is_a_mean_over_frames_and_two_linear_layers(block: str | None):
    made, hidden = Exit(16, block, 3).eval(), noise(2, 7, 16)
    answer = made(hidden, None)
    frames = hidden if made.block is None else made.block(hidden, None)
    assert_close(answer.embedding, frames.mean(1))
    assert_close(answer.linear, answer.embedding @ made.linear.weight.T + made.linear.bias)
    assert_close(answer.logits, answer.linear @ made.classify.weight.T + made.classify.bias)
    assert (answer.linear.shape, answer.logits.shape) == ((2, 256), (2, 3))
    mask = torch.arange(7) < torch.tensor([7, 4])[:, None]
    padded = made(hidden.masked_fill(~mask[..., None], 9.0), mask)
    for part, alone in zip(padded, made(hidden[1:, :4], None), strict=True):
        assert_close(part[1:], alone, msg="padding changes nothing")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", BLOCKS)
@torch.no_grad()
def test_what_a_clip_is_batched_with_changes_nothing(kind: str, block: str):
    made, clips = network(kind, block), noise(2, 4000)
    together = dict(made.answers(clips, LENGTHS))
    assert list(together) == made.depths == [1, 2, 3]
    for row, samples in enumerate(LENGTHS.tolist()):
        for depth, alone in made.answers(clips[row : row + 1, :samples]):
            assert_close(together[depth].logits[row], alone.logits[0], atol=1e-5, rtol=1e-5)


def test_layers_above_the_last_exit_asked_for_are_not_run():
    made = network()
    for layer in made.backbone.layers[2:]:
        layer.register_forward_hook(lambda *_: pytest.fail("a layer above was run"))
    depth, _ = next(made.answers(noise(1, 4000)))
    assert depth == 1
    assert [depth for depth, _ in made.answers(noise(1, 4000), depths=[2])] == [2]
    with pytest.raises(InputError, match=r"Bad exit 7, expected one of \[1, 2, 3\]"):
        next(made.answers(noise(1, 4000), depths=[7]))


def test_exits_of():
    assert exits_of(12, (3, 8, 10), "lstm") == {3: "lstm", 8: "lstm", 10: "lstm", 12: None}
    assert exits_of(12, (), "cnn", 8) == {8: None}
    with pytest.raises(InputError, match=r"Bad depth 13, expected 1 to 12"):
        exits_of(12, (), "cnn", 13)
    for wrong in ((3, 12), (8, 10)):
        with pytest.raises(InputError, match=r"Bad exits \[.+\], the model has layers 1 to"):
            exits_of(12, wrong, "cnn", 12 if 12 in wrong else 8)
    with pytest.raises(InputError, match=r"Bad exits \[1\], expected layers of 1 to 3, the last too"):
        Network(backbone_of(make_model("wav2vec2")), {1: None}, LABELS)


def test_clips_are_prepared_as_it_was_trained():
    sound = noise(1000) + 3
    whole = network(clip=2500)
    tiled = torch.cat([sound, sound, sound[:500]])
    assert_close(whole.prepared(sound), (tiled - tiled.mean()) / (tiled.var(correction=0) + 1e-7).sqrt())
    assert torch.equal(network(normalise=False).prepared(sound), sound)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_saved_network_answers_the_same(kind: str, tmp_path: Path):
    made, clips = network(kind, "gru", facts={"corpus": "tones"}, normalise=False, clip=4000), noise(2, 4000)
    for name in ("one", "two"):
        save_network(tmp_path / name, made, {"command": "test"})
    assert artifacts.fingerprint(tmp_path / "one") == artifacts.fingerprint(tmp_path / "two")
    found = load_network(tmp_path / "one")
    assert (found.labels, found.blocks, found.facts) == (LABELS, made.blocks, {"corpus": "tones"})
    assert (found.normalise, found.clip, found.training) == (False, 4000, False)
    for (depth, answer), (other, same) in zip(made.answers(clips), found.answers(clips), strict=True):
        assert depth == other
        assert torch.equal(answer.logits, same.logits)


@torch.no_grad()
def test_an_exit_needs_only_what_lies_below_it(tmp_path: Path):
    made, clips = network(), noise(1, 4000)
    save_network(tmp_path / "network", made, {"command": "test"})
    for name in ("layer-02", "layer-03", "exit-02", "exit-03"):
        (tmp_path / "network" / f"{name}.safetensors").unlink()
    found = load_network(tmp_path / "network", [1])
    assert (found.depths, found.backbone.depth) == ([1], 1)
    ((_, answer),) = found.answers(clips)
    assert torch.equal(answer.logits, next(made.answers(clips))[1].logits)
    with pytest.raises(InputError, match=r"layer-02\.safetensors: no such file"):
        load_network(tmp_path / "network")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_network(tmp_path / "network", network(), {"command": "test"})
    return tmp_path / "network"


def change(folder: Path, key: str, value: Any) -> None:
    """Forge a network's config, its sums too."""
    config = json.loads((folder / artifacts.CONFIG).read_text())
    if value is None:
        del config[key]
    else:
        config[key] = value
    (folder / artifacts.CONFIG).write_text(json.dumps(config))
    artifacts.write_sums(folder)


ARCHITECTURE: dict[str, Any] = {"model_type": "wav2vec2", "hidden_size": 16}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("labels", None, "'labels' is missing or bad"),
        ("exits", None, "'exits' is missing or bad"),
        ("exits", {}, "'exits' is missing or bad"),
        ("exits", {"1": "tree", "3": None}, "'exits' is missing or bad"),
        ("exits", {"one": None}, "'exits' is missing or bad"),
        ("exits", {"100": None}, "'exits' is missing or bad"),
        ("exits", {"2": None}, r"tensor 'block\..*' is not expected"),
        ("normalise", 1, "'normalise' or 'clip' is missing or bad"),
        ("clip", -1, "'normalise' or 'clip' is missing or bad"),
        ("architecture", None, "'architecture' is missing or bad"),
        ("architecture", {"model_type": "bert", "hidden_size": 16}, r"Bad model type in .* 'bert', expected one of"),
        ("architecture", ARCHITECTURE | {"num_attention_heads": 5}, "not the settings of a wav2vec2"),
        ("architecture", ARCHITECTURE | {"hidden_act": "none"}, "not the settings of a wav2vec2"),
        ("architecture", {"model_type": "wav2vec2", "hidden_size": 10**6}, r".*"),
        (
            "architecture",
            {"model_type": "hubert", "hidden_size": 16, "num_attention_heads": 2},
            r"encoder\.safetensors: tensor ",
        ),
    ],
)
def test_forged_configs(saved: Path, key: str, value: Any, words: str):
    change(saved, key, value)
    with pytest.raises(InputError, match=words) as error:
        load_network(saved)
    assert "\n" not in str(error.value)


def test_what_is_not_a_network(saved: Path, tmp_path: Path):
    with pytest.raises(InputError, match=rf"Bad exit of {saved}: 9, expected one of \[1, 2, 3\]"):
        load_network(saved, [9])
    file = saved / "exit-02.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match=r"exit-02\.safetensors has changed since it was written"):
        load_network(saved)
    with artifacts.new_artifact(tmp_path / "head", "head") as folder:
        artifacts.write_json(folder / artifacts.CONFIG, artifacts.describe("head", {}))
    with pytest.raises(InputError, match=f"holds a gandistill head, expected a {KIND}"):
        load_network(tmp_path / "head")


def test_a_pretrained_model_becomes_a_network(upstream: Path):
    model, preprocessor = load_pretrained(str(upstream), "network.upstream", MODEL_TYPES)
    made = Network(backbone_of(model, 3), exits_of(4, (1,), "cnn", 3), LABELS, normalisation(preprocessor)[0])
    assert made.depths == [1, 3]
    assert made.normalise


def test_a_model_saved_in_half_precision_is_one_in_float32(tmp_path: Path):
    make_model("wav2vec2").half().save_pretrained(tmp_path / "half")
    settings = artifacts.read_json(tmp_path / "half" / artifacts.CONFIG)
    assert settings["dtype"] == "float16", "it were no test otherwise"
    model, _ = load_pretrained(str(tmp_path / "half"), "network.upstream", MODEL_TYPES)
    save_network(tmp_path / "network", Network(backbone_of(model), {LAYERS: None}, LABELS), {"command": "test"})
    for half in ("float16", "bfloat16"):
        change(tmp_path / "network", "architecture", settings | {"dtype": half})
        found = load_network(tmp_path / "network")
        assert {tensor.dtype for tensor in found.parameters()} == {torch.float32}
        assert found.backbone.config.dtype == torch.float32
        assert next(found.answers(noise(1, 4000)))[1].logits.isfinite().all()
