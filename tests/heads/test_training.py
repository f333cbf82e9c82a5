from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill import artifacts
from gandistill.errors import InputError, RunError
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import MODELS, load_head, pooled, posteriors
from gandistill.heads.training import (
    HeadConfig,
    balanced_weights,
    batches,
    descend,
    learning_rate,
    reader,
    score,
    target_distributions,
    train_head,
    train_head_to,
    untrained,
)

RECIPES = Path(__file__).parents[2] / "recipes" / "heads"
QUICK = HeadConfig(updates=30, batch=8, window=12)


def state(head: torch.nn.Module) -> list[torch.Tensor]:
    return list(head.state_dict().values())


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(one), state(other), strict=True))


@pytest.mark.parametrize("kind", MODELS)
def test_the_same_seed_gives_the_same_bits(kind: str, make_features):
    features = make_features()
    config = QUICK.model_copy(update={"head": kind, "updates": 3})
    before = torch.random.get_rng_state()
    head = train_head(features, config)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert same(head, train_head(features, config))
    assert not same(head, train_head(features, config.model_copy(update={"seed": 1})))


@pytest.mark.parametrize("labels", ["hard", "soft"])
@pytest.mark.parametrize("kind", MODELS)
def test_all_of_a_training_is_on_its_device(kind: str, labels: str, make_features):
    """torch refuses to compute with tensors on two devices; the first value that is read on this one is the loss."""
    changes = {"head": kind, "labels": labels, "class_weights": "balanced"}
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        train_head(make_features(soft=True), QUICK.model_copy(update=changes), device="meta")


@pytest.mark.parametrize("kind", MODELS)
def test_every_head_learns(kind: str, make_features):
    deep = {"updates": 60, "learning_rate": 3e-4} if kind == "vgg15" else {}
    head = train_head(make_features(each=12), QUICK.model_copy(update={"head": kind} | deep))
    assert score(head, make_features("unseen", each=12, seed=1))["uar"] > 0.8
    assert not head.training


def test_the_fast_recipe_is_the_default():
    assert HeadConfig.load(RECIPES / "fast.yaml") == HeadConfig()


def test_the_superb_recipe_is_superbs():
    config = HeadConfig.load(RECIPES / "superb.yaml")
    assert (config.learning_rate, config.batch, config.accumulation, config.updates) == (1e-4, 4, 8, 30_000)
    assert (config.clip, config.evaluate_every, config.select, config.standardise) == (1.0, 1000, "accuracy", False)
    assert (config.decay, config.weight_decay, config.window) == ("none", 0.0, 0)


def test_an_update_of_the_superb_recipe_is_one_of_torch_adam(make_features):
    features = make_features()
    config = HeadConfig.load(RECIPES / "superb.yaml", ["updates=3"])
    ours = untrained(features, "superb", config)
    theirs = untrained(features, "superb", config)
    theirs.load_state_dict(ours.state_dict())
    for _ in descend(ours, features, config, seed=0):
        pass
    adam, rows = torch.optim.Adam(theirs.parameters(), lr=1e-4), batches(len(features), 4, seed=0)
    targets = torch.from_numpy(features.targets)
    for _ in range(3):
        adam.zero_grad()
        for chosen in islice(rows, 8):
            logits = theirs(*features.padded(chosen.numpy()))
            (torch.nn.functional.cross_entropy(logits, targets[chosen]) / 8).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        adam.step()
    for one, other in zip(state(ours), state(theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_it_standardises_by_the_training_part(make_features):
    features = make_features()
    frames = torch.cat([features.frames(row) for row in range(len(features))])
    head = untrained(features, "superb", HeadConfig())
    torch.testing.assert_close(head.mean, frames.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.deviation, frames.std(0, unbiased=False), rtol=1e-4, atol=1e-5)
    plain = untrained(features, "superb", HeadConfig(standardise=False))
    assert plain.mean.abs().max() == 0
    assert (plain.deviation == 1).all()


def test_a_constant_dim_is_not_stretched(make_features, monkeypatch: pytest.MonkeyPatch):
    deviations = torch.tensor([0.0, 1e-9, *[0.5] * 6])
    monkeypatch.setattr(FeatureSet, "moments", lambda self: (torch.zeros(8), deviations))
    assert untrained(make_features(), "superb", HeadConfig()).deviation.tolist() == [1.0, 1.0, *[0.5] * 6]


def test_the_best_on_dev_is_kept_the_earliest_of_equals(make_features):
    features, dev = make_features(), make_features("dev", split="dev", seed=1)
    config = QUICK.model_copy(update={"evaluate_every": 4, "learning_rate": 1e-2})
    kept = train_head(features, config, dev)
    scores = dict.fromkeys((4, 8, 12, 16, 20, 24, 28, 30), 0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = untrained(features, "superb", config)
        for update in descend(head, features, config, 0):
            if update in scores:
                scores[update] = score(head, dev)["uar"]
    best = max(scores, key=scores.__getitem__)
    assert kept.trained["update"] == best
    assert kept.trained["dev"]["uar"] == scores[best] == score(kept, dev)["uar"]


def test_without_dev_the_last_update_is_the_result(make_features):
    head = train_head(make_features(), QUICK)
    assert head.trained["update"] == 30
    assert "dev" not in head.trained
    assert head.trained["utterances"] == {"neutral": 8, "happy": 8, "sad": 8}


def test_it_trains_on_the_training_part_alone(make_features):
    features = make_features()
    mixed = features.rows(range(len(features)))
    mixed.index.loc[mixed.index["id"].str.endswith("-0"), "split"] = "test"
    head = train_head(mixed, QUICK)
    assert head.trained["utterances"] == {"neutral": 7, "happy": 7, "sad": 7}
    assert same(head, train_head(mixed.part("train"), QUICK))


def test_soft_labels_are_learned(make_features):
    with pytest.raises(InputError, match=r"stores no soft labels: use labels=hard, or sample with --labels soft"):
        train_head(make_features(), QUICK.model_copy(update={"labels": "soft"}))
    features = make_features("soft", soft=True)
    config = HeadConfig(labels="soft", learning_rate=1e-2, updates=300, batch=8)
    torch.testing.assert_close(target_distributions(features, config)[0], torch.tensor([0.8, 0.1, 0.1]))
    confidence = [
        posteriors(train_head(features, config.model_copy(update={"labels": labels})), features).amax(1).mean()
        for labels in ("soft", "hard")
    ]
    assert confidence[0] < 0.85
    assert confidence[1] > 0.9


def test_balanced_weights_by_hand():
    # 6 utterances of 3 classes, 1, 2 and 3 of each: 6 / (3 * 1), 6 / (3 * 2), 6 / (3 * 3)
    targets = torch.eye(3)[[0, 1, 1, 2, 2, 2]]
    torch.testing.assert_close(balanced_weights(targets), torch.tensor([2.0, 1.0, 2 / 3]))
    # soft labels that give the classes 0.5 and 1.5 utterances: 2 / (2 * 0.5), 2 / (2 * 1.5)
    soft = torch.tensor([[0.3, 0.7], [0.2, 0.8]])
    torch.testing.assert_close(balanced_weights(soft), torch.tensor([2.0, 2 / 3]))
    # a class that does not occur takes no part
    assert balanced_weights(torch.eye(3)[[0, 2, 2, 2]]).tolist() == pytest.approx([2.0, 0.0, 2 / 3])


@given(numbers=st.lists(st.integers(0, 4), min_size=1, max_size=40))
@settings(deadline=None, max_examples=40)
def test_balanced_classes_weigh_the_same_and_utterances_one_on_average(numbers: list[int]):
    targets = torch.eye(5)[numbers]
    weights = balanced_weights(targets)
    shares = (targets * weights).sum(0)
    occurring = shares[shares > 0]
    assert len(occurring) == len(set(numbers))
    assert torch.allclose(occurring, occurring[0])
    assert float(shares.sum() / len(targets)) == pytest.approx(1, rel=1e-5)


FEW = [0, 1, *range(8, 12), *range(16, 24)]
"""Rows of a feature set with 8 utterances a class: 2, 4 and 8 of each."""


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_an_update_with_class_weights_is_torchs_but_for_its_normalisation(make_features, labels: str):
    features = make_features(soft=True).rows(FEW)
    config = HeadConfig(updates=1, batch=5, labels=labels, decay="none", weight_decay=0.0, clip=1e9)
    ours, theirs = (untrained(features, "superb", config) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    for _ in descend(ours, features, config, seed=0, balanced=True):
        pass
    chosen = next(batches(len(features), 5, seed=0))
    logits = theirs(*(each[chosen] for each in pooled(features)))
    if labels == "hard":
        weights, numbers = 14 / (3 * torch.tensor([2.0, 4.0, 8.0])), torch.from_numpy(features.targets)[chosen]
        loss = torch.nn.functional.cross_entropy(logits, numbers, weights, reduction="sum") / 5
    else:
        targets = target_distributions(features, config)
        weights = 14 / (3 * targets.sum(0))
        loss = -(weights * targets[chosen] * logits.log_softmax(1)).sum() / 5
    loss.backward()
    for one, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad, other.grad)


def test_class_weights_are_as_oversampling_on_the_whole_set(make_features):
    few = make_features().rows(FEW)
    even = make_features().rows([0, 1] * 4 + [*range(8, 12)] * 2 + [*range(16, 24)])
    weighted, dealt = (untrained(features, "superb", HeadConfig(standardise=False)) for features in (few, even))
    dealt.load_state_dict(weighted.state_dict())
    for head, features, balanced in ((weighted, few, True), (dealt, even, False)):
        config = HeadConfig(updates=3, batch=len(features), standardise=False)
        for _ in descend(head, features, config, seed=0, balanced=balanced):
            pass
    for one, other in zip(state(weighted), state(dealt), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_class_weights_reach_the_trained_head_and_none_is_what_it_was(make_features):
    features = make_features().rows(FEW)
    plain, weighted = (
        train_head(features, QUICK.model_copy(update={"class_weights": w})) for w in ("none", "balanced")
    )
    assert same(plain, train_head(features, QUICK))
    assert not same(plain, weighted)
    assert weighted.trained["config"]["class_weights"] == "balanced"
    even = make_features("even")
    torch.testing.assert_close(  # where classes are equal already, all weigh 1
        state(train_head(even, QUICK)), state(train_head(even, QUICK.model_copy(update={"class_weights": "balanced"})))
    )
    with pytest.raises(InputError, match="bad value 'sqrt' for 'class_weights'"):
        HeadConfig.load(None, ["class_weights=sqrt"])


def test_a_missing_class_is_said_and_a_single_one_refused(make_features, capsys: pytest.CaptureFixture[str]):
    train_head(make_features(present=["neutral", "sad"]), QUICK)
    assert "has no training utterance of [happy]: never to be recognised" in capsys.readouterr().err
    with pytest.raises(InputError, match="utterances of fewer than two classes"):
        train_head(make_features("single", present=["sad"]), QUICK)


def test_dev_must_match(make_features):
    with pytest.raises(InputError, match="wide has 9 dims, but the training set expects 8"):
        train_head(make_features(), QUICK, make_features("wide", dims=9))
    with pytest.raises(InputError, match="but the training set expects"):
        train_head(make_features(), QUICK, make_features("dev", labels=["sad", "happy", "neutral"]))


def test_a_bad_head_or_setting_is_refused(make_features):
    with pytest.raises(InputError, match=r"Bad head 'svm', expected one of"):
        train_head(make_features(), HeadConfig(head="svm"))
    with pytest.raises(InputError, match="unknown key 'lr', expected one of"):
        HeadConfig.load(None, ["lr=1"])


def test_the_artifact_says_where_it_came_from(make_features, tmp_path: Path):
    features, dev = make_features(), make_features("dev", split="dev", seed=1)
    head = train_head_to(tmp_path / "head", features, QUICK, dev, {"command": "train-head"})
    assert same(load_head(tmp_path / "head"), head)
    described = artifacts.read_json(tmp_path / "head" / artifacts.CONFIG)
    assert described["source"] == {"features": "features", "fingerprint": features.fingerprint}
    assert described["dev_features"]["features"] == "dev"
    assert described["made_by"]["command"] == "train-head"
    assert HeadConfig.build(described["trained"]["config"], "test") == QUICK


@given(utterances=st.integers(1, 50), batch=st.integers(1, 40), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_batches_pass_over_all_utterances_again_and_again(utterances: int, batch: int, seed: int):
    drawn = list(islice(batches(utterances, batch, seed), 3 * utterances))
    assert all(len(rows) == batch for rows in drawn)
    joined = torch.cat(drawn)[: 3 * utterances].reshape(3, utterances).sort(1).values
    assert (joined == torch.arange(utterances)).all()


def test_learning_rate_by_hand():
    cosine = HeadConfig(updates=4, learning_rate=2.0)
    half = 2**-0.5
    assert [learning_rate(u, cosine) for u in range(5)] == pytest.approx([2.0, 1 + half, 1.0, 1 - half, 0.0])
    assert learning_rate(3, HeadConfig(updates=4, learning_rate=2.0, decay="none")) == 2.0


def test_readers(make_features):
    features, rows = make_features(), torch.tensor([3, 1])
    frames, lengths = reader(features, window=0, seed=0)(rows)
    assert lengths.tolist() == features.lengths[[3, 1]].tolist()
    assert torch.equal(frames[0, : lengths[0]], features.frames(3))
    frames, lengths = reader(features, window=12, seed=0)(rows)
    assert (frames.shape, lengths.tolist()) == ((2, 12, 8), [12, 12])


def test_the_budget_does_not_depend_on_the_size_of_the_set(make_features, monkeypatch: pytest.MonkeyPatch):
    steps = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: steps.append(1))
    for each in (2, 20):
        train_head(make_features(f"of-{each}", each=each), QUICK)
        assert len(steps) == 30
        steps.clear()


def test_a_head_that_diverges_is_said_and_not_kept(make_features, tmp_path: Path):
    features = make_features()
    with pytest.raises(RunError, match=r"diverged at step \d+: superb/loss"):
        train_head_to(tmp_path / "head", features, HeadConfig(updates=20, learning_rate=1e30), None, {})
    assert not (tmp_path / "head").exists()


def test_a_dev_part_that_lacks_a_class_is_said(make_features, capsys: pytest.CaptureFixture[str]) -> None:
    dev = make_features("dev", split="dev", present=["neutral", "sad"])
    train_head(make_features("train"), HeadConfig(updates=1), dev)
    assert "The dev split has no utterance of [happy]: UAR is over the other classes\n" in capsys.readouterr().err
