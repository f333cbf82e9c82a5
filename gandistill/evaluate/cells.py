"""Cells: the independent pieces of work that tables are made of, each kept under the hash of what decides it.

A cell is one head, trained on one set of points and judged on the test part (``judge``), or what its first layer
betrays of speakers (``probe``), or what a generator's training cost (``cost``). What a later run asks for again is
there already; what a killed run had finished too; and cells computed elsewhere from the same inputs are taken over by
copying their files.
"""

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch

from gandistill import __version__, artifacts
from gandistill.console import muted, track
from gandistill.controls.select import select, select_within
from gandistill.errors import killed
from gandistill.evaluate.inputs import Inputs
from gandistill.evaluate.speakers import ProbeConfig, probe, untrained_head
from gandistill.evaluate.workers import Failure, peak_bytes, tell
from gandistill.features.featureset import FeatureSet
from gandistill.files import dump_compact
from gandistill.gan.compression import compress
from gandistill.gan.generator import CLOSED_FORMS
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import Bank
from gandistill.heads.head import posteriors
from gandistill.heads.training import HeadConfig, train_head
from gandistill.metrics import confusion_matrix, unweighted_average_recall
from gandistill.precision import FULL, PRECISIONS
from gandistill.run import CONFIG

POOLED = "pooled"
POLL_SECONDS = 1.0
Counts = dict[str, int]
Taught = Literal["emotions", "speakers", "nothing"]


@dataclass(frozen=True)
class Source:
    """Where training points come from, and the seed of it.

    All real data (``real``), a control (``control``, ``method`` its name), or a generator (``config``) before its first
    update (``start``) or after its last (``generator``), stored in ``precision``. ``draws`` are designed or independent
    where it is a generator or closed form. ``within`` is the bytes that the control ``pooled`` may take.
    """

    kind: Literal["real", "control", "start", "generator"]
    seed: int = 0
    method: str = ""
    config: GanConfig | None = None
    within: int = 0
    precision: str = FULL
    draws: str = ""

    def described(self) -> dict[str, Any]:
        """What decides its points, beside features, bank and counts."""
        facts: dict[str, Any] = {"kind": self.kind, "seed": self.seed}
        if self.method:
            facts["method"] = self.method
        if self.within:
            facts["within"] = self.within
        if self.config is not None:
            facts["config"] = self.config.shareable()
        if self.precision != FULL:
            facts["precision"] = self.precision
        if self.draws:
            facts["draws"] = self.draws
        return facts


@dataclass(frozen=True)
class Cell:
    """One piece of work on one fold. ``counts`` are points per class; none: all there are.

    A probe is of a first layer that was ``taught`` emotions by the head's training, speakers by the probe's own, or
    nothing; it asks for the speakers of the feature set ``speakers``, or else of the fold's features.
    """

    task: Literal["judge", "probe", "cost"]
    inputs: Inputs
    source: Source
    counts: Counts | None = None
    head: HeadConfig | None = None
    probing: ProbeConfig | None = None
    taught: Taught = "emotions"
    speakers: Path | None = None

    def __str__(self) -> str:
        """What it is, in few words, for whoever must find it."""
        points = "all points" if self.counts is None else f"{sum(self.counts.values())} points"
        source = f"{self.source.draws} {self.source.method or self.source.kind} {self.source.seed}".lstrip()
        if self.source.config is not None:
            config = self.source.config
            without = "".join(f", no {term}" for term, weight in config.losses.to_dict().items() if not weight)
            source += f" ({config.architecture.kind}, {config.architecture.start} start{without})"
        head = "" if self.head is None else f", head {self.head.head} {self.head.seed}, {self.head.labels} labels"
        return f"{self.task} of {source}, {points}{head}, {self.inputs.features}"

    @cached_property
    def key(self) -> str:
        """The hash of everything that decides the result, but for versions of libraries and the machine."""
        facts: dict[str, Any] = {"task": self.task, "version": __version__, "source": self.source.described()}
        facts |= {
            "features": self.inputs.fingerprint,
            "bank": self.inputs.banked if self.needs_bank else None,
            "counts": self.counts,
        }
        facts["head"] = None if self.head is None else self.head.to_dict()
        if self.probing is not None:
            asked = self.inputs.fingerprint if self.speakers is None else artifacts.fingerprint(self.speakers)
            facts["probe"] = [self.taught, self.probing.to_dict(), asked]
        return hashlib.sha256(dump_compact(facts).encode()).hexdigest()

    @property
    def needs_bank(self) -> bool:
        """Whether the result depends on the bank: a generator was trained with it, or it gives the labels."""
        config, soft = self.source.config, self.head is not None and self.head.labels == "soft"
        return soft or (config is not None and config.architecture.kind not in CLOSED_FORMS)


@dataclass(frozen=True)
class Store:
    """The folder of all cells, and of the runs that generators are trained in."""

    folder: Path

    def path(self, cell: Cell) -> Path:
        """The file of a cell's result."""
        return self.folder / "cells" / f"{cell.key}.json"

    def run(self, source: Source, inputs: Inputs) -> Path:
        """Where a generator is trained, whatever precision it is stored in then, and however it is drawn from."""
        trained = replace(source, precision=FULL, draws="").described()
        facts = dump_compact([inputs.fingerprint, inputs.banked, trained])
        return self.folder / "runs" / hashlib.sha256(facts.encode()).hexdigest()[:16]

    def has(self, cell: Cell) -> bool:
        """Whether the cell is computed."""
        return self.path(cell).is_file()

    def result(self, cell: Cell) -> dict[str, Any]:
        """What a cell holds. Raises InputError if its file is damaged."""
        return artifacts.read_json(self.path(cell))

    def put(self, cell: Cell, result: dict[str, Any]) -> None:
        """Keep a result, whole or not at all, with what made it."""
        path = self.path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        artifacts.write_json(path, result | {"source": cell.source.described(), "versions": artifacts.versions()})


def compute(cells: Sequence[Cell], store: Store, jobs: int = 1, shard: tuple[int, int] = (1, 1)) -> list[Cell]:
    """Compute the missing cells of part ``shard`` (which, of how many) and return those that are still missing.

    Cells that share a generator are one process's, and so are those of all draws of what costs no training; ``jobs``
    such groups are computed at once, each on one thread, so that no digit depends on how many there are. A cell that
    fails is said by name and leaves the others; once they are done, an InputError or a RunError says how many failed.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in {cell.key: cell for cell in cells}.values():
        facts = cell.source.described()
        if cell.source.kind != "generator":
            del facts["seed"]
        if cell.source.kind == "start":
            del facts["config"]["training"]["seed"]
        for use in ("precision", "draws"):  # one training serves them all
            facts.pop(use, None)
        groups.setdefault(dump_compact([cell.inputs.fingerprint, facts]), []).append(cell)
    # Generators take longest: first come first served would leave one of them for the end.
    order = sorted(groups, key=lambda name: (groups[name][0].source.kind != "generator", name))
    mine = [groups[name] for name in order][shard[0] - 1 :: shard[1]]
    missing = [part for part in ([cell for cell in group if not store.has(cell)] for group in mine) if part]
    total, left = (sum(map(len, parts)) for parts in (mine, missing))
    if missing:
        for _ in track(_spread(missing, store, jobs), "computing cells", total, total - left, unit="cells"):
            pass
    return [cell for cell in cells if not store.has(cell)]


def _spread(groups: list[list[Cell]], store: Store, jobs: int) -> Iterator[None]:
    """Compute groups of cells in processes of their own, passing once for each cell that is done."""
    left = [cell for group in groups for cell in group]
    # A fresh process for each: its peak memory is its own, and no thread of this one is forked.
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        futures: list[Future[list[Failure]]] = [pool.submit(_compute, group, store, jobs > 1) for group in groups]
        try:
            while left:
                finished = all(future.done() for future in futures)
                missing = [cell for cell in left if not store.has(cell)]
                yield from (None for _ in range(len(left) - len(missing)))
                left = missing
                if finished:
                    break
                wait(futures, POLL_SECONDS)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if any(isinstance(future.exception(), BrokenProcessPool) for future in futures):
        raise killed()
    tell([failure for future in futures for failure in future.result()], "cells")


def _compute(cells: list[Cell], store: Store, quiet: bool) -> list[Failure]:
    """Cells of one group, in a process of their own, which one of several does in silence; give those that failed."""
    torch.set_num_threads(1)
    failures = []
    with muted(quiet):
        # The generator's cost stays first, and its full precision.
        cells = sorted(
            cells, key=lambda cell: (cell.source.seed, PRECISIONS.index(cell.source.precision), cell.source.draws)
        )
        for source, same in groupby(cells, key=lambda cell: cell.source):
            with tempfile.TemporaryDirectory(dir=store.folder) as scratch:
                points = _Points(source, cells[0].inputs, store, Path(scratch))
                for cell in same:
                    if store.has(cell):
                        continue
                    try:
                        store.put(cell, points.computed(cell))
                    except Exception as error:  # whatever it is, the other cells are worth computing
                        failures.append(Failure.of(cell, error))
                        if cell.task == "cost":  # without the generator nothing of it can be judged
                            return failures
    return failures


class _Points:
    """The sets that the cells of one source train on, each drawn once."""

    def __init__(self, source: Source, inputs: Inputs, store: Store, scratch: Path) -> None:
        self.source, self.inputs, self.scratch = source, inputs, scratch
        self.run = store.run(source, inputs)
        self.sets: dict[str, tuple[FeatureSet, float]] = {}

    @cached_property
    def features(self) -> FeatureSet:
        return FeatureSet.open(self.inputs.features)

    @cached_property
    def config(self) -> GanConfig:
        assert self.source.config is not None
        named = {"features": self.inputs.features, "bank": self.inputs.bank}
        return self.source.config.model_copy(update=named)

    @cached_property
    def sampler(self) -> Sampler:
        if self.source.kind == "start":
            return untrained(self.config)
        train(self.config, self.run, resume=(self.run / CONFIG).is_file())
        if self.source.precision == FULL:
            return Sampler.open(self.run)
        with muted(True):  # where it lies for a moment is nothing to say
            compress(self.run, self.source.precision, self.scratch / GENERATOR)
        return Sampler.open(self.scratch / GENERATOR)

    def computed(self, cell: Cell) -> dict[str, Any]:
        """The cell's result."""
        if cell.task == "cost":
            return self.cost()
        return _probed(cell, self) if cell.task == "probe" else _judged(cell, self.drawn(cell))

    def cost(self) -> dict[str, Any]:
        """What training took: processor seconds, if it was not interrupted, and bytes of memory at the most."""
        begun, start = (self.run / CONFIG).is_file(), time.process_time()
        facts = self.sampler.facts["trained"]
        seconds = {} if begun else {"seconds": time.process_time() - start}
        return seconds | {"peak_bytes": peak_bytes(), "trained": facts}

    def drawn(self, cell: Cell) -> tuple[FeatureSet, float]:
        """The set that a cell's head is trained on, and the processor seconds it took to draw."""
        assert cell.head is not None
        soft = cell.head.labels == "soft"
        name = hashlib.sha256(dump_compact([cell.counts, soft]).encode()).hexdigest()[:16]
        if name not in self.sets:
            start = time.process_time()
            features = self._draw(cell.counts, soft, self.scratch / name)
            self.sets[name] = features, time.process_time() - start
        return self.sets[name]

    def _draw(self, counts: Counts | None, soft: bool, out: Path) -> FeatureSet:
        source, whole = self.source, self.features
        bank = Bank.open(self.inputs.bank) if soft and self.inputs.bank is not None else None
        if source.kind in ("start", "generator"):
            wanted = whole.training_part().class_counts if counts is None else counts
            sample(self.sampler.drawing(source.draws or None), wanted, source.seed, out, soft)
            return FeatureSet.open(out)
        if source.method == POOLED:
            return select_within(whole, source.within, source.seed, out, bank=bank)
        if counts is None and not soft:
            return whole.training_part()
        method = source.method or "random"
        wanted, draws = counts or whole.training_part().class_counts, source.draws or None
        return select(whole, method, wanted, source.seed, out, draws=draws, bank=bank)


def _judged(cell: Cell, drawn: tuple[FeatureSet, float]) -> dict[str, Any]:
    """Train the cell's head on its points and judge it on the test part."""
    assert cell.head is not None
    points, drawing = drawn
    start = time.process_time()
    head = train_head(points, cell.head)
    cost = {"seconds": time.process_time() - start, "drawing_seconds": drawing, "peak_bytes": peak_bytes()}
    test = FeatureSet.open(cell.inputs.features).part("test")
    predicted = posteriors(head, test).argmax(1).numpy()
    uar = unweighted_average_recall(confusion_matrix(test.targets, predicted, len(test.labels)))
    counts = points.training_part().class_counts
    return {"uar": uar, "predicted": predicted.tolist(), "points": counts, "cost": cost}


def _probed(cell: Cell, points: _Points) -> dict[str, Any]:
    """Ask the first layer of the cell's head for speakers."""
    assert cell.head is not None
    assert cell.probing is not None
    if cell.taught == "emotions":
        head = train_head(points.drawn(cell)[0], cell.head)
    else:
        head = untrained_head(points.features, cell.head)
    asked = FeatureSet.open(cell.speakers or cell.inputs.features)
    start = time.process_time()
    found = probe(head, asked, cell.probing, train_projector=cell.taught == "speakers")
    return {"speakers": found, "cost": {"seconds": time.process_time() - start, "peak_bytes": peak_bytes()}}


def bytes_of_generator(inputs: Inputs, config: GanConfig) -> int:
    """How large the folder of a generator is, without training it: training changes weights, not their number."""
    named = config.model_copy(update={"features": inputs.features, "bank": inputs.bank})
    with tempfile.TemporaryDirectory() as scratch:
        untrained(named).save(Path(scratch) / GENERATOR, {}, "")
        return artifacts.bytes_on_disk(Path(scratch) / GENERATOR)
