"""Results of trials are kept whole, under what decides them, with what made them; runs by what decides theirs."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.experiments.store import Store, digest


@dataclass(frozen=True)
class Sum:
    a: int
    b: int

    @cached_property
    def key(self) -> str:
        return digest([self.a, self.b])


def test_a_result_is_found_by_what_decides_it(tmp_path: Path):
    store, trial = Store(tmp_path), Sum(1, 2)
    assert not store.has(trial)
    store.put(trial, {"sum": 3})
    assert store.has(Sum(1, 2))
    assert not store.has(Sum(2, 1))
    assert store.result(Sum(1, 2)) == {"sum": 3, "versions": artifacts.versions()}
    assert [path.name for path in (tmp_path / "trials").iterdir()] == [f"{trial.key}.json"]


def test_a_damaged_result_is_named(tmp_path: Path):
    store, trial = Store(tmp_path), Sum(1, 2)
    store.put(trial, {"sum": 3})
    store.path(trial).write_text('{"sum": ')
    with pytest.raises(InputError, match=trial.key):
        store.result(trial)


def test_a_run_lies_where_its_decisions_say_and_costs_what_it_took(tmp_path: Path):
    store = Store(tmp_path)
    run = store.run({"rate": 0.1, "seed": 2})
    assert run == store.run({"seed": 2, "rate": 0.1}), "an order of keys decides nothing"
    assert run != store.run({"rate": 0.1, "seed": 3})
    assert run.parent.name == "runs"
    assert store.run([1], "trajectories").parent.name == "trajectories"
    assert store.cost(run) == {}
    store.timed(run, begun=False, start=time.process_time() - 5)
    whole = store.cost(run)
    assert 5 <= whole["seconds"] < 6
    assert whole["peak_bytes"] > 2**20
    store.timed(run, begun=True, start=time.process_time())
    assert store.cost(run).keys() == {"peak_bytes"}, "what an interrupted run took is not known"
