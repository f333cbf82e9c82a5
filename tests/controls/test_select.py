from pathlib import Path

import numpy as np
import pytest
import torch

from gandistill import artifacts
from gandistill.controls import gaussian
from gandistill.controls.select import METHODS, SUBSETS, select
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, Utterance, write_feature_set


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_a_whole_balanced_feature_set(method: str, features: FeatureSet, tmp_path: Path) -> None:
    chosen = select(features, method, 4, 0, tmp_path / "out")
    artifacts.open_artifact(chosen.folder, "feature set")
    assert chosen.class_counts == {"calm": 4, "happy": 4, "angry": 4} == chosen.config["counts"]
    assert chosen.index["label"].tolist() == ["calm"] * 4 + ["happy"] * 4 + ["angry"] * 4
    assert set(chosen.index["split"]) == {"train"}
    assert chosen.index["id"].is_unique
    made_by = chosen.config["made_by"]
    assert {k: made_by[k] for k in ("command", "method", "ppc", "seed")} == {
        "command": "select",
        "method": method,
        "ppc": 4,
        "seed": 0,
    }
    assert chosen.config["source"] == {"features": "features", "fingerprint": features.fingerprint}
    assert chosen.config["licence"] == "CC0"
    card = (chosen.folder / "README.md").read_text()
    assert f"Control `{method}`" in card
    assert "| happy | 4 |" in card
    assert "CC0" in card


@pytest.mark.parametrize("method", METHODS)
def test_the_same_inputs_give_the_same_bytes(method: str, features: FeatureSet, tmp_path: Path) -> None:
    first, second = (select(features, method, 3, 7, tmp_path / name) for name in ("a", "b"))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("method", METHODS)
def test_a_point_does_not_depend_on_ppc(method: str, features: FeatureSet, tmp_path: Path) -> None:
    few, many = (select(features, method, ppc, 1, tmp_path / str(ppc)) for ppc in (2, 5))
    place = {name: row for row, name in enumerate(many.index["id"])}
    for label in few.labels:
        ids = [part.index.loc[part.index["label"] == label, "id"].tolist() for part in (few, many)]
        assert ids[0] == ids[1][:2]
    for row, name in enumerate(few.index["id"]):
        assert torch.equal(few.frames(row), many.frames(place[name]))


@pytest.mark.parametrize("method", SUBSETS)
def test_real_rows_are_the_train_parts_own(method: str, features: FeatureSet, tmp_path: Path) -> None:
    train = features.part("train")
    chosen = select(features, method, 4, 0, tmp_path / "out")
    for row, name in enumerate(chosen.index["id"]):
        source = train.index.index[train.index["id"] == name][0]
        columns = ["id", "label", "speaker", "session", "frames"]
        assert chosen.index.loc[row, columns].tolist() == train.index.loc[source, columns].tolist()
        assert torch.equal(chosen.frames(row), train.frames(source))


def test_a_small_class_stops_at_its_size_and_says_so(
    features: FeatureSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = select(features, "herding", 8, 0, tmp_path / "out")
    assert chosen.class_counts == {"calm": 8, "happy": 5, "angry": 8} == chosen.config["counts"]
    said = capsys.readouterr()
    assert said.err == "happy: 5 points, all that the train part has (asked for 8)\n"
    assert said.out == ""


def test_oversampling_fills_the_class_with_numbered_repetitions(features: FeatureSet, tmp_path: Path) -> None:
    chosen = select(features, "random-oversampled", 12, 0, tmp_path / "out")
    assert chosen.class_counts == {"calm": 12, "happy": 12, "angry": 12}
    happy = chosen.index.loc[chosen.index["label"] == "happy", "id"].tolist()
    assert sorted(happy[:5]) == [f"happy{i}" for i in range(5)]
    assert sorted(happy[5:10]) == [f"happy{i}+1" for i in range(5)]
    assert all(name.endswith("+2") for name in happy[10:])
    again = happy.index(happy[0] + "+1")
    rows = np.flatnonzero(chosen.index["label"] == "happy")
    assert torch.equal(chosen.frames(rows[0]), chosen.frames(rows[again]))


def test_the_seed_changes_what_is_drawn(features: FeatureSet, tmp_path: Path) -> None:
    for method in ("random", "class-gaussian"):
        sets = [select(features, method, 4, seed, tmp_path / f"{method}{seed}") for seed in (0, 1)]
        same_ids = sets[0].index["id"].tolist() == sets[1].index["id"].tolist()
        assert same_ids == (method == "class-gaussian")
        if same_ids:
            assert not torch.equal(sets[0].frames(0), sets[1].frames(0))


def test_closed_form_samples_are_nobodys_and_have_the_median_length(features: FeatureSet, tmp_path: Path) -> None:
    train = features.part("train")
    chosen = select(features, "class-gaussian", 13, 0, tmp_path / "out")
    assert chosen.index["id"].tolist()[11:14] == ["calm-000011", "calm-000012", "happy-000000"]
    assert set(chosen.index["speaker"]) == {""} == set(chosen.index["session"])
    assert set(chosen.lengths) == {int(np.median(train.lengths))}
    assert set(select(features, "class-gaussian", 1, 0, tmp_path / "f6", frames=6).lengths) == {6}
    assert set(select(features, "class-gaussian-mean", 1, 0, tmp_path / "mean").lengths) == {1}


@pytest.mark.parametrize("method", ["class-gaussian", "class-gaussian-mean"])
def test_closed_form_samples_lie_around_their_class_mean(method: str, features: FeatureSet, tmp_path: Path) -> None:
    train, chosen = features.part("train"), select(features, method, 300, 0, tmp_path / "out")
    for number in range(3):
        real, drawn = (part.means()[part.targets == number].mean(0) for part in (train, chosen))
        assert torch.allclose(real, drawn, atol=0.35)  # class means are 3 apart


def test_soft_labels_stay_with_their_utterances(features: FeatureSet, tmp_path: Path) -> None:
    soft = torch.rand(len(features), 3).softmax(-1)
    utterances = [
        Utterance(row.id, row.label, features.frames(i), split=row.split, soft=soft[i])
        for i, row in enumerate(features.index.itertuples())
    ]
    write_feature_set(tmp_path / "soft", utterances, features.config, "# soft\n")
    labelled = FeatureSet.open(tmp_path / "soft")
    chosen = select(labelled, "random", 3, 0, tmp_path / "out")
    assert chosen.soft is not None
    for row, name in enumerate(chosen.index["id"]):
        source = features.index.index[features.index["id"] == name][0]
        assert np.allclose(chosen.soft[row], soft[source])


def test_too_large_a_fit_takes_a_share_and_says_so(
    features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gaussian, "SIDE", 20)
    select(features, "class-gaussian", 2, 0, tmp_path / "out")
    assert "Fitting 20 of 26 utterances drawn at random" in capsys.readouterr().err


def test_bad_requests_are_refused_before_anything_is_read(features: FeatureSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"Bad method 'kmeans', expected one of \[random, random-oversampled, herding"):
        select(features, "kmeans", 1, 0, out)
    with pytest.raises(InputError, match="Bad ppc 0, expected 1 or more"):
        select(features, "random", 0, 0, out)
    with pytest.raises(InputError, match="Bad frames 0, expected 1 or more"):
        select(features, "class-gaussian", 1, 0, out, frames=0)
    with pytest.raises(InputError, match="Bad seed -2, expected 0 or more"):
        select(features, "random", 1, -2, out)
    with pytest.raises(InputError, match="Bad seed -2, expected 0 or more"):
        select(features, "class-gaussian", 1, -2, out)
    with pytest.raises(InputError, match="is the feature set to select from"):
        select(features, "random", 1, 0, features.folder)
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="choose another --out"):
        select(features, "random", 1, 0, out)
    assert [file.name for file in tmp_path.iterdir() if file.name not in ("features", "out")] == []
    assert (out / "mine.txt").read_text() == "keep"


def test_a_class_without_training_points(make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = make(tmp_path / "lopsided", {"calm": 3, "happy": 0, "angry": 4})
    chosen = select(features, "k-centre", 2, 0, tmp_path / "out")
    assert chosen.class_counts == {"calm": 2, "happy": 0, "angry": 2}
    assert "happy: 0 points" in capsys.readouterr().err
    assert select(features, "random-oversampled", 2, 0, tmp_path / "over").class_counts["happy"] == 0
    with pytest.raises(InputError, match="no utterance of 'happy' to fit a Gaussian to"):
        select(features, "class-gaussian", 2, 0, tmp_path / "gaussian")
