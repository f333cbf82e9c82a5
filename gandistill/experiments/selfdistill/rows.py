"""The rows of the self-distillation paper's Tables 1 and 2 and Figure 2, each with its trials; and as measured.

Table 1 (``exits``): every exit of networks with students, by block and similarity loss. Table 2 (``networks``): plain
fine-tuning of the first layers, layer-wise distillation, and runs of Table 1 that were named beforehand. Figure 2
(``layers``): one student behind one layer after another. Beside them (``precisions``): the exits of those runs of
Table 1, stored in fewer bytes, and (``early``) one of them leaving early. S trainings of a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    """One row before it is measured: of which table, what it is, which answer of its trials, those [parts][S].

    ``answer`` is a depth, ``fusion`` or ``auto``. A row without trials is chance.
    """

    table: str
    facts: Facts
    answer: str = ""
    trials: Mapping[str, Sequence[Trial]] | None = None

    @property
    def of_all(self) -> list[Trial]:
        """Its trials of all parts."""
        return [trial for some in (self.trials or {}).values() for trial in some]


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
        plan = self.plan
        yield Row(EXITS, {"network": CHANCE})
        for block in plan.blocks:
            for similarity in plan.similarities:
                yield from self._answers(EXITS, block, similarity, plan.whole.network.exits)

    def networks(self) -> Iterator[Row]:
        """Table 2."""
        plan, taken = self.plan, self.plan.competing
        yield Row(NETWORKS, {"network": CHANCE})
        for depth in (*plan.whole.network.exits, None):
            facts = {"network": FINE_TUNED, "exit": str(depth or DEEPEST)}
            yield self._row(NETWORKS, facts, depth, [plan.fine_tuning(depth, seed) for seed in range(plan.seeds)])
        if plan.layerwise is not None:
            depth = plan.layerwise.depth
            for block in plan.layerwise.blocks:
                facts = {"network": LAYER_WISE, "block": block, "exit": str(depth)}
                configs = [plan.layer_wise(block, plan.layerwise, seed) for seed in range(plan.seeds)]
                yield self._row(NETWORKS, facts, depth, configs)
        for row in self._competing(NETWORKS):
            if row.facts["similarity"] == (taken.teacher if row.facts["exit"] == DEEPEST else taken.students):
                yield row

    def layers(self) -> Iterator[Row]:
        """Figure 2."""
        wanted = self.plan.layers
        if wanted is not None:
            yield Row(LAYERS, {"network": CHANCE})
            for layer in wanted.layers or range(1, self.inputs.layers):
                for row in self._answers(LAYERS, wanted.block, wanted.similarity, (layer,)):
                    yield Row(LAYERS, row.facts | {"layer": layer}, row.answer, row.trials)

    def precisions(self) -> Iterator[Row]:
        """The exits of the runs that Table 2 takes, each stored in float32 and in fewer bytes."""
        if self.plan.precisions:
            yield Row(PRECISIONS, {"network": CHANCE})
            for row in self._competing(PRECISIONS):
                for precision in (FULL, *self.plan.precisions):
                    trials = {
                        part: [Stored(one.inputs, part, one.config, precision) for one in some]
                        for part, some in (row.trials or {}).items()
                    }
                    yield Row(PRECISIONS, row.facts | {"precision": precision}, row.answer, trials)

    def early(self) -> Iterator[Row]:
        """The run whose students Table 2 takes, leaving early, and the deepest exit of the same networks, on test."""
        plan, taken = self.plan, self.plan.competing
        if {"dev", "test"} <= {*plan.parts} and plan.uar_losses:
            yield Row(EARLY, {"network": CHANCE})
            configs = [
                plan.self_distillation(taken.block, taken.students, plan.whole.network.exits, seed)
                for seed in range(plan.seeds)
            ]
            for loss in plan.uar_losses:
                trials = {"test": [Early(self.inputs, "test", config, loss) for config in configs]}
                facts = {"network": SELF, "block": taken.block, "similarity": taken.students, "uar_loss": loss}
                for name, answer in ((AUTO, AUTO), (DEEPEST, str(self.inputs.layers))):
                    yield Row(EARLY, facts | {"exit": name}, answer, trials)

    def _competing(self, table: str) -> Iterator[Row]:
        """A row for each exit of both runs that Table 2 takes."""
        taken = self.plan.competing
        for similarity in dict.fromkeys((taken.students, taken.teacher)):
            for row in self._answers(table, taken.block, similarity, self.plan.whole.network.exits):
                if row.answer != FUSION:
                    yield row

    def _answers(self, table: str, block: Block, similarity: Similarity, exits: tuple[int, ...]) -> Iterator[Row]:
        """A row for each answer of networks with students."""
        plan = self.plan
        configs = [plan.self_distillation(block, similarity, exits, seed) for seed in range(plan.seeds)]
        for name in (*exits, DEEPEST, *([FUSION] if len(exits) > 1 else [])):
            facts = {"network": SELF, "block": block, "similarity": similarity, "exit": str(name)}
            yield self._row(table, facts, None if name == DEEPEST else name, configs)

    def _row(self, table: str, facts: Facts, answer: int | str | None, configs: Sequence[SelfDistilConfig]) -> Row:
        trials = {part: [Trial(self.inputs, part, config) for config in configs] for part in self.plan.parts}
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
        found = {part: [store.result(trial) for trial in some] for part, some in (row.trials or {}).items()}
        return cls(row, found, inputs)

    def scores(self, what: str, part: str) -> Floats:
        """``uar`` or ``accuracy`` on a part [S, 1]."""
        return np.array([[one["exits"][self.row.answer][what]] for one in self.results[part]])

    def predictions(self, part: str) -> list[Predictions]:
        """What each training says of a part [S]."""
        judged = self.inputs.judged(part)
        ids, speakers, emotions = np.array([(e.id, e.speaker, e.emotion) for e in judged.entries]).T
        labels, found = np.array(judged.labels), self.results[part]
        said = [labels[one["exits"][self.row.answer]["predicted"]] for one in found]
        return [Predictions(ids, speakers, emotions, predicted, str(self.row.facts)) for predicted in said]

    @cached_property
    def tested(self) -> list[Predictions]:
        """Predictions of the test part."""
        return self.predictions("test")

    def summary(self) -> Facts:
        """What the table says of the row, but for differences."""
        said = dict(self.row.facts)
        for part in self.inputs.manifests:
            if self.row.trials is None:
                said[part] = {"uar": 1 / len(set(self.inputs.judged(part).targets.tolist()))}
            elif part in self.results:
                uars = self.scores("uar", part)
                said[part] = spread(uars) | {"uars": uars[:, 0].tolist()}
                said[part]["accuracy"] = float(self.scores("accuracy", part).mean())
        keys = {part: [one.key[:12] for one in some] for part, some in (self.row.trials or {}).items()}
        if self.row.table == PRECISIONS and keys:
            weighed = [one["exits"][self.row.answer]["bytes"] for some in self.results.values() for one in some]
            said["bytes"] = max(weighed)
        if self.row.table == EARLY and keys:
            answers = [one["exits"][self.row.answer] for some in self.results.values() for one in some]
            said |= {what: fmean(one[what] for one in answers) for what in ("mean_depth", "multiply_accumulates")}
        return said | ({"answer": self.row.answer, "trials": keys} if keys else {})


def measured(rows: Sequence[Row], store: Store, inputs: ExitInputs) -> list[tuple[Measured, Facts]]:
    """Each row with what its table says of it.

    ``dev`` and ``test``, each with ``uar`` in 0..1 and its 95 % t interval ``low`` to ``high`` over trainings, ``uars``
    [S] and ``accuracy``; ``answer`` and ``trials``, by which its predictions are found; ``bytes`` of the largest folder
    of an exit that was stored; ``mean_depth`` and ``multiply_accumulates`` where one leaves early; and ``differences``
    to chance and its rivals: an exit to the deepest of the same training, or to itself in float32, a network of Table 2
    to plain fine-tuning.
    """
    found = [Measured.of(row, store, inputs) for row in rows]
    table = []
    for one in found:
        entry = one.summary()
        if one.results:
            chance = {part: 1 / len(set(inputs.judged(part).targets.tolist())) for part in one.results}
            entry["differences"] = {CHANCE: {part: uar_beyond(one, level, part) for part, level in chance.items()}}
        for name, rival in _rivals(one, found):
            paired = name in PAIRED
            entry["differences"][name] = {part: uar_difference(one, rival, part, paired) for part in one.results}
        table.append((one, entry))
    return table


def _rivals(one: Measured, found: Sequence[Measured]) -> Iterator[tuple[str, Measured]]:
    """What a row is compared with, by name."""
    mine = one.row.facts
    if mine["network"] in (CHANCE, FINE_TUNED):
        return
    for each in found:
        facts = each.row.facts
        if each.row.table != one.row.table:
            continue
        if one.row.table == NETWORKS:
            if facts["network"] == FINE_TUNED and facts["exit"] == DEEPEST:
                yield ALL_FINE_TUNED, each
            elif facts["network"] == FINE_TUNED and facts["exit"] == mine["exit"]:
                yield AS_MANY_FINE_TUNED, each
        elif one.row.table == PRECISIONS:
            if mine["precision"] != FULL and facts == mine | {"precision": FULL}:
                yield FULL, each
        elif mine["exit"] != DEEPEST and each.row.trials == one.row.trials and facts["exit"] == DEEPEST:
            yield ITS_DEEPEST, each
