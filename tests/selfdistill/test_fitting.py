"""Fitting by hand: how far Adam moves, what a step reads, draws by a key, and reading ahead."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gandistill.errors import InputError, RunError
from gandistill.numerics import drawn_by
from gandistill.run import Run
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.fitting import DROPOUT, WEIGHTS, ahead, fit, train_mode
from tests.selfdistill.conftest import UPDATES, metrics


def test_reading_ahead_keeps_order_and_errors():
    def read(number: int) -> Any:
        if number == 3:
            raise InputError("bad")
        return number

    calls = [lambda number=number: read(number) for number in range(5)]
    assert list(ahead(calls[:3])) == [0, 1, 2]
    assert list(ahead([])) == []
    found = ahead(calls)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="bad"):
        next(found)


def test_the_next_is_read_while_the_last_is_used():
    begun = Event()
    found = ahead([lambda: 0, lambda: begun.set() or 1])
    assert next(found) == 0
    assert begun.wait(10)
    assert list(found) == [1]


def test_draws_follow_from_the_key_alone_and_leave_no_trace():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with drawn_by(0, WEIGHTS):
        first = nn.Linear(3, 2).weight
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    with drawn_by(0, WEIGHTS):
        assert torch.equal(nn.Linear(3, 2).weight, first)
    for key in ((1, WEIGHTS), (0, DROPOUT), (0, WEIGHTS, 1)):
        with drawn_by(*key):
            assert not torch.equal(nn.Linear(3, 2).weight, first)


def test_what_is_frozen_whole_is_not_in_training_mode():
    """So that its dropout is off; what has no weights goes with what holds it."""
    frozen = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).requires_grad_(False)
    half = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    whole = nn.Sequential(frozen, half, nn.Dropout())
    train_mode(whole.eval())
    assert [part.training for part in (whole, half, half[1], whole[2])] == [True] * 4
    assert [part.training for part in (frozen, frozen[1], half[0])] == [False] * 3


class Slope(nn.Module):
    """A number that learns, and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.moved, self.fixed = nn.Parameter(torch.zeros(())), nn.Parameter(torch.ones(()), requires_grad=False)


@pytest.fixture
def utterances(manifest: Path) -> Utterances:
    return Utterances.read(manifest, "train")


Fitted = Callable[..., Slope]


@pytest.fixture
def fitted(configured: Any, make_network: Any, utterances: Utterances, tmp_path: Path) -> Fitted:
    """``fitted(loss)``: a slope fitted for two epochs of three updates."""

    def made(loss: Any, **options: Any) -> Slope:
        config, slope = configured(training={"learning_rate": 0.25}), Slope()
        with Run(tmp_path / "run", config, False, seed=0) as run:
            fit(
                run,
                slope,
                partial(loss, slope),
                utterances,
                make_network(clip=800),
                config.training,
                2,
                lambda: False,
                **options,
            )
        return slope

    return made


def test_adam_moves_a_constant_slope_by_the_rate_in_every_update(fitted: Fitted, tmp_path: Path):
    """Whatever its size, which is logged before it is cut to 1; what asks for no gradient stays."""
    slope = fitted(lambda slope, *_: {"loss": 100 * slope.moved * slope.fixed, "other": torch.tensor(3.0)})
    assert slope.moved.item() == pytest.approx(-2 * UPDATES * 0.25, rel=1e-5)
    assert slope.fixed == 1
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 2 * UPDATES + 1))
    assert [line["loss"] for line in lines] == pytest.approx([-25.0 * n for n in range(2 * UPDATES)], abs=1e-3)
    assert {(line["gradient_norm"], line["other"]) for line in lines} == {(100, 3)}


def test_an_epoch_hears_every_utterance_with_its_class(fitted: Fitted, utterances: Utterances):
    heard: list[tuple[int, list[int]]] = []
    ended: list[int] = []

    def loss(slope: Slope, clips: torch.Tensor, lengths: None, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        assert (clips.shape[1], lengths) == (800, None)
        heard.append((len(clips), targets.tolist()))
        return {"loss": slope.moved}

    fitted(loss, after_epoch=lambda epoch: ended.append(epoch) or ended.append(len(heard)))
    assert [size for size, _ in heard] == [10] * 6
    assert ended == [1, UPDATES, 2, 2 * UPDATES]
    expected = np.bincount(utterances.targets)
    for epoch in (heard[:UPDATES], heard[UPDATES:]):
        found = np.bincount([target for _, targets in epoch for target in targets])
        assert (found >= expected).all(), "29, and one of them twice"
        assert found.sum() == 30


def test_a_run_that_has_gone_further_is_refused(
    fitted: Fitted, configured: Any, utterances: Utterances, make_network: Any, tmp_path: Path
):
    fitted(lambda slope, *_: {"loss": slope.moved})
    config, slope = configured(training={"learning_rate": 0.25}), Slope()
    with (
        Run(tmp_path / "run", config, True, seed=0) as run,
        pytest.raises(InputError, match="has made 6 updates already"),
    ):
        fit(run, slope, lambda *_: {}, utterances, make_network(clip=800), config.training, 1, lambda: False)


def test_a_loss_that_is_no_number_is_named_with_its_update(fitted: Fitted):
    with pytest.raises(RunError, match="step 1: loss = nan"):
        fitted(lambda slope, *_: {"loss": slope.moved * float("nan")})
