"""What figures of distilled sets draw, by hand."""

from pathlib import Path
from typing import Any

from gandistill.experiments import canvas
from gandistill.experiments.names import REAL
from gandistill.experiments.trajectory import figures
from gandistill.experiments.trajectory.rows import HARD, LEARNED, RANDOM, SOFT, TAUGHT

FACTS = {"corpus": "RAVDESS", "fold": 1, "labels": ["a", "b", "c", "d"], "plan": {"extract": {"upstream": "logmel"}}}


def row(name: str, ppc: int | None, uar: float, labels: str = HARD, **more: Any) -> dict[str, Any]:
    facts = {"training set": name, "labels": labels, "student": "cnn", "start": "scratch", "test": {"uar": uar}}
    return facts | ({} if ppc is None else {"ppc": ppc}) | {"trials": [[f"{name} {ppc} {labels} {more}"]]} | more


def step(number: int, uar: float, last: int = 20, ppc: int = 1, **more: Any) -> dict[str, Any]:
    matched = {"matched": "mtt", "step": number, "last": number == last}
    return row("distilled, mtt", ppc, uar, **matched | more)


def test_a_curve_of_steps_has_step_0_and_random_points_of_the_same_points_across():
    rows = [
        step(0, 0.3),
        step(10, 0.4),
        step(20, 0.45),
        row(RANDOM, 1, 0.35),
        row(RANDOM, 5, 0.9),
        row(RANDOM, 1, 0.8, SOFT),
    ]
    (chart,) = figures.steps(FACTS, rows, "test")
    assert chart.about == (
        "RAVDESS, fold 1 alone, logmel; student cnn; mtt, 1 per class. UAR on test, % against distillation step. "
        f"distilled: 30.0, 40.0, 45.0; step 0: 30.0; {RANDOM}: 35.0; chance: 25.0."
    )


def test_first_and_last_alone_are_no_curve_of_steps():
    rows = [step(0, 0.3), step(20, 0.45), *(step(number, 0.5, ppc=5) for number in (0, 10, 20))]
    assert [chart.about.split(". ")[0][-12:] for chart in figures.steps(FACTS, rows, "test")] == [" 5 per class"]


def test_points_are_lines_of_what_is_named_and_what_has_all_points_goes_across():
    """Step 0 is drawn once, though several ways start from it; steps between are not."""
    start = step(0, 0.3)
    rows = [row(REAL, None, 0.7), row(TAUGHT, None, 0.72), start, step(10, 0.4), step(20, 0.45), step(20, 0.6, ppc=5)]
    rows += [start | {"matched": "other", "training set": "distilled, other"}]
    rows += [row(RANDOM, 1, 0.31), row(RANDOM, 5, 0.5), row(RANDOM, 1, 0.33, SOFT), row("someone else's", 1, 0.1)]
    rows += [step(20, 0.55, labels=LEARNED) | {"training set": "distilled, soft", "matched": "soft"}]
    rows += [row("GAN", 5, 0.52, generator="GAN")]
    (chart,) = figures.curves(FACTS, rows, "test")
    told = dict(part.rsplit(": ", 1) for part in chart.about.split("points per class. ")[1].rstrip(".").split("; "))
    assert told == {
        "step 0": "30.0",
        "distilled, mtt, last step": "45.0, 60.0",
        RANDOM: "31.0, 50.0",
        f"{RANDOM}, {SOFT} labels": "33.0",
        "distilled, soft, last step": "55.0",
        "GAN": "52.0",
        REAL: "70.0",
        TAUGHT: "72.0",
        "chance": "25.0",
    }


def test_each_student_has_its_chart():
    rows = [row(RANDOM, 1, 0.3), row(RANDOM, 1, 0.4) | {"student": "superb"}]
    students = [chart.about.split("student ")[1].split(".")[0] for chart in figures.curves(FACTS, rows, "test")]
    assert students == ["cnn", "superb"]


def test_only_students_from_scratch_are_drawn_and_no_chosen_step(tmp_path: Path):
    """And no figure without a curve."""
    rows = [row(RANDOM, 1, 0.3), step(20, 0.45), step(20, 0.99, chosen="dev"), step(20, 0.98, start="teacher")]
    canvas.write(figures.drawn(FACTS, rows), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["figure3-test.svg"]
    text = (tmp_path / "figure3-test.svg").read_text()
    assert "45.0" in text
    assert "99.0" not in text
    assert "98.0" not in text
