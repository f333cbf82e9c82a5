import csv
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions, pooled
from gandistill.evaluate.significance import bootstrap, compare, difference, holm, interval, mcnemar, mcnemar_of
from tests.commands import run

Row = tuple[str, str, str, str]


def write(path: Path, rows: list[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "speaker", "label", "predicted"])
        writer.writerows(rows)
    return path


def predictions(path: Path, right: list[bool], speakers: int = 2) -> Path:
    """Labels x and y in turn; a wrong prediction is the other one."""
    rows = []
    for i, r in enumerate(right):
        label = "xy"[i % 2]
        rows.append((f"u{i}", f"s{i // 2 % speakers}", label, label if r else "yx"[i % 2]))
    return write(path, rows)


def judged(right: Sequence[bool] | np.ndarray, speakers: int = 2, source: str = "predictions in memory") -> Predictions:
    """As ``predictions``, in memory."""
    label = np.array(["xy"[i % 2] for i in range(len(right))])
    wrong = np.array(["yx"[i % 2] for i in range(len(right))])
    ids, names = (
        [f"{kind}{i // many % limit}" for i in range(len(right))]
        for kind, many, limit in (("u", 1, len(right)), ("s", 2, speakers))
    )
    return Predictions(np.array(ids), np.array(names), label, np.where(right, label, wrong), source)


def percentiles(labels, right_a, right_b, clusters, *, seed: int, resamples: int) -> tuple[float, float]:
    gain = np.asarray(right_a, np.int64) - np.asarray(right_b, np.int64)
    low, high = np.quantile(bootstrap(labels, gain, clusters, seed=seed, resamples=resamples), [0.025, 0.975])
    return float(low), float(high)


@settings(deadline=None, max_examples=300)
@given(a_only=st.integers(0, 400), b_only=st.integers(0, 400))
def test_p_values_of_many_pairs_equal_the_normal_distribution(a_only: int, b_only: int) -> None:
    """Chi-squared with one degree of freedom is the square of a standard normal."""
    a_only = max(a_only, 25 - b_only)
    deviations = abs(abs(a_only - b_only) - 1) / np.sqrt(a_only + b_only)
    assert mcnemar_of(a_only, b_only) == {
        "p_value": pytest.approx(2 * stats.norm.sf(deviations), rel=1e-9),
        "statistic": pytest.approx(deviations**2, rel=1e-12),
        "method": "chi-squared",
    }


@pytest.mark.parametrize("pairs", range(25))
def test_p_values_of_few_pairs_equal_the_binomial_distribution(pairs: int) -> None:
    """All splits of as many pairs that are no likelier than this one, each with its probability."""
    likelihood = stats.binom.pmf(np.arange(pairs + 1), pairs, 0.5)
    for a_only in range(pairs + 1):
        assert mcnemar_of(a_only, pairs - a_only) == {
            "p_value": pytest.approx(likelihood[likelihood <= likelihood[a_only] * (1 + 1e-9)].sum(), rel=1e-9),
            "statistic": min(a_only, pairs - a_only),
            "method": "exact",
        }


def test_mcnemar_by_hand() -> None:
    # 1 against 5: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64.
    assert mcnemar_of(1, 5) == {"p_value": pytest.approx(14 / 64, rel=1e-14), "statistic": 1.0, "method": "exact"}
    # 10 against 20: (10 - 1)^2 / 30 = 2.7; P(chi2_1 > 2.7) = 0.1003...
    assert mcnemar_of(10, 20) == {
        "p_value": pytest.approx(0.100348, abs=1e-6),
        "statistic": 2.7,
        "method": "chi-squared",
    }
    assert mcnemar_of(3, 3)["p_value"] == 1
    # None against none: exact too, as chi-squared would divide by zero.
    assert mcnemar_of(0, 0) == {"p_value": 1.0, "statistic": 0.0, "method": "exact"}


def test_exact_ends_at_25_discordant_pairs() -> None:
    assert mcnemar_of(0, 24)["method"] == "exact"
    assert mcnemar_of(0, 25)["method"] == "chi-squared"


def test_a_comparison_by_hand(tmp_path: Path) -> None:
    # x: a right 2 of 3, b 1 of 3. y: a right 1 of 2, b 2 of 2. UARs 7/12 and 2/3.
    a = write(
        tmp_path / "a.csv",
        [("1", "s", "x", "x"), ("2", "s", "x", "x"), ("3", "s", "x", "y"), ("4", "t", "y", "y"), ("5", "t", "y", "x")],
    )
    b = write(
        tmp_path / "b.csv",
        [("5", "t", "y", "y"), ("4", "t", "y", "y"), ("3", "s", "x", "y"), ("2", "s", "x", "y"), ("1", "s", "x", "x")],
    )
    found = compare(a, b)
    assert found["uar_a"] == pytest.approx(7 / 12)
    assert found["uar_b"] == pytest.approx(2 / 3)
    assert found["uar_difference"] == pytest.approx(-1 / 12)
    assert found["discordant"] == {"a_only": 1, "b_only": 1}
    assert (found["p_value"], found["method"]) == (1.0, "exact")
    assert (found["speakers"], found["utterances"], found["bootstrap"]) == (2, 5, "utterance")
    low, high = found["interval"]
    assert low < -1 / 12 < high


def test_a_comparison_is_read_by_people(tmp_path: Path) -> None:
    a = predictions(tmp_path / "a.csv", [True] * 8 + [False] * 4)
    b = predictions(tmp_path / "b.csv", [True] * 4 + [False] * 8)
    found = compare(a, b, margin=0.05)
    said = [line.split(maxsplit=1) for line in run("compare", a, b).out.replace("a beyond b", "beyond").splitlines()]
    low, high = found["interval"]
    assert dict(said) == {
        "UAR": f"a {100 * found['uar_a']:.1f} %, b {100 * found['uar_b']:.1f} %; 12 utterances of 2 speakers",
        "beyond": f"{100 * found['uar_difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points, with the 95 % "
        "interval of a bootstrap by utterance",
        "McNemar": "p = 0.125 (exact); right alone: a 4, b 0",
    }
    on_par = run("compare", a, b, "--margin", 0.05).out.splitlines()[-1]
    assert on_par.startswith("on par         not shown, within 5 points: the 90 % interval is [")


def test_swapping_the_files_mirrors_the_result(tmp_path: Path) -> None:
    right = np.random.default_rng(0).random((2, 60)) < [[0.8], [0.5]]
    a, b = (predictions(tmp_path / f"{i}.csv", right[i].tolist(), 10) for i in (0, 1))
    there, back = compare(a, b), compare(b, a)
    assert there["p_value"] == back["p_value"]
    assert there["uar_difference"] == -back["uar_difference"]
    assert there["uar_difference"] == pytest.approx(there["uar_a"] - there["uar_b"])
    assert there["interval"] == pytest.approx([-back["interval"][1], -back["interval"][0]], abs=1e-12)


def test_identical_files_do_not_differ(tmp_path: Path) -> None:
    a = predictions(tmp_path / "a.csv", [True, False, True, True] * 9, 9)
    found = compare(a, a)
    assert (found["p_value"], found["uar_difference"], found["interval"]) == (1.0, 0.0, [0.0, 0.0])
    assert found["bootstrap"] == "speaker"


def test_the_seed_decides_the_interval(tmp_path: Path) -> None:
    right = np.random.default_rng(0).random((2, 60)) < 0.7
    a, b = (predictions(tmp_path / f"{i}.csv", right[i].tolist(), 10) for i in (0, 1))
    assert compare(a, b, seed=3) == compare(a, b, seed=3)
    assert compare(a, b, seed=3)["interval"] != compare(a, b, seed=4, resamples=500)["interval"]


@pytest.mark.parametrize(("speakers", "kind"), [(5, "utterance"), (6, "speaker")])
def test_six_speakers_are_needed_to_resample_speakers(tmp_path: Path, speakers: int, kind: str) -> None:
    a = predictions(tmp_path / "a.csv", [True, False] * 20, speakers)
    found = compare(a, a)
    assert (found["bootstrap"], found["speakers"]) == (kind, speakers)


def test_an_unnamed_speaker_rules_out_resampling_speakers(tmp_path: Path) -> None:
    rows = [(f"u{i}", f"s{i}" if i else "", "x", "x") for i in range(12)]
    found = compare(write(tmp_path / "a.csv", rows), write(tmp_path / "b.csv", rows))
    assert (found["bootstrap"], found["speakers"]) == ("utterance", 11)


def test_mcnemar_of_predictions_by_hand() -> None:
    a, b = judged([True, True, True, False, False]), judged([True, False, False, True, False])
    for other in (b, b.take([4, 3, 2, 1, 0])):  # 1 against 2: 2 * (C(3,0) + C(3,1)) / 2^3 = 1
        assert mcnemar(a, other) == {
            "p_value": 1.0,
            "statistic": 1.0,
            "method": "exact",
            "discordant": {"a_only": 2, "b_only": 1},
        }


def test_a_difference_over_seeds_by_hand() -> None:
    # x at 0 and 2, y at 1 and 3. a: UARs 1 and 1/2, mean 3/4; b: 1/4.
    a = [judged([True] * 4), judged([True, False, True, False])]
    b = [judged([False, True, False, False])]
    found = difference(a, b, resamples=4000)
    assert (found["uar_a"], found["uar_b"], found["uar_difference"]) == (0.75, 0.25, 0.5)
    assert (found["bootstrap"], found["speakers"], found["utterances"]) == ("utterance", 2, 4)
    # a's mean over seeds is ahead by 1 at both x, by -1/2 and 1/2 at the two y. Of the 256 draws of four utterances
    # the difference is -1/2 in 1, -1/4 in 4 (y alone, the worse one more often: 2.0 %), 0 in 6 more (4.3 %), 1 in the
    # 16 of x alone (6.3 %), in between in the others: the 2.5th percentile is 0, the 97.5th is 1.
    assert found["interval"] == [0, 1]
    assert "equivalence" not in found


def test_both_intervals_are_of_one_set_of_resamples() -> None:
    right = np.random.default_rng(0).random((2, 80)) < 0.6
    a, b = (judged(row, 8) for row in right)
    found = difference([a], [b], seed=5, margin=0.2)
    gaps = bootstrap(a.labels, a.right.astype(int) - b.right, a.speakers, seed=5, resamples=10_000)
    assert found["interval"] == pytest.approx(np.quantile(gaps, [0.025, 0.975]).tolist(), abs=1e-15)
    assert found["equivalence"]["interval"] == pytest.approx(np.quantile(gaps, [0.05, 0.95]).tolist(), abs=1e-15)
    assert found == difference([a], [b], seed=5, margin=0.2)
    assert {**found, "equivalence": 0} == {**difference([a], [b], seed=5), "equivalence": 0}


def test_seeds_share_their_resamples() -> None:
    # Per utterance a's second seed makes good what its first one loses, so the mean over seeds has no spread at all.
    first = np.array([True, True, False, False] * 6)
    a, b = [judged(first), judged(~first)], [judged([False] * 24)]
    assert difference(a, b)["interval"] == [0.5, 0.5]
    assert difference(a[:1], b)["interval"] != [0.5, 0.5]


def test_a_seed_that_is_counted_twice_changes_nothing() -> None:
    right = np.random.default_rng(1).random((3, 60)) < 0.6
    a, b, c = (judged(row, 10) for row in right)
    once, twice = difference([a, b], [c], margin=0.1), difference([a, b, b, a], [c, c], margin=0.1)
    assert once["uar_difference"] == pytest.approx(twice["uar_difference"], abs=1e-15)
    assert once["interval"] == pytest.approx(twice["interval"], abs=1e-15)


RIGHT = st.integers(1, 3).flatmap(
    lambda n: st.lists(st.lists(st.booleans(), min_size=20, max_size=20), min_size=n, max_size=n)
)


@settings(deadline=None, max_examples=60)
@given(a=RIGHT, b=RIGHT, speakers=st.sampled_from([2, 8]), seed=st.integers(0, 9), margin=st.floats(0.01, 0.9))
def test_a_difference_turns_its_sign_when_its_rows_swap(
    a: list[list[bool]], b: list[list[bool]], speakers: int, seed: int, margin: float
) -> None:
    rows = [[judged(right, speakers) for right in row] for row in (a, b)]
    there, back = (difference(x, y, seed, 300, margin) for x, y in (rows, rows[::-1]))
    assert there["uar_difference"] == -back["uar_difference"] == there["uar_a"] - there["uar_b"]
    for x, y in ((there, back), (there["equivalence"], back["equivalence"])):
        assert x["interval"] == pytest.approx([-bound for bound in y["interval"][::-1]], abs=1e-12)
        assert -1 <= x["interval"][0] <= x["interval"][1] <= 1
    inner, outer = there["equivalence"]["interval"], there["interval"]
    assert outer[0] <= inner[0] <= inner[1] <= outer[1]
    assert there["equivalence"]["equivalent"] == (-margin < inner[0] and inner[1] < margin)


@settings(deadline=None, max_examples=40)
@given(row=RIGHT, data=st.data(), margin=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_what_is_identical_is_on_par_at_any_margin(row: list[list[bool]], data: st.DataObject, margin: float) -> None:
    a = [judged(right) for right in row]
    order = data.draw(st.permutations(range(20)))
    b = [p.take(order) for p in a[::-1]]
    found = difference(a, b, resamples=50, margin=margin)
    assert (found["uar_difference"], found["interval"]) == (0, [0, 0])
    assert found["equivalence"] == {"margin": margin, "interval": [0, 0], "equivalent": True}


def test_too_wide_an_interval_is_not_on_par_though_no_difference_is_seen() -> None:
    a, b = judged([True, True, False, False] * 5), judged([False, False, True, True] * 5)
    few = difference([a], [b], margin=0.03)
    assert few["uar_difference"] == 0
    assert not few["equivalence"]["equivalent"]
    many, none = judged([True] * 400, 10), judged([True] * 398 + [False] * 2, 10)
    assert difference([many], [none], margin=0.03)["equivalence"]["equivalent"]
    assert not difference([many], [none], margin=0.002)["equivalence"]["equivalent"]


def test_rows_over_pooled_folds_resample_speakers() -> None:
    def fold(number: int, right: list[bool]) -> Predictions:
        p = judged(right, 2)
        return replace(p, ids=np.char.add(f"{number}", p.ids), speakers=np.char.add(f"{number}", p.speakers))

    right = np.random.default_rng(0).random((2, 5, 40)) < 0.6
    a, b = (pooled([fold(n, row.tolist()) for n, row in enumerate(folds)]) for folds in right)
    found = difference([a], [b])
    assert (found["bootstrap"], found["speakers"], found["utterances"]) == ("speaker", 10, 200)
    assert found["interval"][0] < found["uar_difference"] < found["interval"][1]


def test_many_seeds_of_a_whole_test_session_take_well_under_a_second() -> None:
    right = np.random.default_rng(0).random((2, 9, 1085)) < 0.64
    rows = [[judged(right_of, 2) for right_of in row] for row in right]
    begin = time.process_time()
    difference(rows[0], rows[1], margin=0.03)
    assert time.process_time() - begin < 2  # 0.15 s on an idle core


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, gain = np.array(list("xyz") * 11), np.arange(33) % 3 - 1
    ids = np.array([f"u{i:02d}" for i in range(33)])
    whole = bootstrap(labels, gain, ids, seed=0, resamples=501)
    monkeypatch.setattr("gandistill.evaluate.significance.BLOCK", 33 * 7 + 5)
    assert np.array_equal(bootstrap(labels, gain, ids, seed=0, resamples=501), whole)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.03, 0.04 times 3, 2, 1: 0.03, 0.06, and 0.04 raised to the 0.06 before it.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"p-values lie in 0\.\.1"):
            holm([0.5, bad])


@settings(deadline=None, max_examples=30)  # few: statsmodels collects all of Python's garbage in each call
@given(p_values=st.lists(st.sampled_from([0.0, 0.01, 0.02, 1.0]) | st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    """Of each test as small or smaller: its p-value times how many are as large or larger; the greatest counts."""
    times = {p: sum(other >= p for other in p_values) for p in p_values}
    expected = [min(1, max(times[other] * other for other in p_values if other <= p)) for p in p_values]
    assert holm(p_values) == pytest.approx(expected, rel=1e-12)


def naive(labels, right_a, right_b, clusters, resamples: int) -> tuple[float, float]:
    """The definition, one resample at a time."""
    generator, names = np.random.default_rng(1), np.unique(clusters)
    members = {name: np.flatnonzero(clusters == name) for name in names}
    differences = []
    for _ in range(resamples):
        rows = np.concatenate([members[name] for name in generator.choice(names, len(names))])
        gaps = right_a[rows].astype(float) - right_b[rows]
        differences.append(np.mean([gaps[labels[rows] == label].mean() for label in np.unique(labels[rows])]))
    return float(np.quantile(differences, 0.025)), float(np.quantile(differences, 0.975))


@pytest.mark.parametrize("clusters_of", [1, 7])
def test_the_bootstrap_equals_its_definition(clusters_of: int) -> None:
    generator = np.random.default_rng(2)
    labels = np.array(list("xyz"))[generator.integers(0, 3, 140)]
    right_a, right_b = generator.random(140) < 0.7, generator.random(140) < 0.55
    clusters = np.array([f"c{i // clusters_of:03d}" for i in range(140)])
    found = percentiles(labels, right_a, right_b, clusters, seed=0, resamples=10_000)
    assert found == pytest.approx(naive(labels, right_a, right_b, clusters, 3000), abs=0.012)


def test_a_class_that_a_resample_lacks_does_not_count() -> None:
    labels, clusters = np.array(["x"] * 9 + ["y"]), np.array(list("aaabbbcccd"))
    right_a, right_b = np.array([True] * 9 + [False]), np.array([False] * 9 + [False])
    low, high = percentiles(labels, right_a, right_b, clusters, seed=0, resamples=2000)
    assert (low, high) == (0.5, 1.0)  # y right in neither: 1/2 with y, 1 where no y was drawn


def test_clustering_widens_the_interval_when_speakers_agree_with_themselves() -> None:
    speakers = np.repeat([f"s{i}" for i in range(10)], 20)
    labels = np.array(["x", "y"] * 100)
    right_a = np.repeat(np.arange(10) % 2 == 0, 20)  # all of a speaker's utterances right, or all wrong
    right_b = ~right_a
    widths = []
    for clusters in (speakers, np.array([f"u{i}" for i in range(200)])):
        low, high = percentiles(labels, right_a, right_b, clusters, seed=0, resamples=4000)
        widths.append(high - low)
    assert widths[0] > 3 * widths[1]  # sqrt(20) = 4.5 in theory


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator, labels = np.random.default_rng(0), np.array(["x", "y"] * 60)
    ids, covered = np.array([f"u{i:03d}" for i in range(120)]), 0
    for trial in range(200):
        right_a, right_b = generator.random(120) < 0.75, generator.random(120) < 0.6
        low, high = percentiles(labels, right_a, right_b, ids, seed=trial, resamples=400)
        covered += low <= 0.15 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_different_utterances_are_refused_by_name(tmp_path: Path) -> None:
    rows = [("u1", "s", "x", "x"), ("u2", "s", "y", "y"), ("u3", "s", "x", "y")]
    a = write(tmp_path / "a.csv", rows)
    for name, others, message in (
        ("less", rows[:1] + rows[2:], r"a\.csv holds the utterance 'u2', .*less\.csv does not"),
        ("more", [("u9", "s", "x", "x"), *rows], r"more\.csv holds the utterance 'u9', .*a\.csv does not"),
        ("label", [*rows[:2], ("u3", "s", "y", "y")], r"The label of 'u3' is 'x' in .*a\.csv but 'y' in .*label\.csv"),
        ("speaker", [("u1", "t", "x", "x"), *rows[1:]], r"The speaker of 'u1' is 's' in .* but 't' in"),
    ):
        with pytest.raises(InputError, match=message):
            compare(a, write(tmp_path / f"{name}.csv", others))


def test_a_seed_over_other_utterances_is_refused_by_name() -> None:
    a, b = judged([True] * 6, source="seed 0 of a"), judged([True] * 6, source="seed 0 of b")
    with pytest.raises(InputError, match="seed 0 of a holds the utterance 'u5', seed 1 of b does not"):
        difference([a], [b, judged([True] * 5, source="seed 1 of b")])
    with pytest.raises(InputError, match="seed 1 of a holds the utterance 'u6', seed 0 of a does not"):
        difference([a, judged([True] * 7, source="seed 1 of a")], [b])


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    a = predictions(tmp_path / "a.csv", [True])
    with pytest.raises(InputError, match="Bad number of resamples 0"):
        compare(a, a, resamples=0)
    with pytest.raises(InputError, match="Bad seed -1"):
        compare(a, a, seed=-1)
    for margin in (0, -0.03, 1, 3.0, float("nan")):
        with pytest.raises(InputError, match=f"Bad margin {margin}, expected a difference in UAR above 0 and below 1"):
            compare(a, a, margin=margin)


def test_the_t_interval() -> None:
    # 1, 2, 3: mean 2, deviation 1, t(0.975; 2) = 4.302653.
    assert interval([1, 2, 3]) == pytest.approx((2, 2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3)), abs=1e-6)
    assert interval([0.5, 0.5]) == (0.5, 0.5, 0.5)
    mean, low, high = interval([0.7])
    assert mean == 0.7
    assert np.isnan([low, high]).all()


@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_the_t_interval_equals_scipy(values: list[float]) -> None:
    spread = stats.sem(values)
    mean, low, high = interval(values)
    assert low - 1e-12 <= mean <= high + 1e-12
    if spread > 1e-6:
        expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=spread)
        assert (low, high) == pytest.approx(expected)


def test_a_uar_over_fewer_classes_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, some = tmp_path / "whole.csv", tmp_path / "some.csv"
    whole.write_text("id,speaker,label,predicted,p_x,p_y,p_z\na,s,x,x,1,0,0\nb,s,y,y,0,1,0\n", encoding="utf-8")
    some.write_text("id,speaker,label,predicted\na,s,x,x\nb,s,y,x\n", encoding="utf-8")
    assert compare(whole, some)["uar_without"] == ["z"]
    assert capsys.readouterr().err == "No utterance of [z] is there: UARs are over the other classes\n"
    assert "uar_without" not in compare(some, some)
    some.write_text("id,speaker,label,predicted\na,s,x,x\nb,s,y,w\n", encoding="utf-8")
    assert compare(some, whole)["uar_without"] == ["w", "z"]
