"""The rows of the GAN paper's tables, each with the trials that must be computed for it.

S seeds of a source, H seeds of a head.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from gandistill.controls.select import CLOSED_FORMS
from gandistill.evaluate.speakers import ProbeConfig
from gandistill.experiments.gan.plan import HeadPlan, Labels, Plan, Weights
from gandistill.experiments.gan.trials import POOLED, Counts, Source, Taught, Trial
from gandistill.experiments.gan.variants import SHUFFLED, WITH_REAL
from gandistill.experiments.inputs import Inputs
from gandistill.experiments.names import DRAWN, FIXED, REAL, Facts, called
from gandistill.features.counts import counts_per_class
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import FLOW
from gandistill.precision import PRECISIONS

TIME_POOLED = "real, time-pooled"
WEIGHTED = f"{REAL}, weighted loss"
BASELINE, SML, BOTH, UNTRAINED = "baseline", "sml", "both", "untrained"
ADDED = {BASELINE: "baseline", "div": "+DIV", SML: "+SML", BOTH: "+both", UNTRAINED: "0 updates"}
"""What tables call the kinds of losses."""
VARIED = {SHUFFLED: "{}, frames shuffled", WITH_REAL: "real, all of it, and {}"}
"""What tables call variants of a generator's samples."""
WHOLE = {"balance": "no", "balanced": False, "full_size": True}
"""What Table 3 says of real data as they are."""
Wanted = int | Callable[[Counts], Counts] | None
"""Points per class, or counts by those of the train part; none: all there are."""


@dataclass(frozen=True)
class Row:
    """One row before it is measured: what it is, its trials [folds][S][H], and those of what its training cost."""

    facts: Facts
    trials: list[list[list[Trial]]]
    costs: list[Trial]

    def changed(self, change: Callable[[Trial], Trial], **facts: Any) -> "Row":
        """The row of changed trials, with more facts."""
        trials = [[[change(trial) for trial in source] for source in fold] for fold in self.trials]
        return replace(self, facts=self.facts | facts, trials=trials)

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

    ``within``: bytes that the control ``pooled`` may take. ``speaker_features``: the features whose speakers Table 4
    asks for, if not the plan's own.
    """

    plan: Plan
    folds: Sequence[Fold]
    within: int
    speaker_features: Path | None = None

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
        first, generated = plan.heads[0], set[str]()
        for name in plan.generators:
            config, facts = plan.generator_config(name, BOTH, plan.dagger_seed), self.named(name, BOTH)
            source = Source("generator", plan.dagger_seed, config=config)
            yield Row(facts, [], [Trial("cost", self.folds[0].inputs, source)])
            generated.add(facts["training set"])
        for row in self.losses():
            name, ppc = row.facts["training set"], row.facts.get("ppc")
            if row.facts["head"] == first.kind and ppc in (None, max(first.ppc or plan.ppc)):
                if name in (REAL, TIME_POOLED):
                    yield row
                if name in generated:
                    yield from (
                        row.changed(partial(_stored, precision), precision=precision) for precision in PRECISIONS
                    )

    def losses(self) -> Iterator[Row]:
        """Table 2: every generator with every kind of losses, beside what it must beat."""
        plan = self.plan
        for head, labels in plan.judges(2):
            yield self.row({"training set": REAL}, head, labels, [Source("real")])
            if POOLED in plan.controls:
                source = Source("control", method=POOLED, within=self.within)
                yield self.row({"training set": TIME_POOLED}, head, labels, [source])
            for ppc in head.ppc or plan.ppc:
                for facts, sources in self._of_points():
                    yield self.row(facts | {"ppc": ppc}, head, labels, sources, ppc)

    def _of_points(self) -> Iterator[tuple[Facts, list[Source]]]:
        """What Table 2 has at every number of points: controls and generators."""
        plan = self.plan
        for method in plan.controls:
            if method in DRAWN:
                for draws in plan.draws if method in CLOSED_FORMS else ("",):
                    facts = {"training set": called(DRAWN[method], draws), "method": method, "draws": draws}
                    yield facts, self.repeats(method, draws)
            elif method in FIXED:
                yield {"training set": FIXED[method]}, [Source("control", method=method)]
        for name, generator in plan.generators.items():
            kinds = (BOTH,) if plan.is_closed(name) else (UNTRAINED, *generator.losses)
            for losses, draws in product(kinds, plan.draws):
                yield self.named(name, losses, draws), self.generators(name, losses, draws)
            for variant in plan.variants:
                facts, sources = self.named(name, BOTH), self.generators(name, BOTH)
                facts |= {"variant": variant, "of": (plain := facts["training set"])}
                varied = {"training set": VARIED[variant].format(plain)}
                yield facts | varied, [replace(source, variant=variant) for source in sources]

    def balance(self) -> Iterator[Row]:
        """Table 3: real against generated points, balanced and not, at as many points and at full size.

        Every control at every number of points that it can have: all real data are what there is at full size, and
        balanced there only if small classes are repeated.
        """
        for head, labels in self.plan.judges(3):
            yield self.row({"training set": REAL} | WHOLE, head, labels, [Source("real")])
            yield self.row({"training set": WEIGHTED} | WHOLE, head, labels, [Source("real")], weights="balanced")
            for facts, sources, points in self._shaped():
                yield self.row(facts, head, labels, sources, points)

    def _shaped(self) -> Iterator[tuple[Facts, list[Source], Wanted]]:
        """What Table 3 has beside all real data, and how many points of each class."""
        plan, draws, dealt = self.plan, self.plan.draws[0], self.repeats("random-oversampled")
        even = {"balance": "yes", "balanced": True, "full_size": False}
        evened = {"balance": "yes, full size", "balanced": True, "full_size": True}
        if POOLED in plan.controls:
            yield {"training set": TIME_POOLED} | WHOLE, [Source("control", method=POOLED, within=self.within)], None
        yield {"training set": DRAWN["random-oversampled"]} | even, dealt, lambda n: dict.fromkeys(n, max(n.values()))
        yield {"training set": DRAWN["random-oversampled"]} | evened, dealt, _as_large
        gaussian = {"training set": called(DRAWN["class-gaussian"], draws), "method": "class-gaussian", "draws": draws}
        start = {"training set": self.named(plan.balanced, UNTRAINED)["training set"]}
        natural = {"balance": "no", "balanced": False, "full_size": False}

        def as_original(train: Counts) -> Counts:
            return counts_per_class([*train], train, total=self.smallest * len(train), as_original=True)

        counts = ((even, self.smallest), (natural, as_original), (evened, _as_large))
        for shape, points in (*counts, (WHOLE | {"balance": "no, full size"}, None)):
            if not shape["full_size"]:
                yield {"training set": DRAWN["random"]} | shape, self.repeats("random"), points
                for method in [method for method in plan.controls if method in FIXED]:
                    yield {"training set": FIXED[method]} | shape, [Source("control", method=method)], points
            yield gaussian | shape, self.repeats("class-gaussian", draws), points
            yield start | shape, self.generators(plan.balanced, UNTRAINED), points
            yield self.named(plan.balanced, BOTH) | shape, self.generators(plan.balanced, BOTH), points

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
            probe = partial(_probe, taught, probing, self.speaker_features)
            yield self.row(facts | {"ppc": ppc}, head, "hard", sources, ppc).changed(probe)

    def named(self, name: str, losses: str, draws: str | None = None) -> Facts:
        """What rows of a generator are called, with its architecture and start; without ``draws`` the plan's first.

        A closed form has no losses that could be added to its name.
        """
        architecture, draws = self.plan.generator_config(name, BOTH, 0).architecture, draws or self.plan.draws[0]
        made = {"generator": name, "kind": architecture.kind, "draws": draws}
        if self.plan.is_closed(name):
            return {"training set": called(name, draws)} | made
        added = "trained" if architecture.kind == FLOW and losses == BOTH else ADDED[losses]
        made |= {"losses": losses, "start": architecture.start}
        return {"training set": called(f"{name} {added}", draws)} | made

    def repeats(self, method: str, draws: str = "") -> list[Source]:
        """A control, drawn as often as the plan says."""
        return [Source("control", seed, method, draws=draws) for seed in range(self.plan.repeats)]

    def generators(self, name: str, losses: str, draws: str | None = None) -> list[Source]:
        """A generator by each of its seeds; by as many as a control is drawn if it costs no training: a closed form, or
        before the first update, where the training set has no part in that either."""
        plan, draws = self.plan, draws or self.plan.draws[0]
        kind, losses = ("start", BOTH) if losses == UNTRAINED else ("generator", losses)

        def by(seed: int) -> Source:
            return Source(kind, seed, config=plan.generator_config(name, losses, seed), draws=draws)

        return [by(seed) for seed in range(plan.repeats if _is_drawn(by(0)) else plan.seeds)]

    def row(
        self,
        facts: Facts,
        head: HeadPlan,
        labels: Labels,
        sources: Sequence[Source],
        points: Wanted = None,
        weights: Weights = "none",
    ) -> Row:
        """A row of judged heads.

        Sources that are drawn at random, which costs no training, are judged by one head each, of the same seed.
        """
        often = _is_drawn(sources[0])
        sources = sources[: head.repeats] if often else sources
        trials, costs = [], []
        for fold in self.folds:
            per_class = isinstance(points, int)
            counts = dict.fromkeys(fold.train, points) if per_class else points and points(fold.train)
            of_fold = []
            for source in sources:
                seeds = [source.seed] if often else range(head.seeds)
                configs = [self.plan.head_config(head.kind, seed, labels, weights) for seed in seeds]
                of_fold.append([Trial("judge", fold.inputs, source, counts, config) for config in configs])
                if source.kind == "generator":
                    costs.append(Trial("cost", fold.inputs, source.trained))
            trials.append(of_fold)
        return Row({"head": head.kind, "labels": labels} | facts, trials, costs)


def _is_drawn(source: Source) -> bool:
    """Whether its seed is all that decides its points: a control by chance, a closed form, or random weights."""
    if source.config is None:
        return source.method in DRAWN
    return source.is_closed or (source.kind == "start" and source.config.architecture.start == "random")


def _probe(taught: Taught, probing: ProbeConfig, speakers: Path | None, trial: Trial) -> Trial:
    """The trial of the same head asked for speakers, by the head's own seed."""
    assert trial.head is not None
    seeded = probing.model_copy(update={"seed": trial.head.seed})
    return replace(trial, task="probe", taught=taught, probing=seeded, speakers=speakers)


def _stored(precision: str, trial: Trial) -> Trial:
    """The trial of the same generator stored in another precision."""
    return replace(trial, source=replace(trial.source, precision=precision))


def _as_large(train: Counts) -> Counts:
    """Together as many points as the train part has, of each class alike."""
    return counts_per_class([*train], train, total=sum(train.values()))
