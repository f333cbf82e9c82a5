"""The generator as Python sees it: ``from gandistill import Generator``.

    generator = Generator.load()                       # the one that ships; or Generator.load("work/gan")
    features = generator.sample(ppc=100, labels="soft")

What the command line does with folders, this does in memory; errors are the same.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from gandistill import artifacts, hub
from gandistill.controls.draws import Design
from gandistill.errors import InputError
from gandistill.features.counts import counts_per_class
from gandistill.features.featureset import FeatureSet
from gandistill.gan.export import export
from gandistill.gan.generator import Architecture
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, generator_folder, sampled
from gandistill.gan.settings import GanConfig
from gandistill.gan.shipped import named
from gandistill.gan.training import card, closed_form
from gandistill.heads.bank import Bank
from gandistill.heads.soft import are_soft
from gandistill.numerics import keyed

ROUND = 64
"""Samples of a class in a stream that are drawn, and designed, together."""


class Generator(hub.Shared):
    """A generator that replaces a corpus: it draws labelled feature sets of any size and balance."""

    def __init__(self, sampler: Sampler, measured: artifacts.Measured | None = None) -> None:
        self.sampler, self.measured = sampler, measured

    @classmethod
    def load(
        cls,
        source: Path | str | None = None,
        device: torch.device | str = "cpu",
        licences: Collection[str] | None = None,
    ) -> "Generator":
        """Read a generator's folder, or that of the run that trained it; without one, the generator that ships.

        Where there is no such folder ``source`` may be a name that ``gandistill generators`` lists, or a repository of
        the Hugging Face Hub, OWNER/NAME. ``licences`` are those that will do, such as ``cc-by-4.0``; None: any. Raises
        InputError naming what is missing, altered or unknown.
        """
        folder = hub.local_or_pulled(generator_folder(named(source)), GENERATOR, licences)
        return cls(Sampler.open(folder).to(device), artifacts.Measured.of(folder))

    @classmethod
    def fit(cls, features: FeatureSet, bank: Bank | None = None) -> "Generator":
        """The class-Gaussian of the training part of features, as long as its median clip: a closed form, in seconds.

        With a ``bank`` it has soft labels too. Raises InputError if a class has no utterance, or the bank is of other
        features.
        """
        training = features.training_part()
        shape = Architecture(kind="class-gaussian", frames=training.median_length)
        if bank is not None:
            bank.check_match(features)
        return cls(closed_form(GanConfig(architecture=shape), training, bank, Design.fit(training)))

    def __repr__(self) -> str:
        facts = self.sampler.facts
        shape = f"{self.sampler.generator.architecture.frames} frames of {self.sampler.generator.dims} dims"
        return f"<Generator {facts.get('corpus') or 'of a corpus'}: {', '.join(self.labels)}; {shape}>"

    @property
    def labels(self) -> list[str]:
        """Class names."""
        return self.sampler.labels

    @property
    def facts(self) -> dict[str, Any]:
        """What it says of itself: corpus, licence, upstream, class counts, how it was trained."""
        return self.sampler.facts

    def sample(
        self,
        ppc: int | None = None,
        *,
        total: int | None = None,
        balanced: bool = False,
        as_original: bool = False,
        counts: Mapping[str, int] | None = None,
        labels: str = "hard",
        draws: str | None = None,
        seed: int = 0,
    ) -> FeatureSet:
        """A feature set in memory, as ``gandistill sample`` would write it; ``save`` does.

        How many: ``ppc`` points per class, ``total`` in all, ``counts`` by class name, or the corpus's own counts
        (``as_original``). ``labels`` are hard, or soft: the bank's mean posterior beside them. ``draws`` are designed
        (utterance means with the corpus's moments, the default) or independent. Raises InputError for a contradiction,
        or for what this generator has not: a bank, statistics for designed draws.
        """
        counted = counts_per_class(
            self.labels,
            self.facts["class_counts"],
            ppc=ppc,
            total=total,
            balanced=balanced,
            as_original=as_original,
            counts=None if counts is None else dict(counts),
        )
        return sampled(self.sampler.drawing(draws), counted, seed, are_soft(labels))

    def stream(
        self,
        weights: Mapping[str, float] | None = None,
        *,
        labels: str = "hard",
        draws: str | None = None,
        seed: int = 0,
    ) -> "Stream":
        """Samples without end, each drawn anew: a torch dataset of what a feature set's items are.

        A class comes as often as its weight says, those that are not named never; without weights all alike. Raises
        InputError as ``sample`` does, and for weights that are negative, all 0, or of unknown classes.
        """
        given = dict.fromkeys(self.labels, 1.0) if weights is None else dict(weights)
        unknown = [label for label in given if label not in self.labels]
        if unknown:
            raise InputError(f"Bad class {unknown[0]!r} in weights, expected some of [{', '.join(self.labels)}]")
        if min(given.values(), default=0) < 0 or not any(given.values()):
            raise InputError("Bad weights, expected numbers of 0 or more and one of them above 0")
        shares = [given.get(label, 0) / sum(given.values()) for label in self.labels]
        return Stream(self.sampler.drawing(draws), shares, are_soft(labels), seed)

    def save(self, folder: Path | str) -> None:
        """Write the generator's folder; one that was loaded, and is as it was, keeps its card and scores.

        Raises InputError if ``folder`` holds something else.
        """
        self.sampler.save(Path(folder), {"command": "save"}, card(self.sampler))
        if self.measured is not None:
            self.measured.keep(Path(folder), GENERATOR)

    def export(self, file: Path | str, draws: str | None = None) -> dict[str, Any]:
        """Write it as one ONNX file, see ``gan.export``; ``draws`` are as for ``sample``."""
        return export(self.sampler.drawing(draws), Path(file))


class Stream(IterableDataset[dict[str, Any]]):
    """Samples without end. Each worker of a data loader draws its own: none is drawn twice.

    Samples of a class are drawn in rounds of ``ROUND``, each designed by itself. The same seed and number of workers
    give the same samples.
    """

    def __init__(self, sampler: Sampler, shares: list[float], soft: bool, seed: int) -> None:
        self.sampler, self.shares, self.soft, self.seed = sampler, shares, soft, seed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        own = 0 if worker is None else worker.id
        chosen = keyed(self.seed, own)
        sources = [self._of_class(number, own) for number in range(len(self.shares))]
        while True:
            yield next(sources[chosen.choice(len(sources), p=self.shares)])

    def _of_class(self, number: int, worker: int) -> Iterator[dict[str, Any]]:
        label = self.sampler.labels[number]
        for at in count():
            seed = int(keyed(self.seed, worker, at).integers(2**63))
            counts = dict.fromkeys(self.sampler.labels, 0) | {label: ROUND}
            for drawn in self.sampler.utterances(counts, seed, self.soft):
                soft = {} if drawn.soft is None else {"soft": drawn.soft}
                yield {"frames": drawn.frames, "target": number, "id": f"{label}-{worker}-{at}-{drawn.id}"} | soft
