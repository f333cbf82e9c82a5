"""The rows of the GAN paper's tables, each with the trials that must be computed for it.

S seeds of a source, H seeds of a head.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from gandistill.controls.select import CLOSED_FORMS
from gandistill.evaluate.speakers import ProbeConfig
from gandistill.experiments.gan.plan import HeadPlan, Labels, Plan, Weights
from gandistill.experiments.gan.trials import POOLED, Counts, Source, Taught, Trial
from gandistill.experiments.inputs import Inputs
from gandistill.experiments.names import DRAWN, FIXED, REAL, Facts, called
from gandistill.features.counts import counts_per_class
from gandistill.features.featureset import FeatureSet
from gandistill.precision import PRECISIONS

TIME_POOLED = "real, time-pooled"
WEIGHTED = f"{REAL}, weighted loss"
BASELINE, SML, BOTH, UNTRAINED = "baseline", "sml", "both", "untrained"
ADDED = {BASELINE: "baseline", "div": "+DIV", SML: "+SML", BOTH: "+both", UNTRAINED: "0 updates"}
"""What tables call the kinds of losses."""
Wanted = Callable[[Counts], Counts]


@dataclass(frozen=True)
class Row:
    """One row before it is measured: what it is, its trials [folds][S][H], and those of what its training cost."""

    facts: Facts
    trials: list[list[list[Trial]]]
    costs: list[Trial]

    def all_trials(self) -> Iterator[Trial]:
        """Costs first: a training that a judged trial began would have no cost of its own."""
        yield from self.costs
        yield from (trial for fold in self.trials for source in fold for trial in source)


@dataclass(frozen=True)
class Fold:
    """One fold's inputs, the counts of its train part, and its test part."""

    inputs: Inputs
    train: Counts
    test: FeatureSet

    @classmethod
    def of(cls, inputs: Inputs) -> "Fold":
        """The fold of these inputs."""
        features = FeatureSet.open(inputs.features)
        return cls(inputs, features.training_part().class_counts, features.part("test"))


@dataclass(frozen=True)
class Rows:
    """The rows of every table of a plan.

    ``within``: bytes that the control ``pooled`` may take. ``asked``: the features whose speakers Table 4 asks for, if
    not the plan's own.
    """

    plan: Plan
    folds: Sequence[Fold]
    within: int
    asked: Path | None = None

    @property
    def smallest(self) -> int:
        """Utterances of the smallest class of any fold's train part."""
        return min(min(fold.train.values()) for fold in self.folds)

    def sizes(self) -> Iterator[Row]:
        """Table 1: the generators that are weighed, of the first fold and the seed of the daggers.

        Then rows of Table 2 that say what some of the sizes are worth: the first head's, at the most points, from
        generators in every precision.
        """
        plan = self.plan
        for name in plan.generators:
            source = self.generator(name, BOTH, plan.dagger_seed)
            yield Row(self.named(name, BOTH), [], [Trial("cost", self.folds[0].inputs, source)])
        generated = {self.named(name, BOTH)["training set"] for name in plan.generators}
        for row in self.losses():
            facts = row.facts
            most = facts.get("ppc") in (None, max(plan.heads[0].ppc or plan.ppc))
            if most and facts["head"] == plan.heads[0].kind:
                if facts["training set"] in (REAL, TIME_POOLED):
                    yield row
                if facts["training set"] in generated:
                    yield from (_stored(row, precision) for precision in PRECISIONS)

    def losses(self) -> Iterator[Row]:
        """Table 2: every generator with every kind of losses, beside what it must beat."""
        plan = self.plan
        for head, labels in plan.judges(2):
            yield self.row({"training set": REAL}, head, labels, [Source("real")])
            if POOLED in plan.controls:
                source = Source("control", method=POOLED, within=self.within)
                yield self.row({"training set": TIME_POOLED}, head, labels, [source])
            for ppc in head.ppc or plan.ppc:
                points = {"ppc": ppc}
                for method in plan.controls:
                    if method in DRAWN:
                        for draws in plan.draws if method in CLOSED_FORMS else ("",):
                            facts = {"training set": called(DRAWN[method], draws), "method": method, "draws": draws}
                            yield self.row(facts | points, head, labels, self.repeats(method, draws), ppc)
                    elif method in FIXED:
                        source = Source("control", method=method)
                        yield self.row({"training set": FIXED[method]} | points, head, labels, [source], ppc)
                for name, each in plan.generators.items():
                    kinds = (BOTH,) if plan.is_closed(name) else (UNTRAINED, *each.losses)
                    for losses, draws in product(kinds, plan.draws):
                        facts = self.named(name, losses, draws) | points
                        yield self.row(facts, head, labels, self.generators(name, losses, draws), ppc)

    def balance(self) -> Iterator[Row]:
        """Table 3: real against generated points, balanced and not, at as many points and at full size.

        Every control at every number of points that it can have: all real data are what there is at full size, and
        balanced there only if small classes are repeated.
        """
        plan, each = self.plan, self.smallest
        start = self.named(plan.balanced, UNTRAINED)
        shapes: dict[str, Wanted | None] = {
            "yes": _even(each),
            "no": _as_original(each),
            "yes, full size": _even(None),
            "no, full size": None,
        }
        even, whole = (shapes["yes"], shapes["yes, full size"], _largest), (shapes["yes, full size"], None)
        rows: list[tuple[Facts, list[Source], Wanted | None, Weights]] = []

        def add(
            name: str | Facts, balance: str, sources: list[Source], wanted: Wanted | None, weights: Weights = "none"
        ) -> None:
            named: Facts = {"training set": name} if isinstance(name, str) else name
            shape = {"balance": balance, "balanced": wanted in even, "full_size": wanted in whole}
            rows.append((named | shape, sources, wanted, weights))

        add(REAL, "no", [Source("real")], None)
        add(WEIGHTED, "no", [Source("real")], None, "balanced")
        if POOLED in plan.controls:
            add(TIME_POOLED, "no", [Source("control", method=POOLED, within=self.within)], None)
        dealt = self.repeats("random-oversampled")
        draws = plan.draws[0]
        name = called(DRAWN["class-gaussian"], draws)
        gaussian: Facts = {"training set": name, "method": "class-gaussian", "draws": draws}
        add(DRAWN["random-oversampled"], "yes", dealt, _largest)
        add(DRAWN["random-oversampled"], "yes, full size", dealt, shapes["yes, full size"])
        for balance, wanted in shapes.items():
            if wanted not in whole:
                add(DRAWN["random"], balance, self.repeats("random"), wanted)
                for method in [method for method in plan.controls if method in FIXED]:
                    add(FIXED[method], balance, [Source("control", method=method)], wanted)
            add(gaussian, balance, self.repeats("class-gaussian", draws), wanted)
            add(start["training set"], balance, self.generators(plan.balanced, UNTRAINED), wanted)
            add(self.named(plan.balanced, BOTH), balance, self.generators(plan.balanced, BOTH), wanted)
        for head, labels in plan.judges(3):
            for facts, sources, wanted, weights in rows:
                yield self.row(facts, head, labels, sources, wanted, weights)

    def speakers(self) -> Iterator[Row]:
        """Table 4: what a first layer betrays of speakers, by its teaching."""
        plan = self.plan
        assert plan.speakers is not None
        head = HeadPlan(kind=plan.speakers.head, seeds=plan.heads[0].seeds)
        probing, real = ProbeConfig.load(plan.speakers.config), [Source("real")]
        most = min(max(plan.ppc), self.smallest)  # so that as many real points stand beside generated ones
        systems: list[tuple[Facts, Taught, list[Source], int | None]] = [
            ({"first layer of": "speaker head"}, "speakers", real, None),
            ({"first layer of": "untrained head"}, "nothing", real, None),
            ({"first layer of": f"emotion head, {REAL}"}, "emotions", real, None),
        ]
        drawn = {"first layer of": f"emotion head, {DRAWN['random']}"}
        systems.append((drawn, "emotions", self.repeats("random"), most))
        for losses in (BASELINE, BOTH):
            if losses in plan.generators[plan.balanced].losses:
                made = self.generators(plan.balanced, losses)
                name = called(f"{plan.balanced} {ADDED[losses]}", plan.draws[0])
                facts = {"first layer of": f"emotion head, {name}", "losses": losses}
                systems.append((facts, "emotions", made, most))
        for facts, taught, sources, ppc in systems:
            row = self.row(facts | {"ppc": ppc}, head, "hard", sources, ppc)
            trials = [[[_probe(c, taught, probing, self.asked) for c in s] for s in fold] for fold in row.trials]
            yield replace(row, trials=trials)

    def named(self, name: str, losses: str, draws: str | None = None) -> Facts:
        """What rows of a generator are called, with its architecture and start; without ``draws`` the plan's first.

        A closed form has no losses that could be added to its name.
        """
        architecture, draws = self.plan.generator_config(name, BOTH, 0).architecture, draws or self.plan.draws[0]
        made = {"generator": name, "kind": architecture.kind, "draws": draws}
        if self.plan.is_closed(name):
            return {"training set": called(name, draws)} | made
        added = called(f"{name} {ADDED[losses]}", draws)
        return {"training set": added, "losses": losses, "start": architecture.start} | made

    def repeats(self, method: str, draws: str = "") -> list[Source]:
        """A control, drawn as often as the plan says."""
        return [Source("control", seed, method, draws=draws) for seed in range(self.plan.repeats)]

    def generators(self, name: str, losses: str, draws: str | None = None) -> list[Source]:
        """A generator by each of its seeds; by as many as a control is drawn if it costs no training: a closed form, or
        before the first update, where the training set has no part in that either."""
        draws = draws or self.plan.draws[0]
        if losses != UNTRAINED:
            seeds = range(self.plan.repeats if self.plan.is_closed(name) else self.plan.seeds)
            return [replace(self.generator(name, losses, seed), draws=draws) for seed in seeds]
        start = replace(self.generator(name, BOTH, 0), kind="start")
        seeds = range(self.plan.repeats if _is_drawn(start) else self.plan.seeds)
        return [replace(self.generator(name, BOTH, seed), kind="start", draws=draws) for seed in seeds]

    def generator(self, name: str, losses: str, seed: int) -> Source:
        """A generator after its training."""
        return Source("generator", seed, config=self.plan.generator_config(name, losses, seed))

    def row(
        self,
        facts: Facts,
        head: HeadPlan,
        labels: Labels,
        sources: Sequence[Source],
        points: int | Wanted | None = None,
        weights: Weights = "none",
    ) -> Row:
        """A row of judged heads. ``points``: per class, or counts by those of the train part; none: all there are.

        Sources that are drawn at random, which costs no training, are judged by one head each, of the same seed.
        """
        often = _is_drawn(sources[0])
        sources = sources[: head.repeats] if often else sources
        trials, costs = [], []
        for fold in self.folds:
            wanted = points(fold.train) if callable(points) else _each(points, fold.train)
            of_fold = []
            for source in sources:
                seeds = [source.seed] if often else range(head.seeds)
                configs = [self.plan.head_config(head.kind, seed, labels, weights) for seed in seeds]
                of_fold.append([Trial("judge", fold.inputs, source, wanted, config) for config in configs])
                if source.kind == "generator":
                    costs.append(Trial("cost", fold.inputs, replace(source, draws="")))
            trials.append(of_fold)
        return Row({"head": head.kind, "labels": labels} | facts, trials, costs)


def _is_drawn(source: Source) -> bool:
    """Whether its seed is all that decides its points: a control by chance, a closed form, or random weights."""
    if source.config is None:
        return source.method in DRAWN
    return source.is_closed or (source.kind == "start" and source.config.architecture.start == "random")


def _probe(trial: Trial, taught: Taught, probing: ProbeConfig, speakers: Path | None) -> Trial:
    """The trial of the same head asked for speakers, by the head's own seed."""
    assert trial.head is not None
    seeded = probing.model_copy(update={"seed": trial.head.seed})
    return replace(trial, task="probe", taught=taught, probing=seeded, speakers=speakers)


def _stored(row: Row, precision: str) -> Row:
    """The row of the same generators stored in another precision."""
    trials = [[[replace(c, source=replace(c.source, precision=precision)) for c in s] for s in f] for f in row.trials]
    return replace(row, facts=row.facts | {"precision": precision}, trials=trials)


def _even(each: int | None) -> Wanted:
    """So many points of each class, or together as many as the train part has."""

    def counts(train: Counts) -> Counts:
        total = sum(train.values()) if each is None else each * len(train)
        return counts_per_class([*train], train, total=total)

    return counts


def _as_original(each: int) -> Wanted:
    """As many points, in the train part's proportions."""
    return lambda train: counts_per_class([*train], train, total=each * len(train), as_original=True)


def _each(ppc: int | None, train: Counts) -> Counts | None:
    return None if ppc is None else dict.fromkeys(train, ppc)


def _largest(train: Counts) -> Counts:
    return dict.fromkeys(train, max(train.values()))
