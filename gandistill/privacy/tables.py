"""What a guarantee costs and what attacks find, by the number of speakers: the rows of ``eval/privacy.py``."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from gandistill.console import muted, say
from gandistill.controls.draws import Design
from gandistill.evaluate.markdown import percent
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import Architecture
from gandistill.gan.private import private_form
from gandistill.gan.sampling import Sampler, sampled
from gandistill.gan.settings import GanConfig, Privacy
from gandistill.gan.training import closed_form
from gandistill.heads.training import HeadConfig, score, train_head
from gandistill.privacy.attack import attack_records, split_people, with_interval

PPC = (10, 50)
EPSILONS = (1.0, 4.0, 16.0, None)
HEAD = "superb"
Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A feature set with speakers held out, public features of another corpus, and draws of everything random."""

    features: FeatureSet
    public: FeatureSet
    frames: int
    draws: int
    samples: int

    def rows(self) -> Iterator[Row]:
        """By epsilon, from the least to none, and a generator that was planted: it gives its training part away."""
        for epsilon in EPSILONS:
            say(f"{self.features.folder.name}: epsilon {epsilon or 'none'}")
            with muted(True):
                yield self._row(epsilon)
        people, members = split_people(self.features)
        with muted(True):
            found = attack_records(self.features.part("train"), None, people, members, 0)
        yield self._facts() | {"generator": "planted"} | _found([found])

    def _row(self, epsilon: float | None) -> Row:
        people, members = split_people(self.features)
        uars, found = {ppc: list[float]() for ppc in PPC}, []
        for seed in range(self.draws):
            sampler = self.generator(epsilon)
            for ppc in PPC:
                samples = sampled(sampler, dict.fromkeys(sampler.labels, ppc), seed)
                head = train_head(samples, HeadConfig(head=HEAD, seed=seed))
                uars[ppc].append(score(head, self.features.part("test"))["uar"])
            assert sampler.design is not None
            records = sampled(sampler, dict.fromkeys(sampler.labels, self.samples), seed)
            found.append(attack_records(records, sampler.design.mean.double().numpy(), people, members, seed))
        facts = self._facts() | {"generator": "class-Gaussian", "epsilon": epsilon}
        return facts | {f"uar at {ppc} ppc": uars[ppc] for ppc in PPC} | _found(found)

    def generator(self, epsilon: float | None) -> Sampler:
        """The closed form of the training part, with the guarantee if there is one."""
        training = self.features.part("train")
        config = GanConfig(architecture=Architecture(kind="class-gaussian", frames=self.frames))
        if epsilon is None:
            return closed_form(config, training, None, Design.fit(training))
        config = config.model_copy(update={"privacy": Privacy(epsilon=epsilon, public=self.public.folder)})
        return private_form(config, training, self.public, epsilon)

    def _facts(self) -> Row:
        test, train = self.features.part("test"), self.features.part("train")
        people = {name: len(set(part.index["speaker"])) for name, part in (("speakers", train), ("others", test))}
        return {"corpus": self.features.config.get("corpus")} | people


def _found(each: list[dict[str, Any]]) -> Row:
    """Means over draws of every attack's AUC and rates."""
    attacks = {}
    for name, first in each[0]["membership"].items():
        attacks[name] = {of: _mean_of([found["membership"][name][of] for found in each]) for of in first}
    return {"membership": attacks}


def _mean_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    rates = {rate: fmean(one["tpr"][rate] for one in found) for rate in found[0]["tpr"]}
    known = [one["interval"] for one in found if one["interval"] is not None]
    interval = np.mean(known, axis=0).tolist() if known else None
    return {"auc": fmean(one["auc"] for one in found), "interval": interval, "tpr": rates}


def shown(row: Row) -> dict[str, Any]:
    """A row as the table has it: UAR in per cent, the strongest attack on speakers and on utterances."""
    cells = {"speakers": row["speakers"], "generator": row["generator"]}
    cells["epsilon"] = "" if row["generator"] == "planted" else f"{row['epsilon']:g}" if row["epsilon"] else "none"
    for ppc in PPC:
        uars = row.get(f"uar at {ppc} ppc", [])
        cells[f"UAR, {ppc} ppc"] = f"{percent(fmean(uars))} ± {100 * stdev(uars):.1f}" if len(uars) > 1 else ""
    for of in ("speaker", "utterance"):
        name, best = max(
            ((name, found[of]) for name, found in row["membership"].items()), key=lambda one: one[1]["auc"]
        )
        cells[f"AUC, {of}"] = f"{with_interval(best)} ({name})"
    rates = [found["utterance"]["tpr"] for found in row["membership"].values()]
    for rate in rates[0]:
        cells[f"TPR at FPR {float(rate):.1%}"] = f"{max(each[rate] for each in rates):.1%}"
    return cells
