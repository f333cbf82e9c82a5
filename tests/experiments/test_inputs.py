"""Folds of a protocol share one extraction, each with a bank of its own; what is there from the same stays."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill import artifacts
from gandistill.corpora.manifest import Entry
from gandistill.corpora.synthetic import synthesise
from gandistill.errors import InputError
from gandistill.experiments import inputs as room
from gandistill.experiments.inputs import Inputs, inputs_of_folds
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.heads.bank import Bank, BankConfig, build_bank

BANK = BankConfig(heads=("superb",), seeds=1, updates=3, half_trained=1, batch=4)
Make = Callable[..., list[Inputs]]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often features were extracted and banks built."""
    times: Counter[str] = Counter()

    def counted(what: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            times[what.__name__] += 1
            return what(*arguments)

        return called

    monkeypatch.setattr(room, "extract", counted(extract))
    monkeypatch.setattr(room, "build_bank", counted(build_bank))
    return times


@pytest.fixture
def make(tmp_path: Path) -> Make:
    corpus = synthesise(tmp_path / "corpus", sessions=3, per_class=1)

    def inputs(
        folds: tuple[int, ...] = (1, 2), banking: BankConfig = BANK, work: str = "work", ppc: tuple[int, ...] = ()
    ) -> list[Inputs]:
        return inputs_of_folds(
            "synthetic", corpus, "speaker-independent", folds, tmp_path / work, ExtractConfig(), banking, ppc
        )

    return inputs


def test_features_are_extracted_once_and_each_fold_has_its_bank(make: Make, done: Counter[str]):
    first, second = made = make()
    assert done == {"extract": 1, "build_bank": 2}
    one, two = FeatureSet.open(first.features), FeatureSet.open(second.features)
    for each in (one, two):
        assert set(each.part("test").index["speaker"]).isdisjoint(each.part("train").index["speaker"])
    assert set(one.part("test").index["id"]).isdisjoint(two.part("test").index["id"])
    assert (one.config["fold"], two.config["fold"]) == (1, 2)
    assert first.fingerprint == one.fingerprint != second.fingerprint
    for fold, features in zip(made, (one, two), strict=True):
        assert artifacts.read_json(fold.bank / "config.json")["source"]["fingerprint"] == features.fingerprint
        trained_on = [head.trained["utterances"] for head in Bank.open(fold.bank).heads if "utterances" in head.trained]
        assert all(counts == features.training_part().class_counts for counts in trained_on)

    changed = [path.stat().st_mtime_ns for fold in made for path in (fold.features, fold.bank)]
    assert [one.fingerprint for one in make()] == [one.fingerprint for one in made]
    assert done["build_bank"] == 2
    assert [path.stat().st_mtime_ns for fold in made for path in (fold.features, fold.bank)] == changed

    make(banking=BANK.model_copy(update={"updates": 4}))
    assert done["build_bank"] == 4, "another recipe makes another bank"


def test_the_same_corpus_elsewhere_gives_the_same_features_and_banks(make: Make):
    here, there = make(), make(work="elsewhere/work")
    assert [one.fingerprint for one in here] == [one.fingerprint for one in there]
    for one, same in zip(here, there, strict=True):
        heads = zip(Bank.open(one.bank).heads, Bank.open(same.bank).heads, strict=True)
        assert all(torch.equal(a.embed(torch.ones(1, a.dims)), b.embed(torch.ones(1, b.dims))) for a, b in heads)


def test_what_a_bank_cost_is_kept_beside_it(make: Make):
    (first, _) = make()
    seconds = first.bank_seconds
    assert seconds is not None
    assert seconds > 0
    assert make()[0].bank_seconds == seconds
    first.bank.with_name("bank-cost.json").unlink()
    assert first.bank_seconds is None, "a bank that came from elsewhere"


def test_more_points_per_class_than_utterances_train_are_refused_before_any_long_work(make: Make, done: Counter[str]):
    train = len(FeatureSet.open(make()[0].features).part("train"))
    done.clear()
    make(ppc=(1, train))
    refused = f"^Bad ppc {train + 1}, expected at most {train}: so many utterances train in fold 1 of speaker-independ"
    with pytest.raises(InputError, match=refused):
        make(work="other", ppc=(1, train + 1, 2))
    assert not done["build_bank"]


def test_a_class_that_none_trains_is_refused_before_any_long_work(
    make: Make, done: Counter[str], monkeypatch: pytest.MonkeyPatch
):
    whole = room.read_manifest

    def without(manifest: Path) -> list[Entry]:
        return [replace(one, split="dev" if one.emotion == "sad" else one.split) for one in whole(manifest)]

    monkeypatch.setattr(room, "read_manifest", without)
    with pytest.raises(InputError, match=r"Fold 1 of speaker-independent has no utterance of \[sad\] to train on"):
        make()
    assert not done["build_bank"]


def test_a_fold_that_there_is_not_is_refused_before_any_long_work(make: Make, done: Counter[str]):
    with pytest.raises(InputError, match="Bad fold of speaker-independent 9, expected one of"):
        make(folds=(1, 9))
    assert not done
