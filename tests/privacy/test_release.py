"""What a private release tells of its speakers to who knows how it was made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandistill.controls.private import Release, release
from gandistill.features.featureset import FeatureSet
from gandistill.privacy.attack import split_people
from gandistill.privacy.release import released
from tests.privacy.conftest import write_speakers


def told_of(made: Release, folk: FeatureSet, seed: int) -> Any:
    """What it tells of each of the folk."""
    return released(made.design, made.terms, made.known, *split_people(folk), seed)["speaker"]


def test_of_few_and_without_noise_almost_everybody_is_told(public: FeatureSet, tmp_path: Path):
    """The mean of three leans to each of them; so it does whichever of their utterances are known to be theirs."""
    folk = write_speakers(tmp_path / "features", train=3, test=12, spread=2.0)
    people, members = split_people(folk)
    made = release(folk.part("train"), public, 1e6)
    told = told_of(made, folk, 0)
    assert told["auc"] > 0.9
    assert (told["members"], told["others"]) == (3, 12)
    one_of_each = np.zeros_like(members)
    one_of_each[np.unique(people.index["speaker"].to_numpy(str), return_index=True)[1]] = True
    again = released(made.design, made.terms, made.known, people, members & one_of_each, 0)
    assert again["speaker"] == told


def test_it_leans_to_nobody_who_was_not_in_it(public: FeatureSet, tmp_path: Path):
    """Made of a third group, it tells members and others alike, whatever the noise."""
    folk = write_speakers(tmp_path / "features", train=12, test=12, seed=3)
    aucs = []
    for seed in range(8):
        strangers = write_speakers(tmp_path / str(seed), train=12, test=0, seed=30 + seed)
        aucs.append(told_of(release(strangers, public, 1e6), folk, seed)["auc"])
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.2)


def test_noise_hides_who_was_in_a_release(public: FeatureSet, tmp_path: Path):
    """By the mean over a dozen crowds: without noise members are told, with epsilon 1 they are not."""
    aucs = {1.0: [], 1e4: []}
    for seed in range(12):
        folk = write_speakers(tmp_path / str(seed), train=12, test=12, seed=20 + seed)
        for epsilon, found in aucs.items():
            made = release(folk.part("train"), public, epsilon, np.random.default_rng(seed))
            found.append(told_of(made, folk, seed)["auc"])
    assert np.mean(aucs[1e4]) > 0.65
    assert np.mean(aucs[1.0]) == pytest.approx(0.5, abs=0.1)
