"""Whoever copies gives genders away beyond what strangers' voices tell; who made nothing of anybody does not."""

from pathlib import Path

import numpy as np
import pytest

from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.privacy.attack import Knowledge, attack_records, split_people
from gandistill.privacy.attributes import attributes, read_genders
from gandistill.privacy.membership import People, Records
from tests.privacy.conftest import genders_of, write_speakers


@pytest.fixture(scope="module")
def folk(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    folder = tmp_path_factory.mktemp("folk") / "features"
    return write_speakers(folder, train=16, test=16, gendered=4.0, spread=0.5)


def test_a_generator_that_was_planted_gives_genders_away(folk: FeatureSet):
    """It gives its training part away as its samples."""
    people, members = split_people(folk)
    found = attack_records(folk.part("train"), None, people, members, 0, Knowledge(genders_of(folk)))["attributes"]
    assert found["speakers"] == {"female": 8, "male": 8}
    nearest = found["gender"]["nearest"]
    assert nearest["members"] > 0.95
    assert nearest["advantage"] == nearest["members"] - nearest["others"]
    assert nearest["advantage"] > nearest["chance"][1]


def test_samples_of_strangers_tell_of_members_what_they_tell_of_all():
    """By chance the advantage is in its interval 95 times in 100: of forty groups of strangers few miss."""
    missed = dict.fromkeys(("nearest", "density"), 0)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        women = np.arange(48) % 2 == 0
        offsets = rng.normal(size=(48, 3)) + 2.0 * women[:, None] * [0, 0, 1]
        points, names = np.repeat(offsets, 4, axis=0), np.repeat([f"s{n}" for n in range(48)], 4)
        points = points + 0.5 * rng.normal(size=points.shape)
        asked, members = np.arange(192) < 128, np.arange(128) < 64
        people = People(points[asked], np.zeros(128, int), names[asked], members)
        records = Records(points[~asked], np.zeros(64, int), np.empty((0, 0)))
        genders = {f"s{n}": "female" if n % 2 == 0 else "male" for n in range(32)}
        found = attributes(records, people, genders, seed)
        assert found is not None
        for name, each in found["gender"].items():
            missed[name] += not each["chance"][0] <= each["advantage"] <= each["chance"][1]
    assert max(missed.values()) <= 6


def test_an_attack_by_hand():
    """In the second dim lies the gender, at 1 and -1; in the first who it is. The record of 3 is a woman's, of 5 a
    man's, so that these members' genders are told; nobody is near the others, of whom nothing is told."""
    where = [(3, 1), (5, -1)] + 4 * [(-10, 1), (-10, -1)]
    names = np.array([f"s{n}" for n in range(len(where))])
    points = np.array(where, float)
    people = People(points, np.zeros(10, int), names, np.arange(10) < 2)
    genders = {name: "female" if y > 0 else "male" for name, (_, y) in zip(names, where, strict=True)}
    found = attributes(Records(points[:2], np.zeros(2, int), np.empty((0, 0))), people, genders, 0)
    assert found is not None
    assert found["gender"]["nearest"]["members"] == 1
    assert found["gender"]["nearest"]["others"] == 0.5
    assert found["gender"]["nearest"]["advantage"] == 0.5


def test_where_too_few_of_a_gender_are_held_out_it_is_not_asked(folk: FeatureSet):
    few = folk.rows(~folk.index["speaker"].isin([f"ours{n}" for n in range(16, 27, 2)]).to_numpy())
    people, members = split_people(few)
    assert (
        attack_records(folk.part("train"), None, people, members, 0, Knowledge(genders_of(folk)))["attributes"] is None
    )


def test_genders_are_read_of_a_manifest(tmp_path: Path):
    table = tmp_path / "manifest.csv"
    table.write_text("id,speaker,gender\na,s1,female\nb,s2,male\nc,s1,female\nd,s3,\n")
    assert read_genders(table) == {"s1": "female", "s2": "male"}
    for rows, words in {
        "a,s1,female\nb,s1,male\n": "line 3: speaker s1 is male, but female on line 2",
        "a,s1,female\n": "must tell two genders apart, its speakers have: female",
        "a,s1,\n": "its speakers have: none",
    }.items():
        table.write_text("id,speaker,gender\n" + rows)
        with pytest.raises(InputError, match=words):
            read_genders(table)
