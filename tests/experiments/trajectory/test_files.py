"""What files of trajectory matching say, by hand; the paper's values stand beside the same sets alone."""

from pathlib import Path
from typing import Any

import pytest

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.trajectory import files
from gandistill.experiments.trajectory.plan import TrajectoryPlan

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("plan", "shown"),
    [("demos", {"dev": {"accuracy": 74.8, "uar": 74.9}}), ("demos_again", {"test": {"accuracy": 65.1, "uar": 65.1}})],
)
def test_the_papers_values_stand_beside_sets_distilled_from_the_same_parts(plan: str, shown: dict[str, Any]):
    full, distilled = (Checkout(ROOT).reference(files.PAPER[table]) for table in ("full", "distilled"))
    planned = TrajectoryPlan.load(ROOT / "eval" / "plans" / "trajectory" / f"{plan}.yaml")
    row = {"student": "cnn6", "guides": ["cnn6"], "ppc": 150, "step": 60, "start": "scratch", "labels": "hard"}
    assert files.beside(row, "distilled", distilled, planned) == row | {"paper": shown}
    other = row | {"step": 0}
    assert files.beside(other, "distilled", distilled, planned) == other
    assert set(files.beside({**row, "training set": "real"}, "full", full, planned)["paper"]) == {"dev", "test"}


def row(name: str, uar: float, ppc: int | None = 1, **more: Any) -> dict[str, Any]:
    facts = {"training set": name, "labels": "hard", "student": "cnn", "start": "scratch", "test": {"uar": uar}}
    return facts | ({} if ppc is None else {"ppc": ppc}) | more


def difference(apart: float, low: float, high: float, held: tuple[float, float]) -> dict[str, Any]:
    bootstrap = {"interval": [*held], "over": "speaker"}
    return {"test": {"uar_difference": apart, "low": low, "high": high, "bootstrap": bootstrap}}


def distilled(ppc: int, halvings: list[int], **differences: dict[str, Any]) -> dict[str, Any]:
    """A row after the last step, beside its step 0 and random points."""
    named = {files.STEP_0: differences["start"], files.RANDOM: differences["random"]}
    more = {"matched": "cnn", "step": 60, "last": True, "halvings": halvings, "differences": named}
    return row("distilled, cnn", 0.5, ppc, **more)


def test_networks_are_told_with_the_updates_that_they_took():
    rows = [
        {"student": "cnn6", "updates": 12345, "dev": {"uar": 0.5}, "test": {"uar": 0.612, "low": 0.6, "high": 0.63}}
    ]
    text = files.full(rows)
    assert "| cnn6 | 12,345 | 50.0 | 61.2 [60.0, 63.0] |" in text


def test_uars_have_a_column_for_each_student_and_number_of_points():
    """A step that was chosen on dev says what another row says already."""
    rows = [row("real, all of it", 0.7, None), row("real, random", 0.3), row("real, random", 0.5, 10)]
    rows += [row("distilled, cnn", 0.4, step=0), row("distilled, cnn", 0.9, step=10, chosen="dev")]
    rows += [row("real, random", 0.35) | {"student": "superb"}]
    assert files.uars(rows, "test") == (
        "UAR on test in per cent, students from initial weights of their own:\n\n"
        "| training set | step | labels | student cnn | student cnn, 1 ppc | student cnn, 10 ppc "
        "| student superb, 1 ppc |\n"
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |\n"
        "| real, all of it |  | hard | 70.0 |  |  |  |\n"
        "| real, random |  | hard |  | 30.0 | 50.0 | 35.0 |\n"
        "| distilled, cnn | 0 | hard |  | 40.0 |  |  |\n"
    )
    taught = files.uars([row("distilled, cnn", 0.4, step=0) | {"start": "teacher"}], "test")
    assert "students from their teachers' initial weights" in taught


def test_rows_above_and_below_are_counted_by_both_intervals():
    """Sets are counted once, though several students judge them."""
    better, worse = difference(0.1, 0.05, 0.15, (0.01, 0.2)), difference(-0.1, -0.3, -0.05, (-0.2, 0.1))
    rows = [
        distilled(1, [0, 2], start=better, random=worse),
        distilled(10, [1, 0], start=better, random=better),
        distilled(10, [1, 0], start=worse, random=worse) | {"student": "superb"},
        row("real, random", 0.3),
        distilled(1, [9], start=worse, random=worse) | {"chosen": "dev"},
        distilled(1, [9], start=worse, random=worse) | {"start": "teacher"},
    ]
    assert files.counted(rows).splitlines() == [
        "Of 3 distilled rows after their last step, by their test UAR:",
        "- against their own step 0: 2 above, 1 below, 0 neither by the t interval over sets; 2 above, 0 below, 1 "
        "neither by the bootstrap over speakers, the trained students held fixed",
        "- against real, random: 1 above, 2 below, 0 neither by the t interval over sets; 1 above, 0 below, 2 neither "
        "by the bootstrap over speakers, the trained students held fixed",
        "- 2 of their 4 sets were rolled back on their way, rates halved",
    ]


def test_an_interval_that_is_not_known_is_on_neither_side():
    unknown = {"test": {"uar_difference": 0.1, "bootstrap": {"interval": [0.1, 0.2], "over": "utterance"}}}
    said = files.counted([distilled(1, [0], start=unknown, random=unknown)])
    assert "0 above, 0 below, 1 neither by the t interval over sets; 1 above" in said


def test_a_digest_has_the_first_and_the_last_step_of_students_from_scratch():
    gap = difference(0.1, 0.05, 0.15, (0.01, 0.2))
    rows = [row("real, random", 0.3), row("distilled, cnn", 0.31, step=0), row("distilled, cnn", 0.32, step=30)]
    rows += [distilled(1, [0], start=gap, random=gap), row("distilled, cnn", 0.33, step=0) | {"start": "teacher"}]
    text = files.digest(rows)
    assert "| distilled, cnn | 60 | hard | 50.0 |" in text
    assert "31.0" in text
    assert "32.0" not in text
    assert "33.0" not in text
    assert "Of 1 distilled rows" in text


def test_another_corpus_is_said_beside_the_papers_values():
    published = Checkout(ROOT).reference(files.PAPER["full"])
    plan = TrajectoryPlan.load(ROOT / "eval" / "plans" / "trajectory" / "ravdess_quick.yaml")
    kind = published["rows"][0]["student"]
    entry = {"training set": "real", "student": kind, "start": "scratch", "labels": "hard"}
    beside = files.beside(entry, "full", published, plan)
    assert beside["paper"]["other_corpus"] == published["corpus"]
    text = files.paper([beside, {"training set": "other"}])
    assert f"| real | {kind} |" in text
    assert published["corpus"] in text
    assert files.paper([entry]) == ""
