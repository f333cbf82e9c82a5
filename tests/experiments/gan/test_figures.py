"""What figures draw, by hand."""

import numpy as np

from gandistill.evaluate.predictions import Predictions
from gandistill.experiments.gan import figures


def test_a_confusion_knows_classes_that_do_not_occur():
    """Of four calm clips one head takes two for angry, which the test part lacks, the other all for sad."""
    labels = np.array(["calm"] * 4)

    def said(*predicted: str) -> Predictions:
        return Predictions(np.arange(4).astype(str), np.array(["s"] * 4), labels, np.array(predicted), "here")

    classes, shares = figures.taken_for([said("angry", "angry", "calm", "calm"), said(*["sad"] * 4)])
    assert classes == ["angry", "calm", "sad"]
    assert shares.tolist() == [[0, 0, 0], [25, 25, 50], [0, 0, 0]]


def test_a_curve_is_a_line_for_each_training_set_and_all_real_data_one_across():
    def row(name: str, ppc: int | None, uar: float) -> dict[str, object]:
        return {"head": "superb", "labels": "hard", "training set": name, "ppc": ppc, "uar": uar}

    table = [row("real, all of it", None, 0.7), row("GAN", 5, 0.4), row("GAN", 50, 0.6), row("real, random", 5, 0.3)]
    (panel,) = figures.curves(table).axes
    names = panel.get_legend_handles_labels()[1]
    assert sorted(names) == ["GAN", "real, all of it", "real, random"]
    assert panel.get_xticks().tolist() == [5, 50]
    assert panel.get_title() == "superb, hard labels"
