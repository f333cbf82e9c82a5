"""Areas by hand, intervals that hold what they should, and scores that catch what they are for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from gandistill.privacy import membership
from gandistill.privacy.membership import (
    People,
    Records,
    Score,
    Space,
    area,
    by_speakers,
    density,
    judge,
    nearest,
    roc,
    tracing,
    within_class,
)


def people(points: np.ndarray, members: np.ndarray, each: int = 4, classes: int = 1) -> People:
    n = len(points)
    return People(points, np.arange(n) % classes, np.array([f"s{i // each}" for i in range(n)]), members)


def test_an_area_by_hand():
    """Of six pairs the member wins four and ties one."""
    scores, members = np.array([3.0, 1.0, 2.0, 1.0, 0.0]), np.array([True, False, True, True, False])
    assert area(scores, members) == pytest.approx((2 + 2 + 1.5) / 6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_areas_are_those_of_mann_and_whitney(pairs: list[tuple[int, bool]]):
    scores, members = np.array([float(score) for score, _ in pairs]), np.array([member for _, member in pairs])
    if members.all() or not members.any():
        return
    u = mannwhitneyu(scores[members], scores[~members]).statistic
    assert area(scores, members) == pytest.approx(u / (members.sum() * (~members).sum()))


def test_nearest_by_hand():
    records = Records(np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([0, 1]), np.zeros((2, 2)))
    judged = People(
        np.array([[3.0, 4.0], [10.0, 1.0]]), np.array([0, 1]), np.array(["a", "b"]), np.array([True, False])
    )
    assert nearest(records, judged, judged).tolist() == pytest.approx([-5, -1])


def test_tracing_by_hand():
    """The reference lies at 1, the artifact's mean at 3: who is at 4 leans to it, who is at 0 does not."""
    records = Records(np.zeros((0, 1)), np.zeros(0, int), np.array([[3.0]]))
    judged = People(np.array([[4.0], [0.0]]), np.zeros(2, int), np.array(["a", "b"]), np.array([True, False]))
    reference = People(np.array([[0.5], [1.5]]), np.zeros(2, int), np.array(["c", "d"]), np.zeros(2, bool))
    assert tracing(records, judged, reference).tolist() == pytest.approx([6, -2])


def test_density_is_above_zero_where_records_lie_closer():
    rng = np.random.default_rng(0)
    records = Records(rng.normal(size=(200, 2)), np.zeros(200, int), np.zeros((1, 2)))
    reference = people(rng.normal((4, 0), size=(200, 2)), np.zeros(200, bool))
    judged = people(np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([True, False]))
    scores = density(records, judged, reference)
    assert scores[0] > 0 > scores[1]


@pytest.mark.parametrize("score", [nearest, density, tracing])
def test_with_strangers_on_both_sides_intervals_hold_a_half(score: Score):
    """Nearly always: a bootstrap over a dozen speakers a side is a little narrow."""
    held = {"utterance": 0, "speaker": 0}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        offsets = np.repeat(rng.normal(size=(24, 3)), 6, axis=0)
        asked = people(offsets + 0.5 * rng.normal(size=(144, 3)), np.arange(144) < 72, each=6)
        own = rng.normal(size=(60, 3)) * 1.2
        found = judge(score, Records(own, np.zeros(60, int), own.mean(0)[None]), asked, seed)
        for of in held:
            low, high = found[of]["interval"]
            held[of] += low <= 0.5 <= high
    assert min(held.values()) >= 24


def test_intervals_are_those_of_drawing_speakers_again():
    """Beside the plain way, a resample at a time."""
    rng = np.random.default_rng(0)
    asked = people(rng.normal(size=(80, 1)), np.arange(80) < 36)
    scores = asked.points[:, 0] + 0.7 * asked.members
    plain = []
    for _ in range(2000):
        sides = [
            rng.choice(np.unique(asked.speakers[side]), side.sum() // 4) for side in (asked.members, ~asked.members)
        ]
        rows = np.concatenate([np.flatnonzero(asked.speakers == who) for side in sides for who in side])
        plain.append(area(scores[rows], asked.members[rows]))
    found = roc([(scores, asked.members, asked.speakers)], 0)
    assert found["interval"] == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.02)
    assert found["auc"] == area(scores, asked.members)


def test_copies_are_caught():
    rng = np.random.default_rng(0)
    asked = people(rng.normal(size=(144, 3)), np.arange(144) < 72, each=6)
    copies = asked.points[asked.members] + 0.01 * rng.normal(size=(72, 3))
    found = judge(nearest, Records(copies, np.zeros(72, int), copies.mean(0)[None]), asked, 0)
    assert found["utterance"]["auc"] > 0.95
    assert found["speaker"]["auc"] == 1
    assert (found["utterance"]["members"], found["utterance"]["others"]) == (72, 72)
    assert found["utterance"]["tpr"] == {}, "72 are too few to speak of one in a hundred"


def test_rates_where_there_are_enough_others():
    scores, members = np.concatenate([np.full(50, 2.0), np.arange(200) / 200]), np.arange(250) < 50
    scores[:25] = 0.5
    speakers = np.array([f"s{i // 10}" for i in range(250)])
    assert roc([(scores, members, speakers)], 0)["tpr"] == {"0.01": 0.5}
    halves = [members | (np.arange(250) % 4 == n) for n in (2, 3)]
    rounds = [(scores[half], members[half], speakers[half]) for half in halves]
    assert roc(rounds, 0)["tpr"] == {}, "fifty others in each are too few, though they are a hundred"


def test_of_few_speakers_there_is_no_interval():
    asked = people(np.random.default_rng(0).normal(size=(40, 1)), np.arange(40) < 32)
    assert roc([(asked.points[:, 0], asked.members, asked.speakers)], 0)["interval"] is None


def test_a_class_that_scores_high_names_nobody():
    judged = people(np.zeros((4, 1)), np.array([True, True, False, False]), each=2, classes=2)
    assert within_class(np.array([1.0, 10.0, 3.0, 12.0]), judged).tolist() == [-1, -1, 1, 1]
    means, members, names = by_speakers(np.array([1.0, 3.0, 5.0, 9.0]), judged)
    assert (means.tolist(), members.tolist(), names.tolist()) == ([2, 7], [True, False], ["s0", "s1"])


def test_the_space_is_that_of_the_records():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 6)) * [9, 1, 1, 1, 1, 0] + 3
    points = Space.of(values).points(values)
    assert points.mean(0) == pytest.approx(np.zeros(points.shape[1]), abs=1e-9)
    assert np.cov(points.T, bias=True) == pytest.approx(np.eye(points.shape[1]), abs=1e-9)
    assert points.shape[1] == 5


@pytest.mark.parametrize("score", [nearest, density])
def test_what_is_computed_in_pieces_is_what_is_computed_at_once(score: Score, monkeypatch: pytest.MonkeyPatch):
    """Of a few records at a time, and of fewer than one point's distances."""
    rng = np.random.default_rng(0)
    alone = np.zeros(23, np.int64)
    folk = People(rng.normal(size=(23, 3)), alone, np.arange(23).astype(str), np.arange(23) < 9)
    records = Records(rng.normal(size=(7, 3)), alone[:7], np.zeros((1, 3)))
    whole = score(records, folk, folk)
    for piece in (1, 30):
        monkeypatch.setattr(membership, "PIECE", piece)
        assert score(records, folk, folk) == pytest.approx(whole, rel=1e-12)
