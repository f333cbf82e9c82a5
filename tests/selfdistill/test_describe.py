"""What is counted is what the paper counts, what the modules hold, and what running them multiplies."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.selfdistill.backbone import backbone_of
from gandistill.selfdistill.describe import UPSTREAMS, count, describe, multiply_accumulates, weight_bytes
from gandistill.selfdistill.export import export
from gandistill.selfdistill.model import BLOCKS, Network, exits_of, parts_of, save_network, transformer
from tests.features.test_hubert import KINDS, LAYERS, make_model

SECONDS = 95_744 / 16_000


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return describe("facebook/wav2vec2-base", [3, 8, 10], "lstm", 7)


def millions(parameters: int) -> float:
    return round(parameters / 1e6, 1)


def by_exit(described: dict[str, Any], key: str) -> dict[int, Any]:
    return {each["exit"]: each[key] for each in described["exits"]}


def test_table_2_of_the_paper(base: dict[str, Any]):
    finetuned, paper = by_exit(base, "parameters_finetuned"), by_exit(base, "parameters_paper")
    assert {exit: millions(n) for exit, n in finetuned.items()} == {3: 31.5, 8: 66.9, 10: 81.1, 12: 95.2}
    assert {exit: millions(n) for exit, n in paper.items()} == {3: 36.2, 8: 71.6, 10: 85.8, 12: 100.0}
    assert millions(base["parameters_training"]) == 110.0
    assert millions(base["parameters_layerwise"]) == 38.5
    students = {block: describe("wav2vec2-base", [3], block, 7)["parameters_layerwise"] for block in ("cnn", "gru")}
    assert {block: millions(n) for block, n in students.items()} == {"cnn": 24.4, "gru": 35.0}


def test_parameters_of_the_base_model_by_hand(base: dict[str, Any]):
    """transformers' Wav2Vec2ForPreTraining has 95,044,608; layers, blocks and linears follow from 768, 3072 and 256."""
    layer = 4 * (768 * 768 + 768) + 768 * 3072 + 3072 + 3072 * 768 + 768 + 4 * 768
    block = 4 * (2 * 768 * 768 + 2 * 768) + 2 * 768
    head = 768 * 256 + 256 + 256 * 7 + 7
    quantiser = 320 * 2 * 128 + 512 * 640 + 640 + 768 * 256 + 256 + 256 * 256 + 256
    assert base["parameters_quantiser"] == quantiser == 672_896
    assert by_exit(base, "parameters_paper")[3] == 95_044_608 - 9 * layer + block + head
    assert base["parameters_training"] == 95_044_608 + 3 * block + 4 * head
    mask = 768  # the vector that masking in pretraining puts in place of frames
    assert base["parameters_training_held"] == base["parameters_training"] - quantiser - mask
    assert by_exit(base, "parameters_deployed") == {
        exit: 95_044_608 - quantiser - mask - (12 - exit) * layer + (block if exit < 12 else 0) + head
        for exit in (3, 8, 10, 12)
    }


def test_multiply_accumulates_of_the_base_model_by_hand(base: dict[str, Any]):
    """95,744 samples give 19,147, 9,573, 4,786, 2,392, 1,195, 597 and 298 frames; a weight multiplies once a frame."""
    frames = [19_147, 9_573, 4_786, 2_392, 1_195, 597, 298]
    kernels = [10, 3, 3, 3, 3, 2, 2]
    found = sum(f * k * (1 if k == 10 else 512) * 512 for f, k in zip(frames, kernels, strict=True))
    found += 298 * 512 * 768 + 299 * 128 * 48 * 768  # projection, positions: one frame more for its even kernel
    layer = 298 * (4 * 768 * 768 + 2 * 768 * 3072) + 2 * 298 * 298 * 768
    block, head = 298 * 4 * 2 * 768 * 768, 768 * 256 + 256 * 7
    costs = by_exit(base, "multiply_accumulates_per_second")
    assert costs[3] == round((found + 3 * layer + block + head) / SECONDS)
    assert costs[8] == round((found + 8 * layer + block + head) / SECONDS)
    assert costs[12] == round((found + 12 * layer + head) / SECONDS)


def tiny(kind: str, block: str, device: str = "meta") -> Network:
    with torch.device(device):
        model = transformer(make_model(kind).config.to_dict(), LAYERS, "the test")
        return Network(backbone_of(model), exits_of(LAYERS, [1], block), ["a", "b"]).eval()


class Step(nn.Module):
    """A recurrence as the products of matrices that it is, which torch's counter sees."""

    def __init__(self, recurrence: Any) -> None:
        super().__init__()
        self.recurrence = recurrence

    def forward(self, hidden: Tensor) -> tuple[Tensor]:
        for frame in hidden.unbind(1):
            frame @ self.recurrence.weight_ih_l0.T
            frame @ self.recurrence.weight_hh_l0.T
        return (hidden,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_count_equals_that_of_a_whole_run(kind: str, block: str):
    counted = multiply_accumulates(tiny(kind, block), 4000)
    network = tiny(kind, block, "cpu")
    if block != "cnn":
        made: Any = network.exits["1"].get_submodule("block")
        made.recurrence = Step(made.recurrence)
    for depth in (1, LAYERS):
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            list(network.answers(torch.zeros(1, 4000), depths=[depth]))
        assert counted[depth] == counter.get_total_flops() // 2


def test_attention_grows_with_the_square_of_the_clip_and_all_else_with_its_length():
    network = tiny("wav2vec2", "gru")
    one, two, four = (multiply_accumulates(network, 320 * 100 * n + 400)[LAYERS] for n in (1, 2, 4))
    assert 4 * one < four
    assert two - 2 * one > 0


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm-layer"])
def test_bytes_are_those_of_the_exported_tensors(tmp_path: Path, kind: str, precision: str):
    network = Network(backbone_of(make_model(kind)), exits_of(LAYERS, [1], "lstm"), ["a", "b"])
    save_network(tmp_path / "whole", network, {"command": "test"})
    export(tmp_path / "whole", 1, tmp_path / "exit", precision)
    files = sorted((tmp_path / "exit").glob("*.safetensors"))
    stored = sum(file.stat().st_size - 8 - int.from_bytes(file.read_bytes()[:8], "little") for file in files)
    assert weight_bytes(network, 1, precision) == stored
    assert len(files) == 3


def test_what_is_deployed_is_what_is_kept(tmp_path: Path):
    make_model("wav2vec2").save_pretrained(tmp_path)
    described = describe(str(tmp_path), [1], "gru", 3)
    network = Network(backbone_of(make_model("wav2vec2")), exits_of(LAYERS, [1], "gru"), ["a", "b", "c"])
    kept = {name: count(part) for name, part in parts_of(network).items()}
    assert by_exit(described, "parameters_deployed")[1] == sum(
        kept[f"{part}.safetensors"] for part in ("encoder", "layer-01", "exit-01")
    )
    assert described["parameters_training_held"] == sum(kept.values())


def test_a_model_saved_in_half_precision_costs_the_same(tmp_path: Path):
    make_model("wav2vec2").save_pretrained(tmp_path / "whole")
    make_model("wav2vec2").half().save_pretrained(tmp_path / "half")
    whole, half = (describe(str(tmp_path / name), [1], "lstm", 3) for name in ("whole", "half"))
    assert {**whole, "upstream": ""} == {**half, "upstream": ""}


WHISPERS = {"tiny": 8.2, "base": 20.6, "small": 88.2, "medium": 307.2, "large": 635.0}
"""Million parameters of the encoder, with positions, by the first part of the name."""


@pytest.mark.parametrize("upstream", [name for name in UPSTREAMS if name.startswith("whisper")])
def test_known_whispers(upstream: str):
    described = describe(f"openai/{upstream}", [1], "cnn", 4)
    size = upstream.split("-")[1].split(".", maxsplit=1)[0]
    assert described["layers"] == {"tiny": 4, "base": 6, "small": 12, "medium": 24, "large": 32}[size]
    deployed = by_exit(described, "parameters_deployed")[described["layers"]]
    assert millions(deployed) == pytest.approx(WHISPERS[size], abs=2.5 if size == "large" else 0.4)
    assert described["parameters_quantiser"] == 0


@pytest.mark.parametrize("upstream", [name for name in UPSTREAMS if not name.startswith("whisper")])
def test_known_upstreams(upstream: str):
    described = describe(upstream, [3], "cnn", 4)
    large = "large" in upstream
    assert described["layers"] == (24 if large else 12)
    assert millions(by_exit(described, "parameters_deployed")[described["layers"]]) == pytest.approx(
        315.4 if large else 94.6, abs=0.4
    )
    assert (described["parameters_quantiser"] > 0) == upstream.startswith("wav2vec2")


def test_other_names_of_the_same_models():
    for name, other in [("hubert-base", "facebook/hubert-base-ls960"), ("wavlm-base-plus", "microsoft/wavlm-base")]:
        one, two = (describe(upstream, [3], "cnn", 4) for upstream in (name, other))
        assert {**one, "upstream": ""} == {**two, "upstream": ""}


def test_fewer_layers_may_be_kept():
    first = describe("wav2vec2-base", [], "lstm", 7, depth=3)
    assert [each["exit"] for each in first["exits"]] == [3]
    assert by_exit(first, "parameters_finetuned")[3] == first["parameters_training"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"upstream": "wav2vec2-huge"}, "Bad upstream 'wav2vec2-huge', expected one of [hubert-base, "),
        ({"exits": [3, 13]}, "Bad exits [13], the model has layers 1 to 12"),
        ({"exits": [12]}, "Bad exits [12]"),
        ({"block": "mlp"}, "Bad block 'mlp', expected one of [cnn, lstm, gru]"),
        ({"classes": 1}, "Bad number of classes 1"),
        ({"exits": [8, 3]}, "Bad exits [8, 3], expected different layers in rising order"),
        ({"exits": [3, 3]}, "Bad exits [3, 3], expected different layers in rising order"),
        ({"depth": 13}, "Bad depth 13, expected 1 to 12"),
        ({"depth": 0}, "Bad depth 0, expected 1 to 12"),
    ],
)
def test_bad_requests(changes: dict[str, Any], words: str):
    with pytest.raises(InputError) as error:
        describe(**{"upstream": "wav2vec2-base", "exits": [3], "block": "cnn", "classes": 4} | changes)
    assert words in str(error.value)


def test_folders_that_are_no_model(tmp_path: Path):
    with pytest.raises(InputError, match=r"config\.json"):
        describe(str(tmp_path), [1], "cnn", 4)
    (tmp_path / artifacts.CONFIG).write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match=r"Bad model type in .* 'bert'"):
        describe(str(tmp_path), [1], "cnn", 4)
