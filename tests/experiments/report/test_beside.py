"""What is measured of samples beside real features, by hand."""

from typing import Any

import numpy as np
import torch

from gandistill.experiments.names import DRAWN
from gandistill.experiments.report.beside import SAMPLES, Beside, agreement, apart, telling_dims
from gandistill.features.featureset import FeatureSet, HeldSet, Utterance

FACTS: dict[str, Any] = {"labels": ["a", "b"], "dims": 2}


def held(clips: dict[str, list[list[list[float]]]]) -> FeatureSet:
    """Of frames by label."""
    utterances = [
        Utterance(f"{label}{i}", label, torch.tensor(frames))
        for label, each in clips.items()
        for i, frames in enumerate(each)
    ]
    return HeldSet.of("made", utterances, FACTS, "made")


WHOLE = {"a": [[[1.0, 10.0], [1.0, 10.0]], [[3.0, 30.0], [3.0, 30.0]]], "b": [[[0.0, 0.0]]]}
"""Utterance means of a: 1 and 3, 10 and 30; deviations 1 and 10, of frames too."""


def test_moments_of_a_copy_agree():
    whole = held(WHOLE)
    assert apart(whole, whole, 0) == {"mean off by": "0.000", "spread of means": "1.000", "spread of frames": "1.000"}


def test_a_mean_is_off_in_deviations_and_spreads_are_shares():
    """Means 4 and 40 lie two deviations off; 3 and 5, 10 and 50: as wide, and twice as wide, the median of both."""
    far = held({"a": [[[4.0, 40.0]], [[4.0, 40.0]]], "b": [[[0.0, 0.0]]]})
    assert apart(held(WHOLE), far, 0)["mean off by"] == "2.000"
    assert apart(held(WHOLE), far, 0)["spread of means"] == "0.000"
    wide = held({"a": [[[1.0, 0.0]], [[3.0, 40.0]]], "b": [[[0.0, 0.0]]]})
    assert apart(held(WHOLE), wide, 0) == {
        "mean off by": "0.000",
        "spread of means": "1.000",  # torch's median is the lower of two
        "spread of frames": "1.000",
    }


def test_movement_is_in_the_spread_of_frames_alone():
    still = held({"a": [[[0.0, 0.0], [2.0, 20.0]], [[2.0, 20.0], [4.0, 40.0]]], "b": [[[0.0, 0.0]]]})
    found = apart(held(WHOLE), still, 0)
    assert (found["mean off by"], found["spread of means"]) == ("0.000", "1.000")
    assert found["spread of frames"] == f"{2**0.5:.3f}"


def test_each_class_has_samples_beside_as_many_real_clips():
    """A class without real clips has nothing to be compared with."""
    whole, far = held(WHOLE), held({"a": [[[4.0, 40.0]]], "b": [[[0.0, 0.0]]]})
    text = agreement(Beside(whole, whole, far), whole)
    assert text.index(f"<td>{SAMPLES}</td>") < text.index(f"<td>{DRAWN['random']}</td>")
    assert text.count(f"<td>{SAMPLES}</td>") == 2
    assert '<td class="number">2.000</td>' in text
    alone = Beside(whole.rows(np.array([0, 1])), whole, far)
    assert agreement(alone, whole).count(f"<td>{SAMPLES}</td>") == 1


def test_dims_are_chosen_that_tell_classes_apart_for_how_they_vary_within():
    """The second differs more between classes, and far more within one."""
    tells = {"a": [[[0.0, 0.0]], [[1.0, 90.0]]], "b": [[[9.0, 50.0]], [[10.0, 140.0]]]}
    assert telling_dims(held(tells), 1).tolist() == [0]
    assert telling_dims(held(tells)).tolist() == [0, 1]
