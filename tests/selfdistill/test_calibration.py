import math
import shutil
from collections.abc import Callable
from dataclasses import replace
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
    HeldOut,
    Rule,
    calibrate,
    held_out,
    learned,
    leaving,
    temperature,
    tempered,
    thresholds,
)
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.inference import Heard, hear
from gandistill.selfdistill.model import KIND, Network, load_network, save_network

MakeNetwork = Callable[..., Network]


def heard_of(said: dict[int, torch.Tensor], counts: list[int] | None = None, samples: list[int] | None = None) -> Heard:
    """Logits [W, C] by depth as what was heard, each of an utterance of its own unless ``counts`` says otherwise."""
    ones = [1] * len(next(iter(said.values())))
    return Heard(said, np.array(samples or ones), np.array(counts or ones))


def temperature_of(said: torch.Tensor, targets: NDArray[np.int64]) -> float:
    return temperature(heard_of({1: said}), 1, targets)


def test_a_temperature_by_hand() -> None:
    """Logits (2, 0) that are right three times of four should say 3/4: sigmoid(2 / T) = 3/4 at T = 2 / log 3."""
    said = torch.tensor([[2.0, 0.0]] * 4)
    found = temperature_of(said, np.array([0, 0, 1, 0]))
    assert found == pytest.approx(2 / math.log(3), rel=1e-4)
    assert tempered(said, found)[0].tolist() == pytest.approx([0.75, 0.25], rel=1e-4)


def test_an_exit_without_mistakes_or_without_sense_has_a_temperature_too() -> None:
    said = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert temperature_of(said, np.array([0, 1])) == pytest.approx(TEMPERATURES[0], rel=1e-3)
    assert temperature_of(said, np.array([1, 0])) == pytest.approx(TEMPERATURES[1], rel=1e-3)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5.0))
def test_a_temperature_has_the_least_likelihood_and_scales_with_the_logits(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    said, targets = torch.from_numpy(rng.normal(size=(60, 3))), rng.integers(3, size=60)
    said[range(60), targets] += 1.5
    found = temperature_of(said, targets)

    def likelihood(t: float) -> float:
        return -float(tempered(said, t)[range(60), targets].log().mean())

    assert all(likelihood(found) <= likelihood(t) + 1e-9 for t in (1.0, found * 0.9, found * 1.1))
    assert temperature_of(said * scale, targets) == pytest.approx(found * scale, rel=1e-3)


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
    heard = heard_of(said)
    found = learned(heard, targets, 0.1)
    assert found.threshold == pytest.approx(0.75)
    depths, p = found.chosen(heard)
    assert (depths.tolist(), p.argmax(-1).tolist()) == ([3, 3, 12, 12], targets.tolist())
    assert found.temperatures == {3: 1.0, 12: 1.0}
    everything = learned(heard, targets, 0.25)
    assert (everything.threshold, uar_at(heard, targets, everything)) == (0.0, 0.75)


@pytest.mark.usefixtures("_as_said")
def test_a_lower_threshold_that_keeps_uar_by_luck_is_not_taken() -> None:
    """The surest answer is wrong; what follows would make up for it, since there exit 3 is right and 12 is wrong."""
    said = {3: said_by([1, 0, 1], [0.9, 0.8, 0.7]), 12: said_by([0, 1, 1], [0.6] * 3)}
    heard, targets = heard_of(said), np.array([0, 0, 1])
    found = learned(heard, targets, 0.0)
    assert (found.threshold, uar_at(heard, targets, found)) == (1.0, 0.75)
    assert learned(heard, targets, 0.25).threshold == 0.0


def uar_at(heard: Heard, targets: NDArray[np.int64], found: Rule, **changed: float) -> float:
    _, p = found.model_copy(update=changed).chosen(heard)
    return unweighted_average_recall(confusion_matrix(targets, p.argmax(-1).numpy(), p.shape[-1]))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.1, 0.5]))
def test_a_threshold_keeps_its_word_and_a_lower_one_would_not(seed: int, loss: float) -> None:
    rng = np.random.default_rng(seed)
    targets, said = rng.integers(3, size=40), {}
    for depth, gain in ((3, 1.0), (8, 1.5), (12, 2.0)):
        said[depth] = torch.from_numpy(rng.normal(size=(40, 3)))
        said[depth][range(40), targets] += gain
    heard = heard_of(said)
    found = learned(heard, targets, loss)
    deepest = unweighted_average_recall(confusion_matrix(targets, said[12].argmax(-1).numpy(), 3))
    assert deepest == uar_at(heard, targets, found, threshold=1.0)
    confidence = np.stack([tempered(said[depth], found.temperatures[depth]).amax(-1).numpy() for depth in (3, 8)])
    lower = [each for each in thresholds(confidence) if each < found.threshold]
    assert not lower or uar_at(heard, targets, found, threshold=lower[0]) < deepest - loss
    higher = [found.threshold, *(each for each in thresholds(confidence) if each > found.threshold)]
    assert all(uar_at(heard, targets, found, threshold=each) >= deepest - loss - 1e-9 for each in higher)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.1]))
def test_the_stated_loss_holds_for_files_of_several_windows_too(seed: int, loss: float) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, size=30).tolist()
    targets, said = rng.integers(3, size=30), {}
    for depth, gain in ((3, 0.5), (12, 1.0)):
        said[depth] = torch.from_numpy(rng.normal(size=(sum(counts), 3)) * rng.gamma(1.0, 3.0, (sum(counts), 1)))
        said[depth][range(sum(counts)), np.repeat(targets, counts)] += gain
    heard = heard_of(said, counts=counts, samples=rng.integers(1, 100, sum(counts)).tolist())
    rule = learned(heard, targets, loss)
    baseline = unweighted_average_recall(confusion_matrix(targets, calibration.deepest(heard), 3))
    for threshold in (rule.threshold, 1.0):
        assert uar_at(heard, targets, rule, threshold=threshold) >= baseline - loss - 1e-9


@pytest.mark.usefixtures("_as_said")
def test_windows_leave_one_by_one_and_an_utterance_is_their_mean() -> None:
    """The first of two windows, three quarters of an utterance, leaves at exit 3 with 0.9; the other goes on."""
    said = {3: said_by([0, 0, 1], [0.9, 0.6, 0.8]), 12: said_by([1, 1, 1], [0.6] * 3)}
    heard = heard_of(said, counts=[2, 1], samples=[30, 10, 7])
    depths, p = Rule(temperatures={3: 1.0, 12: 1.0}, threshold=0.7).chosen(heard)
    assert depths.tolist() == [3, 12, 3]
    assert p[:, 0].tolist() == pytest.approx([(3 * 0.9 + 0.4) / 4, 0.2])
    assert heard.mean(depths).tolist() == [(3 * 3 + 12) / 4, 3]
    rest = heard.take(np.array([False, True]))
    assert (rest.logits[12].tolist(), rest.counts.tolist()) == (said[12][2:].tolist(), [1])


def test_a_temperature_counts_every_utterance_once() -> None:
    """As by hand above, where one of four answers is wrong; the wrong utterance has 3 windows, so 2 more that agree."""
    heard = heard_of({1: torch.tensor([[2.0, 0.0]] * 6)}, counts=[1, 1, 3, 1])
    assert temperature(heard, 1, np.array([0, 0, 1, 0])) > temperature_of(
        torch.tensor([[2.0, 0.0]] * 4), np.zeros(4, int)
    )
    found = temperature(heard, 1, np.array([0, 0, 1, 0]))
    assert found == pytest.approx(2 / math.log(3), rel=1e-4)


def confident(seed: int, speakers: int, each: int) -> tuple[Heard, NDArray[np.int64], list[str]]:
    rng = np.random.default_rng(seed)
    targets, said = np.tile(np.arange(2), speakers * each // 2), {}
    for depth, gain in ((3, 1.0), (12, 2.0)):
        said[depth] = torch.from_numpy(rng.normal(size=(len(targets), 2)))
        said[depth][range(len(targets)), targets] += gain
    return heard_of(said), targets, [f"s{row // each}" for row in range(len(targets))]


def test_holding_out_a_speaker_judges_each_by_a_rule_of_the_others() -> None:
    heard, targets, speakers = confident(0, 4, 10)
    found = held_out(heard, targets, speakers, 0.05)
    depths, predicted = np.zeros(40), np.zeros(40, int)
    for speaker in set(speakers):
        out = np.array(speakers) == speaker
        where, p = learned(heard.take(~out), targets[~out], 0.05).chosen(heard.take(out))
        depths[out], predicted[out] = where, p.argmax(-1)
    assert found.by == "speaker"
    assert found.mean_depth == depths.mean()
    assert found.uar == unweighted_average_recall(confusion_matrix(targets, predicted, 2))
    deepest = heard.logits[12].argmax(-1).numpy()
    assert found.deepest_uar == unweighted_average_recall(confusion_matrix(targets, deepest, 2))


@pytest.mark.parametrize("speaker", ["s", ""])
def test_where_speakers_cannot_be_told_apart_utterances_are_held_out(speaker: str) -> None:
    heard, targets, _ = confident(1, 1, 30)
    found = held_out(heard, targets, [speaker] * 30, 0.05)
    assert found.by == "utterance"
    assert held_out(heard, targets, ["s"] * 29 + [""], 0.05) == found


def test_calibrate_changes_one_fact_and_no_weight(network: Path, manifest: Path) -> None:
    before = {file.name: file.read_bytes() for file in network.iterdir()}
    config = artifacts.read_json(network / artifacts.CONFIG)
    found = calibrate(network, manifest, 0.2)
    artifacts.open_artifact(network, KIND)
    after = {file.name: file.read_bytes() for file in network.iterdir()}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {artifacts.CONFIG, artifacts.SUMS}
    kept = artifacts.read_json(network / artifacts.CONFIG)
    assert kept == config | {FACT: kept[FACT]}
    dev = Utterances.read(manifest, "dev")
    loaded = load_network(network)
    told = Calibration.of(loaded, network)
    assert told == Calibration.build(found, "what was returned")
    heard = hear(loaded, dev)
    rule = learned(heard, dev.targets, 0.2)
    assert (told.temperatures, told.threshold) == (rule.temperatures, rule.threshold)
    assert told.held_out == held_out(heard, dev.targets, [entry.speaker for entry in dev.entries], 0.2)
    assert told.dev.model_dump() == {"manifest": "manifest.csv", "fingerprint": dev.fingerprint, "chose_epoch": None}
    assert (told.utterances, told.uar_loss) == (len(dev), 0.2)
    calibrate(network, manifest, 0.2)
    assert {file.name: file.read_bytes() for file in network.iterdir()} == after


def test_calibrate_looks_at_dev_alone(network: Path, manifest: Path, tmp_path: Path) -> None:
    dev = [entry for entry in read_manifest(manifest) if entry.split == "dev"]
    write_manifest(tmp_path / "dev.csv", dev)
    alone, whole = calibrate(network, tmp_path / "dev.csv"), calibrate(network, manifest)
    assert alone.pop("dev")["fingerprint"] == whole.pop("dev")["fingerprint"]
    assert alone == whole


def test_predictions_stay_but_those_that_calibration_makes_stale_which_is_said(
    network: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {"exit-01-predictions.csv": b"id\r\n", "fusion-predictions-dev.csv": b"x"}
    for name, content in kept.items():
        (network / name).write_bytes(content)
    (network / "auto-predictions.csv").write_text("id\n")
    calibrate(network, manifest)
    assert not (network / "auto-predictions.csv").exists()
    assert {name: (network / name).read_bytes() for name in kept} == kept
    assert not kept.keys() & artifacts.read_sums(network).keys()
    artifacts.open_artifact(network, KIND)
    assert "the first is auto-predictions.csv: evaluate it again" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["notes.txt", "exit-1/config.json", "my-predictions.csv", ".hidden"])
def test_what_is_not_of_the_network_is_not_thrown_away(network: Path, manifest: Path, name: str) -> None:
    (network / name).parent.mkdir(exist_ok=True)
    (network / name).write_text("mine")
    with pytest.raises(InputError, match="is not of the network, whose folder calibration replaces") as error:
        calibrate(network, manifest)
    assert str(network / Path(name).parts[0]) in str(error.value)
    assert (network / name).read_text() == "mine"
    assert FACT not in artifacts.read_json(network / artifacts.CONFIG)


def fingerprint_of(manifest: Path, *splits: str) -> str:
    entries = [entry for entry in read_manifest(manifest) if entry.split in splits]
    return Utterances(entries, Utterances.read(manifest, "dev").labels).fingerprint


def taught_by(make_network: MakeNetwork, folder: Path, fingerprint: str) -> Path:
    source = {"manifest": "taught.csv", "fingerprint": fingerprint}
    trained = {"config": {"training": {"select": "dev"}}}
    save_network(folder, make_network(source=source, trained=trained), {"command": "test"})
    return folder


def test_dev_that_did_not_teach_the_network_is_known(
    make_network: MakeNetwork, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = taught_by(make_network, tmp_path / "network", fingerprint_of(manifest, "train"))
    assert calibrate(folder, manifest)["dev"]["chose_epoch"] is True
    said = capsys.readouterr().err
    assert "A dev part chose the network's epoch" in said
    assert "taught" not in said
    taught_by(make_network, folder, "0" * 64)
    calibrate(folder, manifest)
    assert "its train part is not what taught the network ('taught.csv')" in capsys.readouterr().err


@pytest.mark.parametrize("splits", [("dev",), ("train", "dev")])
def test_dev_that_taught_the_network_is_refused(
    make_network: MakeNetwork, manifest: Path, tmp_path: Path, splits: tuple[str, ...]
) -> None:
    folder = taught_by(make_network, tmp_path / "network", fingerprint_of(manifest, *splits))
    with pytest.raises(InputError, match="its dev part taught the network"):
        calibrate(folder, manifest)


def test_a_clip_of_dev_that_is_in_train_too_is_refused(
    make_network: MakeNetwork, manifest: Path, tmp_path: Path
) -> None:
    entries = read_manifest(manifest)
    one = next(entry for entry in entries if entry.split == "train")
    write_manifest(tmp_path / "both.csv", [*entries, replace(one, id="again", split="dev")])
    folder = taught_by(make_network, tmp_path / "network", fingerprint_of(tmp_path / "both.csv", "train"))
    with pytest.raises(InputError, match="again of its dev part is in its train part too"):
        calibrate(folder, tmp_path / "both.csv")


def test_a_network_that_training_made_is_known_too(trained: Path, manifest: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "network", tmp_path / "network")
    assert calibrate(tmp_path / "network", manifest)["dev"]["chose_epoch"] is False


def test_too_few_utterances_are_refused_and_absent_classes_said(
    network: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = [entry for entry in read_manifest(manifest) if entry.split == "dev"]
    some = [[entry for entry in dev if entry.emotion == emotion] for emotion in ("anger", "fear")]
    for few in (dev[:1], some[0], some[0] + some[1][:1]):
        write_manifest(tmp_path / "few.csv", few)
        with pytest.raises(InputError, match="expected two utterances or more of two classes"):
            calibrate(network, tmp_path / "few.csv")
    write_manifest(tmp_path / "two.csv", some[0] + some[1])
    calibrate(network, tmp_path / "two.csv")
    assert "its dev part has no happiness: UAR is over the other classes" in capsys.readouterr().err


def test_what_makes_a_calibration_worth_less_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def said(**changes: Any) -> str:
        calibration._warn(Calibration.build(GOOD | changes, "test"))
        return capsys.readouterr().err

    assert said() == ""
    assert said(temperatures={"1": 1.0, "2": TEMPERATURES[0] * 1.0001}).startswith("exit 2: its temperature 0.05 is at")
    assert said(temperatures={"1": 19.999}).endswith("on dev it is no better than chance\n")
    held = HeldOut(uar=0.4, deepest_uar=0.5, mean_depth=2.0, by="speaker")
    assert said(held_out=held).startswith("Held out by speaker, leaving early loses 0.100 UAR, more than the 0.01 that")
    assert said(held_out=held, uar_loss=0.1) == ""


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
    "held_out": {"uar": 0.5, "deepest_uar": 0.5, "mean_depth": 2.0, "by": "speaker"},
    "dev": {"manifest": "m.csv", "fingerprint": "0", "chose_epoch": None},
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
        GOOD | {"held_out": {"uar": 0.5}},
        GOOD | {"dev": 1},
        {key: GOOD[key] for key in GOOD if key != "threshold"},
    ],
)
def test_a_damaged_calibration_is_refused(make_network: MakeNetwork, forged: Any) -> None:
    assert Calibration.of(make_network(calibration=GOOD), Path("folder")).threshold == 0.5
    with pytest.raises(InputError, match=r"folder/config\.json, calibration: ") as error:
        Calibration.of(make_network(calibration=forged), Path("folder"))
    assert "\n" not in str(error.value)
