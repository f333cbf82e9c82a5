"""Tables from results written by hand: what is averaged, compared, tested and said of each row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandistill.evaluate.significance import holm, mcnemar_of
from gandistill.experiments.gan import measured
from gandistill.experiments.gan.printed import shown
from gandistill.experiments.gan.trials import Trial
from gandistill.experiments.inputs import Inputs
from tests.experiments.gan.conftest import Written, hits

TablesOf = Callable[..., Any]
ONE_HEAD: dict[str, Any] = {
    "heads": [{"kind": "superb", "seeds": 2}],
    "labels": ["hard"],
    "ppc": [2],
    "draws": ["designed"],
}
T_95 = 12.706204736
"""The t value of a 95 % interval of two values."""


def named(found: list[dict[str, Any]], name: str, **facts: Any) -> dict[str, Any]:
    (row,) = (e for e in found if e["training set"] == name and all(e.get(k) == v for k, v in facts.items()))
    return row


def all_angry(uar: float, **more: Any) -> dict[str, Any]:
    return {"uar": uar, "predicted": [0] * 18} | more


def test_an_interval_is_over_sources_where_there_are_several_else_over_heads(tables_of: TablesOf, tmp_path: Path):
    def result(row: Any, f: int, s: int, h: int) -> dict[str, Any]:
        uars = {"real, all of it": [[0.5, 0.7]], "cold +both": [[0.5, 0.7], [0.6, 1.0]]}
        drawn = [[0.2], [0.4], [0.6]]
        return all_angry(
            uars.get(row.facts["training set"], drawn if len(row.trials[0]) == 3 else [[0.3] * 2] * 2)[s][h]
        )

    found = Written(tables_of(**ONE_HEAD), 2, tmp_path, result).judged()
    real, made, drawn = (named(found, name) for name in ("real, all of it", "cold +both", "real, random"))
    assert (real["uar"], real["uars"]) == (pytest.approx(0.6), [[0.5, 0.7]])
    assert (real["low"], real["high"]) == pytest.approx((0.6 - T_95 * 0.1, 0.6 + T_95 * 0.1))
    # Means of the sources 0.6 and 0.8: mean 0.7, standard error 0.1; four heads are not four independent values.
    assert (made["uar"], made["uars"]) == (pytest.approx(0.7), [[0.5, 0.7], [0.6, 1.0]])
    assert (made["low"], made["high"]) == pytest.approx((0.7 - T_95 * 0.1, 0.7 + T_95 * 0.1))
    assert drawn["uar"] == pytest.approx(0.4)
    assert drawn["high"] - drawn["uar"] == pytest.approx(4.30265273 * 0.2 / 3**0.5)


def test_a_single_head_has_no_interval(tables_of: TablesOf, tmp_path: Path):
    plan = ONE_HEAD | {"heads": [{"kind": "superb", "seeds": 1}], "seeds": 1}
    found = Written(tables_of(**plan), 2, tmp_path, lambda *_: all_angry(0.5)).judged()
    assert {"low", "high"} & named(found, "cold +both").keys() == set()
    assert shown(named(found, "cold +both"), 0).split(" ")[0] == "50.0"


def test_a_uar_is_the_mean_over_folds_and_tests_are_on_pooled_utterances(tables_of: TablesOf, tmp_path: Path):
    def result(_row: Any, f: int, s: int, h: int) -> dict[str, Any]:
        return all_angry([[0.2, 0.4], [0.6, 0.8]][f][h])

    found = Written(tables_of(folds=2, **ONE_HEAD), 2, tmp_path, result).judged()
    real = named(found, "real, all of it")
    assert real["uars"] == [[pytest.approx(0.4), pytest.approx(0.6)]]
    assert real["fold_uars"] == pytest.approx([0.3, 0.7])
    compared = named(found, "cold +both")["differences"]["real, all of it"]
    assert (compared["utterances"], compared["speakers"], compared["bootstrap"]) == (36, 4, "utterance")
    assert compared["uar_a"] == compared["uar_b"] == pytest.approx(1 / 3)


def test_a_difference_is_to_the_row_of_the_same_head_labels_and_points(tables_of: TablesOf, tmp_path: Path):
    written = Written(tables_of(seeds=1, heads=[{"kind": "superb", "seeds": 1}]), 2, tmp_path, hits)
    found = written.judged()
    compared = [entry for entry in found if "differences" in entry]
    trained = {"cold baseline", "cold +DIV", "cold +SML", "cold +both", "warm +both"}
    made = {"class-Gaussian", "cold 0 updates", "warm 0 updates"}  # from the corpus, or from nothing
    for names in (trained, made):
        names |= {f"{name}, independent" for name in names}
    made |= {"real, recentred", "real, designed"}
    assert {entry["training set"] for entry in compared} == trained | made
    assert len(compared) == (2 * 5 + 2 * 3 + 2) * 2 * 2
    for entry in compared:
        of = {key: entry[key] for key in ("head", "labels", "ppc")}
        whole = of | {"ppc": None}
        draws = ", independent" if entry["draws"] == "independent" else ""
        rivals = {"real, random": named(found, "real, random", **of)}
        rivals |= {"real, all of it": named(found, "real, all of it", **whole)}
        if entry["training set"] in trained:
            rivals["0 updates"] = named(found, f"{entry['generator']} 0 updates{draws}", **of)
            alike = ("real, recentred", "real, designed", "real, herding", "real, k-centre")
            rivals |= {name: named(found, name, **of) for name in (*alike, f"class-Gaussian{draws}")}
            rivals |= {"real, time-pooled": named(found, "real, time-pooled", **whole)}
            assert entry["updates_kept"] == [2]
        assert entry["differences"].keys() == rivals.keys()
        for name, rival in rivals.items():
            compared_to = entry["differences"][name]
            assert compared_to["uar_a"] == pytest.approx(entry["uar"])
            assert compared_to["uar_b"] == pytest.approx(rival["uar"])
            assert compared_to["uar_difference"] == pytest.approx(entry["uar"] - rival["uar"])
            low, high = compared_to["interval"]
            assert low <= compared_to["uar_difference"] <= high
            assert ("equivalence" in compared_to) == (name == "real, all of it")


def test_table_3_compares_with_the_row_of_the_same_balance(tables_of: TablesOf, tmp_path: Path):
    found = Written(tables_of(**ONE_HEAD), 3, tmp_path, hits).judged()
    whole = {"real, all of it", "real, all of it, weighted loss", "real, time-pooled", "real, random, oversampled"}
    whole |= {"class-Gaussian", "0 updates"}
    alike = {"real, random", "real, herding", "real, k-centre"}
    for balance in ("yes", "no"):
        entry = named(found, "cold +both", balance=balance)
        assert entry["differences"].keys() == whole | alike | ({"as many, not balanced"} if balance == "yes" else set())
        rival = named(found, "real, random", balance=balance)
        assert entry["differences"]["real, random"]["uar_b"] == pytest.approx(rival["uar"])
    full = named(found, "cold +both", balance="yes, full size")
    assert full["differences"].keys() == whole | {"as many, not balanced"}, "random points are not so many"
    for name, balance in (("real, random, oversampled", "yes, full size"), ("cold +both", "no, full size")):
        key = name if name.startswith("real") else "as many, not balanced"
        rival = named(found, name, balance=balance)
        assert full["differences"][key]["uar_b"] == pytest.approx(rival["uar"])
    assert full["differences"]["real, all of it"]["uar_b"] == pytest.approx(named(found, "real, all of it")["uar"])
    tested = [entry for entry in found if "mcnemar" in entry]
    assert [entry["mcnemar"].keys() for entry in tested] == [entry["differences"].keys() for entry in tested]
    assert [entry["training set"] for entry in tested] == ["cold +both"] * 4, "no dagger: no losses to add to"


def test_mcnemar_is_per_seed_and_holm_over_the_table(tables_of: TablesOf, tmp_path: Path):
    """The p-values again, from the predictions that are stored."""
    written = Written(tables_of(folds=2, **ONE_HEAD | {"ppc": [2, 5]}), 2, tmp_path, hits)
    found, right = written.judged(), {}
    place = {(e["training set"], e.get("ppc")): i for i, e in enumerate(found)}
    pairs = [
        (f"cold {added}", f"cold {base}", ppc)
        for ppc in (2, 5)
        for added, base in (("+DIV", "baseline"), ("+SML", "baseline"), ("+both", "baseline"), ("+DIV", "+SML"))
    ] + [("cold +both", "cold +SML", ppc) for ppc in (2, 5)]
    for s in range(2):
        for h in range(2):
            p_values = []
            for one, other, ppc in pairs:
                a, b = (written.predicted(place[name, ppc], s, h) == written.targets for name in (one, other))
                p_values.append(mcnemar_of((a & ~b).sum(), (~a & b).sum())["p_value"])
            for pair, p, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
                right[*pair, s, h] = p, adjusted
    said = {}
    names = {"baseline": "cold baseline", "sml": "cold +SML"}
    for entry in found:
        for losses in names.keys() & entry.get("mcnemar", {}).keys():
            for t in entry["mcnemar"][losses]:
                key = entry["training set"], names[losses], entry["ppc"], t["seed"], t["head_seed"]
                said[key] = t["p_value"], t["holm"]
                i, j = place[key[0], key[2]], place[key[1], key[2]]
                a, b = (written.predicted(row, t["seed"], t["head_seed"]) for row in (i, j))
                assert t["more_right"] == (a == written.targets).sum() - (b == written.targets).sum()
    assert said.keys() == right.keys()
    assert len({p for p, _ in said.values()}) > 10
    assert min(adjusted for _, adjusted in said.values()) < 0.05
    for key, p_values in right.items():
        assert said[key] == pytest.approx(p_values)


def test_mcnemar_against_rivals_is_by_the_same_seeds_and_a_family_of_its_own(tables_of: TablesOf, tmp_path: Path):
    """Real data has one source, a draw the head of its own seed, the warm start both seeds of its generator."""
    heads = [{"kind": "superb", "seeds": 2}]
    written = Written(tables_of(heads=heads, labels=["hard"], ppc=[2]), 2, tmp_path, hits)
    found = written.judged()
    place = {e["training set"]: i for i, e in enumerate(found)}
    theirs = {
        "real, all of it": lambda s, h: (0, h),
        "real, time-pooled": lambda s, h: (0, h),
        "real, random": lambda s, h: (h, 0),
        "real, recentred": lambda s, h: (h, 0),
        "real, designed": lambda s, h: (h, 0),
        "real, herding": lambda s, h: (0, h),
        "real, k-centre": lambda s, h: (0, h),
        "class-Gaussian": lambda s, h: (h, 0),
        "0 updates": lambda s, h: (s, h),
    }
    families: dict[tuple[int, int], tuple[list[float], list[float]]] = {}
    for entry in found:
        tests = {name: tests for name, tests in entry.get("mcnemar", {}).items() if name not in ("baseline", "sml")}
        if "generator" not in entry or entry["losses"] == "untrained":
            assert not tests
            continue
        draws = ", independent" if entry["draws"] == "independent" else ""
        assert tests.keys() == {name + draws if name == "class-Gaussian" else name for name in theirs}
        for name, each in tests.items():
            cold_start = name == "0 updates" and entry["generator"] == "cold"
            of = theirs["real, random" if cold_start else name.removesuffix(", independent")]
            assert [(t["seed"], t["head_seed"]) for t in each] == [(s, h) for s in range(2) for h in range(2)]
            row = place[f"{entry['generator']} 0 updates{draws}" if name == "0 updates" else name]
            for t in each:
                s, h = t["seed"], t["head_seed"]
                a = written.predicted(place[entry["training set"]], s, h) == written.targets
                b = written.predicted(row, *(of(h, h) if cold_start else of(s, h))) == written.targets
                p_value = mcnemar_of((a & ~b).sum(), (~a & b).sum())["p_value"]
                assert (t["p_value"], t["more_right"]) == (p_value, a.sum() - b.sum())
                p_values, said = families.setdefault((s, h), ([], []))
                p_values.append(t["p_value"])
                said.append(t["holm"])
    assert len(families) == 4
    for p_values, said in families.values():
        assert said == holm(p_values)


def test_on_par_is_only_what_lies_within_the_margin(tables_of: TablesOf, tmp_path: Path):
    """Identical predictions differ by exactly 0 in every resample; one wrong utterance in 36 does not fit in 0.03."""

    def result(row: Any, f: int, s: int, h: int) -> dict[str, Any]:
        predicted = np.repeat([0, 1, 2, 0, 1, 2], [2, 4, 3, 2, 4, 3])
        if row.facts["training set"] == "cold +SML" and f == 0:
            predicted[0] = 1
        return {"uar": 1.0, "predicted": predicted.tolist()}

    found = Written(tables_of(folds=2, **ONE_HEAD), 2, tmp_path, result).judged()
    same, worse = (named(found, name)["differences"]["real, all of it"] for name in ("cold +both", "cold +SML"))
    assert same["interval"] == [0, 0]
    assert same["equivalence"] == {"margin": 0.03, "interval": [0, 0], "equivalent": True}
    assert worse["uar_difference"] == pytest.approx(-1 / 8 / 3)
    assert not worse["equivalence"]["equivalent"]
    assert shown(named(found, "cold +both"), 0).endswith(" =")
    assert "=" not in shown(named(found, "cold +SML"), 0)


def test_a_generator_pays_for_itself_after_so_many_heads(
    tables_of: TablesOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seconds = {
        "real, all of it": [5.0, 7.0],
        "cold +both": [1.0, 3.0],
        "cold +SML": [6.0, 6.0],
        "cold +DIV": [9.0, 9.0],
    }

    def result(row: Any, f: int, s: int, h: int) -> dict[str, Any]:
        peak = 100 * s + h
        drawing = 0.0 if row.facts["training set"] == "real, all of it" else 1.0
        head = seconds.get(row.facts["training set"], [4.0, 4.0])[h]
        cost = {"seconds": head, "drawing_seconds": drawing, "peak_bytes": peak}
        return all_angry(0.5, cost=cost, points={"angry": 2, "calm": 2 + s, "sad": 0})

    def cost(row: Any, trial: Trial) -> dict[str, float]:
        if row.facts["training set"] == "cold baseline":
            return {}  # it was interrupted
        return {"seconds": 20.0 + 20 * trial.source.seed}

    monkeypatch.setattr(Inputs, "bank_seconds", 6.0)
    found = Written(tables_of(folds=2, **ONE_HEAD), 2, tmp_path, result, cost).judged()
    made = named(found, "cold +both")
    assert made["cost"] == {
        "head_seconds": 2.0,
        "drawing_seconds": 1.0,
        "process_peak_bytes": 101,
        "generator_seconds": 30.0,
        "bank_seconds": 6.0,
        "pays_after_heads": 12.0,  # 30 + 6 seconds at 6 - (2 + 1) a head
    }
    assert "bank_seconds" not in named(found, "cold +DIV")["cost"], "without softmax matching no bank is needed"
    assert made["points"] == 5, "the most of any source"
    assert named(found, "cold +SML")["cost"]["pays_after_heads"] is None, "heads train no faster on its samples"
    assert named(found, "cold +DIV")["cost"]["pays_after_heads"] is None
    for name in ("cold baseline", "real, random", "cold 0 updates"):
        assert named(found, name)["cost"].keys() == {"head_seconds", "drawing_seconds", "process_peak_bytes"}


def test_table_4_has_means_over_folds_with_intervals_over_sources(tables_of: TablesOf, tmp_path: Path):
    def result(row: Any, f: int, s: int, h: int) -> dict[str, Any]:
        accuracy = [[0.1, 0.3], [0.5, 0.7], [0.9]][s][h] + 0.2 * f
        group = {"accuracy": accuracy, "equal_error_rate": 1 - accuracy}
        unseen = None if row.facts["first layer of"] == "speaker head" and f == 1 else group
        chance = {"accuracy": 0.25, "equal_error_rate": 0.5}
        found = {"all": group, "seen": group, "unseen": unseen, "chance": chance, "speakers": 6}
        return {"speakers": found, "cost": {"seconds": 1.0 + h, "peak_bytes": 7 + f}}

    written = Written(tables_of(folds=2, **ONE_HEAD), 4, tmp_path, result)
    found = measured.probed(written.rows, written.store)
    first, made = found[0], found[-1]
    assert first["chance"]["accuracy"] == 0.25
    assert first["cost"] == {"probe_seconds": 1.5, "process_peak_bytes": 8}
    assert "unseen" not in first, "a group that a fold lacks has no mean over folds"
    assert first["all"]["accuracy"]["values"] == [pytest.approx([0.2, 0.4])]
    assert first["all"]["equal_error_rate"]["mean"] == pytest.approx(0.7)
    # Means of two sources over folds and heads: 0.3 and 0.7.
    spread = made["unseen"]["accuracy"]
    assert (spread["mean"], spread["low"]) == pytest.approx((0.5, 0.5 - T_95 * 0.2))
