"""Layer-wise distillation: its loss by hand, and its two stages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gandistill.numerics import drawn_by
from gandistill.run import CHECKPOINTS, STATE
from gandistill.selfdistill.backbone import Backbone, backbone_of, load_upstream
from gandistill.selfdistill.fitting import WEIGHTS
from gandistill.selfdistill.layerwise import FOLDER, LayerwiseStudent, layerwise_loss, prediction_loss
from gandistill.selfdistill.model import NETWORK, load_network
from gandistill.selfdistill.training import train
from tests.selfdistill.conftest import LAYERWISE, UPDATES, metrics


def test_the_loss_of_a_prediction_by_hand():
    """Distance (1 + 1) / 2, cosine 24/25; one opposite vector has cosine -1."""
    teacher, predicted = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    terms = prediction_loss(teacher, predicted, 0.5)
    assert terms["l1"].item() == pytest.approx(1)
    assert terms["cosine"].item() == pytest.approx(np.log(1 + np.exp(-24 / 25)))
    assert terms["loss"].item() == pytest.approx(1 + 0.5 * np.log(1 + np.exp(-24 / 25)))
    assert prediction_loss(teacher, -teacher, 1)["cosine"].item() == pytest.approx(np.log(1 + np.e))


@pytest.fixture
def both(upstream: Path) -> tuple[Backbone, LayerwiseStudent]:
    """A teacher of four layers, and a student of its first two that predicts the third and fourth."""
    teacher, first = (backbone_of(load_upstream(str(upstream))[0], depth).eval() for depth in (4, 2))
    with drawn_by(0, WEIGHTS):
        student = LayerwiseStudent(first, (3, 4), "cnn").eval()
    return teacher, student


def test_a_student_predicts_from_its_last_layer(both: tuple[Backbone, LayerwiseStudent]):
    _, student = both
    clips = torch.randn(2, 1600)
    predicted, mask = student(clips, None)
    last = list(student.backbone.states(clips))[-1]
    assert mask is None
    assert predicted.keys() == {3, 4}
    for layer, block in student.blocks.items():
        torch.testing.assert_close(predicted[int(layer)], block(last, None))


def test_the_loss_is_a_mean_over_layers_and_frames_that_are_heard(both: tuple[Backbone, LayerwiseStudent]):
    """Padding has no part in it, and no gradient reaches the teacher."""
    teacher, student = both
    clips, lengths = torch.randn(2, 3200), torch.tensor([3200, 1600])
    clips[1, 1600:] = 0
    predicted, mask = student(clips, lengths)
    assert mask is not None
    assert 0 < (~mask).sum() < mask.numel()
    goals = dict(enumerate(teacher.states(clips, lengths), 1))
    each = [prediction_loss(goals[layer][mask], predicted[layer][mask], 0.5) for layer in (3, 4)]
    found = layerwise_loss(teacher, student, clips, lengths, 0.5)
    assert found.keys() == {"loss", "l1", "cosine"}
    for name, value in found.items():
        torch.testing.assert_close(value.float(), torch.stack([term[name] for term in each]).mean())
    found["loss"].backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert all(weight.grad is not None for weight in student.blocks.parameters())


def test_a_student_learns_deeper_layers_and_becomes_a_plain_network(
    configured: Any, upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two layers of a model learn to predict deeper ones, and become a plain network; the teacher never moves."""
    students = []

    class Watched(LayerwiseStudent):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            students.append(self)

    monkeypatch.setattr("gandistill.selfdistill.layerwise.LayerwiseStudent", Watched)
    train(configured(**LAYERWISE | {"layerwise": {"layers": [1, 3, 4], "epochs": 12}}), tmp_path / "run")
    lines = metrics(tmp_path / "run" / FOLDER)
    assert lines[0].keys() == {"step", "loss", "l1", "cosine", "gradient_norm"}
    first, last = (np.mean([line["loss"] for line in part]) for part in (lines[:UPDATES], lines[-UPDATES:]))
    assert last < 0.7 * first
    (student,) = students
    assert sorted(student.blocks) == ["1", "3", "4"]
    network = load_network(tmp_path / "run" / NETWORK)
    assert (network.blocks, network.backbone.depth) == ({2: None}, 2)
    assert metrics(tmp_path / "run")[0].keys() == {"step", "loss", "cross_entropy", "gradient_norm"}
    learned = load_file(max((tmp_path / "run" / FOLDER / CHECKPOINTS).iterdir()) / STATE)
    assert any(name.startswith("module/backbone.layers.1") for name in learned)


def test_a_layerwise_students_first_stage_goes_into_the_second(configured: Any, tmp_path: Path):
    changes = LAYERWISE | {"training": {"learning_rate": 1e-12, "epochs": 1}}
    train(configured(**changes | {"layerwise": None}), tmp_path / "plain")
    train(configured(**changes), tmp_path / "barely")
    barely, plain = (metrics(tmp_path / run)[0]["loss"] for run in ("barely", "plain"))
    assert barely == pytest.approx(plain, rel=1e-5), "a stage that hardly moves anything changes nothing"
    train(configured(**LAYERWISE), tmp_path / "moved")
    assert metrics(tmp_path / "moved")[0]["loss"] != pytest.approx(plain, rel=1e-5)
