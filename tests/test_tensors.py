"""Tensor files come back bit for bit, or are refused before they take memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.errors import InputError
from gandistill.files import sha256
from gandistill.tensors import check_tensors, header, load_module, load_tensors, save_tensors


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "view": torch.arange(12.0).reshape(3, 4).T[1:],
        "half": torch.randn(3).half(),
        "number": torch.tensor([2**40, -1]),
        "empty": torch.empty(0, 3),
        "learned": torch.nn.Parameter(torch.ones(2)),
    }
    save_tensors(tmp_path / "a.safetensors", tensors, {"note": "x"})
    loaded = load_tensors(tmp_path / "a.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    first = sha256(tmp_path / "a.safetensors")
    save_tensors(tmp_path / "a.safetensors", dict(reversed(tensors.items())), {"note": "x"})
    assert sha256(tmp_path / "a.safetensors") == first


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, bad: float, dtype: torch.dtype) -> None:
    save_tensors(tmp_path / "a.safetensors", {"w": torch.tensor([0.0, bad], dtype=dtype)})
    with pytest.raises(InputError, match="tensor 'w' holds NaN or infinite values"):
        load_tensors(tmp_path / "a.safetensors")


def test_a_damaged_tensor_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"w": torch.ones(100)})
    whole = path.read_bytes()
    for content in (b"", whole[:50], whole[:-1], b"\xff" * 64, b"\x80\x04\x95pickle."):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a readable safetensors file"):
            load_tensors(path)
    with pytest.raises(InputError, match="no such file"):
        load_tensors(tmp_path / "none.safetensors")


def test_a_module_takes_only_what_fits(tmp_path: Path) -> None:
    module, where = torch.nn.Linear(2, 3), tmp_path / "w"
    good = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    load_module(module, good, where)
    assert torch.equal(module.weight, torch.ones(3, 2))
    for tensors, message in (
        ({"weight": good["weight"]}, "tensor 'bias' is missing"),
        (good | {"extra": torch.ones(1)}, "tensor 'extra' is not expected"),
        (good | {"weight": torch.ones(2, 3)}, r"tensor 'weight' has shape \[2, 3\], expected \[3, 2\]"),
    ):
        with pytest.raises(InputError, match=message):
            load_module(module, tensors, where)


def write(path: Path, header: dict[str, Any], data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "words"),
    [
        ("F4", [2], 1, r"tensor 'a\\nb' is F4, expected one of \[F64, "),
        ("F8_E5M2", [2], 2, "is F8_E5M2"),
        ("C64", [1], 8, "is C64"),
        ("X1", [1], 8, "not a readable safetensors file"),
        ("F32", [2], 4, "not a readable safetensors file"),
        ("F32", [-1], 4, "not a readable safetensors file"),
        ("F32", [2**62, 4], 4, "not a readable safetensors file"),
        ("F32", [0, 2**63], 0, "no tensor can"),
    ],
)
def test_headers_that_no_tensor_has(tmp_path: Path, dtype: str, shape: list[int], size: int, words: str) -> None:
    path = write(tmp_path / "a", {"a\nb": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}, bytes(size))
    with pytest.raises(InputError, match=words) as caught:
        load_tensors(path)
    assert "\n" not in str(caught.value)


def test_what_is_expected_is_compared_with_the_header_alone(tmp_path: Path) -> None:
    with torch.device("meta"):
        module = torch.nn.Linear(2**20, 2**20)
    path = tmp_path / "a"
    save_tensors(path, {"weight": torch.ones(3, 2), "bias": torch.zeros(3)})
    assert header(path) == {"weight": ("F32", [3, 2]), "bias": ("F32", [3])}
    with pytest.raises(InputError, match=r"shape \[3(, 2)?\], expected \[1048576"):
        check_tensors(path, module.state_dict())
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        header(path)


def test_a_module_without_memory_is_filled_in_its_own_layout(tmp_path: Path) -> None:
    convolution = torch.nn.Conv2d(4, 3, 3)
    with torch.device("meta"):
        module = torch.nn.Conv2d(4, 3, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.weight.requires_grad_(False)
    load_module(module, convolution.state_dict(), tmp_path)
    assert torch.equal(module.weight, convolution.weight)
    assert module.weight.is_contiguous(memory_format=torch.channels_last)
    assert not module.weight.requires_grad
    with pytest.raises(InputError, match="tensor 'bias' is float64, expected float32"):
        load_module(module, convolution.state_dict() | {"bias": torch.zeros(3).double()}, tmp_path)


def test_what_was_loaded_does_not_follow_the_file(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a", {"w": torch.ones(100)})
    loaded = load_tensors(tmp_path / "a")["w"]
    with (tmp_path / "a").open("r+b") as file:
        file.truncate(0)
    assert loaded.sum() == 100
