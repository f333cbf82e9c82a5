"""Trials: the independent pieces of work that the GAN paper's tables are made of.

A trial is one head, trained on one set of points and judged on the test part (``judge``), or what its first layer
betrays of speakers (``probe``), or what a generator's training cost (``cost``). What a later run asks for again is
there already; what a killed run had finished too; and trials computed elsewhere from the same inputs are taken over by
copying their files.
"""

import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Literal

from gandistill import artifacts, controls, evaluate, experiments, gan, heads
from gandistill.console import muted
from gandistill.controls.select import POOLED, select, select_within
from gandistill.evaluate.speakers import ProbeConfig, probe, untrained_head
from gandistill.experiments.gan.variants import Variant, varied
from gandistill.experiments.inputs import Inputs
from gandistill.experiments.jobs import Failure, Trials, attempt
from gandistill.experiments.names import Facts
from gandistill.experiments.store import Store, digest
from gandistill.features.featureset import FeatureSet
from gandistill.files import dump_compact
from gandistill.gan.compression import compress
from gandistill.gan.generator import CLOSED_FORMS, WITHOUT_BANK
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, sampled
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import Bank
from gandistill.heads.head import Head, posteriors, sees
from gandistill.heads.soft import soft_labelled
from gandistill.heads.training import HeadConfig, train_head, train_heads
from gandistill.metrics import scores
from gandistill.precision import FULL, PRECISIONS
from gandistill.processes import peak_bytes
from gandistill.run import CONFIG

STACKED = 16
"""Heads that are put aside before they are trained as one: what a kill loses of them at the most, beside one source."""
Counts = dict[str, int]
Taught = Literal["emotions", "speakers", "nothing"]


@dataclass(frozen=True)
class Source:
    """Where training points come from, and the seed of it.

    All real data (``real``), a control (``control``, ``method`` its name), or a generator (``config``) before its first
    update (``start``) or after its last (``generator``), stored in ``precision``. ``draws`` are designed or independent
    where it is a generator or closed form, and ``variant`` is what is made of its samples. ``within`` is the bytes that
    the control ``pooled`` may take.
    """

    kind: Literal["real", "control", "start", "generator"]
    seed: int = 0
    method: str = ""
    config: GanConfig | None = None
    within: int = 0
    precision: str = FULL
    draws: str = ""
    variant: Variant = ""

    @property
    def trained(self) -> "Source":
        """The training behind it, whatever precision it is stored in and whatever is drawn from it."""
        return replace(self, precision=FULL, draws="", variant="")

    def run_facts(self, inputs: Inputs) -> list[Any]:
        """What decides the training of a generator."""
        return [inputs.fingerprint, inputs.banked, self.trained.described(), self.code]

    @property
    def is_closed(self) -> bool:
        """Whether it is a closed form: fitted without a training and without a bank."""
        return self.config is not None and self.config.architecture.kind in CLOSED_FORMS

    @property
    def code(self) -> dict[str, int]:
        """Versions of the code that decides what a head makes of its points."""
        of_generator = {} if self.config is None else {"gan": gan.VERSION}
        rooms = {"experiments": experiments.VERSION, "heads": heads.VERSION, "controls": controls.VERSION}
        return rooms | of_generator

    def described(self) -> Facts:
        """What decides its points, beside features, bank and counts."""
        some = {
            "method": self.method,
            "within": self.within,
            "config": self.config and self.config.shareable(),
            "precision": "" if self.precision == FULL else self.precision,
            "draws": self.draws,
            "variant": self.variant,
        }
        return {"kind": self.kind, "seed": self.seed} | {key: value for key, value in some.items() if value}


@dataclass(frozen=True)
class Trial:
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
        facts: Facts = {
            "task": self.task,
            "source": self.source.described(),
            "code": self.source.code,
            "features": self.inputs.fingerprint,
            "bank": self.inputs.banked if self.needs_bank else None,
            "counts": self.counts,
            "head": None if self.head is None else self.head.to_dict(),
        }
        if self.probing is not None:
            fingerprint = self.inputs.fingerprint if self.speakers is None else artifacts.fingerprint(self.speakers)
            facts["probe"] = [self.taught, self.probing.to_dict(), fingerprint, evaluate.VERSION]
        return digest(facts)

    @property
    def needs_bank(self) -> bool:
        """Whether the result depends on the bank: a generator was trained with it, or it gives the labels."""
        soft = self.head is not None and self.head.labels == "soft"
        config = self.source.config
        return soft or (config is not None and config.architecture.kind not in WITHOUT_BANK)


@dataclass(frozen=True)
class Judging(Trials[Trial]):
    """The job of trials whose points one process makes one after another: of a generator, or all draws of a control."""

    def work(self, store: Store) -> list[Failure]:
        """Do what is left; give what failed."""
        failures: list[Failure] = []
        # The generator's cost stays first, and its full precision.
        missing = sorted(
            self.missing(store),
            key=lambda t: (t.source.seed, PRECISIONS.index(t.source.precision), t.source.draws, t.source.variant),
        )
        with ExitStack() as folders:
            aside: list[Drawn] = []
            for source, same in groupby(missing, key=lambda trial: trial.source):
                scratch = folders.enter_context(tempfile.TemporaryDirectory(dir=store.folder))
                points = _Points(source, self.trials[0].inputs, store, Path(scratch))
                for trial in same:
                    if store.has(trial):  # another run that shares the store has been here
                        continue
                    if trial.task != "judge":
                        failures += (failed := attempt(trial, store, partial(points.computed, trial)))
                        if failed and trial.task == "cost":  # without the generator nothing of it can be judged
                            return failures
                        continue
                    try:
                        drawn = points.drawn(trial)
                    except Exception as error:
                        failures.append(Failure.of(trial, error))
                        continue
                    if sees(drawn.head.head) == "mean":  # trained quickest together with others
                        aside.append(drawn)
                    else:
                        failures += judge_together([drawn], store)
                if len(aside) >= STACKED:
                    failures += judge_together(aside, store)
                    aside.clear()
                    folders.close()
            return failures + judge_together(aside, store)


@dataclass(frozen=True)
class Drawn:
    """A trial and the set that its head is trained on, which took so many processor seconds to draw."""

    trial: Trial
    points: FeatureSet
    seconds: float

    @property
    def head(self) -> HeadConfig:
        """How the head is trained."""
        assert self.trial.head is not None
        return self.trial.head

    def judged(self, head: Head, seconds: float) -> Facts:
        """What is kept of the head, which took so many seconds to train: what it makes of the test part."""
        cost = {"seconds": seconds, "drawing_seconds": self.seconds, "peak_bytes": peak_bytes()}
        test = _test_part(self.trial.inputs.features)
        predicted = posteriors(head, test).argmax(1).numpy()
        uar = scores(test.targets, predicted, len(test.labels))["uar"]
        counts = self.points.training_part().class_counts
        result = {"uar": uar, "predicted": predicted.tolist(), "points": counts, "cost": cost}
        return result | {"source": self.trial.source.described()}


def judge_together(drawn: Sequence[Drawn], store: Store) -> list[Failure]:
    """Train heads as one stack and judge each; where that fails, one after another, so that it is one trial's failure.

    The processor seconds of the stack are shared out evenly.
    """
    try:
        start = time.process_time()
        heads = train_heads([drawing.points for drawing in drawn], [drawing.head for drawing in drawn])
        seconds = (time.process_time() - start) / max(len(drawn), 1)
    except Exception as error:
        if len(drawn) > 1:
            return [failure for drawing in drawn for failure in judge_together([drawing], store)]
        return [Failure.of(drawn[0].trial, error)]
    judged = [attempt(e.trial, store, partial(e.judged, head, seconds)) for e, head in zip(drawn, heads, strict=True)]
    return [*chain(*judged)]


def jobs_of(trials: Iterable[Trial], shard: tuple[int, int] = (1, 1)) -> list[Judging]:
    """The jobs that part ``shard`` (which, of how many) of these trials takes, each trial once.

    Trials that share a generator are one process's, and so are those of all draws of what costs no training.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in {trial.key: trial for trial in trials}.values():
        facts = trial.source.described()
        if trial.source.kind != "generator":
            del facts["seed"]
        if trial.source.kind == "start":
            del facts["config"]["training"]["seed"]
        for use in ("precision", "draws", "variant"):  # one training serves them all
            facts.pop(use, None)
        groups.setdefault(dump_compact([trial.inputs.fingerprint, facts]), []).append(trial)
    # Generators take longest: first come first served would leave one of them for the end.
    order = sorted(groups, key=lambda name: (groups[name][0].source.kind != "generator", name))
    return [Judging(tuple(groups[name])) for name in order][shard[0] - 1 :: shard[1]]


class _Points:
    """The sets that the trials of one source train on, each drawn once."""

    def __init__(self, source: Source, inputs: Inputs, store: Store, scratch: Path) -> None:
        self.source, self.inputs, self.scratch = source, inputs, scratch
        self.run = store.run(source.run_facts(inputs))
        self.sets: dict[str, tuple[FeatureSet, float]] = {}

    @cached_property
    def features(self) -> FeatureSet:
        return FeatureSet.open(self.inputs.features)

    @cached_property
    def sampler(self) -> Sampler:
        assert self.source.config is not None
        config = self.inputs.fill(self.source.config)
        if self.source.kind == "start":
            return untrained(config)
        train(config, self.run, resume=(self.run / CONFIG).is_file())
        if self.source.precision == FULL:
            return Sampler.open(self.run)
        with muted(True):  # where it lies for a moment is nothing to say
            compress(self.run, self.source.precision, self.scratch / GENERATOR)
        return Sampler.open(self.scratch / GENERATOR)

    def computed(self, trial: Trial) -> Facts:
        """What a training cost, or what a first layer betrays."""
        result = self.cost() if trial.task == "cost" else _probed(trial, self)
        return result | {"source": self.source.described()}

    def cost(self) -> Facts:
        """What training took: processor seconds, if it was not interrupted, and bytes of memory at the most."""
        begun, start = (self.run / CONFIG).is_file(), time.process_time()
        facts = self.sampler.facts["trained"]
        seconds = {} if begun else {"seconds": time.process_time() - start}
        return seconds | {"peak_bytes": peak_bytes(), "trained": facts}

    def drawn(self, trial: Trial) -> Drawn:
        """A trial with its set."""
        assert trial.head is not None
        soft = trial.head.labels == "soft"
        name = digest([trial.counts, soft])[:16]
        if name not in self.sets:
            start = time.process_time()
            features = self._draw(trial.counts, soft, self.scratch / name)
            self.sets[name] = features, time.process_time() - start
        return Drawn(trial, *self.sets[name])

    def _draw(self, counts: Counts | None, soft: bool, out: Path) -> FeatureSet:
        source, whole = self.source, self.features
        bank = Bank.open(self.inputs.bank) if soft and self.inputs.bank is not None else None
        if source.kind in ("start", "generator"):
            class_counts = whole.training_part().class_counts if counts is None else counts
            samples = sampled(self.sampler.drawing(source.draws or None), class_counts, source.seed, soft)
            real = whole.training_part().utterances()
            return varied(samples, source.variant, real if bank is None else soft_labelled(real, bank), source.seed)
        if source.method == POOLED:
            return select_within(whole, source.within, source.seed, out, bank=bank)
        if counts is None and not soft:
            return whole.training_part()
        method = source.method or "random"
        class_counts, draws = counts or whole.training_part().class_counts, source.draws or None
        return select(whole, method, class_counts, source.seed, out, draws=draws, bank=bank)


@lru_cache(maxsize=1)
def _test_part(features: Path) -> FeatureSet:
    """What heads are judged on, read once."""
    return FeatureSet.open(features).part("test").held()


def _probed(trial: Trial, points: _Points) -> Facts:
    """Ask the first layer of the trial's head for speakers."""
    assert trial.head is not None
    assert trial.probing is not None
    if trial.taught == "emotions":
        head = train_head(points.drawn(trial).points, trial.head)
    else:
        head = untrained_head(points.features, trial.head)
    speaker_features = FeatureSet.open(trial.speakers or trial.inputs.features)
    start = time.process_time()
    result = probe(head, speaker_features, trial.probing, train_projector=trial.taught == "speakers")
    return {"speakers": result, "cost": {"seconds": time.process_time() - start, "peak_bytes": peak_bytes()}}


def bytes_of_generator(inputs: Inputs, config: GanConfig) -> int:
    """How large the folder of a generator is, without training it: training changes weights, not their number."""
    with tempfile.TemporaryDirectory() as scratch:
        untrained(inputs.fill(config)).save(Path(scratch) / GENERATOR, {}, "")
        return artifacts.bytes_on_disk(Path(scratch) / GENERATOR)
