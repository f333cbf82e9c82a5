"""A trained generator on disk, and the distilled sets drawn from it.

Sample i of class c under seed s is the same bits whatever is drawn beside it (same machine and build): its noise is
keyed by (s, c, i), and it is computed in a chunk of fixed size and place, since a convolution's rounding changes with
the batch. So is the designed mean that it is moved to, where draws are designed (see ``controls/draws.py``).
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from gandistill import artifacts, precision
from gandistill.console import say, track
from gandistill.controls.draws import DESIGNED, DRAWS, INDEPENDENT, Design, moved
from gandistill.errors import InputError, choices
from gandistill.features.featureset import KIND as FEATURES
from gandistill.features.featureset import (
    FeatureSet,
    HeldSet,
    Utterance,
    labels_and_dims,
    write_feature_set,
)
from gandistill.features.origin import ORIGIN, made_from
from gandistill.gan.closed_form import ClosedForm
from gandistill.gan.flow import Flow
from gandistill.gan.generator import CLOSED_FORMS, FLOW, WITHOUT_BANK, Architecture, Generator
from gandistill.gan.settings import GanConfig
from gandistill.guarantee import guarantee_said, guaranteed
from gandistill.heads.bank import TENSORS as BANK
from gandistill.heads.bank import Bank, heads_config, load_heads, save_heads
from gandistill.numerics import no_tf32, noise, one_thread

KIND = "generator"
WEIGHTS = "generator.safetensors"
SCALE = ("feature_mean", "feature_deviation")
COMPRESSED = "compressed"
STATISTICS = "draws"
"""What the config says of the statistics that designed draws are made from."""
MOST_SAMPLES = 10**9
"""Of one class; what a forged generator may ask for."""
CHUNK_VALUES = 2**24
"""Values of the widest map of one chunk: 64 MB in float32, so that a paper-size generator samples in little memory."""


@dataclass(frozen=True)
class Sampler:
    """A generator ready to sample from: ``mean`` and ``deviation`` [D] bring its output to the corpus's units.

    ``bank`` holds the converged heads of the bank it was trained with, whose mean posterior makes soft labels; a closed
    form or a flow may have none. ``design`` is what designed draws are made from; earlier versions' generators lack it.
    ``facts`` are what ``config.json`` says beside the architecture: labels, class counts, lengths, provenance, licence,
    and under ``compressed``, if it is, the precision that its weights are stored in. In memory they are float32.
    """

    generator: Generator | Flow | ClosedForm
    mean: Tensor
    deviation: Tensor
    bank: Bank | None
    facts: dict[str, Any]
    design: Design | None = None

    @classmethod
    def open(cls, folder: Path) -> "Sampler":
        """Read a generator folder, or the one inside a run folder. Raises InputError naming what is wrong."""
        folder = generator_folder(folder)
        facts = artifacts.open_artifact(folder, KIND, verify=(artifacts.CONFIG, artifacts.CARD))
        where, weights = folder / artifacts.CONFIG, folder / WEIGHTS
        labels, dims = _check_facts(facts, where)
        architecture = Architecture.build(facts["architecture"], str(where))
        try:
            with torch.device("meta"):  # no memory until the file is known to hold what the config says
                generator = network(architecture, len(labels), dims)
                scale = {name: torch.empty(dims) for name in SCALE}
        except RuntimeError:
            raise InputError(f"{where}: 'architecture' asks for more values than a tensor can hold") from None
        stored_in, transposed = stored_precision(facts, where), precision.transposed(generator)
        tensors = precision.load_weights(weights, generator.state_dict() | scale, stored_in, transposed)
        mean, deviation = (tensors.pop(name) for name in SCALE)
        artifacts.load_module(generator, tensors, weights)
        has_bank = "heads" in facts or architecture.kind not in WITHOUT_BANK
        bank = Bank(load_heads(folder / BANK, facts, stored_in)) if has_bank else None
        design = Design.load(folder, facts[STATISTICS], len(labels), dims) if STATISTICS in facts else None
        written = ("kind", "format", "made_by", "heads", STATISTICS)  # what ``save`` writes anew
        facts = {key: value for key, value in facts.items() if key not in written}
        return cls(generator.eval(), mean, deviation, bank, facts, design)

    def save(self, folder: Path, made_by: dict[str, Any], card: str) -> None:
        """Write the generator folder, whole or not at all: all that is needed to sample without the corpus.

        Raises InputError if its facts say ``compressed`` and its weights are beyond that precision.
        """
        stored_in, transposed = stored_precision(self.facts, folder), precision.transposed(self.generator)
        scale = dict(zip(SCALE, (self.mean, self.deviation), strict=True))
        with artifacts.new_artifact(folder, KIND) as building:
            precision.save_weights(building / WEIGHTS, self.generator.state_dict() | scale, stored_in, transposed)
            facts = dict(self.facts)
            if self.bank is not None:
                save_heads(building / BANK, self.bank.heads, stored_in)
                facts |= {"heads": heads_config(self.bank.heads)["heads"]}
            if self.design is not None:
                facts |= {STATISTICS: self.design.save(building)}
            artifacts.write_text(building / artifacts.CARD, card)
            artifacts.write_json(building / artifacts.CONFIG, artifacts.describe(KIND, made_by, **facts))

    def to(self, device: torch.device | str) -> "Sampler":
        """A copy that computes on a device: the same noise, and samples that come back to the CPU."""
        generator, bank = copy.deepcopy((self.generator, self.bank))
        mean, deviation = self.mean.to(device), self.deviation.to(device)
        bank = None if bank is None else bank.to(device)
        return replace(self, generator=generator.to(device), mean=mean, deviation=deviation, bank=bank)

    @property
    def labels(self) -> list[str]:
        """Class names; a class's number is its place here."""
        return self.facts["labels"]

    @property
    def draws(self) -> str:
        """How its samples are drawn: designed or independent."""
        return INDEPENDENT if self.design is None else DESIGNED

    def drawing(self, draws: str | None) -> "Sampler":
        """The same generator with designed or independent draws; left open, designed ones where it can, else said.

        Raises InputError for other draws, or designed ones of a generator that stores no statistics for them.
        """
        if draws is not None and draws not in DRAWS:
            raise choices("--draws", draws, DRAWS)
        if self.design is None and draws == DESIGNED:
            raise InputError(
                "The generator stores no statistics for designed draws (an earlier version made it): take --draws "
                f"{INDEPENDENT}, or train it anew"
            )
        if self.design is None and draws is None:
            say("The generator stores no statistics for designed draws: its samples are independent")
        return replace(self, design=None) if draws == INDEPENDENT else self

    @property
    def chunk(self) -> int:
        """Samples computed together, always: what fits ``CHUNK_VALUES``, 1 to 16."""
        shape = self.generator.architecture
        return max(1, min(16, CHUNK_VALUES // (shape.frames * self.generator.dims * max(shape.channels[-2:]))))

    def samples(self, label: int, count: int, seed: int) -> Iterator[Tensor]:
        """The first ``count`` samples [T, D] of class number ``label``, in the corpus's units, as half floats."""
        return (frames for frames, _ in self._drawn(label, count, seed, soft=False))

    def utterances(self, counts: dict[str, int], seed: int, soft: bool) -> Iterator[Utterance]:
        """Labelled samples with ids ``<label>-000012``; with the bank's mean posterior if ``soft``."""
        for number, label in enumerate(self.labels):
            for i, (frames, posterior) in enumerate(self._drawn(number, counts[label], seed, soft)):
                yield Utterance(f"{label}-{i:06d}", label, frames, soft=posterior)

    def _drawn(self, label: int, count: int, seed: int, soft: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Samples [T, D] with their soft labels [C], computed in chunks of samples."""
        for first in range(0, count, self.chunk):
            with one_thread(), no_tf32():
                frames, posteriors = self._chunk(label, first, seed, soft)
            for i in range(min(count - first, self.chunk)):
                yield frames[i], None if posteriors is None else posteriors[i]

    @cached_property
    def folded(self) -> Generator | Flow | ClosedForm:
        """The generator with each batch norm folded into the convolution before it: the same but for rounding, and a
        fifth less time."""
        if not isinstance(self.generator, Generator):
            return self.generator
        generator, layers = copy.deepcopy(self.generator), list[nn.Module]()
        for layer in generator.layers:
            before = layers[-1] if layers else None
            if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d | nn.ConvTranspose2d):
                layers[-1] = fuse_conv_bn_eval(before, layer, transpose=isinstance(before, nn.ConvTranspose2d))
            else:
                layers.append(layer)
        generator.layers = nn.Sequential(*layers)
        return generator

    def frames(self, labels: Tensor, noise: Tensor, means: Tensor | None) -> Tensor:
        """Samples [B, T, D] of class numbers [B] and noise [B, Z], moved to designed means [B, D] if there are any."""
        frames = self.folded(labels, noise) * self.deviation + self.mean
        return frames if means is None else moved(frames, means)

    @torch.no_grad()
    def _chunk(self, label: int, first: int, seed: int, soft: bool) -> tuple[Tensor, Tensor | None]:
        """Samples ``first`` and following [B, T, D], B always the same, and the bank's mean posterior [B, C]."""
        device = self.mean.device
        draws = noise(seed, label, first, self.chunk, self.generator.architecture.noise).to(device)
        labels = torch.full((self.chunk,), label, device=device)
        means = None if self.design is None else self.design.means(label, first, self.chunk, seed).to(device)
        frames = self.frames(labels, draws, means).half().float()
        lengths = torch.full((self.chunk,), frames.shape[1], device=device)
        if not soft:
            return frames.cpu(), None
        if self.bank is None:
            raise InputError("The generator has no bank, whose heads give soft labels: train it with --set bank=DIR")
        posteriors = self.bank.mean_posterior(frames, lengths).cpu()
        return frames.cpu(), posteriors


def network(architecture: Architecture, classes: int, dims: int) -> Generator | Flow | ClosedForm:
    """What makes samples of an architecture, its weights not yet set."""
    kinds = dict.fromkeys(CLOSED_FORMS, ClosedForm) | {FLOW: Flow}
    return kinds.get(architecture.kind, Generator)(architecture, classes, dims)


def described(config: GanConfig, features: FeatureSet, updates: int) -> dict[str, Any]:
    """What a generator says of itself after so many updates: provenance, counts and lengths of its training part."""
    lengths = features.lengths
    return made_from(features) | {
        "architecture": config.architecture.to_dict(),
        "labels": features.labels,
        "dims": features.dims,
        "class_counts": features.class_counts,
        "frames_of_corpus": {
            "shortest": int(lengths.min()),
            "mean": float(lengths.mean()),
            "longest": int(lengths.max()),
        },
        "trained": {"updates": updates, "config": config.shareable()},
    }


def generator_folder(folder: Path) -> Path:
    """The folder itself, or the generator inside it where it is a run folder."""
    return artifacts.of_run(folder, KIND)


def is_generator(folder: Path) -> bool:
    """Whether a folder is a generator, or a run that has one."""
    config = generator_folder(folder) / artifacts.CONFIG
    return config.is_file() and artifacts.read_json(config).get("kind") == KIND


def stored_precision(facts: dict[str, Any], where: Path) -> str:
    """The precision that a generator's weights are stored in. Raises InputError, naming ``where``, if there is none."""
    if COMPRESSED not in facts:
        return precision.FULL
    compressed = facts[COMPRESSED]
    if not isinstance(compressed, dict) or compressed.get("precision") not in precision.REDUCED:
        valid = ", ".join(precision.REDUCED)
        raise InputError(f"{where}: bad {COMPRESSED!r}, expected a dict with a precision that is one of [{valid}]")
    return compressed["precision"]


def _check_facts(facts: dict[str, Any], where: Path) -> tuple[list[str], int]:
    labels, dims = labels_and_dims(facts, where)
    for key in ("architecture", "class_counts", "trained"):
        if not isinstance(facts.get(key), dict):
            raise InputError(f"{where}: {key!r} is missing or not a dict")
    counts = facts["class_counts"]
    valid = all(type(count) is int and 0 <= count <= MOST_SAMPLES for count in counts.values())
    if sorted(counts) != sorted(labels) or not valid or not any(counts.values()):
        raise InputError(f"{where}: bad 'class_counts', expected for each of the labels a whole number, not all 0")
    return labels, dims


def sample(sampler: Sampler, counts: dict[str, int], seed: int, out: Path, soft: bool = False) -> None:
    """Draw a distilled set: a feature set like any other, all of it training part."""
    write_feature_set(out, *_set(sampler, counts, seed, soft), _card(sampler, counts, seed))


def sampled(sampler: Sampler, counts: dict[str, int], seed: int, soft: bool = False) -> FeatureSet:
    """The set that ``sample`` writes, in memory."""
    return HeldSet.of("samples", *_set(sampler, counts, seed, soft), _card(sampler, counts, seed))


def _set(sampler: Sampler, counts: dict[str, int], seed: int, soft: bool) -> tuple[Iterator[Utterance], dict[str, Any]]:
    """The utterances and the config of a distilled set."""
    total = sum(counts.values())
    draws = track(sampler.utterances(counts, seed, soft), "sampling", total, unit="samples")
    made_by = {"command": "sample", "seed": seed, "counts": counts, "labels": "soft" if soft else "hard"}
    made_by |= {"draws": sampler.draws}
    inherited = ("upstream", "frame_rate", *ORIGIN, COMPRESSED)
    facts = {key: sampler.facts[key] for key in inherited if key in sampler.facts} | guaranteed(sampler.facts)
    facts |= {"labels": sampler.labels, "dims": sampler.generator.dims, "distilled_by": sampler.facts["trained"]}
    return draws, artifacts.describe(FEATURES, made_by, **facts)


def _card(sampler: Sampler, counts: dict[str, int], seed: int) -> str:
    corpus, licence = (sampler.facts.get(key) or "not stated" for key in ("corpus", "licence"))
    rows = "".join(f"| {label} | {count} |\n" for label, count in counts.items())
    draws, covered = sampler.draws, guarantee_said(sampler.facts)
    return (
        f"# Distilled feature set\n\nSamples of a generator, {draws} draws, seed {seed}; no recording is in it. It is "
        f"a feature set like any other: train on it as on real features.\n\n| class | samples |\n|---|---|\n{rows}\n"
        f"Corpus the generator was trained on: {corpus}. Licence of that corpus: {licence}.{covered}\n"
    )
