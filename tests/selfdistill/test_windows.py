"""How much a network hears at once, by hand."""

from types import SimpleNamespace

import pytest

from gandistill.corpora.windows import WINDOW
from gandistill.selfdistill.windows import shortest_of, window_of

SECOND = 16_000


def heard(clip: int = 0, longest: int | None = None, least: int = 1) -> SimpleNamespace:
    """What is asked of a network."""
    return SimpleNamespace(clip=clip, backbone=SimpleNamespace(longest=longest, least=least))


@pytest.mark.parametrize(("least", "shortest"), [(1, 400), (400, 400), (401, 401), (1680, 1680)])
def test_25_ms_or_what_the_convolutions_make_a_frame_of(least: int, shortest: int):
    assert shortest_of(heard(least=least)) == shortest


def test_a_network_hears_as_long_a_clip_as_in_training():
    assert window_of(heard(clip=95_744)) == 95_744
    assert window_of(heard(clip=95_744, longest=2 * SECOND)) == 95_744


def test_thirty_seconds_where_clips_differed():
    assert window_of(heard()) == WINDOW == 30 * SECOND


@pytest.mark.parametrize(
    ("longest", "least", "window"),
    [
        (60 * SECOND, 1, 30 * SECOND),
        (30 * SECOND, 1, 30 * SECOND - 400),
        (2 * SECOND, 1000, 2 * SECOND - 1000),
    ],
)
def test_a_rest_fits_behind_a_window_of_who_hears_so_much_at_the_most(longest: int, least: int, window: int):
    network = heard(longest=longest, least=least)
    assert window_of(network) == window
    assert window + shortest_of(network) <= longest
