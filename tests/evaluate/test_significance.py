import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as oracle

from gandistill.errors import InputError
from gandistill.evaluate.significance import bootstrap_interval, compare, interval, mcnemar

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


@settings(deadline=None, max_examples=300)
@given(a_only=st.integers(0, 400), b_only=st.integers(0, 400))
def test_p_values_equal_statsmodels(a_only: int, b_only: int) -> None:
    exact = a_only + b_only < 25
    expected = oracle([[3, a_only], [b_only, 5]], exact=exact, correction=True)
    found = mcnemar(a_only, b_only)
    assert found["p_value"] == pytest.approx(float(expected.pvalue), rel=1e-12, abs=1e-12)
    assert found["statistic"] == pytest.approx(float(expected.statistic), rel=1e-12)
    assert found["method"] == ("exact" if exact else "chi-squared")


@settings(deadline=None, max_examples=100)
@given(a_only=st.integers(0, 24), b_only=st.integers(0, 24))
def test_small_tables_equal_statsmodels(a_only: int, b_only: int) -> None:
    b_only = min(b_only, 24 - a_only)
    expected = oracle([[0, a_only], [b_only, 0]], exact=True)
    assert mcnemar(a_only, b_only)["p_value"] == pytest.approx(float(expected.pvalue), rel=1e-12)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64.
    assert mcnemar(1, 5) == {"p_value": pytest.approx(14 / 64, rel=1e-14), "statistic": 1.0, "method": "exact"}
    # 10 against 20: (10 - 1)^2 / 30 = 2.7; P(chi2_1 > 2.7) = 0.1003...
    assert mcnemar(10, 20) == {"p_value": pytest.approx(0.100348, abs=1e-6), "statistic": 2.7, "method": "chi-squared"}
    assert mcnemar(3, 3)["p_value"] == 1
    assert mcnemar(0, 0) == {"p_value": 1.0, "statistic": 0.0, "method": "exact"}


def test_exact_ends_at_25_discordant_pairs() -> None:
    assert mcnemar(0, 24)["method"] == "exact"
    assert mcnemar(0, 25)["method"] == "chi-squared"


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


def test_swapping_the_files_mirrors_the_result(tmp_path: Path) -> None:
    right = np.random.default_rng(0).random((2, 60)) < [[0.8], [0.5]]
    a, b = (predictions(tmp_path / f"{i}.csv", right[i].tolist(), 10) for i in (0, 1))
    there, back = compare(a, b), compare(b, a)
    assert there["p_value"] == back["p_value"]
    assert there["uar_difference"] == -back["uar_difference"]
    assert there["uar_difference"] == pytest.approx(there["uar_a"] - there["uar_b"])
    # The resampled kinds are numbered in another order, so the intervals mirror each other but for resampling noise.
    assert there["interval"] == pytest.approx([-back["interval"][1], -back["interval"][0]], abs=0.02)


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
    found = bootstrap_interval(labels, right_a, right_b, clusters, seed=0, resamples=10_000)
    assert found == pytest.approx(naive(labels, right_a, right_b, clusters, 3000), abs=0.012)


def test_a_class_that_a_resample_lacks_does_not_count() -> None:
    labels, clusters = np.array(["x"] * 9 + ["y"]), np.array(list("aaabbbcccd"))
    right_a, right_b = np.array([True] * 9 + [False]), np.array([False] * 9 + [False])
    low, high = bootstrap_interval(labels, right_a, right_b, clusters, seed=0, resamples=2000)
    assert (low, high) == (0.5, 1.0)  # y right in neither: 1/2 with y, 1 where no y was drawn


def test_clustering_widens_the_interval_when_speakers_agree_with_themselves() -> None:
    speakers = np.repeat([f"s{i}" for i in range(10)], 20)
    labels = np.array(["x", "y"] * 100)
    right_a = np.repeat(np.arange(10) % 2 == 0, 20)  # all of a speaker's utterances right, or all wrong
    right_b = ~right_a
    widths = []
    for clusters in (speakers, np.array([f"u{i}" for i in range(200)])):
        low, high = bootstrap_interval(labels, right_a, right_b, clusters, seed=0, resamples=4000)
        widths.append(high - low)
    assert widths[0] > 3 * widths[1]  # sqrt(20) = 4.5 in theory


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator, labels = np.random.default_rng(0), np.array(["x", "y"] * 60)
    ids, covered = np.array([f"u{i:03d}" for i in range(120)]), 0
    for trial in range(200):
        right_a, right_b = generator.random(120) < 0.75, generator.random(120) < 0.6
        low, high = bootstrap_interval(labels, right_a, right_b, ids, seed=trial, resamples=400)
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


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    a = predictions(tmp_path / "a.csv", [True])
    with pytest.raises(InputError, match="Bad number of resamples 0"):
        compare(a, a, resamples=0)
    with pytest.raises(InputError, match="Bad seed -1"):
        compare(a, a, seed=-1)


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
