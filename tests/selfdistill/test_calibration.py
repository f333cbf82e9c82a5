import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gandistill import artifacts
from gandistill.corpora.manifest import read_manifest, write_manifest
from gandistill.errors import InputError
from gandistill.metrics import confusion_matrix, unweighted_average_recall
from gandistill.selfdistill import calibration
from gandistill.selfdistill.calibration import (
    FACT,
    TEMPERATURES,
    Calibration,
    calibrate,
    learned,
    leaving,
    temperature,
    tempered,
    thresholds,
)
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.inference import logits
from gandistill.selfdistill.model import Network, load_network, save_network

MakeNetwork = Callable[..., Network]


def test_a_temperature_by_hand() -> None:
    """Logits (2, 0) that are right three times of four should say 3/4: sigmoid(2 / T) = 3/4 at T = 2 / log 3."""
    said = torch.tensor([[2.0, 0.0]] * 4)
    found = temperature(said, np.array([0, 0, 1, 0]))
    assert found == pytest.approx(2 / math.log(3), rel=1e-4)
    assert tempered(said, found)[0].tolist() == pytest.approx([0.75, 0.25], rel=1e-4)


def test_an_exit_without_mistakes_or_without_sense_has_a_temperature_too() -> None:
    said = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert temperature(said, np.array([0, 1])) == pytest.approx(TEMPERATURES[0], rel=1e-3)
    assert temperature(said, np.array([1, 0])) == pytest.approx(TEMPERATURES[1], rel=1e-3)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5.0))
def test_a_temperature_has_the_least_likelihood_and_scales_with_the_logits(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    said, targets = torch.from_numpy(rng.normal(size=(60, 3))), rng.integers(3, size=60)
    said[range(60), targets] += 1.5
    found = temperature(said, targets)

    def likelihood(t: float) -> float:
        return -float(tempered(said, t)[range(60), targets].log().mean())

    assert all(likelihood(found) <= likelihood(t) + 1e-9 for t in (1.0, found * 0.9, found * 1.1))
    assert temperature(said * scale, targets) == pytest.approx(found * scale, rel=1e-3)


def test_leaving_by_hand() -> None:
    confidence = np.array([[0.9, 0.5, 0.2], [0.1, 0.8, 0.5], [0.0, 0.0, 0.0]])
    assert leaving(confidence, 0.5).tolist() == [0, 1, 2]
    assert leaving(confidence, 0.0).tolist() == [0, 0, 0]
    assert leaving(confidence, 1.0).tolist() == [2, 2, 2]


def test_thresholds_by_hand() -> None:
    assert thresholds(np.array([[0.4, 0.8], [0.8, 0.5]])) == pytest.approx([0.65, 0.45, 0.0])


def said_by(predicted: list[int], confidence: list[float]) -> torch.Tensor:
    """Logits of two classes, of these confidences at temperature 1."""
    p = np.array(confidence)
    rows = np.log(np.stack([p, 1 - p], 1))
    return torch.from_numpy(np.where(np.array(predicted)[:, None] == 0, rows, rows[:, ::-1]).copy())


@pytest.fixture
def _as_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The temperatures are 1, so that confidences are what the example says."""
    monkeypatch.setattr(calibration, "temperature", lambda *_: 1.0)


@pytest.mark.usefixtures("_as_said")
def test_a_threshold_by_hand() -> None:
    """Sorted by the confidence of exit 3: right, right, wrong, right; the deepest is always right.

    Two leave before the mistake. With it, class 0's recall falls from 1 to 1/2, and UAR from 1 to 3/4.
    """
    targets = np.array([0, 1, 0, 1])
    said = {3: said_by([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.6]), 12: said_by([0, 1, 0, 1], [0.6] * 4)}
    found = learned(said, targets, 0.1)
    assert found.threshold == pytest.approx(0.75)
    assert (found.uar, found.deepest_uar, found.utterances, found.uar_loss) == (1.0, 1.0, 4, 0.1)
    assert found.mean_depth == (3 + 3 + 12 + 12) / 4
    assert found.temperatures == {3: 1.0, 12: 1.0}
    everything = learned(said, targets, 0.25)
    assert (everything.threshold, everything.uar, everything.mean_depth) == (0.0, 0.75, 3.0)


@pytest.mark.usefixtures("_as_said")
def test_a_lower_threshold_that_keeps_uar_by_luck_is_not_taken() -> None:
    """The surest answer is wrong; what follows would make up for it, since there exit 3 is right and 12 is wrong."""
    said = {3: said_by([1, 0, 1], [0.9, 0.8, 0.7]), 12: said_by([0, 1, 1], [0.6] * 3)}
    found = learned(said, np.array([0, 0, 1]), 0.0)
    assert (found.threshold, found.mean_depth, found.uar) == (1.0, 12.0, 0.75)
    assert learned(said, np.array([0, 0, 1]), 0.25).threshold == 0.0


def uar_at(said: dict[int, torch.Tensor], targets: NDArray[np.int64], found: Calibration, threshold: float) -> float:
    _, p = found.model_copy(update={"threshold": threshold}).chosen(said)
    return unweighted_average_recall(confusion_matrix(targets, p.argmax(-1).numpy(), p.shape[-1]))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.1, 0.5]))
def test_a_threshold_keeps_its_word_and_a_lower_one_would_not(seed: int, loss: float) -> None:
    rng = np.random.default_rng(seed)
    targets, said = rng.integers(3, size=40), {}
    for depth, gain in ((3, 1.0), (8, 1.5), (12, 2.0)):
        said[depth] = torch.from_numpy(rng.normal(size=(40, 3)))
        said[depth][range(40), targets] += gain
    found = learned(said, targets, loss)
    depths, p = found.chosen(said)
    assert found.uar == unweighted_average_recall(confusion_matrix(targets, p.argmax(-1).numpy(), 3))
    assert found.mean_depth == depths.mean()
    assert found.uar >= found.deepest_uar - loss - 1e-9
    assert found.deepest_uar == uar_at(said, targets, found, 1.0)
    confidence = np.stack([tempered(said[depth], found.temperatures[depth]).amax(-1).numpy() for depth in (3, 8)])
    lower = [each for each in thresholds(confidence) if each < found.threshold]
    assert not lower or uar_at(said, targets, found, lower[0]) < found.deepest_uar - loss
    higher = [each for each in thresholds(confidence) if each >= found.threshold]
    assert all(uar_at(said, targets, found, each) >= found.deepest_uar - loss - 1e-9 for each in higher)


def test_calibrate_changes_one_fact_and_no_weight(network: Path, manifest: Path) -> None:
    before = {file.name: file.read_bytes() for file in network.iterdir()}
    config = artifacts.read_json(network / artifacts.CONFIG)
    found = calibrate(network, manifest, 0.2)
    artifacts.open_artifact(network, "selfdistilled")
    after = {file.name: file.read_bytes() for file in network.iterdir()}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {artifacts.CONFIG, artifacts.SUMS}
    kept = artifacts.read_json(network / artifacts.CONFIG)
    assert kept == config | {FACT: kept[FACT]}
    dev = Utterances.read(manifest, "dev")
    loaded = load_network(network)
    told = Calibration.of(loaded, network)
    assert told == Calibration.build(found, "what was returned")
    assert told == learned(logits(loaded, dev), dev.targets, 0.2)
    assert (told.utterances, told.uar_loss) == (len(dev), 0.2)
    calibrate(network, manifest, 0.2)
    assert {file.name: file.read_bytes() for file in network.iterdir()} == after


def test_calibrate_looks_at_dev_alone(network: Path, manifest: Path, tmp_path: Path) -> None:
    dev = [entry for entry in read_manifest(manifest) if entry.split == "dev"]
    write_manifest(tmp_path / "dev.csv", dev)
    assert calibrate(network, tmp_path / "dev.csv") == calibrate(network, manifest)


def test_predictions_that_calibration_makes_stale_are_gone_and_it_is_said(
    network: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (network / "auto-predictions.csv").write_text("id\n")
    calibrate(network, manifest)
    assert not (network / "auto-predictions.csv").exists()
    assert "the first is auto-predictions.csv: evaluate it again" in capsys.readouterr().err


def test_what_cannot_be_calibrated_is_refused(
    make_network: MakeNetwork, network: Path, manifest: Path, tmp_path: Path
) -> None:
    before = artifacts.fingerprint(network)
    for loss in (-0.1, 1.0, math.nan):
        with pytest.raises(InputError, match="Bad UAR loss"):
            calibrate(network, manifest, loss)
    test = [entry for entry in read_manifest(manifest) if entry.split == "test"]
    write_manifest(tmp_path / "test.csv", test)
    with pytest.raises(InputError, match=r"has no dev part"):
        calibrate(network, tmp_path / "test.csv")
    save_network(tmp_path / "plain", make_network({4: None}), {"command": "test"})
    with pytest.raises(InputError, match="There is one exit, behind layer 4"):
        calibrate(tmp_path / "plain", manifest)
    assert artifacts.fingerprint(network) == before


GOOD: dict[str, Any] = {
    "temperatures": {"1": 1.0, "2": 1.0, "4": 1.0},
    "threshold": 0.5,
    "uar_loss": 0.01,
    "utterances": 3,
    "uar": 0.5,
    "deepest_uar": 0.5,
    "mean_depth": 2.0,
}


@pytest.mark.parametrize(
    "forged",
    [
        "x",
        GOOD | {"threshold": 2},
        GOOD | {"threshold": "high"},
        GOOD | {"temperatures": {"1": 0.0}},
        GOOD | {"temperatures": {"one": 1.0}},
        GOOD | {"temperatures": {"1": 1.0, "2": 1.0}},
        GOOD | {"surprise": 1},
        {key: GOOD[key] for key in GOOD if key != "threshold"},
    ],
)
def test_a_damaged_calibration_is_refused(make_network: MakeNetwork, forged: Any) -> None:
    assert Calibration.of(make_network(calibration=GOOD), Path("folder")).threshold == 0.5
    with pytest.raises(InputError, match=r"folder/config\.json, calibration: ") as error:
        Calibration.of(make_network(calibration=forged), Path("folder"))
    assert "\n" not in str(error.value)
