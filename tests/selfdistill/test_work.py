"""Work of several exits in one pass, by hand, and against operations that are counted."""

from collections.abc import Callable

import pytest
import torch

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.selfdistill.describe import multiply_accumulates
from gandistill.selfdistill.model import LINEAR, Network
from gandistill.selfdistill.work import Work

KNOWN = Work(alone={1: 12.0, 2: 21.0, 4: 43.0}, own={1: 2.0, 2: 1.0, 4: 3.0})
"""Layers of 10 each: 10 + 2, 20 + 1, 40 + 3."""


def test_together_takes_the_deepest_and_what_lies_behind_the_others():
    assert KNOWN.together([4]) == 43
    assert KNOWN.together([1, 4]) == KNOWN.together({4, 1}) == 45
    assert KNOWN.together([1, 2]) == 21 + 2, "layers after the deepest are not run"


def test_whoever_leaves_has_asked_every_exit_before():
    assert [KNOWN.until(depth) for depth in (1, 2, 4)] == [12, 21 + 2, 43 + 2 + 1]


@pytest.mark.parametrize("clip", [3200, 6400])
def test_it_is_counted_for_a_second_that_is_heard(make_network: Callable[..., Network], clip: int):
    """Behind the deepest layer, which has no block, lie two linear layers alone."""
    network = make_network({1: "cnn", 2: "lstm", 4: None}, clip=clip).to("meta")
    work, a_second = Work.of(network), SAMPLE_RATE / clip
    dims, classes = network.backbone.dims, len(network.labels)
    for depth, products in multiply_accumulates(network, clip).items():
        assert work.alone[depth] == pytest.approx(products * a_second)
    heads = (dims * LINEAR + LINEAR * classes) * a_second
    assert work.own[4] == pytest.approx(heads)
    frames = next(network.backbone.states(torch.empty(1, clip, device="meta"))).shape[1]
    assert work.own[2] == pytest.approx(heads + frames * 8 * dims**2 * a_second), "four gates of two matrices each"
    assert work.own[1] > heads
