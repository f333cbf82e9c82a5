"""What figures draw, by hand."""

import re
from xml.etree import ElementTree

import numpy as np

from gandistill.evaluate.predictions import Predictions
from gandistill.experiments.gan import figures

FACTS = {
    "corpus": "RAVDESS",
    "folds": {"1": {}, "2": {}},
    "plan": {
        "extract": {"upstream": "whisper", "whisper": {"layer": 4}},
        "generators": {
            "GAN": {"both": {"architecture": {"kind": "gan-att"}}},
            "GAN 2": {"both": {"architecture": {"kind": "class-gaussian"}}},
        },
    },
}


def row(name: str, ppc: int | None, uar: float, **more: object) -> dict[str, object]:
    what = {"head": "superb", "labels": "hard", "training set": name, "ppc": ppc, "uar": uar, "classes": 4}
    return what | more


def test_a_confusion_knows_classes_that_do_not_occur():
    """Of four calm clips one head takes two for angry, which the test part lacks, the other all for sad."""
    labels = np.array(["calm"] * 4)

    def said(*predicted: str) -> Predictions:
        return Predictions(np.arange(4).astype(str), np.array(["s"] * 4), labels, np.array(predicted), "here")

    classes, shares = figures.taken_for([said("angry", "angry", "calm", "calm"), said(*["sad"] * 4)])
    assert classes == ["angry", "calm", "sad"]
    assert shares.tolist() == [[0, 0, 0], [25, 25, 50], [0, 0, 0]]


def test_a_curve_is_a_line_for_each_training_set_named_where_it_ends_and_all_real_data_one_across():
    table = [
        row("real, all of it", None, 0.7),
        row("GAN", 5, 0.4, generator="GAN"),
        row("GAN", 50, 0.6, generator="GAN"),
        row("real, random", 5, 0.3, low=0.2, high=0.4),
        row("GAN", 5, 0.5, generator="GAN", labels="soft"),
    ]
    hard, soft = figures.curves(FACTS, table)
    assert hard.about.startswith("RAVDESS, 2 folds, whisper layer 4; head superb, hard labels. UAR, % against points")
    told = "GAN: 40.0, 60.0; real, random: 30.0; real, all of it: 70.0; chance: 25.0."
    assert hard.about.endswith(told), "whoever does not see it is told the same"
    assert soft.about.endswith("soft labels. UAR, % against points per class. GAN: 50.0; chance: 25.0.")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", hard.body)
    assert re.findall(r'class="faint middle">(\d+)<', hard.body) == ["5", "50"]
    assert words.count("GAN") == words.count("real, random") + 1 == 2, "at its end; GAN is a family too"


def test_the_axis_begins_at_chance_unless_something_is_below():
    def ticks(uar: float) -> list[float]:
        (chart,) = figures.curves(FACTS, [row("real, random", 5, uar, low=0.1, high=0.9)])
        return [float(tick) for tick in re.findall(r'class="faint end">([^<]*)<', chart.body)]

    assert min(ticks(0.5)) > 25
    assert min(ticks(0.2)) < 25


def test_bytes_are_told_with_what_they_are_worth():
    table = [{"what": "audio, WAV", "bytes": 68188774}, {"what": "GAN 2, int8", "bytes": 3740000, "uar": 0.7779}]
    chart = figures.sizes(FACTS, table)
    assert chart.about.endswith("audio, WAV: 68.2 MB; GAN 2, int8: 3.74 MB, UAR 77.8 %.")
    assert 'class="closed">GAN 2, int8<' in chart.body, "of two generators whose names begin alike the longer"


def test_speakers_are_told_for_each_group_beside_chance():
    value = {"mean": 0.9, "low": 0.8, "high": 1.0}
    both = {"accuracy": value, "equal_error_rate": {"mean": 0.25}}
    table = [{"first layer of": "emotion head, GAN +both", "chance": {"accuracy": 0.1, "equal_error_rate": 0.5}}]
    table[0] |= {"all": both, "unseen": both}
    accuracy, rate = figures.speakers(FACTS, table)
    assert accuracy.about.endswith("accuracy, %. emotion head, GAN +both: all 90.0, unseen 90.0.")
    assert rate.about.endswith("equal error rate, %. emotion head, GAN +both: all 25.0, unseen 25.0.")
    assert 'class="gan">emotion head' in accuracy.body
    ElementTree.fromstring(rate.file())
