from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill import artifacts
from gandistill.controls import gaussian
from gandistill.controls.select import (
    CLOSED_FORMS,
    METHODS,
    POOLED,
    REAL_DESIGNED,
    RECENTRED,
    SUBSETS,
    select,
    select_within,
)
from gandistill.errors import InputError
from gandistill.features.counts import counts_per_class
from gandistill.features.featureset import FeatureSet, Utterance, write_feature_set
from gandistill.heads.bank import Bank
from tests.commands import run, succeed

LABELS = ["calm", "happy", "angry"]
numbers = st.lists(st.integers(0, 14), min_size=3, max_size=3).filter(any)


def each(ppc: int) -> dict[str, int]:
    return dict.fromkeys(LABELS, ppc)


@pytest.fixture(scope="module")
def heads(bank: Path) -> Bank:
    return Bank.open(bank)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_writes_a_whole_balanced_feature_set(method: str, features: FeatureSet, tmp_path: Path) -> None:
    chosen = select(features, method, each(4), 0, tmp_path / "out")
    artifacts.open_artifact(chosen.folder, "feature set")
    assert chosen.class_counts == {"calm": 4, "happy": 4, "angry": 4} == chosen.config["counts"]
    assert chosen.index["label"].tolist() == ["calm"] * 4 + ["happy"] * 4 + ["angry"] * 4
    assert set(chosen.index["split"]) == {"train"}
    assert chosen.index["id"].is_unique
    made_by = chosen.config["made_by"]
    asked = {"command": "select", "method": method, "counts": each(4), "seed": 0, "labels": "hard"}
    assert {key: made_by[key] for key in asked} == asked
    assert chosen.config["source"] == {"features": "features", "fingerprint": features.fingerprint}
    assert chosen.config["licence"] == "CC0"
    card = (chosen.folder / "README.md").read_text()
    assert f"Control `{method}`" in card
    assert "| happy | 4 |" in card
    assert "CC0" in card


@pytest.mark.parametrize("method", METHODS)
def test_the_same_inputs_give_the_same_bytes(method: str, features: FeatureSet, tmp_path: Path) -> None:
    first, second = (select(features, method, each(3), 7, tmp_path / name) for name in ("a", "b"))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("method", [method for method in METHODS if method != RECENTRED])
def test_a_point_does_not_depend_on_ppc(method: str, features: FeatureSet, tmp_path: Path) -> None:
    few, many = (select(features, method, each(ppc), 1, tmp_path / str(ppc)) for ppc in (2, 5))
    place = {name: row for row, name in enumerate(many.index["id"])}
    for label in few.labels:
        ids = [part.index.loc[part.index["label"] == label, "id"].tolist() for part in (few, many)]
        assert ids[0] == ids[1][:2]
    for row, name in enumerate(few.index["id"]):
        assert torch.equal(few.frames(row), many.frames(place[name]))


@pytest.mark.parametrize("method", [method for method in SUBSETS if method != POOLED])
def test_real_rows_are_the_train_parts_own(method: str, features: FeatureSet, tmp_path: Path) -> None:
    train = features.part("train")
    chosen = select(features, method, each(4), 0, tmp_path / "out")
    for row, name in enumerate(chosen.index["id"]):
        source = train.index.index[train.index["id"] == name][0]
        columns = ["id", "label", "speaker", "session", "frames"]
        assert chosen.index.loc[row, columns].tolist() == train.index.loc[source, columns].tolist()
        moves = chosen.frames(row) - train.frames(source)
        if method in (RECENTRED, REAL_DESIGNED):
            assert moves.abs().amin(0).max() > 0.01, "moved"
            assert (moves - moves[0]).abs().max() < 0.02, "as a whole, but for half floats"
        else:
            assert not moves.any()


def test_a_small_class_stops_at_its_size_and_says_so(
    features: FeatureSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = select(features, "herding", each(8), 0, tmp_path / "out")
    assert chosen.class_counts == {"calm": 8, "happy": 5, "angry": 8} == chosen.config["counts"]
    said = capsys.readouterr()
    assert said.err == "happy: 5 points, all that the train part has (asked for 8)\n"
    assert said.out == ""


def test_oversampling_fills_the_class_with_numbered_repetitions(features: FeatureSet, tmp_path: Path) -> None:
    chosen = select(features, "random-oversampled", each(12), 0, tmp_path / "out")
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
        sets = [select(features, method, each(4), seed, tmp_path / f"{method}{seed}") for seed in (0, 1)]
        same_ids = sets[0].index["id"].tolist() == sets[1].index["id"].tolist()
        assert same_ids == (method == "class-gaussian")
        if same_ids:
            assert not torch.equal(sets[0].frames(0), sets[1].frames(0))


def test_closed_form_samples_are_nobodys_and_have_the_median_length(features: FeatureSet, tmp_path: Path) -> None:
    train = features.part("train")
    chosen = select(features, "class-gaussian", each(13), 0, tmp_path / "out")
    assert chosen.index["id"].tolist()[11:14] == ["calm-000011", "calm-000012", "happy-000000"]
    assert set(chosen.index["speaker"]) == {""} == set(chosen.index["session"])
    assert set(chosen.lengths) == {int(np.median(train.lengths))}
    assert set(select(features, "class-gaussian-mean", each(1), 0, tmp_path / "mean").lengths) == {1}


@pytest.mark.parametrize("method", ["class-gaussian", "class-gaussian-mean"])
def test_closed_form_samples_lie_around_their_class_mean(method: str, features: FeatureSet, tmp_path: Path) -> None:
    train, chosen = features.part("train"), select(features, method, each(300), 0, tmp_path / "out")
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
    chosen = select(labelled, "random", each(3), 0, tmp_path / "out")
    assert chosen.soft is not None
    for row, name in enumerate(chosen.index["id"]):
        source = features.index.index[features.index["id"] == name][0]
        assert np.allclose(chosen.soft[row], soft[source])


def test_too_large_a_fit_takes_a_share_and_says_so(
    features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gaussian, "SIDE", 20)
    select(features, "class-gaussian", each(2), 0, tmp_path / "out")
    assert "Fitting 20 of 26 utterances drawn at random" in capsys.readouterr().err


def test_bad_requests_are_refused_before_anything_is_read(features: FeatureSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"Bad method 'kmeans', expected one of \[random, random-oversampled, herding"):
        select(features, "kmeans", each(1), 0, out)
    with pytest.raises(InputError, match=r"Bad --draws 'moved', expected one of \[designed, independent\]"):
        select(features, "class-gaussian", each(1), 0, out, draws="moved")
    for method in SUBSETS:
        with pytest.raises(InputError, match=f"--draws goes with --method class-gaussian or .*-mean, not {method}"):
            select(features, method, each(1), 0, out, draws="designed")
    with pytest.raises(InputError, match="expected numbers of 0 or more and one of them above 0"):
        select(features, "random", each(0), 0, out)
    with pytest.raises(InputError, match="Bad class 'sad' in --counts"):
        select(features, "random", {"calm": 1, "sad": 1}, 0, out)
    with pytest.raises(InputError, match="Bad seed -2, expected 0 or more"):
        select(features, "random", each(1), -2, out)
    with pytest.raises(InputError, match="Bad seed -2, expected 0 or more"):
        select(features, "class-gaussian", each(1), -2, out)
    with pytest.raises(InputError, match="is the feature set to select from"):
        select(features, "random", each(1), 0, features.folder)
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="choose another --out"):
        select(features, "random", each(1), 0, out)
    assert [file.name for file in tmp_path.iterdir() if file.name not in ("features", "out")] == []
    assert (out / "mine.txt").read_text() == "keep"


def test_a_class_without_training_points(make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = make(tmp_path / "lopsided", {"calm": 3, "happy": 0, "angry": 4})
    chosen = select(features, "k-centre", each(2), 0, tmp_path / "out")
    assert chosen.class_counts == {"calm": 2, "happy": 0, "angry": 2}
    assert "happy: 0 points" in capsys.readouterr().err
    assert select(features, "random-oversampled", each(2), 0, tmp_path / "over").class_counts["happy"] == 0
    with pytest.raises(InputError, match="no utterance of 'happy' to fit a Gaussian to"):
        select(features, "class-gaussian", each(2), 0, tmp_path / "gaussian")


@settings(deadline=None, max_examples=14)
@given(method=st.sampled_from(METHODS), few=numbers, more=numbers, soft=st.booleans())
def test_counts_are_honoured_and_small_ones_are_the_first_points_of_large_ones(
    shared: FeatureSet, heads: Bank, method: str, few: list[int], more: list[int], soft: bool
):
    size = shared.part("train").class_counts
    repeats = method in ("random-oversampled", *CLOSED_FORMS)
    with TemporaryDirectory() as scratch:
        found: list[dict[str, list[tuple[object, ...]]]] = []
        for name, wanted in (("few", few), ("many", [a + b for a, b in zip(few, more, strict=True)])):
            counts = dict(zip(LABELS, wanted, strict=True))
            chosen = select(shared, method, counts, 3, Path(scratch) / name, bank=heads if soft else None)
            expected = {label: n if repeats else min(n, size[label]) for label, n in counts.items()}
            assert chosen.class_counts == expected == chosen.config["counts"]
            assert chosen.config["made_by"]["counts"] == counts
            found.append(points(chosen))
    for label in LABELS:
        few_points, first_of_many = found[0][label], found[1][label][: len(found[0][label])]
        if method == RECENTRED:  # the same ones, each moved by what all of them lack
            few_points, first_of_many = ([point[0] for point in some] for some in (few_points, first_of_many))
        assert few_points == first_of_many


def points(chosen: FeatureSet) -> dict[str, list[tuple[object, ...]]]:
    """All that a point is, in order, class by class."""
    found: dict[str, list[tuple[object, ...]]] = {label: [] for label in LABELS}
    for row, (name, label) in enumerate(zip(chosen.index["id"], chosen.index["label"], strict=True)):
        soft = None if chosen.soft is None else chosen.soft[row].tobytes()
        found[label].append((name, chosen.frames(row).numpy().tobytes(), soft))
    return found


def test_as_the_corpus_at_the_same_number_of_points(features: FeatureSet, tmp_path: Path):
    counts = counts_per_class(features.labels, features.part("train").class_counts, as_original=True, total=13)
    assert select(features, "herding", counts, 0, tmp_path / "out").class_counts == {"calm": 5, "happy": 2, "angry": 6}


def test_oversampling_to_the_largest_class_holds_all_of_the_train_part(features: FeatureSet, tmp_path: Path):
    train = features.part("train")
    largest = max(train.class_counts.values())
    chosen = select(features, "random-oversampled", each(largest), 0, tmp_path / "out")
    assert chosen.class_counts == each(largest) == each(12)
    assert {name.partition("+")[0] for name in chosen.index["id"]} == set(train.index["id"])


@pytest.mark.parametrize("method", METHODS)
def test_soft_labels_are_the_banks_of_that_very_utterance(
    method: str, features: FeatureSet, heads: Bank, tmp_path: Path
):
    hard = select(features, method, each(7), 2, tmp_path / "hard")
    soft = select(features, method, each(7), 2, tmp_path / "soft", bank=heads)
    assert hard.soft is None
    assert soft.soft is not None
    assert list(soft.index.columns[-3:]) == ["q_calm", "q_happy", "q_angry"]
    assert np.allclose(soft.soft.sum(1), 1, atol=1e-6)
    assert soft.config["made_by"]["labels"] == "soft"
    assert "Soft labels" in (soft.folder / "README.md").read_text()
    for row, name in enumerate(soft.index["id"]):
        assert torch.equal(soft.frames(row), hard.frames(row))
        if method == POOLED:  # what the heads see is all of the utterance
            frames = features.frames(features.index.index[features.index["id"] == name][0])
        else:
            frames = soft.frames(row)
        expected = heads.mean_posterior(frames[None], torch.tensor([len(frames)]))[0]
        assert np.array_equal(soft.soft[row], expected.numpy())


def test_a_bank_replaces_soft_labels_that_are_there(features: FeatureSet, heads: Bank, tmp_path: Path):
    labelled = select(features, "random", each(9), 0, tmp_path / "hard")
    named = zip(labelled.index["id"], labelled.index["label"], strict=True)
    uniform = [Utterance(*names, labelled.frames(row), soft=torch.full((3,), 1 / 3)) for row, names in enumerate(named)]
    write_feature_set(tmp_path / "uniform", uniform, labelled.config, "# uniform\n")
    stored = FeatureSet.open(tmp_path / "uniform")
    direct, again = (select(s, "random", each(5), 0, tmp_path / "out", bank=heads).soft for s in (labelled, stored))
    assert direct is not None
    assert again is not None
    assert np.array_equal(direct, again)


def test_a_bank_that_does_not_fit(make, bank: Path, heads: Bank, tmp_path: Path) -> None:
    wide = make(tmp_path / "wide", dims=5)
    for attempt in (
        lambda: select(wide, "random", each(2), 0, tmp_path / "out", bank=heads),
        lambda: select_within(wide, 10**6, 0, tmp_path / "out", bank=heads),
    ):
        with pytest.raises(InputError, match="wide has 5 dims, but the bank expects 3"):
            attempt()
    words = ("--ppc", 2, "--labels", "soft", "--bank", bank, "--out", tmp_path / "out")
    done = run("select", wide.folder, *words)
    assert done.code == 2
    assert "the bank expects 3" in done.err
    assert not (tmp_path / "out").exists()


def test_pooled_points_are_means_over_time_in_half_floats(features: FeatureSet, tmp_path: Path):
    train, chosen = features.part("train"), select(features, POOLED, each(5), 4, tmp_path / "out")
    random = select(features, "random", each(5), 4, tmp_path / "random")
    columns = ["id", "label", "speaker", "session", "split"]
    assert chosen.index[columns].equals(random.index[columns])
    assert set(chosen.lengths) == {1}
    means = dict(zip(train.index["id"], train.means().half().float(), strict=True))
    for row, name in enumerate(chosen.index["id"]):
        assert torch.equal(chosen.frames(row)[0], means[name])
    assert "each its mean over time as a single frame" in (chosen.folder / "README.md").read_text()


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.fixture(scope="module")
def dozen(make, tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return make(tmp_path_factory.mktemp("dozen") / "features", {"calm": 4, "happy": 2, "angry": 6})


@pytest.fixture(scope="module")
def sizes(dozen: FeatureSet, heads: Bank, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, bool], int]:
    """Bytes of pooled points dealt to calm, happy, angry, calm, ... until used up: by number and whether soft."""
    out, available = tmp_path_factory.mktemp("sizes") / "out", dozen.part("train").class_counts
    measured, counts = {}, each(0)
    while counts != available:
        for label in LABELS:
            if counts[label] < available[label]:
                counts[label] += 1
                for bank in (None, heads):
                    chosen = select(dozen, POOLED, counts, 1, out, bank=bank)
                    measured[sum(counts.values()), bank is not None] = size_of(chosen.folder)
    assert len(measured) == 2 * 12
    return measured


@settings(deadline=None, max_examples=6)
@given(data=st.data(), soft=st.booleans())
def test_as_many_pooled_points_as_fit(
    dozen: FeatureSet, heads: Bank, sizes: dict[tuple[int, bool], int], data: st.DataObject, soft: bool
):
    most, bank = data.draw(st.integers(sizes[3, soft], sizes[12, soft] + 100)), heads if soft else None
    with TemporaryDirectory() as scratch:
        chosen = select_within(dozen, most, 1, Path(scratch) / "within", bank=bank)
        number, taken = len(chosen), size_of(chosen.folder)
        plain = select(dozen, POOLED, chosen.class_counts, 1, Path(scratch) / "plain", bank=bank)
        assert plain.fingerprint == chosen.fingerprint
    assert taken == sizes[number, soft] <= most
    assert number == 12 or sizes[number + 1, soft] > most


def test_what_fits_is_said(features: FeatureSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole = select_within(features, 10**6, 0, tmp_path / "whole")
    assert whole.class_counts == features.part("train").class_counts
    taken = size_of(whole.folder)
    assert capsys.readouterr().err == f"all of 26 pooled points fit in 1,000,000 bytes: they take {taken:,}\n"
    part = select_within(features, taken - 1, 0, tmp_path / "part")
    assert f"25 of 26 pooled points fit in {taken - 1:,} bytes" in capsys.readouterr().err
    assert part.class_counts == {"calm": 9, "happy": 5, "angry": 11}


def test_too_few_bytes(features: FeatureSet, tmp_path: Path):
    least = size_of(select(features, POOLED, each(1), 0, tmp_path / "least").folder)
    assert select_within(features, least, 0, tmp_path / "out").class_counts == each(1)
    for most in (least - 1, 40, 0, -5):
        with pytest.raises(InputError, match=f"One pooled point of each class takes {least:,} bytes"):
            select_within(features, most, 0, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command_takes_counts_soft_labels_and_bytes(features: FeatureSet, bank: Path, tmp_path: Path):
    def selected(out: str, *words: str) -> FeatureSet:
        succeed("select", features.folder, *words, "--out", tmp_path / out)
        return FeatureSet.open(tmp_path / out)

    heads = Bank.open(bank)
    soft = selected("soft", "--as-original", "--total", "13", "--labels", "soft", "--bank", str(bank))
    assert soft.fingerprint == select(features, "random", soft.class_counts, 0, tmp_path / "a", bank=heads).fingerprint
    assert soft.class_counts == {"calm": 5, "happy": 2, "angry": 6}
    within = selected("within", "--method", "pooled", "--bytes", "2900", "--seed", "3")
    assert within.fingerprint == select_within(features, 2900, 3, tmp_path / "b").fingerprint
    assert 3 <= len(within) < 26
