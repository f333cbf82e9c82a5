"""How a training set is judged: by heads trained on it alone, and once for each content."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gandistill import artifacts
from gandistill.experiments import utility as room
from gandistill.experiments.utility import utility
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.heads.training import HeadConfig, score, train_head, train_heads

LABELS = ["calm", "loud"]


def features(folder: Path, gap: float, split: str) -> FeatureSet:
    """Two classes whose means lie ``gap`` apart."""
    draws = torch.Generator().manual_seed(len(folder.name))
    rows = [
        Utterance(f"{label}-{i}", label, torch.randn(6, 2, generator=draws) + gap * (label == "loud"), split=split)
        for label in LABELS
        for i in range(8)
    ]
    write_feature_set(folder, rows, artifacts.describe(KIND, {}, labels=LABELS, dims=2), "# Test\n")
    return FeatureSet.open(folder)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[HeadConfig]:
    made: list[HeadConfig] = []

    def counted(sets: list[FeatureSet], configs: list[HeadConfig]) -> object:
        made.extend(configs)
        return train_heads(sets, [config.model_copy(update={"updates": 40}) for config in configs])

    monkeypatch.setattr(room, "train_heads", counted)
    return made


def test_each_seed_is_one_head_and_is_measured_once_for_its_content(tmp_path: Path, trainings: list[HeadConfig]):
    train, test = features(tmp_path / "train", 3.0, "train"), features(tmp_path / "test", 3.0, "test")
    (row,) = utility("easy", lambda _: train, test, ["superb"], [0, 5], 8, tmp_path / "cache")
    assert [config.seed for config in trainings] == [0, 5]
    assert (row.row, row.ppc, row.points, row.head) == ("easy", 8, 16, "superb")
    alone = train_head(train, HeadConfig(updates=40, seed=5))
    assert row.uars[1] == score(alone, test)["uar"] > 0.9

    assert utility("easy", lambda _: train, test, ["superb"], [0, 5], 8, tmp_path / "cache") == [row]
    assert len(trainings) == 2, "nothing is measured again"
    assert {config.labels for config in trainings} == {"hard"}
    other = features(tmp_path / "others", 0.0, "train")
    (hard,) = utility("hard", lambda _: other, test, ["superb"], [0], 8, tmp_path / "cache")
    assert len(trainings) == 3, "other content is"
    assert hard.uars[0] < row.uars[0]


def test_a_set_with_soft_labels_teaches_them(tmp_path: Path, trainings: list[HeadConfig]):
    hard, test = features(tmp_path / "train", 3.0, "train"), features(tmp_path / "test", 3.0, "test")
    rows = hard.index.assign(**{"q_calm": 0.5, "q_loud": 0.5})
    (row,) = utility("soft", lambda _: replace(hard, index=rows), test, ["superb"], [0], 8, tmp_path / "cache")
    assert [config.labels for config in trainings] == ["soft"]
    assert row.uars[0] < 0.9, "labels that say nothing teach nothing"
