"""What tables print of rows, by hand."""

from typing import Any

from gandistill.evaluate.markdown import markdown
from gandistill.experiments.gan.printed import compared, counted, shown, sizes


def test_daggers_are_of_the_predeclared_seed_alone_and_point_down_where_it_is_worse():
    def test(seed: int, head: int, holm: float, gain: int) -> dict[str, Any]:
        return {"seed": seed, "head_seed": head, "holm": holm, "more_right": gain}

    entry: dict[str, Any] = {"uar": 0.5, "low": 0.4, "high": 0.6, "points": 200, "ppc": 50, "classes": 4}
    assert shown(entry, 0) == "50.0 [40.0, 60.0]"
    assert shown(entry | {"points": 180}, 0) == "50.0 [40.0, 60.0] (180 points)", "a class had fewer"
    entry["mcnemar"] = {
        "baseline": [test(0, 0, 0.04, 3), test(0, 1, 0.5, 3), test(1, 0, 0.5, 3), test(1, 1, 0.05, 3)],
        "sml": [test(0, 0, 0.2, -3), test(0, 1, 0.001, 3), test(1, 0, 0.001, 3), test(1, 1, 0.01, -3)],
    }
    assert shown(entry, 0) == "50.0 [40.0, 60.0] †"
    assert shown(entry, 1) == "50.0 [40.0, 60.0] ‡↓", "0.05 itself is not below it"
    entry["differences"] = {
        "real, random": {"equivalence": {"equivalent": True}},
        "real, all of it": {"uar_difference": 0.0, "equivalence": {"equivalent": False}},
    }
    assert shown(entry, 0) == "50.0 [40.0, 60.0] †", "no difference found is not on par"
    entry["differences"]["real, all of it"]["equivalence"]["equivalent"] = True
    assert shown(entry, 0) == "50.0 [40.0, 60.0] † ="


def test_rows_above_and_below_others_are_counted_by_start_and_head():
    def row(losses: str | None, low: float, high: float) -> dict[str, Any]:
        gap = {"real, random": {"interval": [low, high]}}
        return {"losses": losses, "start": "random", "head": "superb", "differences": gap}

    made = [row("both", 0.1, 0.2), row("both", -0.2, -0.1), row("sml", -0.1, 0.1), row("div", 0.01, 0.2)]
    text = counted([*made, row("untrained", 0.1, 0.2), row(None, 0.1, 0.2)])
    assert text.endswith("| random weights | superb | 2 / 1 / 1 |\n")
    assert counted([row("untrained", 0.1, 0.2)]) == "", "nothing was trained"


def test_a_size_says_by_how_much_it_is_smaller():
    row = {"what": "GAN, int8", "bytes": 12345, "smaller than WAV": 0.951, "smaller than features": -0.02}
    assert markdown(sizes([row, row | {"uar": 0.5, "low": 0.4, "high": 0.6}])).splitlines()[2:] == [
        "| GAN, int8 | 12,345 | 95.1 | -2.0 |  |",
        "| GAN, int8 | 12,345 | 95.1 | -2.0 | 50.0 [40.0, 60.0] |",
    ]


def test_tables_stand_side_by_side_and_all_real_data_at_each_number_of_points():
    def table(corpus: str, real: float) -> dict[str, Any]:
        drawn = [
            ("real, all of it", None, real),
            ("real, random", 5, 0.1),
            ("real, random", 10, 0.3),
            ("real, herding", 10, 0.9),
            ("real, random, oversampled", 500, 0.4),
        ]
        rows = [
            {"training set": name, "uar": uar, "low": 0.0, "high": 1.0, "head": "superb", "labels": "hard"}
            | ({} if ppc is None else {"ppc": ppc})
            for name, ppc, uar in drawn
        ]
        other = [
            {**row, key: value, "uar": 0.7} for row in rows for key, value in (("head", "cnn"), ("labels", "soft"))
        ]
        return {"corpus": corpus, "rows": other + rows + other}

    shown = compared([(table("one", 0.5), (10, 500)), (table("two", 0.6), (10,))])
    header, _, random, *_, whole = shown.splitlines()
    assert header == "| training set | one, 10 ppc | one, 500 ppc | two, 10 ppc |"
    spread = "[0.0, 100.0]"
    assert random == f"| real, random | 30.0 {spread} | 40.0 {spread} | 30.0 {spread} |", "all there are, repeated"
    assert whole == f"| real, all of it | 50.0 {spread} | 50.0 {spread} | 60.0 {spread} |"
