"""What is written as ONNX computes what torch does, says what it is, and tells nothing of where it was made."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gandistill import __version__, onnx
from gandistill.errors import InputError, RunError


class Doubled(nn.Module):
    def forward(self, number: Tensor) -> Tensor:
        return number + number


NUMBERS = {"number": torch.tensor([[1.0, -2.0], [0.5, 3.0]])}
ROWS = {"number": {0: torch.export.Dim("rows", min=1)}}


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    for package in onnx.EDGE:
        with monkeypatch.context() as context:
            context.setitem(sys.modules, package, None)
            with pytest.raises(InputError, match=rf"needs {package}: run 'pip install gandistill\[edge\]'"):
                onnx.program(Doubled(), NUMBERS, ["doubled"], ROWS)


def test_a_model_that_computes_something_else_is_not_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    model, file = onnx.program(Doubled().eval(), NUMBERS, ["doubled"], ROWS), tmp_path / "model.onnx"
    wrong = NUMBERS["number"] * 2 + 0.01
    with pytest.raises(RunError, match=r"doubled of ONNX Runtime differ from torch by 0.0017, above 0.0001"):
        onnx.write(file, model, [NUMBERS], [[wrong]], {})
    assert not [*tmp_path.iterdir()]
    assert onnx.write(file, model, [NUMBERS], [[wrong]], {}, unit=torch.tensor([100.0, 200.0])) == pytest.approx(1e-4)
    assert capfd.readouterr() == ("", ""), "what the exporter has to say stays with it"


def test_it_says_what_it_is_and_not_where_it_was_made(tmp_path: Path):
    import onnxruntime

    model, file = onnx.program(Doubled().eval(), NUMBERS, ["doubled"], ROWS), tmp_path / "model.onnx"
    assert onnx.write(file, model, [NUMBERS], [[NUMBERS["number"] * 2]], {"corpus": "test", "labels": ["a", "ä"]}) == 0
    told = onnx.summary("test", file, model, 0.0)
    assert told["inputs"] == {"number": ["rows", 2]}
    assert told["outputs"] == {"doubled": ["rows", 2]}
    assert told["bytes"] == len(content := file.read_bytes())
    assert model.opset_import[0].version == onnx.OPSET
    metadata = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    assert metadata == {"corpus": "test", "labels": '["a", "ä"]', "gandistill": __version__}
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[1]).encode() not in content


@pytest.mark.parametrize(
    ("found", "wanted", "differs"),
    [
        ([0.50012, 0.0], [0.5, 0.0], 1.2e-4),
        ([20.001, 0.001], [20.0, 0.0], 5e-5),
        ([20.0, 0.0021], [20.0, 0.0], 1.05e-4),
        ([float("nan"), 0.0], [0.5, 0.0], float("nan")),
    ],
)
def test_the_tolerance_by_hand(found: list[float], wanted: list[float], differs: float):
    """Absolute where no number is above 1, as no probability is, else a share of the largest: never their sum."""
    difference = onnx.largest_difference(torch.tensor(found), torch.tensor(wanted))
    assert difference == pytest.approx(differs, rel=1e-2, nan_ok=True)


def test_the_tolerance_in_units_by_hand():
    found, wanted = torch.tensor([20.001, 0.001]), torch.tensor([20.0, 0.0])
    assert onnx.largest_difference(found, wanted, torch.tensor([10.0, 0.5])) == pytest.approx(2e-3, rel=1e-2)


@pytest.mark.parametrize("name", ["model", "model.pt", "folder.onnx"])
def test_files_are_named_as_what_they_are(tmp_path: Path, name: str):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match=r"Bad --out .*, expected the name of a file that ends in .onnx"):
        onnx.check_file(tmp_path / name)
