import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.trajectory.matching import Network
from gandistill.trajectory.teachers import TeachConfig, teach
from gandistill.trajectory.trajectories import MOMENTS, WEIGHTS, Trajectories, file_of, write_row


@pytest.fixture
def folder(clips: FeatureSet, tmp_path: Path) -> Path:
    config = TeachConfig(features=clips.folder, head="superb", trajectories=2, epochs=2, batch=8)
    teach(config, tmp_path / "trajectories")
    return tmp_path / "trajectories"


def altered(folder: Path, **facts: object) -> Path:
    """The folder with other facts in its config, and sums to match."""
    config = json.loads((folder / artifacts.CONFIG).read_text())
    artifacts.write_json(folder / artifacts.CONFIG, config | facts)
    artifacts.write_sums(folder)
    return folder


@given(epochs=st.integers(1, 6), size=st.integers(1, 40), again=st.integers(0, 5))
@settings(deadline=None, max_examples=30)
def test_rows_make_the_file_that_safetensors_knows(
    tmp_path_factory: pytest.TempPathFactory, epochs: int, size: int, again: int
):
    path = tmp_path_factory.mktemp("rows") / "rows.safetensors"
    weights = torch.randn(epochs + 1, size)
    for row in (*range(epochs + 1), *([again] if 0 < again <= epochs else [])):
        write_row(path, (epochs + 1, size), row, weights[row])
        if row < epochs and row != again:
            with pytest.raises(InputError, match="not a readable safetensors file"):
                artifacts.load_tensors(path)
    assert torch.equal(artifacts.load_tensors(path)[WEIGHTS], weights)


def test_what_is_opened_is_what_was_taught(folder: Path, clips: FeatureSet):
    found = Trajectories.open(folder)
    assert (found.kind, found.labels, found.dims, found.frames) == ("superb", ["neutral", "happy", "sad"], 8, 16)
    assert (found.epochs, found.count) == (2, 2)
    assert found.size == Network(found.head().model).size == 8 * 256 + 256 + 256 * 3 + 3
    mean, deviation = clips.training_part().moments()
    assert torch.equal(found.mean, mean)
    assert torch.equal(found.deviation, deviation)
    for trajectory in range(2):
        stored = artifacts.load_tensors(folder / file_of(trajectory))[WEIGHTS]
        assert stored.shape == (3, found.size)
        for epoch in range(3):
            assert torch.equal(found.snapshot(trajectory, epoch), stored[epoch])


def test_its_head_standardises_as_the_teachers_and_has_weights_of_its_own(folder: Path):
    found, before = Trajectories.open(folder), torch.random.get_rng_state()
    head = found.head()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(head.mean, found.mean)
    assert torch.equal(head.deviation, found.deviation)
    assert torch.equal(Network(head.model).weights(), Network(found.head().model).weights())
    assert not torch.equal(Network(head.model).weights(), found.snapshot(0, 0))


@pytest.mark.parametrize("trajectory, epoch", [(2, 0), (-1, 0), (0, 3), (0, -1)])
def test_there_is_no_such_snapshot(folder: Path, trajectory: int, epoch: int):
    with pytest.raises(InputError, match=rf"no epoch {epoch} of trajectory {trajectory}, expected 0..2 of 0..1"):
        Trajectories.open(folder).snapshot(trajectory, epoch)


def test_a_snapshot_that_is_no_number_is_refused(folder: Path):
    found = Trajectories.open(folder)
    write_row(folder / file_of(1), (3, found.size), 2, torch.full((found.size,), torch.nan))
    found.snapshot(1, 1)
    with pytest.raises(InputError, match=r"trajectory-1.safetensors: epoch 2 holds NaN"):
        found.snapshot(1, 2)


@pytest.mark.parametrize(
    "facts, said",
    [
        ({"epochs": 3}, r"trajectory-0.safetensors: tensor 'weights' has shape \[3, .*\], expected \[4, "),
        ({"trajectories": 3}, "trajectory-2.safetensors: no such file"),
        ({"epochs": 0}, "'epochs' is missing or bad, expected a whole number from 1"),
        ({"frames": "16"}, "'frames' is missing or bad"),
        ({"head": "x"}, "Bad head in .* 'x', expected one of"),
        ({"dims": 9}, "moments.safetensors: tensor 'mean' has shape"),
        ({"kind": "head"}, "holds a gandistill head, expected a trajectories"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, facts: dict[str, object], said: str):
    with pytest.raises(InputError, match=said):
        Trajectories.open(altered(folder, **facts))


def test_what_was_changed_is_refused(folder: Path):
    moments = artifacts.load_tensors(folder / MOMENTS)
    artifacts.save_tensors(folder / MOMENTS, moments | {"deviation": -moments["deviation"]})
    with pytest.raises(InputError, match=r"moments.safetensors has changed since it was written"):
        Trajectories.open(folder)
    artifacts.write_sums(folder)
    with pytest.raises(InputError, match="a deviation is not above 0"):
        Trajectories.open(folder)
