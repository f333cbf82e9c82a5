"""What figures of exits draw, by hand."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gandistill.experiments import canvas
from gandistill.experiments.selfdistill import figures
from gandistill.experiments.selfdistill.rows import CHANCE, DEEPEST, EXITS, FINE_TUNED, LAYERS, NETWORKS, SELF
from gandistill.selfdistill.inference import FUSION

FACTS = {"corpus": "DEMoS", "fold": 2, "upstream": {"name": "base", "layers": 12}}
GUESSED = {"network": CHANCE, "dev": {"uar": 0.25}}


def row(exit: str, uar: float, work: float | None = None, **more: Any) -> dict[str, Any]:
    facts = {"network": SELF, "block": "lstm", "similarity": "l1", "exit": exit, "dev": {"uar": uar}}
    return facts | ({} if work is None else {"multiply_accumulates": work}) | more


def test_students_and_their_teachers_by_layer():
    rows = [GUESSED, *(row(*each) for each in (("3", 0.4), (DEEPEST, 0.7), ("8", 0.6), (DEEPEST, 0.8)))]
    for each, layer in zip(rows[1:], (3, 3, 8, 8), strict=True):
        each["layer"] = layer
    chart = figures.layers(FACTS, rows, "dev")
    assert chart.about == (
        "DEMoS, fold 2 alone, base, 12 layers; judged on dev. UAR, % against student's layer. student: 40.0, 60.0; "
        "its teacher: 70.0, 80.0; chance: 25.0."
    )


def test_exits_of_one_training_are_a_line_by_rising_cost_and_fusion_stands_alone():
    """A row that Table 2 takes from Table 1 is drawn once."""
    exits = [row("8", 0.6, 8e6), row("3", 0.4, 3e6), row(DEEPEST, 0.7, 12e6), row(FUSION, 0.65, 13e6)]
    alone = row(DEEPEST, 0.5, 12e6, network=FINE_TUNED)
    del alone["block"], alone["similarity"]
    chart = figures.cost(FACTS, [GUESSED, *exits, exits[1], alone], "dev")
    assert chart.about.endswith(
        f"UAR, % against million multiply-accumulates per second heard. {SELF}, lstm, l1: 40.0, 60.0, 70.0; "
        f"{SELF}, lstm, l1, {FUSION}: 65.0; {FINE_TUNED}: 50.0; chance: 25.0."
    )


def test_looks_say_network_block_loss_and_fusion():
    named = {
        "a": row("3", 0, 0),
        "b": row("3", 0, 0, block="gru"),
        "c": row("3", 0, 0, similarity="l2"),
        "d": row(FUSION, 0, 0),
        "e": row("3", 0, 0, network=FINE_TUNED),
    }
    looks = figures.looks(named)
    assert looks["a"].colour == looks["b"].colour != looks["e"].colour
    assert looks["a"].mark == looks["c"].mark != looks["b"].mark
    assert looks["a"].dash == looks["b"].dash != looks["c"].dash
    assert [name for name, look in looks.items() if look.hollow] == ["d"]


@pytest.mark.parametrize(
    ("tables", "names"),
    [((EXITS, NETWORKS, LAYERS), ["cost", "layers"]), ((EXITS, NETWORKS), ["cost"]), ((LAYERS,), ["layers"])],
)
def test_figures_are_those_whose_tables_there_are(tables: tuple[str, ...], names: list[str], tmp_path: Path):
    rows = [GUESSED, row("3", 0.4, 3e6, layer=3), row(DEEPEST, 0.7, 12e6, layer=3)]
    of = {name: [each | {"test": each["dev"]} for each in rows] for name in tables}
    canvas.write(figures.drawn(FACTS, of, ("dev", "test")), tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == names
    for path in tmp_path.iterdir():
        about = ElementTree.fromstring(path.read_text()).get("aria-label") or ""
        assert "judged on dev" in about
        assert "judged on test" in about
