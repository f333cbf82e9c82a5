"""Cells are computed once, alone or beside others, in one run or several, to the same digits."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandistill import artifacts
from gandistill.errors import InputError, RunError
from gandistill.evaluate import cells as room
from gandistill.evaluate.cells import Cell, Store, bytes_of_generator, compute
from gandistill.features.featureset import FeatureSet
from gandistill.heads.training import score, train_head

TablesOf = Callable[..., Any]
CAPS = {"angry": 8, "calm": 16, "sad": 12}


def new_store(folder: Path) -> Store:
    folder.mkdir()
    return Store(folder)


def cells_of(rows: Sequence[Any]) -> list[Cell]:
    return [cell for row in rows for cell in row.all_cells()]


def results(cells: Sequence[Cell], store: Store) -> dict[str, Any]:
    """What was found, but for what it cost."""
    costs = ("cost", "seconds", "peak_bytes")
    return {cell.key: {k: v for k, v in store.result(cell).items() if k not in costs} for cell in cells}


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
    cells = cells_of(tables_of(**small).rows(2))
    store = new_store(tmp_path / "store")
    assert compute(cells, store) == []
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.stem for path in (store.folder / "cells").iterdir()} == {cell.key for cell in cells}
    assert not list(store.folder.glob("tmp*")), "no scratch is left"
    compute(cells, store)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files

    kinds = {cell.source.kind: cell for cell in cells if cell.task == "judge"}
    assert kinds.keys() == {"real", "control", "start", "generator"}
    before = results(cells, store)
    for cell in kinds.values():
        store.path(cell).unlink()
        compute(cells, store)
        changed = [path.name for path in (store.folder / "cells").iterdir() if path.stat().st_mtime_ns != files[path]]
        files[store.path(cell)] = store.path(cell).stat().st_mtime_ns
        assert changed == [f"{cell.key}.json"]
    assert results(cells, store) == before


def test_a_result_is_what_the_rooms_below_give(tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None):
    tables = tables_of(**small | {"labels": ["hard"]})
    rows, store = tables.rows(2), new_store(tmp_path / "store")
    compute(cells_of(rows), store)
    whole = FeatureSet.open(tables.folds[0].inputs.features)
    head = train_head(whole, tables.plan.head_config("superb", 0, "hard", "none"))
    found = store.result(rows[0].cells[0][0][0])
    assert found["uar"] == score(head, whole.part("test"))["uar"]
    assert found["points"] == CAPS
    assert len(found["predicted"]) == 18
    for row in rows:
        for cell in row.cells[0][0]:
            result = store.result(cell)
            hit = np.array(result["predicted"]) == whole.part("test").targets
            recalls = [hit[whole.part("test").targets == c].mean() for c in range(3)]
            assert result["uar"] == pytest.approx(np.mean(recalls)), "the UAR is that of the predictions"
            if "ppc" in row.facts:
                assert result["points"] == dict.fromkeys(CAPS, 2)
            assert result["cost"]["seconds"] > 0 < result["cost"]["peak_bytes"]
            assert result["source"] == cell.source.described()
    cost = store.result(next(cell for cell in cells_of(rows) if cell.task == "cost"))
    assert cost["trained"]["updates"] == 4
    assert cost["seconds"] > 0


def test_soft_labels_of_the_same_points_come_from_the_bank(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[str, list[bytes]]] = []

    def watched(points: FeatureSet, config: Any) -> Any:
        points = points.training_part()
        assert (points.soft is not None) == (config.labels == "soft")
        if points.soft is not None:
            assert np.allclose(points.soft.sum(axis=1), 1, atol=1e-5)
        frames = [points.frames(row).numpy().tobytes() for row in range(len(points))]
        seen.append((config.labels, sorted(frames)))
        return train_head(points, config)

    monkeypatch.setattr(room, "train_head", watched)
    rows = [row for row in tables_of(**small).rows(2) if row.facts["training set"] != "real, random"]
    compute(cells_of(rows), new_store(tmp_path / "store"))
    hard, soft = ([points for labels, points in seen if labels == kind] for kind in ("hard", "soft"))
    assert len(hard) == len(soft) >= 6
    # Soft labels leave the bytes of "real, time-pooled" for fewer points: all other sets are the same.
    assert len([points for points in soft if points not in hard]) <= 1


def test_a_result_does_not_depend_on_what_is_computed_beside_it(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None
):
    alone = cells_of(tables_of(**small).rows(2))
    warm = {"warm": {"recipe": "warm.yaml", "losses": ["both"]}}
    small = small | {"generators": warm, "balanced": "warm"}
    beside = small | {"ppc": [5, 2], "repeats": 3, "labels": ["soft", "hard"], "controls": ["k-centre", "random"]}
    beside |= {"draws": ["designed"]}
    more = cells_of(tables_of(**beside).rows(2))
    first, second = new_store(tmp_path / "first"), new_store(tmp_path / "second")
    compute(alone, first)
    compute(more, second)
    shared = [cell for cell in alone if second.has(cell)]
    assert {cell.source.kind for cell in shared} == {"real", "control", "start", "generator"}
    assert len(shared) >= 12
    assert results(shared, first) == results(shared, second)


def test_shards_merged_by_copying_are_one_run(tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None):
    less = small | {"labels": ["hard"], "controls": ["random", "herding"], "draws": ["designed"]}
    cells = cells_of(tables_of(folds=2, **less).rows(2))
    whole, *shards = (new_store(tmp_path / name) for name in ("whole", "one", "two"))
    compute(cells, whole)
    missing = [compute(cells, store, shard=(i, 2)) for i, store in enumerate(shards, 1)]
    keys = [{cell.key for cell in part} for part in missing]
    assert keys[0] | keys[1] == {cell.key for cell in cells}
    assert not keys[0] & keys[1]
    for part in missing:
        assert any(cell.source.kind == "generator" for cell in part), "generators are shared out"
    shutil.copytree(shards[1].folder / "cells", shards[0].folder / "cells", dirs_exist_ok=True)
    assert compute(cells, shards[0]) == []
    assert results(cells, shards[0]) == results(cells, whole)


def test_cells_of_one_generator_and_all_draws_of_a_control_are_one_processes(
    tables_of: TablesOf, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
):
    groups: list[list[Cell]] = []

    def noted(group: list[Cell], *_: object) -> list[Any]:
        groups.append(group)
        return []

    monkeypatch.setattr(room, "_compute", noted)
    cells = cells_of(tables_of(folds=2).rows(2))
    assert len(compute(cells, new_store(tmp_path / "store"))) == len(cells)
    assert sum(map(len, groups)) == len({cell.key for cell in cells})
    sources = [{cell.source.seed for cell in group} for group in groups]
    # In each of two folds: 5 trainings with 2 seeds each; starts of two generators, 7 controls and all real data.
    assert [group[0].source.kind for group in groups[:20]] == ["generator"] * 20
    assert sorted(map(len, sources[20:])) == sorted([3, 2, 3, 3, 3, 1, 1, 3, 1, 1] * 2)
    for group in groups[:20]:
        assert len({replace(cell.source, draws="") for cell in group}) == 1
        assert {cell.source.draws for cell in group if cell.task == "judge"} == {"designed", "independent"}
        assert group[0].task == "cost", "training is timed before anything else makes the generator"


def test_what_fails_is_said_by_name_and_leaves_the_others(
    tables_of: TablesOf,
    tmp_path: Path,
    small: dict[str, Any],
    here: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    cells = cells_of(tables_of(**small).rows(2))
    bank, place = tables_of().folds[0].inputs.bank, tmp_path / "bank"
    shutil.copytree(bank, place)
    (place / "config.json").write_text("{}")
    cells = [replace(cell, inputs=replace(cell.inputs, bank=place)) for cell in cells]
    store = new_store(tmp_path / "store")
    with pytest.raises(InputError) as failed:
        compute(cells, store)
    needing = {"generator", "start"}
    wanted = [cell for cell in cells if cell.source.kind in needing or (cell.head and cell.head.labels == "soft")]
    tried = {cell.key: cell for cell in wanted if cell.task == "cost" or cell.source.kind != "generator"}
    assert str(failed.value).startswith(f"{len(tried)} cells failed, what is done is kept; the first: {place} holds")
    assert "\n" not in str(failed.value)
    lines = capfd.readouterr().err.splitlines()
    for cell in tried.values():
        assert any(line.startswith(f"failed: {cell}: {place} holds ") for line in lines)
    done = [cell for cell in cells if store.has(cell)]
    needs_bank = [c for c in cells if c.source.config is not None or (c.head is not None and c.head.labels == "soft")]
    assert {cell.key for cell in done} == {cell.key for cell in cells} - {cell.key for cell in needs_bank}
    assert done

    shutil.rmtree(place)
    shutil.copytree(bank, place)
    calls: list[int] = []

    def diverging(points: FeatureSet, config: Any) -> Any:
        calls.append(config.seed)
        if len(calls) == 2:
            raise RunError("Training diverged")
        if len(calls) == 4:
            raise FloatingPointError("overflow")
        return train_head(points, config)

    monkeypatch.setattr(room, "train_head", diverging)
    with pytest.raises(RunError, match=r"^2 cells failed, .*: (Training diverged|FloatingPointError: overflow)$"):
        compute(cells, store)
    assert sum(not store.has(cell) for cell in cells) == 2, "a head's failure leaves the others of its process"
    assert compute(cells, store) == []


def test_a_generator_that_cannot_be_trained_is_tried_once(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None, monkeypatch: pytest.MonkeyPatch
):
    tries: list[Path] = []

    def diverging(_config: Any, out: Path, **_: Any) -> None:
        tries.append(out)
        raise RunError(f"Training diverged in {out.name}")

    monkeypatch.setattr(room, "train", diverging)
    less = small | {"labels": ["hard"], "controls": ["random"]}
    cells, store = cells_of(tables_of(**less).rows(2)), new_store(tmp_path / "store")
    with pytest.raises(RunError, match="Training diverged"):
        compute(cells, store)
    assert len(tries) == 2
    assert {cell.source.kind for cell in cells if not store.has(cell)} == {"generator"}


def test_a_process_that_is_killed_alone_is_said_in_one_line(
    tables_of: TablesOf, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr(room, "_compute", killed)
    with pytest.raises(RunError, match=r"^A process was killed, perhaps for want of memory; .*: run this again$"):
        compute(cells_of(tables_of().rows(2)), new_store(tmp_path / "store"))


def test_the_bytes_of_a_generator_are_known_before_it_is_trained(
    tables_of: TablesOf, tmp_path: Path, small: dict[str, Any], here: None
):
    tables, store = tables_of(**small), new_store(tmp_path / "store")
    rows = tables.rows(1)
    compute(cells_of(rows), store)
    cell = rows[0].costs[0]
    weighed = artifacts.bytes_on_disk(store.run(cell.source, cell.inputs) / "generator")
    foreseen = bytes_of_generator(cell.inputs, tables.plan.generator_config("cold", "both", 0))
    assert 0 <= weighed - foreseen < 2000, "all but the card's words and the score on dev"


KILLED = """
import pickle, sys
from pathlib import Path
from gandistill.evaluate.cells import Store, compute
if __name__ == "__main__":
    cells = pickle.loads(Path(sys.argv[1]).read_bytes())
    compute(cells, Store(Path(sys.argv[2])), jobs=int(sys.argv[3]))
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
    cells = [
        cell
        for cell in cells_of(tables.rows(2))
        if (cell.source.kind, cell.source.seed) in (("generator", 0), ("control", 0), ("control", 1))
    ]
    (tmp_path / "cells.pickle").write_bytes(pickle.dumps(cells))
    (tmp_path / "script.py").write_text(KILLED)
    store = new_store(tmp_path / "killed")

    def start(jobs: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            str(tmp_path / "script.py"),
            str(tmp_path / "cells.pickle"),
            str(store.folder),
            str(jobs),
        ]
        return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)

    process = start(1)
    trained = next(cell for cell in cells if cell.task == "cost")
    run = store.run(trained.source, trained.inputs)
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
    compute(cells, reference)
    assert results(cells, store) == results(cells, reference)
