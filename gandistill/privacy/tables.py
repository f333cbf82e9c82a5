"""What a guarantee costs and what attacks find, by the number of speakers: the rows of ``eval/privacy.py``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandistill.console import muted, say
from gandistill.controls.draws import Design
from gandistill.controls.select import REAL_DESIGNED, RECENTRED, select
from gandistill.evaluate.markdown import markdown, percent
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import Architecture
from gandistill.gan.private import private_form
from gandistill.gan.sampling import Sampler, sampled
from gandistill.gan.settings import GanConfig, Privacy
from gandistill.gan.training import closed_form
from gandistill.heads.training import HeadConfig, score, train_head
from gandistill.privacy.attack import (
    Knowledge,
    attack_generator,
    attack_means,
    attack_records,
    attack_release,
    check_made_from,
    split_people,
    with_interval,
)
from gandistill.privacy.drawn import drawn
from gandistill.privacy.membership import People

PPC = (10, 50)
EPSILONS = (1.0, 4.0, 16.0, None)
PRICED = 4.0
HEAD = "superb"
CONTROLS, CONTROL_PPC = ("random", RECENTRED, REAL_DESIGNED), 50
Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A feature set with speakers held out, public features of another corpus, and draws of everything random."""

    features: FeatureSet
    public: FeatureSet
    frames: int
    draws: int
    samples: int
    genders: Mapping[str, str] | None = None

    def rows(self) -> Iterator[Row]:
        """By epsilon, from the least to none, and a generator that was planted: it gives its training part away."""
        for epsilon in EPSILONS:
            say(f"{self.features.folder.name}: epsilon {epsilon or 'none'}")
            with muted(True):
                yield self._row(epsilon)
        with muted(True):
            result = self._attacked(self.features.part("train"), None, 0)
        yield self._facts() | {"generator": "planted"} | _mean_result([result])

    def prices(self) -> Iterator[Row]:
        """What epsilon 4 costs in UAR, and no attack: of crowds that would take long to attack."""
        for epsilon in (PRICED, None):
            say(f"{self.features.folder.name}: epsilon {epsilon or 'none'}")
            with muted(True):
                yield self._private(epsilon) | self._taught([self.generator(epsilon) for _ in range(self.draws)])

    def controls(self) -> Iterator[Row]:
        """Real utterances, ``CONTROL_PPC`` of each class: as they are, recentred, with designed means."""
        counts = dict.fromkeys(self.features.labels, CONTROL_PPC)
        names = dict(zip(CONTROLS, ("real, random", "real, recentred", "real, designed means"), strict=True))
        for method in CONTROLS:
            results = []
            with muted(True), TemporaryDirectory() as folder:
                for seed in range(self.draws):
                    records = select(self.features, method, counts, seed, Path(folder) / str(seed))
                    results.append(self._attacked(records, None, seed))
            yield self._facts() | {"generator": names[method]} | _mean_result(results)

    def trained(self, folders: Iterable[Path]) -> Iterator[Row]:
        """Generators that were trained before, the mean of those of a kind; their bank is attacked too."""
        kinds = dict[str, list[Any]]()
        people, members = split_people(self.features)
        for folder in folders:
            sampler = Sampler.open(folder)
            shape = sampler.generator.architecture
            say(f"{folder}: {shape.kind}")
            check_made_from(folder, sampler.facts, self.features)
            with muted(True):
                result = attack_generator(sampler, people, members, 0, Knowledge(self.genders))
            kinds.setdefault(shape.kind + (", closed-form start" if shape.start == "closed-form" else ""), []).append(
                result
            )
        for kind, results in kinds.items():
            yield self._facts() | {"generator": kind} | _mean_result(results)

    def _attacked(self, records: FeatureSet, stored: NDArray[Any] | None, seed: int) -> dict[str, Any]:
        people, members = split_people(self.features)
        return attack_records(records, stored, people, members, seed, Knowledge(self.genders))

    def _row(self, epsilon: float | None) -> Row:
        results, samplers = [], [self.generator(epsilon) for _ in range(self.draws)]
        for seed, sampler in enumerate(samplers):
            assert sampler.design is not None
            records = sampled(sampler, dict.fromkeys(sampler.labels, self.samples), seed)
            result = self._attacked(records, sampler.design.mean.double().numpy(), seed)
            if epsilon is not None:
                result["membership"]["release"] = attack_release(
                    sampler, *split_people(self.features), self.public, seed
                )
            results.append(result)
        return self._private(epsilon) | self._taught(samplers) | _mean_result(results)

    def _private(self, epsilon: float | None) -> Row:
        return self._facts() | {"generator": "class-Gaussian", "epsilon": epsilon}

    def _taught(self, samplers: Sequence[Sampler]) -> Row:
        """UAR of heads that learn from samples of one of them each, seed by seed."""
        uars = {ppc: list[float]() for ppc in PPC}
        for (seed, sampler), ppc in product(enumerate(samplers), PPC):
            samples = sampled(sampler, dict.fromkeys(sampler.labels, ppc), seed)
            head = train_head(samples, HeadConfig(head=HEAD, seed=seed))
            uars[ppc].append(score(head, self.features.part("test"))["uar"])
        return {f"uar at {ppc} ppc": values for ppc, values in uars.items()}

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


def statistics(crowd: FeatureSet, seed: int) -> dict[str, Any]:
    """What the class means of a crowd's train part tell, and nothing else of it: what designed draws store at least."""
    people, members = split_people(crowd)
    points = people.means().double().numpy()
    unit = points[~members].std(0)
    scaled = People(points / unit, people.targets, people.index["speaker"].to_numpy(str), members)
    means = [scaled.points[members & (people.targets == c)].mean(0) for c in range(len(crowd.labels))]
    return attack_means(np.stack(means), scaled, seed)


def statistics_row(features: FeatureSet, speakers: int, others: int, crowds: int) -> Row:
    """The mean of so many crowds of speakers drawn from features, each held against as many others."""
    with muted(True):
        results = [{"membership": statistics(drawn(features, speakers, others, n), n)} for n in range(crowds)]
    corpus = f"speakers drawn from the statistics of {features.config.get('corpus')}"
    facts = {"corpus": corpus, "speakers": speakers, "others": others, "generator": "class means alone"}
    return facts | _mean_result(results)


def _mean_result(results: list[dict[str, Any]]) -> Row:
    """Means over draws of every attack's AUC and rates, and of what was learnt of genders."""
    attacks = {}
    for name, first in results[0]["membership"].items():
        attacks[name] = {of: _mean_of([result["membership"][name][of] for result in results]) for of in first}
    draws = [result["attributes"]["gender"] for result in results if result.get("attributes")]
    genders = {name: _mean_advantage([draw[name] for draw in draws]) for name in draws[0]} if draws else None
    return {"membership": attacks} | ({} if genders is None else {"genders": genders})


def _mean_advantage(results: list[dict[str, Any]]) -> dict[str, Any]:
    chance = np.mean([result["chance"] for result in results], axis=0).tolist()
    return {"advantage": fmean(result["advantage"] for result in results), "chance": chance}


def _mean_of(results: list[dict[str, Any]]) -> dict[str, Any]:
    rates = {rate: fmean(result["tpr"][rate] for result in results) for rate in results[0]["tpr"]}
    known = [result["interval"] for result in results if result["interval"] is not None]
    interval = np.mean(known, axis=0).tolist() if known else None
    return {"auc": fmean(result["auc"] for result in results), "interval": interval, "tpr": rates}


def shown(row: Row) -> dict[str, Any]:
    """A row as the table has it: UAR in per cent, the strongest attack on speakers and on utterances, the rate of the
    best, and by how much more genders are told of members than of others."""
    cells = {"speakers": row["speakers"], "generator": row["generator"]}
    if "epsilon" in row:
        cells["epsilon"] = f"{row['epsilon']:g}" if row["epsilon"] else "none"
    for ppc in PPC:
        if uars := row.get(f"uar at {ppc} ppc"):
            cells[f"UAR, {ppc} ppc"] = f"{percent(fmean(uars))} ± {100 * stdev(uars):.1f}"
    for of in ("speaker", "utterance") if row.get("membership") else ():
        attacks = [(name, scores[of]) for name, scores in row["membership"].items() if of in scores]
        name, best = max(attacks, key=lambda pair: pair[1]["auc"])
        cells[f"AUC, {of}"] = f"{with_interval(best)} ({name})"
    rates = [scores["utterance"]["tpr"] for scores in row.get("membership", {}).values() if "utterance" in scores]
    for rate in rates[0] if rates else ():
        cells[f"TPR at FPR {float(rate):.1%}"] = f"{max(tpr[rate] for tpr in rates):.1%}"
    if "genders" in row:
        best = max(row["genders"].values(), key=lambda result: result["advantage"] - result["chance"][1])
        cells["gender, by chance"] = "{:+.2f} [{:+.2f}, {:+.2f}]".format(best["advantage"], *best["chance"])
    return cells


def listed(rows: Sequence[Row]) -> str:
    """Rows as Markdown, each with all columns that any of them has."""
    cells = [shown(row) for row in rows]
    longest = max(cells, key=len)
    columns = [*longest, *dict.fromkeys(name for line in cells for name in line if name not in longest)]
    return markdown([{name: line.get(name, "") for name in columns} for line in cells])
