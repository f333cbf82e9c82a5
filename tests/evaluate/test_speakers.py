"""The speaker probe: what each number is, by hand, and on speakers whose separability the test decides."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.evaluate import speakers as room
from gandistill.evaluate.speakers import (
    ProbeConfig,
    equal_error_rate,
    fit,
    judge,
    probe,
    probe_head,
    split_speakers,
    trials,
    untrained_head,
)
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.heads.head import PROJECTING, Head, save_head
from gandistill.heads.training import HeadConfig
from gandistill.numerics import seeded

RECIPE = Path(__file__).parents[2] / "recipes" / "probe" / "superb_sid.yaml"
DIMS = 6
QUICK = ProbeConfig(updates=200)
AS_IS = ProbeConfig(updates=200, rescale=False)
Make = Callable[..., FeatureSet]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RESAMPLES", 100)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Speakers ``s0``, ``s1``, … whose frames lie ``gap`` apart around a mean of their own."""

    def make(
        name: str = "set",
        gap: float = 5.0,
        speakers: int = 8,
        each: int = 12,
        frames: int = 4,
        split: Callable[[int, int], str] = lambda speaker, _: "train" if speaker < 6 else "test",
        speaker: Callable[[int, int], str] = lambda speaker, _: f"s{speaker}",
        **facts: Any,
    ) -> FeatureSet:
        draws = torch.Generator().manual_seed(1)
        means = gap * torch.randn(speakers, DIMS, generator=draws)
        utterances = [
            Utterance(
                f"{s}-{i:02d}",
                "ab"[i % 2],
                means[s] + torch.randn(frames, DIMS, generator=draws),
                speaker(s, i),
                split=split(s, i),
            )
            for s in range(speakers)
            for i in range(each)
        ]
        config = artifacts.describe(KIND, {"command": "test"}, labels=["a", "b"], dims=DIMS, **facts)
        write_feature_set(tmp_path / name, utterances, config, "# toy\n")
        return FeatureSet.open(tmp_path / name)

    return make


def rate(same: Sequence[float], others: Sequence[float]) -> float:
    kinds = np.array([True] * len(same) + [False] * len(others), dtype=bool)
    return equal_error_rate(np.array([*same, *others], dtype=np.float64), kinds)


def test_equal_error_rates_by_hand():
    assert rate([0.9, 0.8], [0.1, 0.2, 0.3]) == 0, "a threshold between them makes no error"
    assert rate([0.1, 0.2], [0.8, 0.9]) == 1, "wrong way round"
    # At a threshold above 0.4: one of four targets is refused, one of four others accepted.
    assert rate([0.9, 0.8, 0.7, 0.4], [0.6, 0.3, 0.2, 0.1]) == 0.25
    # No threshold makes them equal: from (missed, accepted) = (0, 1/2) to (1/3, 1/2) to (1/3, 0); crossing at 1/3.
    assert rate([0.9, 0.8, 0.3], [0.5, 0.1]) == pytest.approx(1 / 3)


def test_ties_are_accepted_or_refused_together():
    assert rate([0.5, 0.5], [0.5, 0.5, 0.5]) == 0.5, "scores that say nothing"
    # The tie at 0.5 leads from (0, 1/2) to (1/2, 0) in one step, which crosses the diagonal at 1/4.
    assert rate([0.9, 0.5], [0.5, 0.1]) == 0.25
    # From (0, 2/3) to (1/4, 0): missed = 1/4 t, accepted = 2/3 (1 - t), equal at t = 8/11.
    assert rate([0.9, 0.8, 0.7, 0.5], [0.5, 0.5, 0.1]) == pytest.approx(2 / 11)


def test_without_trials_of_both_kinds_there_is_no_rate():
    assert np.isnan(rate([0.5], []))
    assert np.isnan(rate([], [0.5]))
    assert np.isnan(rate([], []))


SCORES = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=200)
@given(rows=SCORES)
def test_weights_are_repetitions_and_order_does_not_matter(rows: list[tuple[int, bool, int]]):
    scores, same, times = (np.array(column) for column in zip(*rows, strict=True))
    expected = equal_error_rate(np.repeat(scores, times).astype(float), np.repeat(same, times))
    assert equal_error_rate(scores.astype(float), same, times) == pytest.approx(expected, nan_ok=True)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    again = equal_error_rate(scores[shuffled].astype(float), same[shuffled], times[shuffled])
    assert again == pytest.approx(expected, nan_ok=True)


@settings(deadline=None, max_examples=200)
@given(rows=SCORES)
def test_the_rate_is_where_both_errors_meet(rows: list[tuple[int, bool, int]]):
    """The definition, threshold by threshold: it lies between the errors at the two around the crossing."""
    scores, same = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found = equal_error_rate(scores.astype(float), same)
    if same.all() or not same.any():
        assert np.isnan(found)
        return
    points = [((scores[same] < t).mean(), (scores[~same] >= t).mean()) for t in range(8)]
    place = next(i for i, (missed, accepted) in enumerate(points) if missed >= accepted)
    (m0, a0), (m1, a1) = points[place - 1], points[place]
    assert m0 - 1e-12 <= found <= m1 + 1e-12
    assert a1 - 1e-12 <= found <= a0 + 1e-12


def test_all_pairs_are_tried_where_they_are_few():
    speakers = np.array([0, 1, 0, 2, 1, 0])
    first, second = trials(speakers, seed=0)
    same = speakers[first] == speakers[second]
    pairs = [frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs) == 15
    assert {pair for pair, alike in zip(pairs, same, strict=True) if alike} == {
        frozenset(pair) for pair in ((0, 2), (0, 5), (2, 5), (1, 4))
    }


def test_many_pairs_are_drawn_from(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "TRIALS", 300)
    speakers = np.arange(120) % 4
    first, second = trials(speakers, seed=3)
    same = speakers[first] == speakers[second]
    assert (first != second).all()
    assert same.sum() == 300
    assert len(set(zip(first[same].tolist(), second[same].tolist(), strict=True))) == 300
    assert 180 < (~same).sum() <= 300
    assert all(np.array_equal(a, b) for a, b in zip((first, second), trials(speakers, seed=3), strict=True))
    assert not np.array_equal(first, trials(speakers, seed=4)[0])


def test_speakers_far_apart_are_all_told_and_results_are_json(make: Make):
    features = make()
    found = probe(untrained_head(features, HeadConfig(seed=0)), features, QUICK)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for group, speakers in (("all", 8), ("seen", 6), ("unseen", 2)):
        assert found[group]["accuracy"] == 1
        assert found[group]["accuracy_interval"] == [1, 1]
        assert found[group]["equal_error_rate"] < 0.1
        assert (found[group]["speakers"], found[group]["utterances"]) == (speakers, 3 * speakers)
        assert found[group]["target_trials"] == 3 * speakers
        assert found[group]["other_trials"] == 9 * speakers * (speakers - 1) // 2
    assert [found[group]["bootstrap"] for group in ("all", "seen", "unseen")] == ["speaker", "speaker", "utterance"]
    assert found["chance"] == {"accuracy": 1 / 8, "equal_error_rate": 0.5}
    assert (found["speakers"], found["utterances"]) == (8, {"training": 72, "test": 24})
    assert found["projector"] == {"weights": "frozen", "dims": DIMS, "rank": DIMS}


def test_noise_is_told_by_chance(make: Make):
    features = make(gap=0.0, each=40)
    found = probe(untrained_head(features, HeadConfig(seed=0)), features, QUICK)
    for group in ("all", "seen", "unseen"):
        low, high = found[group]["accuracy_interval"]
        assert low <= 1 / 8 <= high < 0.4
        low, high = found[group]["equal_error_rate_interval"]
        assert 0.3 < low <= 0.5 <= high < 0.7


def test_accuracy_is_that_of_logistic_regression(make: Make):
    """An oracle: the same convex problem on the same embeddings, solved to its end by L-BFGS."""
    features, config = make(gap=0.5, each=24), ProbeConfig(updates=1500, learning_rate=0.03)
    head = untrained_head(features, HeadConfig(seed=0))
    parts = split_speakers(features, config)
    x, held = (head.embed(part.means()).detach().double() for part in (parts.training, parts.test))
    layer = torch.nn.Linear(256, 8).double()
    solver = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(x), torch.from_numpy(parts.training.targets))
        loss.backward()
        return loss

    solver.step(closure)
    expected = (layer(held).argmax(1).numpy() == parts.test.targets).mean()
    found = probe(head, features, config)["all"]["accuracy"]
    assert 0.3 < expected < 0.95, "speakers neither trivial nor hopeless"
    assert found == pytest.approx(expected, abs=0.05)


def test_a_projector_that_sees_nothing_tells_nobody(make: Make):
    """The probe sees what the projector lets through, not the features."""
    features = make()
    head = untrained_head(features, HeadConfig(seed=0))
    with torch.no_grad():
        head.projector.weight.zero_()
    found = probe(head, features, QUICK)
    assert found["projector"]["rank"] == 0
    assert found["all"]["accuracy"] == pytest.approx(1 / 8, abs=0.01)
    assert found["all"]["equal_error_rate"] == 0.5
    trained = probe(head, features, QUICK, train_projector=True)
    assert trained["all"]["accuracy"] == 1, "unless it may learn"
    assert trained["projector"]["weights"] == "trained"


def test_a_frozen_projector_is_not_changed(make: Make):
    features = make()
    head = untrained_head(features, HeadConfig(seed=0))
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    parts = split_speakers(features, QUICK)
    for train_projector in (False, True):
        probed = fit(head, parts.training, AS_IS, train_projector)
        assert torch.equal(probed.projector.weight, head.projector.weight) is not train_projector
        assert torch.equal(probed.projector.bias, head.projector.bias) is not train_projector
        assert torch.equal(probed.deviation, head.deviation)
        assert all(torch.equal(before[name], tensor) for name, tensor in head.state_dict().items())


def test_small_weights_do_not_hide_speakers(make: Make):
    features = make(gap=1.0)
    head, small = untrained_head(features, HeadConfig(seed=0)), untrained_head(features, HeadConfig(seed=0))
    with torch.no_grad():
        small.projector.weight.mul_(1e-3)
        small.projector.bias.fill_(1.0)
    parts = split_speakers(features, QUICK)
    one, other = (fit(h, parts.training, QUICK, False) for h in (head, small))
    for weights in ("weight", "bias"):
        assert torch.allclose(getattr(one.projector, weights), getattr(other.projector, weights), atol=1e-3)
    embeddings = one.embed(parts.training.means()).detach()
    assert float(embeddings.square().mean()) == pytest.approx(1, rel=1e-4)
    assert embeddings.mean(0).abs().max() < 1e-4
    assert np.allclose(judge(one, parts)[1], judge(other, parts)[1], atol=1e-3)
    assert np.allclose(judge(one, parts)[1], judge(fit(head, parts.training, AS_IS, False), parts)[1], atol=1e-4)
    assert probe(small, features, QUICK)["all"]["accuracy"] > probe(small, features, AS_IS)["all"]["accuracy"]


def test_the_embedding_is_the_mean_of_projected_frames(make: Make):
    features = make(speakers=2, each=2)
    for kind in PROJECTING:
        head = Head(kind, ["a", "b"], DIMS)
        head.mean.fill_(0.5)
        head.deviation.fill_(2.0)
        expected = torch.stack([head.projector((features.frames(row) - 0.5) / 2).mean(0) for row in range(4)])
        assert torch.allclose(head.embed(features.means()), expected, atol=1e-5)


def test_the_same_seed_gives_the_same_result(make: Make):
    features = make(gap=0.4)
    before = torch.random.get_rng_state()
    head = untrained_head(features, HeadConfig(seed=0))
    found = probe(head, features, QUICK)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert probe(untrained_head(features, HeadConfig(seed=0)), features, QUICK) == found
    other = probe(head, features, QUICK.model_copy(update={"seed": 1}))
    assert other["seed"] == 1
    assert other["all"] != found["all"]
    assert probe(untrained_head(features, HeadConfig(seed=1)), features, QUICK)["all"] != found["all"]


def test_seen_speakers_are_those_of_the_train_part(make: Make):
    # s0 is in train and test, s1 in dev alone, s2 in test alone.
    parts = [{0: "train", 1: "dev", 2: "test"}, {0: "test", 1: "dev", 2: "test"}]
    features = make(speakers=3, each=10, split=lambda speaker, i: parts[i % 2][speaker])
    found = split_speakers(features, QUICK)
    assert set(found.test.index["speaker"][found.seen]) == {"s0"}
    assert set(found.test.index["speaker"][~found.seen]) == {"s1", "s2"}
    assert (found.training.labels, found.test.labels) == (["s0", "s1", "s2"], ["s0", "s1", "s2"])
    # Where no split was made, all may have been met.
    whole = make("whole", split=lambda *_: "")
    assert split_speakers(whole, QUICK).seen.all()
    head = untrained_head(whole, HeadConfig(seed=0))
    assert probe(head, whole, QUICK)["unseen"] is None
    # A head of another corpus has met none of them, unless it is taught them here.
    of_corpus = replace(whole, config=whole.config | {"corpus": "this"})
    head.origin = {"corpus": "that"}
    assert probe(head, of_corpus, QUICK)["seen"] is None
    assert probe(head, of_corpus, QUICK, train_projector=True)["unseen"] is None


@settings(deadline=None, max_examples=100)
@given(
    utterances=st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=1, max_size=30),
    held_out=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_no_utterance_is_in_both_parts(utterances: list[str], held_out: float, seed: int):
    rows = [
        {"id": f"u{i}", "label": "a", "speaker": s, "split": "", "frames": 3, "offset": 3 * i, "shard": "x"}
        for i, s in enumerate(utterances)
    ]
    features = FeatureSet(Path("toy"), {"labels": ["a"], "dims": 2}, pd.DataFrame(rows))
    config = ProbeConfig(held_out=held_out, seed=seed)
    enough = sorted({s for s in utterances if s and utterances.count(s) > 1})
    if len(enough) < 2:
        with pytest.raises(InputError):
            split_speakers(features, config)
        return
    parts = split_speakers(features, config)
    training, test = set(parts.training.index["id"]), set(parts.test.index["id"])
    assert not training & test
    assert training | test == {f"u{i}" for i, s in enumerate(utterances) if s in enough}
    for speaker in enough:
        many = utterances.count(speaker)
        held = (parts.test.index["speaker"] == speaker).sum()
        assert held == min(max(round(held_out * many), 1), many - 1)
    backwards = split_speakers(features.rows(range(len(rows))[::-1]), config)
    assert set(backwards.test.index["id"]) == test, "the order of the set does not matter"


def test_a_given_split_is_kept(make: Make, capsys: pytest.CaptureFixture[str]):
    def split(speaker: int, i: int) -> str:
        return "test" if speaker == 3 else ("train", "train", "dev", "test")[i % 4]

    features = make(speakers=4, split=split)
    found = split_speakers(features, QUICK.model_copy(update={"split": "given"}))
    assert set(found.training.index["split"]) == {"train"}
    assert set(found.test.index["split"]) == {"test"}
    assert found.training.labels == ["s0", "s1", "s2"]
    assert len(found.test) == 9
    assert found.seen.all()
    assert "12 test utterances of" in capsys.readouterr().err


def test_superbs_recipe_takes_a_step(make: Make):
    features = make(speakers=3, split=lambda _, i: "test" if i < 4 else "train", frame_rate=50.0)
    config = ProbeConfig.load(RECIPE, ["updates=1"])
    found = probe(untrained_head(features, HeadConfig(seed=0)), features, config, train_projector=True)
    assert found["split"] == "given"
    assert found["utterances"] == {"training": 24, "test": 12}
    whole = ProbeConfig.load(RECIPE)
    assert (whole.updates, whole.batch, whole.accumulation, whole.learning_rate) == (200_000, 8, 4, 1e-4)
    assert (whole.schedule.decay, whole.schedule.weight_decay, whole.crop_seconds * 16_000) == ("none", 0, 128_000)


def test_long_training_utterances_are_cropped(make: Make):
    config = ProbeConfig(crop_seconds=0.5)
    features = make(frames=12, frame_rate=10.0)
    parts = split_speakers(features, config)
    assert set(parts.training.lengths) == {5}
    assert set(parts.test.lengths) == {12}, "judged whole"
    starts = parts.training.index["offset"] % 12
    assert set(starts) == set(range(8)), "every place is drawn"
    row = parts.training.index.iloc[7]
    place = features.index["id"].tolist().index(row["id"])
    start = int(row["offset"] - features.index["offset"][place])
    assert torch.equal(parts.training.frames(7), features.frames(place)[start : start + 5])
    assert set(split_speakers(make("unknown rate", frames=12), config).training.lengths) == {12}


def test_a_small_group_has_no_rate_but_an_accuracy(make: Make):
    features = make(speakers=2, each=2, split=lambda *_: "train")
    found = probe(untrained_head(features, HeadConfig(seed=0)), features, QUICK)["all"]
    assert (found["equal_error_rate"], found["equal_error_rate_interval"]) == (None, None)
    assert (found["target_trials"], found["other_trials"], found["accuracy"]) == (0, 1, 1)


def test_what_is_left_out_is_said(make: Make, capsys: pytest.CaptureFixture[str]):
    def speaker(s: int, i: int) -> str:
        return "" if s == 0 else "lonely" if (s, i) == (1, 0) else f"s{s}"

    features = make(speakers=4, each=5, speaker=speaker)
    parts = split_speakers(features, QUICK)
    assert parts.training.labels == ["s1", "s2", "s3"]
    said = capsys.readouterr().err
    assert "5 utterances of" in said
    assert "one utterance only, [lonely]: left out" in said


def test_bad_input_is_refused(make: Make, tmp_path: Path):
    features = make()
    save_head(tmp_path / "head", untrained_head(features, HeadConfig(seed=0)), {"command": "test"})
    with pytest.raises(InputError, match=r"Bad target 'gender', expected one of \[speaker\]"):
        probe_head(tmp_path / "head", features, "gender", QUICK)
    with seeded(0):
        narrow, cnn = Head("superb", ["a", "b"], 5), Head("cnn", ["a", "b"], DIMS)
    with pytest.raises(InputError, match=r"has 6 dims, but this superb head expects 5"):
        probe(narrow, features, QUICK)
    with pytest.raises(InputError, match="no projector"):
        probe(cnn, features, QUICK)
    head = untrained_head(features, HeadConfig(seed=0))
    with pytest.raises(InputError, match="names no speaker"):
        probe(head, make("nameless", speaker=lambda *_: ""), QUICK)
    with pytest.raises(InputError, match="fewer than two speakers"):
        probe(head, make("single", speaker=lambda *_: "one"), QUICK)
    as_given = QUICK.model_copy(update={"split": "given"})
    with pytest.raises(InputError, match="no speaker of its test part is in its train part, use split=within"):
        probe(head, features, as_given)
    with pytest.raises(InputError, match="has no train and test parts with speakers: use split=within"):
        probe(head, make("whole", split=lambda *_: ""), as_given)


def test_a_head_on_disk(make: Make, tmp_path: Path):
    features = make()
    head = untrained_head(features, HeadConfig(seed=0))
    save_head(tmp_path / "head", head, {"command": "test"})
    found = probe_head(tmp_path / "head", features, "speaker", QUICK)
    assert found["head"] == {"name": "head", "fingerprint": artifacts.fingerprint(tmp_path / "head")}
    assert found.items() >= probe(head, features, QUICK).items()


def test_the_speakers_bootstrap_equals_its_definition(make: Make, monkeypatch: pytest.MonkeyPatch):
    """Resampled speaker by speaker, copies of a speaker counting as different ones: the pairs written out."""
    monkeypatch.setattr(room, "RESAMPLES", 2000)
    features = make(gap=0.6, each=16)
    head, parts = untrained_head(features, HeadConfig(seed=0)), split_speakers(features, QUICK)
    right, unit = judge(fit(head, parts.training, QUICK, False), parts)
    speakers, draws, rates = parts.test.targets, np.random.default_rng(5), []
    members = [np.flatnonzero(speakers == speaker) for speaker in range(8)]
    for _ in range(400):
        drawn = draws.integers(8, size=8)
        rows = np.concatenate([members[speaker] for speaker in drawn])
        first, second = np.triu_indices(len(rows), 1)
        copy = np.repeat(np.arange(8), [len(members[speaker]) for speaker in drawn])
        same = copy[first] == copy[second]
        valid = same | (speakers[rows[first]] != speakers[rows[second]])  # one speaker's copies are no two speakers
        scores = (unit[rows[first]] * unit[rows[second]]).sum(1).astype(float)
        rates.append(equal_error_rate(scores[valid], same[valid]))
    found = probe(head, features, QUICK)["all"]
    assert found["equal_error_rate_interval"] == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=0.02)
    assert found["accuracy"] == right.mean()
