"""Lines of figures stand beside each other, and no two look alike."""

import pytest

from gandistill.charts import MARKS
from gandistill.experiments import canvas
from gandistill.experiments.canvas import family, looks


def test_curves_stand_beside_each_other_at_each_number_of_points():
    rows = {"a": {"training set": "a"}, "b": {"training set": "b"}}
    a, b = canvas.lines({"a": [(5, {"uar": 0.5}), (50, {"uar": 0.6})], "b": [(5, {"uar": 0.4})]}, rows)
    assert [point.y for point in a.points] == [50, 60]
    assert [point.y for point in b.points] == [40]
    assert a.points[0].x != b.points[0].x, "intervals do not hide each other"
    assert a.look != b.look


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"training set": "real, designed"}, "real"),
        ({"training set": "class-Gaussian, independent"}, "closed"),
        ({"training set": "ours", "generator": "ours", "kind": "class-gaussian-mean"}, "closed"),
        ({"training set": "GAN +both", "generator": "GAN", "kind": "gan-att"}, "gan"),
        ({"training set": "GAN +both", "generator": "GAN"}, "gan"),
        ({"training set": "F", "generator": "F", "kind": "flow-time"}, "flow"),
        ({"training set": "distilled, cnn", "matched": "cnn", "step": 60}, "distilled"),
        ({"training set": "distilled, cnn", "matched": "cnn", "step": 0}, "real"),
    ],
)
def test_the_colour_is_the_family(facts: dict[str, str], expected: str):
    assert family(facts) == expected
    assert expected in canvas.FAMILIES


def test_what_is_of_one_generator_has_one_mark_and_a_line_for_each_kind_of_losses():
    made = {
        f"{name} {losses}{draws}": {"generator": name, "losses": losses, "draws": draws.removeprefix(", ")}
        for name in ("a", "b")
        for losses in ("baseline", "both")
        for draws in ("", ", independent")
    }
    found = looks(made | {"real, random": {}, "real, recentred": {}, "c": {"generator": "a", "trained": False}})
    assert len({*found.values()}) == len(found) == 11, "no two look alike"
    first, second, *_ = MARKS
    assert {found[f"a {losses}"].mark for losses in ("baseline", "both, independent")} == {first}
    assert {found["b both"].mark, found["real, recentred"].mark} == {second}
    hollow = [f"{name} {losses}, independent" for name in ("a", "b") for losses in ("baseline", "both")]
    assert [name for name, look in found.items() if look.hollow] == hollow
    assert found["a baseline"].dash
    assert not found["a both"].dash
