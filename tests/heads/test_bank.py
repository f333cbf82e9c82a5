from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.heads import bank as room
from gandistill.heads.bank import (
    STAGES,
    TENSORS,
    Bank,
    BankConfig,
    build_bank,
    heads_config,
    load_heads,
    save_heads,
)
from gandistill.heads.head import Head
from gandistill.heads.training import HeadConfig, Schedule, score, train_head

QUICK = BankConfig(heads=("superb", "cnn-attention"), seeds=2, updates=25, half_trained=2, batch=8, window=12)


@pytest.fixture(scope="module")
def folder(shared_features: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank") / "bank"
    build_bank(shared_features, QUICK, folder, {"command": "test"})
    return folder


@pytest.fixture(scope="module")
def bank(folder: Path) -> Bank:
    return Bank.open(folder)


def test_the_default_has_at_least_24_heads_of_3_kinds():
    config = BankConfig()
    assert len(config.heads) == 3
    assert len(config.heads) * config.seeds * len(STAGES) >= 24


def test_no_judge_has_the_weights_of_a_head_in_the_bank(bank: Bank, shared_features: FeatureSet):
    """The same seed and schedule would give them: the judge would be what the generator was trained to please."""
    assert BankConfig().seed >= 1000
    schedule = {key: value for key, value in QUICK.to_dict().items() if key in Schedule.model_fields}
    for seed in range(3):
        judge = train_head(shared_features, HeadConfig(head="superb", seed=seed, **schedule))
        for head in bank.converged():
            same = head.kind == "superb" and torch.equal(head.model.projector.weight, judge.model.projector.weight)
            assert not same


def test_it_holds_every_kind_seed_and_stage_frozen(bank: Bank):
    found = Counter((head.kind, head.trained["seed"], head.trained["stage"]) for head in bank.heads)
    assert found == {(k, s, stage): 1 for k in QUICK.heads for s in (1000, 1001) for stage in STAGES}
    assert not any(p.requires_grad for head in bank.heads for p in head.parameters())
    assert not any(head.training for head in bank.heads)
    assert len(bank.converged()) == 4


def test_it_is_trained_on_the_device_that_is_named(shared_features: FeatureSet, tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        build_bank(shared_features, QUICK, tmp_path / "bank", {}, device="meta")


def test_stages_know_more_and_more(bank: Bank):
    for kind in QUICK.heads:
        by_stage = {stage: [] for stage in STAGES}
        for head in bank.heads:
            if head.kind == kind:
                by_stage[head.trained["stage"]].append(head.trained["train_uar"])
        untrained, half, converged = (sum(uars) / len(uars) for uars in by_stage.values())
        assert untrained <= half <= converged
        assert converged > untrained + 0.3


def test_opened_it_is_what_was_built_and_built_again_its_bytes_are_the_same(
    bank: Bank, folder: Path, shared_features: FeatureSet, tmp_path: Path
):
    again = build_bank(shared_features, QUICK, tmp_path / "again", {"command": "test"})
    assert artifacts.fingerprint(tmp_path / "again") == artifacts.fingerprint(folder)
    assert (bank.labels, bank.dims) == (shared_features.labels, shared_features.dims)
    for one, other in zip(bank.heads, again.heads, strict=True):
        assert (one.kind, one.trained) == (other.kind, other.trained)
        assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())
    config = artifacts.read_json(folder / artifacts.CONFIG)
    assert config["source"]["fingerprint"] == shared_features.fingerprint


def test_a_bank_that_was_stopped_goes_on_and_ends_the_same(
    folder: Path, shared_features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, whole, trained = tmp_path / "bank", room.stages, []

    def run(given: Any) -> tuple[str, int]:
        _, _, kind, _, seed, _ = given
        return kind, seed

    def stages(*given: Any) -> list[Head]:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(run(given))
        return whole(*given)

    with monkeypatch.context() as patch:
        patch.setattr(room, "stages", stages)
        with pytest.raises(KeyboardInterrupt):
            build_bank(shared_features, QUICK, out, {"command": "test"})
        assert not out.exists()
        with pytest.raises(KeyboardInterrupt):  # what is kept is of other settings
            build_bank(shared_features, QUICK.model_copy(update={"updates": 24}), out, {"command": "test"})
        trained.clear()
        with monkeypatch.context() as older:  # or made by other code
            older.setattr(artifacts, "versions", lambda: {"gandistill": "0"})
            with pytest.raises(KeyboardInterrupt):
                build_bank(shared_features, QUICK, out, {"command": "test"})
        trained.clear()
        with pytest.raises(KeyboardInterrupt):
            build_bank(shared_features, QUICK, out, {"command": "test"})
        assert len(trained) == 3, "none of these is taken over"
        (tmp_path / "bank.work" / "superb-1000" / TENSORS).write_bytes(b"damaged")
        trained.clear()
        patch.setattr(room, "stages", lambda *given: (trained.append(run(given)), whole(*given))[1])
        build_bank(shared_features, QUICK, out, {"command": "test"})
    assert trained == [("superb", 1000), ("cnn-attention", 1001)], "the damaged one, and what was never trained"
    assert artifacts.fingerprint(out) == artifacts.fingerprint(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_heads_are_scored_on_some_utterances_of_each_class(
    make_features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    features = make_features(each=20).rows([*range(3), *range(20, 60)])
    monkeypatch.setattr(room, "SCORED", 5)
    some = room.scored(features, 7)
    assert some.class_counts == {"neutral": 3, "happy": 5, "sad": 5}
    assert some.index["id"].tolist() == room.scored(features, 7).index["id"].tolist()
    assert some.index["id"].tolist() != room.scored(features, 8).index["id"].tolist()
    config = QUICK.model_copy(update={"heads": ("superb",), "seeds": 1, "seed": 7})
    bank = build_bank(features, config, tmp_path / "bank", {})
    assert [head.trained["train_uar"] for head in bank.heads] == [score(head, some)["uar"] for head in bank.heads]
    assert "up to 5 utterances of each class" in (tmp_path / "bank" / artifacts.CARD).read_text()


def test_gradients_flow_to_the_input_alone(bank: Bank):
    frames = torch.randn(2, 20, 8, requires_grad=True)
    for head in bank.heads:
        head(frames, torch.tensor([20, 11])).sum().backward()
    assert frames.grad is not None
    assert frames.grad.abs().sum() > 0


def test_draws_are_uniform_and_follow_their_generator(bank: Bank):
    generator = torch.Generator().manual_seed(0)
    drawn = [id(bank.draw(generator)) for _ in range(6000)]
    counts = Counter(drawn)
    assert counts.keys() == {id(head) for head in bank.heads}
    assert all(400 < count < 600 for count in counts.values())
    generator.manual_seed(0)
    assert [id(bank.draw(generator)) for _ in range(50)] == drawn[:50]


def test_mean_posterior_is_the_mean_over_converged_heads(bank: Bank):
    frames, lengths = torch.randn(2, 20, 8), torch.tensor([20, 11])
    found = bank.mean_posterior(frames, lengths)
    one_by_one = [head(frames, lengths).softmax(-1) for head in bank.heads if head.trained["stage"] == "converged"]
    torch.testing.assert_close(found, sum(one_by_one) / 4)
    torch.testing.assert_close(found.sum(1), torch.ones(2))


def test_a_part_can_be_carried_elsewhere(bank: Bank, tmp_path: Path):
    artifacts.write_json(tmp_path / artifacts.CONFIG, {})
    save_heads(tmp_path / "heads.safetensors", bank.converged())
    artifacts.write_sums(tmp_path)
    carried = Bank(load_heads(tmp_path / "heads.safetensors", heads_config(bank.converged())))
    frames, lengths = torch.randn(2, 20, 8), torch.tensor([20, 11])
    assert torch.equal(carried.mean_posterior(frames, lengths), bank.mean_posterior(frames, lengths))


def test_a_damaged_bank_is_refused(bank: Bank, folder: Path):
    path, config = folder / "bank.safetensors", heads_config(bank.heads)
    with pytest.raises(InputError, match="'heads' is missing or empty"):
        load_heads(path, config | {"heads": []})
    with pytest.raises(InputError, match="head 0 lacks its kind, seed or stage"):
        load_heads(path, config | {"heads": [{"kind": "superb"}]})
    first = config["heads"][0]
    with pytest.raises(InputError, match=r"Bad stage of .*: head 0: 'late', expected one of \[untrained"):
        load_heads(path, config | {"heads": [first | {"stage": "late"}]})
    with pytest.raises(InputError, match="head 0 has the seed True, expected a whole number"):
        load_heads(path, config | {"heads": [first | {"seed": True}]})
    with pytest.raises(InputError, match="none of its heads is converged"):
        load_heads(path, config | {"heads": [first]})
    with pytest.raises(InputError, match=r"names 10000 heads, more than bank\.safetensors has tensors"):
        load_heads(path, config | {"heads": [first] * 10_000})
    wrong = [entry | {"seed": 7} for entry in config["heads"]]
    with pytest.raises(InputError, match=r"tensor .* is missing"):
        load_heads(path, config | {"heads": wrong})
    with pytest.raises(InputError, match=r"tensor '11-cnn-attention-1001-converged\..*' is not expected"):
        load_heads(path, config | {"heads": config["heads"][:-1]})


def test_features_must_match(bank: Bank, make_features):
    bank.check_match(make_features("fine"))
    with pytest.raises(InputError, match="wide has 9 dims, but the bank expects 8"):
        bank.check_match(make_features("wide", dims=9))
    with pytest.raises(InputError, match="but the bank expects"):
        bank.check_match(make_features("other", labels=["a", "b", "c"]))


def test_features_must_be_of_the_same_kind_and_fold(bank: Bank, make_features):
    """As far as both say so: another upstream of as many dims, or a fold whose test speakers the bank has met."""
    plain = make_features("fine")
    fine = replace(plain, config={key: value for key, value in plain.config.items() if key != "upstream"})

    def of(**facts: object) -> FeatureSet:
        return replace(fine, config=fine.config | facts)

    logmel = {"name": "logmel", "hop": 512}
    known = {"upstream": logmel, "corpus": "RAVDESS", "protocol": "speakers", "fold": 1}
    heads, silent = deepcopy(bank.heads), deepcopy(bank.heads)
    heads[0].origin, silent[0].origin = known, {}
    for facts in ({}, known, known | {"corpus": "nEMO", "fold": 2}, known | {"upstream": logmel | {"clip": 999}}):
        Bank(heads).check_match(of(**facts))
        Bank(silent).check_match(of(**facts))
    with pytest.raises(InputError, match="another upstream than the bank: hop is 160, expected 512"):
        Bank(heads).check_match(of(upstream={"name": "logmel", "hop": 160}))
    with pytest.raises(InputError, match="is fold 2, but the bank is of fold 1 of the same corpus"):
        Bank(heads).check_match(of(**known | {"fold": 2}))
    heads[0].origin = known | {"dev": "counts as train"}
    Bank(heads).check_match(of(**known | {"dev": "counts as train"}))
    with pytest.raises(InputError, match="has a dev part, which the bank was trained on too"):
        Bank(heads).check_match(of(**known))


def test_a_bank_remembers_what_it_is_for(make_features, tmp_path: Path):
    fine = make_features("fine")
    facts = {"upstream": {"name": "logmel"}, "corpus": "RAVDESS", "protocol": "speakers", "fold": 3}
    features = replace(fine, config=fine.config | facts)
    made = build_bank(features, BankConfig(heads=("superb",), seeds=1, updates=2, half_trained=1), tmp_path / "b", {})
    for each in (made, Bank.open(tmp_path / "b")):
        assert {key: each.heads[-1].origin.get(key) for key in facts} == facts


def test_judges_stay_out_and_contradictions_are_refused():
    with pytest.raises(InputError, match=r"'heads': .*expected different ones of \[superb, attentive, cnn-attention\]"):
        BankConfig.load(None, ["heads=[superb, cnn]"])
    with pytest.raises(InputError, match=r"'heads': .*expected different ones of \[superb, attentive, cnn-attention\]"):
        BankConfig.load(None, ["heads=[tdnn]"])
    with pytest.raises(InputError, match="half_trained=25 must be less than updates=25"):
        BankConfig.load(None, ["updates=25", "half_trained=25"])


def test_it_is_fitted_on_the_training_part_alone(shared_features: FeatureSet, tmp_path: Path):
    mixed = shared_features.rows(range(len(shared_features)))
    mixed.index.loc[mixed.index["id"].str.endswith("-0"), "split"] = "test"
    config = QUICK.model_copy(update={"heads": ("superb",), "seeds": 1})
    whole = build_bank(mixed, config, tmp_path / "a", {})
    part = build_bank(mixed.part("train"), config, tmp_path / "b", {})
    for one, other in zip(whole.heads, part.heads, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
