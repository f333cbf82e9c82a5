"""The rows of the self-distillation paper's Tables 1 and 2 and Figure 2, each with its trials; and as measured.

Table 1 (``exits``): every exit of networks with students, by block and similarity loss. Table 2 (``networks``): plain
fine-tuning of the first layers, layer-wise distillation, and runs of Table 1 that were named beforehand. Figure 2
(``layers``): one student behind one layer after another. Beside them (``precisions``): the exits of those runs of
Table 1, stored in fewer bytes, and (``early``) one of them leaving early. S trainings of a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from statistics import fmean

import numpy as np

from gandistill.evaluate.predictions import Predictions
from gandistill.experiments.differences import Floats, spread, uar_beyond, uar_difference
from gandistill.experiments.names import Facts
from gandistill.experiments.selfdistill.further import Early, Stored
from gandistill.experiments.selfdistill.plan import Block, ExitPlan, Similarity
from gandistill.experiments.selfdistill.trials import ExitInputs, Trial
from gandistill.experiments.store import Store
from gandistill.precision import FULL
from gandistill.selfdistill.inference import FUSION
from gandistill.selfdistill.prediction import AUTO
from gandistill.selfdistill.settings import SelfDistilConfig

EXITS, NETWORKS, LAYERS, PRECISIONS, EARLY = "exits", "networks", "layers", "precisions", "early"
DEEPEST = "deepest"
SELF, LAYER_WISE, FINE_TUNED, CHANCE = "self-distillation", "layer-wise distillation", "fine-tuning", "chance"
ITS_DEEPEST = "its deepest exit"
PAIRED = (ITS_DEEPEST, FULL)
"""Rivals of the same trainings."""
AS_MANY_FINE_TUNED, ALL_FINE_TUNED = "fine-tuning of as many layers", "fine-tuning of all layers"


@dataclass(frozen=True)
class Row:
    """One row before it is measured: of which table, what it is, which answer of its trials, those of each part [S].

    ``answer`` is a depth, ``fusion`` or ``auto``. A row without trials is chance.
    """

    table: str
    facts: Facts
    answer: str = ""
    trials: Sequence[Trial] = ()


@dataclass(frozen=True)
class Rows:
    """The rows of a plan."""

    plan: ExitPlan
    inputs: ExitInputs

    def all(self) -> list[Row]:
        """Of all tables and the figure."""
        return [*self.exits(), *self.networks(), *self.layers(), *self.precisions(), *self.early()]

    def exits(self) -> Iterator[Row]:
        """Table 1."""
        yield Row(EXITS, {"network": CHANCE})
        for block, similarity in product(self.plan.blocks, self.plan.similarities):
            yield from self._answers(EXITS, block, similarity)

    def networks(self) -> Iterator[Row]:
        """Table 2."""
        plan, seeds = self.plan, range(self.plan.seeds)
        yield Row(NETWORKS, {"network": CHANCE})
        for depth in (*plan.whole.network.exits, None):
            facts = {"network": FINE_TUNED, "exit": str(depth or DEEPEST)}
            yield self._row(NETWORKS, facts, depth, [plan.fine_tuning(depth, seed) for seed in seeds])
        if plan.layerwise is not None:
            depth = plan.layerwise.depth
            for block in plan.layerwise.blocks:
                facts = {"network": LAYER_WISE, "block": block, "exit": str(depth)}
                configs = [plan.layer_wise(block, plan.layerwise, seed) for seed in seeds]
                yield self._row(NETWORKS, facts, depth, configs)
        taken = plan.competing
        for row in self._competing(NETWORKS):
            if row.facts["similarity"] == (taken.teacher if row.facts["exit"] == DEEPEST else taken.students):
                yield row

    def layers(self) -> Iterator[Row]:
        """Figure 2."""
        layer_plan = self.plan.layers
        if layer_plan is not None:
            yield Row(LAYERS, {"network": CHANCE})
            for layer in layer_plan.layers or range(1, self.inputs.layers):
                for row in self._answers(LAYERS, layer_plan.block, layer_plan.similarity, (layer,)):
                    yield replace(row, facts=row.facts | {"layer": layer})

    def precisions(self) -> Iterator[Row]:
        """The exits of the runs that Table 2 takes, each stored in float32 and in fewer bytes."""
        if self.plan.precisions:
            yield Row(PRECISIONS, {"network": CHANCE})
            for row, precision in product(self._competing(PRECISIONS), (FULL, *self.plan.precisions)):
                stored = [Stored(trial.inputs, trial.part, trial.config, precision) for trial in row.trials]
                yield replace(row, facts=row.facts | {"precision": precision}, trials=stored)

    def early(self) -> Iterator[Row]:
        """The run whose students Table 2 takes, leaving early, and the deepest exit of the same networks, on test."""
        plan, taken = self.plan, self.plan.competing
        if {"dev", "test"} <= {*plan.parts} and plan.uar_losses:
            yield Row(EARLY, {"network": CHANCE})
            configs = self._configs(taken.block, taken.students, plan.whole.network.exits)
            for loss in plan.uar_losses:
                trials = [Early(self.inputs, "test", config, loss) for config in configs]
                facts = {"network": SELF, "block": taken.block, "similarity": taken.students, "uar_loss": loss}
                for name, answer in ((AUTO, AUTO), (DEEPEST, str(self.inputs.layers))):
                    yield Row(EARLY, facts | {"exit": name}, answer, trials)

    def _competing(self, table: str) -> Iterator[Row]:
        """A row for each exit of both runs that Table 2 takes."""
        taken = self.plan.competing
        for similarity in dict.fromkeys((taken.students, taken.teacher)):
            yield from (row for row in self._answers(table, taken.block, similarity) if row.answer != FUSION)

    def _answers(
        self, table: str, block: Block, similarity: Similarity, exits: tuple[int, ...] | None = None
    ) -> Iterator[Row]:
        """A row for each answer of networks with students behind some layers; none given: the recipe's."""
        exits = exits or self.plan.whole.network.exits
        configs = self._configs(block, similarity, exits)
        for name in (*exits, DEEPEST, *([FUSION] if len(exits) > 1 else [])):
            facts = {"network": SELF, "block": block, "similarity": similarity, "exit": str(name)}
            yield self._row(table, facts, None if name == DEEPEST else name, configs)

    def _configs(self, block: Block, similarity: Similarity, exits: tuple[int, ...]) -> list[SelfDistilConfig]:
        return [self.plan.self_distillation(block, similarity, exits, seed) for seed in range(self.plan.seeds)]

    def _row(self, table: str, facts: Facts, answer: int | str | None, configs: Sequence[SelfDistilConfig]) -> Row:
        trials = [Trial(self.inputs, part, config) for part in self.plan.parts for config in configs]
        return Row(table, facts, str(answer or self.inputs.layers), trials)


@dataclass(frozen=True)
class Measured:
    """A row with what its trials found, by part [S]."""

    row: Row
    results: Mapping[str, Sequence[Facts]]
    inputs: ExitInputs

    @classmethod
    def of(cls, row: Row, store: Store, inputs: ExitInputs) -> "Measured":
        """From what the store holds."""
        results: dict[str, list[Facts]] = {}
        for trial in row.trials:
            results.setdefault(trial.part, []).append(store.result(trial))
        return cls(row, results, inputs)

    def answers(self, part: str) -> list[Facts]:
        """What the row's answer is worth on a part, by each training [S]."""
        return [result["exits"][self.row.answer] for result in self.results[part]]

    def scores(self, what: str, part: str) -> Floats:
        """``uar`` or ``accuracy`` on a part [S, 1]."""
        return np.array([[answer[what]] for answer in self.answers(part)])

    @cached_property
    def tested(self) -> list[Predictions]:
        """Predictions of the test part [S]."""
        judged = self.inputs.judged("test")
        ids, speakers, emotions = np.array([(entry.id, entry.speaker, entry.emotion) for entry in judged.entries]).T
        predicted = [np.array(judged.labels)[answer["predicted"]] for answer in self.answers("test")]
        return [Predictions(ids, speakers, emotions, labels, str(self.row.facts)) for labels in predicted]

    def summary(self) -> Facts:
        """What the table says of the row, but for differences."""
        facts = dict(self.row.facts)
        if not self.results:
            return facts | {part: {"uar": chance_on(self.inputs, part)} for part in self.inputs.manifests}
        for part in self.results:
            uars = self.scores("uar", part)
            facts[part] = spread(uars) | {"uars": uars[:, 0].tolist()}
            facts[part]["accuracy"] = float(self.scores("accuracy", part).mean())
        answers = [answer for part in self.results for answer in self.answers(part)]
        if self.row.table == PRECISIONS:
            facts["bytes"] = max(answer["bytes"] for answer in answers)
        if self.row.table == EARLY:
            costs = ("mean_depth", "multiply_accumulates")
            facts |= {what: fmean(answer[what] for answer in answers) for what in costs}
        keys = {part: [trial.key[:12] for trial in self.row.trials if trial.part == part] for part in self.results}
        return facts | {"answer": self.row.answer, "trials": keys}


def chance_on(inputs: ExitInputs, part: str) -> float:
    """UAR of whoever says one class always."""
    return 1 / len(set(inputs.judged(part).targets.tolist()))


def measured(rows: Sequence[Row], store: Store, inputs: ExitInputs) -> list[tuple[Measured, Facts]]:
    """Each row with what its table says of it.

    ``dev`` and ``test``, each with ``uar`` in 0..1 and its 95 % t interval ``low`` to ``high`` over trainings, ``uars``
    [S] and ``accuracy``; ``answer`` and ``trials``, by which its predictions are found; ``bytes`` of the largest folder
    of an exit that was stored; ``mean_depth`` and ``multiply_accumulates`` where one leaves early; and ``differences``
    to chance and its rivals: an exit to the deepest of the same training, or to itself in float32, a network of Table 2
    to plain fine-tuning.
    """
    judged = [Measured.of(row, store, inputs) for row in rows]
    table = []
    for row in judged:
        facts = row.summary()
        if row.results:
            beyond = {part: uar_beyond(row, chance_on(inputs, part), part) for part in row.results}
            facts["differences"] = {CHANCE: beyond} | {
                name: {part: uar_difference(row, rival, part, paired=name in PAIRED) for part in row.results}
                for name, rival in _rivals(row, judged)
            }
        table.append((row, facts))
    return table


def _rivals(row: Measured, judged: Sequence[Measured]) -> Iterator[tuple[str, Measured]]:
    """What a row is compared with, by name."""
    mine, table = row.row.facts, row.row.table
    if mine["network"] in (CHANCE, FINE_TUNED):
        return
    for rival in judged:
        facts = rival.row.facts
        if rival.row.table != table:
            continue
        if table == NETWORKS:
            if facts["network"] == FINE_TUNED and facts["exit"] in (DEEPEST, mine["exit"]):
                yield ALL_FINE_TUNED if facts["exit"] == DEEPEST else AS_MANY_FINE_TUNED, rival
        elif table == PRECISIONS:
            if mine["precision"] != FULL and facts == mine | {"precision": FULL}:
                yield FULL, rival
        elif mine["exit"] != DEEPEST and rival.row.trials == row.row.trials and facts["exit"] == DEEPEST:
            yield ITS_DEEPEST, rival
