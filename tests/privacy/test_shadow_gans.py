"""What copies is told from its shadows; they are trained once, and only those that are missing."""

from pathlib import Path

import numpy as np
import pytest

from gandistill import artifacts
from gandistill.features.featureset import FeatureSet
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train
from gandistill.heads.bank import BankConfig
from gandistill.privacy import shadow_gans as module
from gandistill.privacy.attack import split_people
from gandistill.privacy.membership import People, Space, by_speakers, moments, roc, within_class
from gandistill.privacy.shadow_gans import GANS, Shadow, halves, shadow_ratio
from tests.commands import run

TINY = {
    "architecture": {"kind": "gan-time", "start": "closed-form", "frames": 8, "noise": 4, "channels": [6, 6, 4]}
    | {"critic_channels": [4] * 8},
    "training": {"updates": 2, "batch": 8},
}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONFIG", GanConfig.model_validate(TINY))
    monkeypatch.setattr(module, "GANS", 4)
    monkeypatch.setattr(module, "UPDATES", 2)
    monkeypatch.setattr(module, "SAMPLES", 8)
    monkeypatch.setattr(module, "BANK", BankConfig(heads=("superb",), seeds=1, updates=4, half_trained=2, batch=4))


def test_everybody_is_in_half_of_the_shadows():
    names = np.array([f"s{n}" for n in range(17)])
    groups = halves(names, 0)
    assert len(groups) == GANS
    counts = [sum(name in group for group in groups) for name in names]
    assert counts == [GANS // 2] * 17
    assert any(not np.array_equal(groups[0], group) for group in groups[2:])


def test_who_copies_is_told_from_shadows_that_copy_others(speakers: FeatureSet):
    asked, members = split_people(speakers)
    names = asked.index["speaker"].to_numpy(str)
    shadows = [Shadow(asked.rows(np.isin(names, group)), group) for group in halves(np.unique(names), 0)]
    aucs = []
    for records in (asked.rows(members), shadows[0].samples):
        space = Space.of(moments(records))
        people = People(space.points(moments(asked)), asked.targets, names, members)
        scores = within_class(shadow_ratio(records, shadows, space, people), people)
        aucs.append(roc([by_speakers(scores, people)], 0)["auc"])
    assert aucs[0] > 0.95
    assert aucs[1] < 0.9, "those who are in a half of everybody are others"


def test_the_command_trains_shadows_once(
    speakers: FeatureSet, tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    architecture = {"kind": "class-gaussian", "frames": 6, "noise": 4}
    train(GanConfig.model_validate({"features": speakers.folder, "architecture": architecture}), tmp_path / "run")
    trained, words = [], ("attack", tmp_path / "run", speakers.folder, "--shadows", tmp_path / "shadows", "--json")
    original = module._trained

    def stopped(features: FeatureSet, seed: int):
        trained.append(seed)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return original(features, seed)

    monkeypatch.setattr(module, "_trained", stopped)
    assert run(*words).code == 130
    assert sorted(path.name for path in (tmp_path / "shadows").iterdir()) == ["shadow-0", "shadow-1"]
    done = run(*words)
    assert "2 shadow GANs to train in" in done.err
    assert "about 1 min" in done.err
    assert set(done.json["membership"]["shadow GANs"]) == {"utterance", "speaker"}
    assert trained == [0, 1, 2, 2, 3]
    again = run(*words)
    assert again.json == done.json
    assert len(trained) == 5
    facts = artifacts.read_json(tmp_path / "shadows" / "shadow-0" / "config.json")
    assert facts["shadow"]["features"] == speakers.fingerprint
    refused = run(*words, "--seed", "1")
    assert refused.code == 2
    assert "is a shadow of other features or another seed" in refused.err
    refused = run("attack", tmp_path / "head", speakers.folder, "--shadows", tmp_path / "shadows")
    assert refused.code == 2
