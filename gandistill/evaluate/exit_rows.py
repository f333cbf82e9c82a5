"""The rows of the self-distillation paper's Tables 1 and 2 and Figure 2, each with its trials; and as measured.

Table 1 (``exits``): every exit of networks with students, by block and similarity loss. Table 2 (``networks``): plain
fine-tuning of the first layers, layer-wise distillation, and runs of Table 1 that were named beforehand. Figure 2
(``layers``): one student behind one layer after another. S trainings of a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gandistill.evaluate.exit_plan import Block, ExitPlan, Similarity
from gandistill.evaluate.exit_trials import FUSION, ExitInputs, Trial, TrialStore
from gandistill.evaluate.gaps import Floats, gap, spread
from gandistill.evaluate.predictions import Predictions
from gandistill.selfdistill.settings import SelfDistilConfig

EXITS, NETWORKS, LAYERS = "exits", "networks", "layers"
TABLES = (EXITS, NETWORKS, LAYERS)
DEEPEST = "deepest"
SELF, LAYER_WISE, FINE_TUNED, CHANCE = "self-distillation", "layer-wise distillation", "fine-tuning", "chance"
ITS_DEEPEST = "its deepest exit"
AS_MANY_FINE_TUNED, ALL_FINE_TUNED = "fine-tuning of as many layers", "fine-tuning of all layers"
Facts = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One row before it is measured: of which table, what it is, which answer of its trials, those [parts][S].

    ``answer`` is a depth or ``fusion``. A row without trials is chance.
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
        """Of both tables and the figure."""
        return [*self.exits(), *self.networks(), *self.layers()]

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
        exits = plan.whole.network.exits
        for depth in (*exits, None):
            facts = {"network": FINE_TUNED, "exit": str(depth or DEEPEST)}
            yield self._row(NETWORKS, facts, depth, [plan.fine_tuning(depth, seed) for seed in range(plan.seeds)])
        if plan.layerwise is not None:
            depth = plan.layerwise.depth
            for block in plan.layerwise.blocks:
                facts = {"network": LAYER_WISE, "block": block, "exit": str(depth)}
                configs = [plan.layer_wise(block, plan.layerwise, seed) for seed in range(plan.seeds)]
                yield self._row(NETWORKS, facts, depth, configs)
        for similarity in dict.fromkeys((taken.students, taken.teacher)):
            for row in self._answers(NETWORKS, taken.block, similarity, exits):
                wanted = taken.teacher if row.facts["exit"] == DEEPEST else taken.students
                if row.answer != FUSION and similarity == wanted:
                    yield row

    def layers(self) -> Iterator[Row]:
        """Figure 2."""
        wanted = self.plan.layers
        if wanted is not None:
            yield Row(LAYERS, {"network": CHANCE})
            for layer in wanted.layers or range(1, self.inputs.layers):
                for row in self._answers(LAYERS, wanted.block, wanted.similarity, (layer,)):
                    yield Row(LAYERS, row.facts | {"layer": layer}, row.answer, row.trials)

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
    def of(cls, row: Row, store: TrialStore, inputs: ExitInputs) -> "Measured":
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
            else:
                uars = self.scores("uar", part)
                said[part] = spread(uars) | {"uars": uars[:, 0].tolist()}
                said[part]["accuracy"] = float(self.scores("accuracy", part).mean())
        keys = {part: [one.key[:12] for one in some] for part, some in (self.row.trials or {}).items()}
        return said | ({"answer": self.row.answer, "trials": keys} if keys else {})


def measured(rows: Sequence[Row], store: TrialStore, inputs: ExitInputs) -> list[tuple[Measured, Facts]]:
    """Each row with what its table says of it.

    ``dev`` and ``test``, each with ``uar`` in 0..1 and its 95 % t interval ``low`` to ``high`` over trainings, ``uars``
    [S] and ``accuracy``; ``answer`` and ``trials``, by which its predictions are found; and ``differences`` to what it
    must beat: an exit to the deepest of the same training, a network of Table 2 to plain fine-tuning.
    """
    found = [Measured.of(row, store, inputs) for row in rows]
    table = []
    for one in found:
        entry = one.summary()
        for name, rival in _rivals(one, found):
            entry.setdefault("differences", {})[name] = {
                part: gap(one, rival, part, paired=name == ITS_DEEPEST) for part in inputs.manifests
            }
        table.append((one, entry))
    return table


def _rivals(one: Measured, found: Sequence[Measured]) -> Iterator[tuple[str, Measured]]:
    """What a row must beat, by name."""
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
        elif mine["exit"] != DEEPEST and each.row.trials == one.row.trials and facts["exit"] == DEEPEST:
            yield ITS_DEEPEST, each
