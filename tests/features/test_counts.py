"""Points per class as they are asked for, by hand and by property."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.errors import InputError
from gandistill.features.counts import counts_per_class, explicit_counts

SUPERB = {"neu": 1037, "hap": 1078, "ang": 717, "sad": 724}
"""Training utterances of IEMOCAP's fold 1 (SUPERB), by class."""


def test_points_per_class():
    assert counts_per_class(list(SUPERB), SUPERB, ppc=100, balanced=True) == dict.fromkeys(SUPERB, 100)
    assert counts_per_class(list(SUPERB), SUPERB, ppc=100) == dict.fromkeys(SUPERB, 100)


def test_what_division_leaves_over_goes_in_label_order():
    expected = {"neu": 612, "hap": 612, "ang": 612, "sad": 611}
    assert counts_per_class(list(SUPERB), SUPERB, total=2447) == expected
    assert counts_per_class(list(SUPERB), SUPERB, total=2447, balanced=True) == expected
    assert counts_per_class(list(SUPERB), SUPERB, total=2) == {"neu": 1, "hap": 1, "ang": 0, "sad": 0}


def test_as_original():
    assert counts_per_class(list(SUPERB), SUPERB, as_original=True) == SUPERB
    # 2447/3556 of each class is 713.6, 741.8, 493.4, 498.2: two are left over
    scaled = {"neu": 714, "hap": 742, "ang": 493, "sad": 498}
    assert counts_per_class(list(SUPERB), SUPERB, as_original=True, total=2447) == scaled


def test_a_class_without_utterances_gets_nothing_of_a_remainder():
    assert counts_per_class(["a", "b", "c"], {"a": 0, "b": 1, "c": 1}, as_original=True, total=3) == {
        "a": 0,
        "b": 2,
        "c": 1,
    }


@settings(deadline=None)
@given(
    original=st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any),
    total=st.integers(1, 500),
    as_original=st.booleans(),
)
def test_shares_sum_to_the_total_and_are_at_most_one_from_exact(original: list[int], total: int, as_original: bool):
    counts = {f"class{i}": count for i, count in enumerate(original)}
    found = counts_per_class(list(counts), counts, total=total, as_original=as_original)
    parts = counts if as_original else dict.fromkeys(counts, 1)
    assert list(found) == list(counts)
    assert sum(found.values()) == total
    for label, part in parts.items():
        assert abs(found[label] - total * part / sum(parts.values())) <= 1


def test_explicit_counts():
    found = counts_per_class(list(SUPERB), SUPERB, counts={"sad": 80, "neu": 50})
    assert found == {"neu": 50, "hap": 0, "ang": 0, "sad": 80}
    assert list(found) == list(SUPERB)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "How many points"),
        ({"balanced": True}, "How many points"),
        ({"ppc": 0}, "Bad --ppc 0"),
        ({"total": -1}, "Bad --total -1"),
        ({"ppc": 0, "as_original": True}, "--ppc"),
        ({"ppc": 2, "total": 8}, "Choose one"),
        ({"ppc": 2, "counts": {"neu": 1}}, "Choose one"),
        ({"total": 2, "counts": {"neu": 1}}, "Choose one"),
        ({"ppc": 2, "as_original": True}, "goes alone or with --total"),
        ({"counts": {"neu": 2}, "as_original": True}, "goes alone or with --total"),
        ({"balanced": True, "as_original": True}, "--balanced contradicts"),
        ({"balanced": True, "counts": {"neu": 2}}, "--balanced contradicts"),
        ({"counts": {"neutral": 2}}, r"Bad class 'neutral' in --counts, expected some of \[neu, hap, ang, sad\]"),
        ({"counts": {"neu": 0}}, "one of them above 0"),
        ({"counts": {}}, "one of them above 0"),
        ({"counts": {"neu": -1, "hap": 2}}, "0 or more"),
    ],
)
def test_contradictions_and_bad_numbers(wanted: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        counts_per_class(list(SUPERB), SUPERB, **wanted)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (["neu=50"], {"neu": 50}),
        (["neu=3, b,c=1"], None),
        (["neu=3, hap = 1"], {"neu": 3, "hap": 1}),
        (["neu=3", "b,c=1"], {"neu": 3, "b,c": 1}),
        (["x=y=2"], {"x=y": 2}),
        (["neu=3,x=y=2", "b,c=1"], {"neu": 3, "x=y": 2, "b,c": 1}),
    ],
)
def test_counts_of_any_label(given: list[str] | None, expected: dict[str, int] | None):
    labels = ["neu", "hap", "b,c", "x=y"]
    if given and expected is None:
        with pytest.raises(InputError, match="for a class with a comma one such option each"):
            explicit_counts(given, labels)
    else:
        assert explicit_counts(given, labels) == expected


@pytest.mark.parametrize("bad", ["", "-1", "1.5", "many"])
def test_counts_are_whole_numbers(bad: str):
    with pytest.raises(InputError, match="Bad --counts"):
        explicit_counts([f"neu={bad}"], ["neu"])


def test_a_class_is_counted_once():
    with pytest.raises(InputError, match="says 'neu' twice"):
        explicit_counts(["neu=1", "neu=2"], ["neu"])
