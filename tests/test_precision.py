"""Weights in float16 and int8 come back within their rounding, and files that hold anything else are refused."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.precision import PRECISIONS, STEP, load_weights, quantised, save_weights, stored, transposed


def written(folder: Path, weights: dict[str, Tensor], precision: str, transposed: tuple[str, ...] = ()) -> Path:
    with artifacts.new_artifact(folder, "test") as building:
        save_weights(building / "w.safetensors", weights, precision, transposed)
        artifacts.write_json(building / artifacts.CONFIG, {"kind": "test"})
    return folder / "w.safetensors"


def meta(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.to("meta") for name, weight in weights.items()}


def test_a_matrix_in_int8_by_hand():
    """The first row's largest is 254, so a step is 2, and -3 lies between -2 and -1 steps: to even, -2 of them."""
    steps, step = quantised(torch.tensor([[254.0, -3.0, 1.2], [0.0, 0.0, 0.0], [-0.127, 0.0634, 0.0]]), 0)
    assert steps.tolist() == [[127, -2, 1], [0, 0, 0], [-127, 63, 0]]
    assert steps.dtype == torch.int8
    assert step.flatten().tolist() == pytest.approx([2, 0, 0.001])


def test_a_step_for_each_output_channel_wherever_that_dim_is():
    weight = torch.tensor([[127.0, 1.27], [63.5, 0.0]])
    assert quantised(weight, 1)[0].tolist() == [[127, 127], [64, 0]], "63.5 to even"
    assert quantised(weight, 1)[1].tolist() == [[1.0, pytest.approx(0.01)]]
    assert quantised(weight, 0)[1].shape == (2, 1)
    module = nn.Sequential(nn.ConvTranspose2d(3, 5, 4), nn.Conv2d(5, 2, 3), nn.Linear(2, 2))
    assert transposed(module) == {"0.weight"}
    held = stored(module.state_dict(), "int8", transposed(module))
    assert held["0.weight" + STEP].shape == (1, 5, 1, 1)
    assert held["1.weight" + STEP].shape == (2, 1, 1, 1)
    assert held["2.weight" + STEP].shape == (2, 1)


def test_what_stays_as_it_is():
    weights = {
        "w": torch.randn(3, 4),
        "bias": torch.randn(3),
        "count": torch.tensor(2**40),
        "mask": torch.ones(2, 2) > 0,
    }
    kinds = {precision: {n: t.dtype for n, t in stored(weights, precision).items()} for precision in PRECISIONS}
    half, whole = torch.float16, {"count": torch.int64, "mask": torch.bool}
    assert kinds["float32"] == {"w": torch.float32, "bias": torch.float32} | whole
    assert kinds["float16"] == {"w": half, "bias": half} | whole
    assert kinds["int8"] == {"w": torch.int8, "w" + STEP: torch.float32, "bias": torch.float32} | whole


numbers = st.floats(-(2.0**100), 2.0**100, width=32)


@settings(deadline=None, max_examples=25)
@given(
    rows=st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=4), channels=st.sampled_from([0, 1])
)
def test_int8_is_within_half_a_step(tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], channels: int):
    weights = {"w": torch.tensor(rows, dtype=torch.float32)}
    turned = ("w",) if channels else ()
    path = written(tmp_path_factory.mktemp("int8") / "a", weights, "int8", turned)
    back = load_weights(path, meta(weights), "int8", turned)["w"]
    most = weights["w"].abs().amax(1 - channels, keepdim=True)
    assert ((back - weights["w"]).abs() <= most / 127 * 0.501 + 1e-42).all()


@settings(deadline=None, max_examples=25)
@given(values=st.lists(st.floats(-65504, 65504, width=32), min_size=1, max_size=5))
def test_float16_is_within_its_rounding(tmp_path_factory: pytest.TempPathFactory, values: list[float]):
    weights = {"w": torch.tensor(values, dtype=torch.float32)}
    path = written(tmp_path_factory.mktemp("half") / "a", weights, "float16")
    back = load_weights(path, meta(weights), "float16")["w"]
    assert back.dtype == torch.float32
    assert ((back - weights["w"]).abs() <= weights["w"].abs() * 2.0**-11 + 2.0**-25).all()


def test_float32_is_bit_for_bit(tmp_path: Path):
    weights = {"w": torch.randn(3, 4) * 1e30, "count": torch.tensor(3)}
    back = load_weights(written(tmp_path / "a", weights, "float32"), meta(weights), "float32")
    assert all(torch.equal(back[name], weight) for name, weight in weights.items())


def test_numbers_beyond_float16_are_refused(tmp_path: Path):
    weights = {"w": torch.tensor([[1.0, -70_000.0]])}
    with pytest.raises(InputError, match=r"Tensor 'w' holds numbers up to 7e\+04, beyond float16's 65,504"):
        written(tmp_path / "a", weights, "float16")
    assert not any(tmp_path.iterdir()), "nothing is left behind"
    back = load_weights(written(tmp_path / "a", weights, "int8"), meta(weights), "int8")
    assert back["w"].tolist() == [[pytest.approx(1, abs=70_000 / 254), pytest.approx(-70_000)]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": torch.ones(2, 3)}, "tensor 'w' is float32, expected int8"),
        ({"w": torch.ones(2, 3).half()}, "tensor 'w' is float16, expected int8"),
        ({"w": torch.ones(3, 2, dtype=torch.int8)}, r"tensor 'w' has shape \[3, 2\], expected \[2, 3\]"),
        ({"w" + STEP: torch.ones(2)}, r"tensor 'w.step' has shape \[2\], expected \[2, 1\]"),
        ({"w" + STEP: torch.ones(2, 1).half()}, "tensor 'w.step' is float16, expected float32"),
        ({"w" + STEP: torch.full((2, 1), math.nan)}, "tensor 'w.step' holds NaN or infinite values"),
        ({"w" + STEP: torch.full((2, 1), 3e38)}, "tensor 'w' stands for numbers beyond float32"),
        ({"bias": torch.ones(2, dtype=torch.int8)}, "tensor 'bias' is int8, expected float32"),
        ({"bias" + STEP: torch.ones(1)}, "tensor 'bias.step' is not expected"),
    ],
)
def test_files_that_hold_anything_else_are_refused(tmp_path: Path, change: dict[str, Tensor], message: str):
    weights = {"w": torch.tensor([[1.0, 2.0, 3.0]] * 2), "bias": torch.zeros(2)}
    path = written(tmp_path / "a", weights, "int8")
    artifacts.save_tensors(path, artifacts.load_tensors(path) | change)
    artifacts.write_sums(path.parent)
    with pytest.raises(InputError, match=message):
        load_weights(path, meta(weights), "int8")


def test_a_file_of_another_precision_is_refused(tmp_path: Path):
    weights = {"w": torch.ones(2, 3)}
    for precision in PRECISIONS:
        path = written(tmp_path / precision, weights, precision)
        for other in set(PRECISIONS) - {precision}:
            with pytest.raises(InputError, match=r"tensor 'w"):
                load_weights(path, meta(weights), other)
