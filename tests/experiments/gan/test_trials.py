"""Trials are computed once, alone or beside others, in one run or several, to the same digits."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandistill import artifacts
from gandistill.errors import InputError, RunError
from gandistill.experiments.gan import trials as room
from gandistill.experiments.gan.trials import Trial, bytes_of_generator, jobs_of
from gandistill.experiments.jobs import compute as do
from gandistill.experiments.store import Store
from gandistill.features.featureset import FeatureSet
from gandistill.heads.training import score, train_head, train_heads

TablesOf = Callable[..., Any]
CAPS = {"angry": 8, "calm": 16, "sad": 12}


def new_store(folder: Path) -> Store:
    folder.mkdir()
    return Store(folder)


def trials_of(rows: Sequence[Any]) -> list[Trial]:
    return [trial for row in rows for trial in row.all_trials()]


def compute(trials: Sequence[Trial], store: Store, shard: tuple[int, int] = (1, 1)) -> list[Trial]:
    """Do the trials of a shard, and give those of which there is no result."""
    do(jobs_of(trials, shard), store)
    return [trial for trial in trials if not store.has(trial)]


def results(trials: Sequence[Trial], store: Store) -> dict[str, Any]:
    """What was found, but for what it cost."""
    costs = ("cost", "seconds", "peak_bytes")
    return {trial.key: {k: v for k, v in store.result(trial).items() if k not in costs} for trial in trials}


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """A plan with every kind of source in it, and little of each."""
    generators = {
        "cold": {"recipe": "gan.yaml", "losses": ["both"]},
        "warm": {"recipe": "warm.yaml", "losses": ["both"]},
    }
    heads = [{"kind": "superb", "seeds": 1}]
    return {"generators": generators, "heads": heads, "ppc": [2], "seeds": 1, "repeats": 2}


def test_a_second_run_computes_nothing_and_a_deleted_cell_alone_is_computed_again(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None
):
    trials = trials_of(tables_of(**small).rows(2))
    store = new_store(tmp_path / "store")
    assert compute(trials, store) == []
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.stem for path in (store.folder / "trials").iterdir()} == {trial.key for trial in trials}
    assert not list(store.folder.glob("tmp*")), "no scratch is left"
    compute(trials, store)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files

    kinds = {trial.source.kind: trial for trial in trials if trial.task == "judge"}
    assert kinds.keys() == {"real", "control", "start", "generator"}
    before = results(trials, store)
    for trial in kinds.values():
        store.path(trial).unlink()
        compute(trials, store)
        changed = [path.name for path in (store.folder / "trials").iterdir() if path.stat().st_mtime_ns != files[path]]
        files[store.path(trial)] = store.path(trial).stat().st_mtime_ns
        assert changed == [f"{trial.key}.json"]
    assert results(trials, store) == before


def test_a_result_is_what_the_rooms_below_give(tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None):
    tables = tables_of(**small | {"labels": ["hard"]})
    rows, store = tables.rows(2), new_store(tmp_path / "store")
    compute(trials_of(rows), store)
    whole = FeatureSet.open(tables.folds[0].inputs.features)
    head = train_head(whole, tables.plan.head_config("superb", 0, "hard", "none"))
    found = store.result(rows[0].trials[0][0][0])
    assert found["uar"] == score(head, whole.part("test"))["uar"]
    assert found["points"] == CAPS
    assert len(found["predicted"]) == 18
    for row in rows:
        for trial in row.trials[0][0]:
            result = store.result(trial)
            hit = np.array(result["predicted"]) == whole.part("test").targets
            recalls = [hit[whole.part("test").targets == c].mean() for c in range(3)]
            assert result["uar"] == pytest.approx(np.mean(recalls)), "the UAR is that of the predictions"
            if "ppc" in row.facts:
                assert result["points"] == dict.fromkeys(CAPS, 2)
            assert result["cost"]["seconds"] > 0 < result["cost"]["peak_bytes"]
            assert result["source"] == trial.source.described()
    cost = store.result(next(trial for trial in trials_of(rows) if trial.task == "cost"))
    assert cost["trained"]["updates"] == 4
    assert cost["seconds"] > 0


def test_soft_labels_of_the_same_points_come_from_the_bank(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[str, list[bytes]]] = []

    def watched(sets: list[FeatureSet], configs: list[Any]) -> Any:
        for given, config in zip(sets, configs, strict=True):
            points = given.training_part()
            assert (points.soft is not None) == (config.labels == "soft")
            if points.soft is not None:
                assert np.allclose(points.soft.sum(axis=1), 1, atol=1e-5)
            frames = [points.frames(row).numpy().tobytes() for row in range(len(points))]
            seen.append((config.labels, sorted(frames)))
        return train_heads(sets, configs)

    monkeypatch.setattr(room, "train_heads", watched)
    rows = [row for row in tables_of(**small).rows(2) if row.facts["training set"] != "real, random"]
    compute(trials_of(rows), new_store(tmp_path / "store"))
    hard, soft = ([points for labels, points in seen if labels == kind] for kind in ("hard", "soft"))
    assert len(hard) == len(soft) >= 6
    # Soft labels leave the bytes of "real, time-pooled" for fewer points: all other sets are the same.
    assert len([points for points in soft if points not in hard]) <= 1


def test_a_result_does_not_depend_on_what_is_computed_beside_it(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None
):
    alone = trials_of(tables_of(**small).rows(2))
    warm = {"warm": {"recipe": "warm.yaml", "losses": ["both"]}}
    small = small | {"generators": warm, "balanced": "warm"}
    beside = small | {"ppc": [5, 2], "repeats": 3, "labels": ["soft", "hard"], "controls": ["k-centre", "random"]}
    beside |= {"draws": ["designed"]}
    more = trials_of(tables_of(**beside).rows(2))
    first, second = new_store(tmp_path / "first"), new_store(tmp_path / "second")
    compute(alone, first)
    compute(more, second)
    shared = [trial for trial in alone if second.has(trial)]
    assert {trial.source.kind for trial in shared} == {"real", "control", "start", "generator"}
    assert len(shared) >= 12
    assert results(shared, first) == results(shared, second)


def test_shards_merged_by_copying_are_one_run(tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None):
    less = small | {"labels": ["hard"], "controls": ["random", "herding"], "draws": ["designed"]}
    trials = trials_of(tables_of(folds=2, **less).rows(2))
    whole, *shards = (new_store(tmp_path / name) for name in ("whole", "one", "two"))
    compute(trials, whole)
    missing = [compute(trials, store, shard=(i, 2)) for i, store in enumerate(shards, 1)]
    keys = [{trial.key for trial in part} for part in missing]
    assert keys[0] | keys[1] == {trial.key for trial in trials}
    assert not keys[0] & keys[1]
    for part in missing:
        assert any(trial.source.kind == "generator" for trial in part), "generators are shared out"
    shutil.copytree(shards[1].folder / "trials", shards[0].folder / "trials", dirs_exist_ok=True)
    assert compute(trials, shards[0]) == []
    assert results(trials, shards[0]) == results(trials, whole)


def test_trials_of_one_generator_and_all_draws_of_a_control_are_one_processes(tables_of: TablesOf):
    trials = trials_of(tables_of(folds=2).rows(2))
    groups = [job.trials for job in jobs_of(trials)]
    assert sum(map(len, groups)) == len({trial.key for trial in trials})
    sources = [{trial.source.seed for trial in group} for group in groups]
    # In each of two folds: 5 trainings with 2 seeds each; starts of two generators, 7 controls and all real data.
    assert [group[0].source.kind for group in groups[:20]] == ["generator"] * 20
    assert sorted(map(len, sources[20:])) == sorted([3, 2, 3, 3, 3, 1, 1, 3, 1, 1] * 2)
    for group in groups[:20]:
        assert len({replace(trial.source, draws="") for trial in group}) == 1
        assert {trial.source.draws for trial in group if trial.task == "judge"} == {"designed", "independent"}
        assert group[0].task == "cost", "training is timed before anything else makes the generator"


def test_what_fails_is_said_by_name_and_leaves_the_others(
    tables_of: TablesOf,
    tmp_path: Path,
    small: dict[str, Any],
    here: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    trials = trials_of(tables_of(**small).rows(2))
    bank, place = tables_of().folds[0].inputs.bank, tmp_path / "bank"
    shutil.copytree(bank, place)
    (place / "config.json").write_text("{}")
    trials = [replace(trial, inputs=replace(trial.inputs, bank=place)) for trial in trials]
    store = new_store(tmp_path / "store")
    with pytest.raises(InputError) as failed:
        compute(trials, store)
    needing = {"generator", "start"}
    wanted = [trial for trial in trials if trial.source.kind in needing or (trial.head and trial.head.labels == "soft")]
    tried = {trial.key: trial for trial in wanted if trial.task == "cost" or trial.source.kind != "generator"}
    assert str(failed.value).startswith(f"{len(tried)} trials failed, what is done is kept; the first: {place} holds")
    assert "\n" not in str(failed.value)
    lines = capfd.readouterr().err.splitlines()
    for trial in tried.values():
        assert any(line.startswith(f"failed: {trial}: {place} holds ") for line in lines)
    done = [trial for trial in trials if store.has(trial)]
    needs_bank = [c for c in trials if c.source.config is not None or (c.head is not None and c.head.labels == "soft")]
    assert {trial.key for trial in done} == {trial.key for trial in trials} - {trial.key for trial in needs_bank}
    assert done

    shutil.rmtree(place)
    shutil.copytree(bank, place)
    calls: list[int] = []

    def diverging(sets: list[FeatureSet], configs: list[Any]) -> Any:
        if len(sets) > 1:  # a stack: then its heads are trained one after another
            raise RunError("Training diverged")
        calls.append(configs[0].seed)
        if len(calls) == 2:
            raise RunError("Training diverged")
        if len(calls) == 4:
            raise FloatingPointError("overflow")
        return train_heads(sets, configs)

    monkeypatch.setattr(room, "train_heads", diverging)
    with pytest.raises(RunError, match=r"^2 trials failed, .*: (Training diverged|FloatingPointError: overflow)$"):
        compute(trials, store)
    assert sum(not store.has(trial) for trial in trials) == 2, "a head's failure leaves the others of its process"
    assert compute(trials, store) == []


def test_a_generator_that_cannot_be_trained_is_tried_once(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None, monkeypatch: pytest.MonkeyPatch
):
    tries: list[Path] = []

    def diverging(_config: Any, out: Path, **_: Any) -> None:
        tries.append(out)
        raise RunError(f"Training diverged in {out.name}")

    monkeypatch.setattr(room, "train", diverging)
    less = small | {"labels": ["hard"], "controls": ["random"]}
    trials, store = trials_of(tables_of(**less).rows(2)), new_store(tmp_path / "store")
    with pytest.raises(RunError, match="Training diverged"):
        compute(trials, store)
    assert len(tries) == 2
    assert {trial.source.kind for trial in trials if not store.has(trial)} == {"generator"}


def test_the_bytes_of_a_generator_are_known_before_it_is_trained(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None
):
    tables, store = tables_of(**small), new_store(tmp_path / "store")
    rows = tables.rows(1)
    compute(trials_of(rows), store)
    trial = rows[0].costs[0]
    weighed = artifacts.bytes_on_disk(store.run(trial.source.run_facts(trial.inputs)) / "generator")
    foreseen = bytes_of_generator(trial.inputs, tables.plan.generator_config("cold", "both", 0))
    assert 0 <= weighed - foreseen < 2000, "all but the card's words and the score on dev"


KILLED = """
import pickle, sys
from pathlib import Path
from gandistill.experiments.gan.trials import jobs_of
from gandistill.experiments.jobs import compute
from gandistill.experiments.store import Store
if __name__ == "__main__":
    trials = pickle.loads(Path(sys.argv[1]).read_bytes())
    compute(jobs_of(trials), Store(Path(sys.argv[2])), int(sys.argv[3]))
"""


def test_a_killed_run_goes_on_to_the_same_results_in_any_number_of_processes(
    tables_of: TablesOf, tmp_path: Path, here: None
):
    """Every process is killed amid a generator's training; then two at a time finish what this process does alone."""
    settings = ["training.updates=60", "training.checkpoint_every=2"]
    generators = {"cold": {"recipe": "gan.yaml", "losses": ["both"], "settings": settings}}
    tables = tables_of(
        generators=generators,
        controls=["random"],
        ppc=[2],
        labels=["hard"],
        heads=[{"kind": "superb", "seeds": 2}],
        draws=["designed"],
    )
    trials = [
        trial
        for trial in trials_of(tables.rows(2))
        if (trial.source.kind, trial.source.seed) in (("generator", 0), ("control", 0), ("control", 1))
    ]
    (tmp_path / "trials.pickle").write_bytes(pickle.dumps(trials))
    (tmp_path / "script.py").write_text(KILLED)
    store = new_store(tmp_path / "killed")

    def start(jobs: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            str(tmp_path / "script.py"),
            str(tmp_path / "trials.pickle"),
            str(store.folder),
            str(jobs),
        ]
        return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)

    process = start(1)
    trained = next(trial for trial in trials if trial.task == "cost")
    run = store.run(trained.source.run_facts(trained.inputs))
    until = time.monotonic() + 60
    while not list((run / "checkpoints").glob("0*")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list((run / "checkpoints").glob("0*"))
    assert not store.has(trained), "it was killed amid the training"

    assert start(2).wait() == 0
    assert "seconds" not in store.result(trained), "what an interrupted training cost is not known"
    reference = new_store(tmp_path / "reference")
    compute(trials, reference)
    assert results(trials, store) == results(trials, reference)
