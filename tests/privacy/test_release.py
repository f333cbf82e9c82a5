"""What a private release tells of its speakers to who knows how it was made."""

from pathlib import Path

import numpy as np
import pytest

from gandistill.controls.private import (
    Public,
    release,
)
from gandistill.features.featureset import FeatureSet
from gandistill.privacy.attack import split_people
from gandistill.privacy.release import released
from tests.privacy.conftest import write_speakers


@pytest.fixture(scope="module", params=[False, True], ids=["diagonal", "full"])
def known(request: pytest.FixtureRequest, public: FeatureSet) -> Public:
    return Public.of(public, 3, request.param)


def test_of_few_and_without_noise_almost_everybody_is_told(known: Public, tmp_path: Path):
    """The mean of three leans to each of them; so it does whichever of their utterances are known to be theirs."""
    folk = write_speakers(tmp_path / "features", train=3, test=12, spread=2.0)
    people, members = split_people(folk)
    made = release(folk.part("train"), known, 1e6)
    told = released(made.design(known), made.terms, known, people, members, 0)
    assert told["speaker"]["auc"] > 0.9
    assert (told["speaker"]["members"], told["speaker"]["others"]) == (3, 12)
    one_of_each = np.zeros_like(members)
    one_of_each[np.unique(people.index["speaker"].to_numpy(str), return_index=True)[1]] = True
    assert released(made.design(known), made.terms, known, people, members & one_of_each, 0) == told


def test_it_leans_to_nobody_who_was_not_in_it(known: Public, tmp_path: Path):
    """Made of a third group, it tells members and others alike, whatever the noise."""
    folk = write_speakers(tmp_path / "features", train=12, test=12, seed=3)
    people, members = split_people(folk)
    aucs = []
    for seed in range(8):
        strangers = write_speakers(tmp_path / str(seed), train=12, test=0, seed=30 + seed)
        made = release(strangers, known, 1e6)
        aucs.append(released(made.design(known), made.terms, known, people, members, seed)["speaker"]["auc"])
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.2)


def test_noise_hides_who_was_in_a_release(known: Public, tmp_path: Path):
    """By the mean over a dozen crowds: without noise members are told, with epsilon 1 they are not."""
    aucs = {1.0: [], 1e4: []}
    for seed in range(12):
        folk = write_speakers(tmp_path / str(seed), train=12, test=12, seed=20 + seed)
        people, members = split_people(folk)
        for epsilon, found in aucs.items():
            made = release(folk.part("train"), known, epsilon, np.random.default_rng(seed))
            told = released(made.design(known), made.terms, known, people, members, seed)
            found.append(told["speaker"]["auc"])
    assert np.mean(aucs[1e4]) > 0.65
    assert np.mean(aucs[1.0]) == pytest.approx(0.5, abs=0.1)
