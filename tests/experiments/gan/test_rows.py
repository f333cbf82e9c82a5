"""Which rows the tables of a little plan have, from which sources, by how many seeds and on how many points."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gandistill.experiments.gan.rows import Row
from gandistill.experiments.store import Store

TRAIN = {"angry": 8, "calm": 16, "sad": 12}
"""The train part of each fold (tests/evaluate/conftest.py)."""
TablesOf = Callable[..., Any]


def brief(row: Row) -> tuple[Any, ...]:
    """Head, labels, ppc and name; in each fold the sources' kind, how many, and heads of each; and the counts."""
    (shape,) = {(len(fold), *{len(source) for source in fold}) for fold in row.trials}
    (kind,) = {trial.source.kind for fold in row.trials for source in fold for trial in source}
    counts = [source[0].counts for source in row.trials[0]]
    assert all(each == counts[0] for each in counts)
    facts = row.facts
    return facts["head"], facts["labels"], facts.get("ppc"), facts["training set"], kind, *shape, counts[0]


def test_table_2_has_these_rows_and_no_others(tables_of: TablesOf):
    rows = tables_of().rows(2)

    def both_draws(name: str, *shape: Any) -> list[tuple[Any, ...]]:
        return [(name, *shape), (f"{name}, independent", *shape)]

    def expected(head: str, labels: str, heads: int, ppcs: tuple[int, ...]) -> list[tuple[Any, ...]]:
        whole = [("real, all of it", "real", 1, heads, None), ("real, time-pooled", "control", 1, heads, None)]
        found = [(head, labels, None, *row) for row in whole]
        for ppc in ppcs:
            each = dict.fromkeys(TRAIN, ppc)
            found += [
                (head, labels, ppc, *row, each)
                for row in [
                    ("real, random", "control", 3, 1),
                    ("real, recentred", "control", 3, 1),
                    ("real, designed", "control", 3, 1),
                    ("real, herding", "control", 1, heads),
                    ("real, k-centre", "control", 1, heads),
                    *both_draws("class-Gaussian", "control", 3, 1),
                    *both_draws("cold 0 updates", "start", 3, 1),  # random weights: as often as a control is drawn
                    *both_draws("cold baseline", "generator", 2, heads),
                    *both_draws("cold +DIV", "generator", 2, heads),
                    *both_draws("cold +SML", "generator", 2, heads),
                    *both_draws("cold +both", "generator", 2, heads),
                    *both_draws("warm 0 updates", "start", 2, heads),  # a start that was fitted to the training set
                    *both_draws("warm +both", "generator", 2, heads),
                ]
            ]
        return found

    assert [brief(row) for row in rows] == (
        expected("superb", "hard", 2, (2, 5))
        + expected("superb", "soft", 2, (2, 5))
        + expected("attentive", "hard", 3, (5,))
    )
    pooled = [row for row in rows if row.facts["training set"] == "real, time-pooled"]
    assert {trial.source.within for row in pooled for trial in row.all_trials()} == {4000}


def test_a_draw_is_judged_by_the_head_of_its_own_seed_and_a_generator_by_every_seed(tables_of: TablesOf):
    tables = tables_of(folds=2)
    rows = {(*brief(row)[:3], row.facts["training set"]): row for row in tables.rows(2)}
    for fold in rows["superb", "hard", 2, "real, random"].trials:
        assert [(s[0].source.method, s[0].source.seed, s[0].head.seed) for s in fold] == [
            ("random", seed, seed) for seed in range(3)
        ]
    made = rows["attentive", "hard", 5, "cold +both"]
    for fold, inputs in zip(made.trials, tables.folds, strict=True):
        seeds = [[(c.source.seed, c.source.config.training.seed, c.head.seed) for c in source] for source in fold]
        assert seeds == [[(s, s, h) for h in range(3)] for s in range(2)]
        assert {trial.inputs for source in fold for trial in source} == {inputs.inputs}
    assert [(trial.task, trial.source.seed, trial.inputs) for trial in made.costs] == [
        ("cost", seed, fold.inputs) for fold in tables.folds for seed in range(2)
    ]
    assert not any(row.costs for key, row in rows.items() if brief(row)[4] != "generator")
    start, trained = rows["superb", "hard", 2, "warm 0 updates"], rows["superb", "hard", 2, "warm +both"]
    assert [s[0].source.config for s in start.trials[0]] == [s[0].source.config for s in trained.trials[0]]


def test_rows_of_one_generator_differ_by_their_draws_and_share_its_training(tables_of: TablesOf, tmp_path: Path):
    rows = [row for row in tables_of().rows(2) if "draws" in row.facts]
    for row in rows:
        independent = row.facts["training set"].endswith(", independent")
        expected = {"independent"} if independent else {"designed"} if row.facts["training set"][:4] != "real" else {""}
        assert {row.facts["draws"]} == {c.source.draws for f in row.trials for s in f for c in s} == expected
    made = [row for row in rows if (row.facts.get("losses"), row.facts["head"]) == ("both", "superb")]
    store = Store(tmp_path)
    runs = [{store.run(c.source.run_facts(c.inputs)) for c in row.all_trials()} for row in made]
    trained = {(row.facts["generator"], *sorted(run)) for row, run in zip(made, runs, strict=True)}
    assert (len(made), len(trained)) == (2 * 2 * 2 * 2, 2), "by ppc, labels, generator and draws"
    assert all(row.costs == other.costs for row, other in zip(made[::2], made[1::2], strict=True))


def test_the_first_kind_of_draws_serves_where_a_table_has_but_one(tables_of: TablesOf):
    plan = {"draws": ["independent", "designed"], "heads": [{"kind": "superb", "seeds": 2}], "labels": ["hard"]}
    tables = tables_of(**plan)
    for table, key in ((1, "training set"), (3, "training set"), (4, "first layer of")):
        for row in tables.rows(table):
            of_draws = "cold" in row.facts[key] or "warm" in row.facts[key] or "Gaussian" in row.facts[key]
            assert row.facts[key].endswith(", independent") == of_draws
            drawn = {c.source.draws for f in row.trials for s in f for c in s}
            assert drawn <= ({"independent"} if of_draws else {""})
    only = {row.facts["training set"] for row in tables_of(**plan | {"draws": ["designed"]}).rows(2)}
    assert not any("independent" in name for name in only)


def test_a_heads_own_number_of_repeats_is_less_and_the_first_of_them(tables_of: TablesOf):
    heads = [{"kind": "superb", "seeds": 2, "repeats": 2, "labels": ["hard"]}]
    rows = tables_of(heads=heads, ppc=[2]).rows(2)
    shapes = {row.facts["training set"]: brief(row)[5:7] for row in rows}
    drawn = ("real, random", "real, recentred", "real, designed", "class-Gaussian", "cold 0 updates, independent")
    assert {shapes[name] for name in drawn} == {(2, 1)}
    assert shapes["warm 0 updates"] == shapes["cold +both"] == (2, 2), "these are not drawn"
    random = next(row for row in rows if row.facts["training set"] == "real, random")
    assert [source[0].source.seed for source in random.trials[0]] == [0, 1]


def test_table_3_has_real_and_generated_points_balanced_and_not(tables_of: TablesOf):
    rows = tables_of(heads=[{"kind": "superb", "seeds": 2}], labels=["hard"]).rows(3)
    # 8 of the smallest class: 24 points; as the corpus, 24 * 8 / 36, 24 * 16 / 36 and 24 * 12 / 36, rounded to 24.
    even, natural = {"angry": 8, "calm": 8, "sad": 8}, {"angry": 6, "calm": 10, "sad": 8}
    largest, full = {"angry": 16, "calm": 16, "sad": 16}, {"angry": 12, "calm": 12, "sad": 12}
    found = [(row.facts["balance"], *brief(row)[3:], row.trials[0][0][0].head.class_weights) for row in rows]
    assert found == [
        ("no", "real, all of it", "real", 1, 2, None, "none"),
        ("no", "real, all of it, weighted loss", "real", 1, 2, None, "balanced"),
        ("no", "real, time-pooled", "control", 1, 2, None, "none"),
        ("yes", "real, random, oversampled", "control", 3, 1, largest, "none"),
        ("yes, full size", "real, random, oversampled", "control", 3, 1, full, "none"),
        *(
            (balance, name, kind, sources, heads, counts, "none")
            for balance, counts in (("yes", even), ("no", natural), ("yes, full size", full), ("no, full size", None))
            for name, kind, sources, heads in (
                ("real, random", "control", 3, 1),
                ("real, herding", "control", 1, 2),
                ("real, k-centre", "control", 1, 2),
                ("class-Gaussian", "control", 3, 1),
                ("cold 0 updates", "start", 3, 1),
                ("cold +both", "generator", 2, 2),
            )
            if not (balance.endswith("full size") and name.startswith("real, "))
        ),
    ]
    assert sum(even.values()) == sum(natural.values())
    assert sum(full.values()) == sum(TRAIN.values())


def test_table_4_asks_every_kind_of_first_layer(tables_of: TablesOf):
    tables = tables_of(folds=2)
    rows = tables.rows(4)
    systems = []
    for row in rows:
        trials = [trial for fold in row.trials for source in fold for trial in source]
        assert {(trial.task, trial.head.head, trial.head.labels) for trial in trials} == {("probe", "superb", "hard")}
        assert all(trial.probing.seed == trial.head.seed and trial.probing.updates == 6 for trial in trials)
        assert all(trial.speakers is None for trial in trials)
        (taught,), (shape,) = {c.taught for c in trials}, {(len(f), len(f[0])) for f in row.trials}
        (counts,) = {str(trial.counts) for trial in trials}
        systems.append((row.facts["first layer of"], taught, trials[0].source.kind, shape, counts))
    most = str(dict.fromkeys(TRAIN, 5))
    assert systems == [
        ("speaker head", "speakers", "real", (1, 2), "None"),
        ("untrained head", "nothing", "real", (1, 2), "None"),
        ("emotion head, real, all of it", "emotions", "real", (1, 2), "None"),
        ("emotion head, real, random", "emotions", "control", (3, 1), most),
        ("emotion head, cold baseline", "emotions", "generator", (2, 2), most),
        ("emotion head, cold +both", "emotions", "generator", (2, 2), most),
    ]
    assert len({trial.key for row in rows for trial in row.all_trials()}) == 2 * (3 * 2 + 3 + 2 * 4 + 2 * 2)


def test_table_1_weighs_each_generator_once_and_says_what_the_forms_are_worth(tables_of: TablesOf):
    rows = tables_of(folds=2, dagger_seed=1).rows(1)
    weighed, judged = [row for row in rows if not row.trials], [row for row in rows if row.trials]
    assert [(row.facts["training set"], row.facts["start"]) for row in weighed] == [
        ("cold +both", "random"),
        ("warm +both", "closed-form"),
    ]
    assert [[(trial.task, trial.source.seed) for trial in row.costs] for row in weighed] == [[("cost", 1)]] * 2
    assert {row.facts["training set"] for row in judged} == {
        "real, all of it",
        "real, time-pooled",
        "cold +both",
        "warm +both",
    }
    assert {(row.facts["head"], row.facts.get("ppc")) for row in judged} == {("superb", None), ("superb", 5)}
    for name in ("cold +both", "warm +both"):
        stored = [row for row in judged if (row.facts["training set"], row.facts["labels"]) == (name, "hard")]
        assert [row.facts["precision"] for row in stored] == ["float32", "float16", "int8"]
        for row in stored:
            assert {c.source.precision for f in row.trials for s in f for c in s} == {row.facts["precision"]}


def test_every_head_of_a_table_gets_the_same_budget(tables_of: TablesOf):
    tables = tables_of(folds=2)
    for table in (2, 3, 4):
        heads = {trial.head for row in tables.rows(table) for trial in row.all_trials() if trial.head is not None}
        free = {"head": "", "seed": 0, "labels": "hard", "class_weights": "none"}
        assert len({str(head.to_dict() | free) for head in heads}) == 1
        assert {head.updates for head in heads} == {6}


def test_no_two_pieces_of_work_share_a_key_unless_they_are_the_same(tables_of: TablesOf):
    tables = tables_of(folds=2)
    every = [trial for table in (1, 2, 3, 4) for row in tables.rows(table) for trial in row.all_trials()]
    trials = {trial.key: trial for trial in every}
    said = {str((c.task, c.inputs.features, c.source, c.counts, c.head, c.probing, c.taught)): c.key for c in every}
    assert len(said) == len(trials) == len(set(said.values()))
