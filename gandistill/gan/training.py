"""Training the generator that replaces a corpus: the paper's section 4, one function a step, a short loop around it.

Shapes: B batch, T frames, D feature dims, C classes, Z noise.
"""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from torch import Tensor

from gandistill.artifacts import fingerprint, load_module
from gandistill.config import Config
from gandistill.console import say, track
from gandistill.controls import gaussian
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, made_from
from gandistill.gan import losses
from gandistill.gan.critic import Critic
from gandistill.gan.generator import Architecture, Generator
from gandistill.gan.losses import LossWeights
from gandistill.gan.sampling import KIND, Sampler, sample
from gandistill.heads.bank import Bank
from gandistill.heads.head import MODELS, Head
from gandistill.heads.training import HeadConfig, train_head
from gandistill.heads.training import score as head_score
from gandistill.run import (
    CONFIG,
    Run,
    check_finite,
    check_folder,
    generator_for,
    load_optimiser_state,
    optimiser_state,
    stop_asked,
)

START_CLIPS = 1024
"""Windows that a closed-form start is fitted to, so that its memory does not grow with the corpus."""
INITIAL, CRITIC, GENERATOR = range(3)
"""What random numbers are for: they are keyed by (seed, purpose, step)."""


Decay = Annotated[float, Field(ge=0, lt=1)]


class Training(Config):
    """How long and how fast. The paper gives none of these: they are ours, from a few trials without test data."""

    updates: PositiveInt = 1500
    """Generator updates."""
    critic_steps: PositiveInt = 1
    """Critic updates before each generator update."""
    batch: PositiveInt = Field(default=16, multiple_of=2)
    """B, real samples and generated samples in each update; even, since samples come in pairs of one class."""
    learning_rate: PositiveFloat = 1e-3
    """Adam's learning rate of the generator."""
    critic_learning_rate: PositiveFloat = 1e-3
    """Adam's learning rate of the critic."""
    betas: tuple[Decay, Decay] = (0.0, 0.9)
    """Adam's decay rates of both, as WGAN-GP."""
    average: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the generator's weight average (EMA), which is what samples are drawn from; 0: the last weights."""
    evaluate_every: PositiveInt = 250
    """Updates between two scorings on the dev part; the best-scoring generator is kept."""
    evaluate_ppc: PositiveInt = 50
    """Samples of each class that a scoring trains its heads on."""
    evaluate_heads: tuple[str, ...] = Field(default=("superb", "cnn-attention"), min_length=1)
    """Heads a scoring trains; the score is their mean dev UAR."""
    checkpoint_every: PositiveInt = 250
    """Updates between two checkpoints."""
    log_every: PositiveInt = 10
    """Updates between two lines of metrics."""
    seed: int = Field(default=0, ge=0)
    """Decides initial weights, batches and noise."""

    @field_validator("evaluate_heads")
    @classmethod
    def _known(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        if not set(heads) <= MODELS.keys():
            raise ValueError(f"expected some of [{', '.join(MODELS)}]")
        return heads


class GanConfig(Config):
    """A generator's training, whole: what it reads, its shape, its losses, its schedule."""

    features: Path | None = None
    """Feature set to distil; none: the synthetic corpus of the demo."""
    bank: Path | None = None
    """Bank of frozen heads for the softmax matching loss and for soft labels."""
    architecture: Architecture = Architecture()
    """Sizes of generator and critic."""
    losses: LossWeights = LossWeights()
    """The lambdas of eq. (1)-(8)."""
    training: Training = Training()
    """The schedule."""


@dataclass(frozen=True)
class Batch:
    """Rows 2k and 2k + 1 are of the same class: real [B, T, D] and noise [B, Z] of labels [B]; mix [B] in 0..1.

    Real samples are standardised: mean 0 and standard deviation 1 in each dimension over the training part.
    """

    labels: Tensor
    real: Tensor
    noise: Tensor
    mix: Tensor
    head: Head


class Gan:
    """Everything a training step reads and changes."""

    def __init__(self, config: GanConfig, features: FeatureSet, bank: Bank, device: torch.device) -> None:
        self.config, self.features, self.bank, self.device = config, features, bank.to(device), device
        classes = len(features.labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator_for(config.training.seed, INITIAL).initial_seed())
            self.generator = Generator(config.architecture, classes, features.dims).to(device)
            self.critic = Critic(config.architecture, classes, features.dims).to(device)
        mean, deviation = features.moments()
        self.mean, self.deviation = mean.to(device), deviation.clamp(min=1e-4).to(device)
        self.rows = [np.flatnonzero(features.targets == c) for c in range(classes)]
        missing = [label for label, rows in zip(features.labels, self.rows, strict=True) if not len(rows)]
        if missing:
            raise InputError(f"{features.folder} has no training utterance of [{', '.join(missing)}]")
        if config.architecture.start == "closed-form":
            self.generator.start_from(*self.closed_form())
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        training = config.training
        self.generator_optimiser = torch.optim.Adam(
            self.generator.parameters(), training.learning_rate, betas=training.betas
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critic.parameters(), training.critic_learning_rate, betas=training.betas
        )

    def units(self, samples: Tensor) -> Tensor:
        """Standardised samples [B, T, D] in the units of the features, as heads expect them."""
        return samples * self.deviation + self.mean

    def closed_form(self) -> tuple[Tensor, Tensor]:
        """Class means [C, T D] and scaled principal components [K, T D] of standardised windows, K at most Z.

        As the class-Gaussian control, but one scale for all classes, and fitted to at most ``START_CLIPS`` windows.
        """
        architecture, draws = self.config.architecture, generator_for(self.config.training.seed, INITIAL)
        order = torch.randperm(len(self.features), generator=draws).numpy()
        classes = self.features.targets[order]
        each = START_CLIPS // len(self.rows)
        kept = np.sort(np.concatenate([np.flatnonzero(classes == c)[:each] for c in range(len(self.rows))]))
        clips = self.features.windows(order[kept], architecture.frames, draws)
        clips = (clips - self.mean.cpu()) / self.deviation.cpu()
        fitted = gaussian.fit(clips, torch.from_numpy(classes[kept]), len(self.rows), architecture.noise)
        return fitted.mean, fitted.basis * fitted.scale.square().mean(0).sqrt()[:, None]

    def batch(self, *key: int) -> Batch:
        """A batch decided by the seed and this key alone; pairs of each class as nearly equal in number as B allows."""
        training, architecture = self.config.training, self.config.architecture
        draws = generator_for(training.seed, *key)
        classes = torch.randperm(len(self.rows), generator=draws).repeat(training.batch)[: training.batch // 2]
        labels = classes.repeat_interleave(2)
        real = self.features.windows(_drawn(self.rows, labels, draws), architecture.frames, draws)
        noise = torch.randn(training.batch, architecture.noise, generator=draws)
        mix = torch.rand(training.batch, generator=draws)
        head = self.bank.draw(draws)
        on_device = (x.to(self.device) for x in (labels, real, noise, mix))
        labels, real, noise, mix = on_device
        return Batch(labels, (real - self.mean) / self.deviation, noise, mix, head)

    def state(self) -> dict[str, Tensor]:
        """Everything the next step depends on, as named tensors."""
        parts = {
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "average": self.average.state_dict(),
            "generator_optimiser": optimiser_state(self.generator_optimiser),
            "critic_optimiser": optimiser_state(self.critic_optimiser),
        }
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def load_state(self, state: dict[str, Tensor], where: Path) -> None:
        """Undo ``state``. Raises InputError if a tensor is missing or of another shape."""

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}

        for name in ("generator", "critic", "average"):
            load_module(getattr(self, name), part(name), where)
        for name in ("generator_optimiser", "critic_optimiser"):
            load_optimiser_state(getattr(self, name), part(name))

    def sampler(self, updates: int) -> Sampler:
        """The averaged generator after so many updates, with all it needs to sample without the corpus."""
        features = self.features
        lengths = features.lengths
        facts = made_from(features) | {
            "architecture": self.config.architecture.to_dict(),
            "labels": features.labels,
            "dims": features.dims,
            "class_counts": features.class_counts,
            "frames_of_corpus": {
                "shortest": int(lengths.min()),
                "mean": float(lengths.mean()),
                "longest": int(lengths.max()),
            },
            "trained": {"updates": updates, "config": shareable(self.config)},
        }
        scale = self.mean.cpu(), self.deviation.cpu()
        return Sampler(
            copy.deepcopy(self.average).cpu(), *scale, copy.deepcopy(Bank(self.bank.converged())).to("cpu"), facts
        )


def critic_step(gan: Gan, batch: Batch) -> dict[str, Tensor]:
    """One update of the critic, eq. (4); a term of weight 0 is not computed."""
    weights = gan.config.losses
    penalty = real = made = torch.zeros((), device=gan.device)
    with torch.no_grad():
        generated = gan.generator(batch.labels, batch.noise)
    real_scores, real_classes, _ = gan.critic(batch.real)
    scores, classes, _ = gan.critic(generated)
    adversarial = losses.critic_adversarial(real_scores, scores)
    if weights.gradient_penalty:
        penalty = losses.gradient_penalty(lambda x: gan.critic(x)[0], batch.real, generated, batch.mix)
    if weights.class_real:
        real = F.cross_entropy(real_classes, batch.labels)
    if weights.class_generated:
        made = F.cross_entropy(classes, batch.labels)
    loss = losses.critic_loss(adversarial, penalty, real, made, weights)
    gan.critic_optimiser.zero_grad()
    loss.backward()
    gan.critic_optimiser.step()
    return {
        "critic/adversarial": adversarial,
        "critic/gradient_penalty": penalty,
        "critic/class_real": real,
        "critic/class_generated": made,
    }


def generator_step(gan: Gan, batch: Batch) -> dict[str, Tensor]:
    """One update of the generator, eq. (8); a term of weight 0 is not computed."""
    weights = gan.config.losses
    made = matching = diversity = softmax = torch.zeros((), device=gan.device)
    samples = gan.generator(batch.labels, batch.noise)
    scores, classes, maps = gan.critic(samples)
    adversarial = losses.generator_adversarial(scores)
    if weights.class_generated:
        made = F.cross_entropy(classes, batch.labels)
    if weights.feature_matching:
        with torch.no_grad():
            real_maps = gan.critic(batch.real)[2]
        matching = losses.feature_matching(real_maps, maps)
    if weights.diversity:
        pairs = samples[0::2], samples[1::2], batch.noise[0::2], batch.noise[1::2]
        diversity = losses.diversity(*pairs, bound=weights.diversity_bound)
    if weights.softmax_matching:
        lengths = torch.full((len(samples),), samples.shape[1], device=gan.device)
        with torch.no_grad():
            target = batch.head(gan.units(batch.real), lengths)
        softmax = losses.softmax_matching(target, batch.head(gan.units(samples), lengths))
    plain = losses.generator_loss(adversarial, made, matching, weights)
    loss = losses.distillation_loss(plain, diversity, softmax, weights)
    gan.generator_optimiser.zero_grad()
    loss.backward()
    gan.generator_optimiser.step()
    return {
        "generator/adversarial": adversarial,
        "generator/class_generated": made,
        "generator/feature_matching": matching,
        "generator/diversity": diversity,
        "generator/softmax_matching": softmax,
    }


@torch.no_grad()
def average_step(gan: Gan, update: int) -> None:
    """Move the weight average towards the generator; early on faster, so that it forgets the initial weights."""
    decay = min(gan.config.training.average, update / (update + 10))
    for averaged, current in zip(gan.average.state_dict().values(), gan.generator.state_dict().values(), strict=True):
        if averaged.is_floating_point():
            averaged.lerp_(current, 1 - decay)
        else:
            averaged.copy_(current)


def configured(path: Path | None, settings: list[str], out: Path, resume: bool) -> GanConfig:
    """The settings of a training: from a YAML file, or when resuming without one, the run's own.

    Raises InputError for a bad setting, or if no such run can begin in ``out``: before any work for its inputs.
    """
    check_folder(out, resume)
    return GanConfig.load(out / CONFIG if resume and path is None else path, settings)


def train(config: GanConfig, out: Path, resume: bool = False) -> None:
    """Train a generator in the run folder ``out``; ``out/generator`` is the best by dev so far, or the last.

    Raises InputError for bad input, RunError naming the term when a loss is no longer a sane number.
    """
    gan, dev = prepared(config)
    read = {"features": gan.features.fingerprint, "bank": fingerprint(Path(str(config.bank)))}
    run = Run(out, config, resume, free=("features", "bank", "training.updates"), **read)
    if run.step > config.training.updates:
        raise InputError(f"{out} has made {run.step} updates already, more than training.updates asks for")
    if run.state:
        gan.load_state(run.state, out)
    if dev is None:
        say(f"{config.features} has no dev part: the last generator is kept")
    updates, done = config.training.updates, run.step
    with stop_asked() as stop:
        for update in track(range(done + 1, updates + 1), "training", updates, done, unit="updates"):
            scalars = one_update(gan, update)
            last = update == updates
            if update % config.training.log_every == 0:
                run.log(update, scalars)
            if last or update % config.training.evaluate_every == 0:
                keep_if_better(gan, run, dev, update)
            if last or stop or update % config.training.checkpoint_every == 0:
                run.checkpoint(update, gan.state())
            if stop and not last:
                say(f"Stopped after update {update}; go on with --resume")
                raise KeyboardInterrupt
    say(f"Generator: {out / KIND}")


def prepared(config: GanConfig) -> tuple[Gan, FeatureSet | None]:
    """The untrained GAN and the dev part, if there is one. Raises InputError for input that does not fit together."""
    from accelerate import PartialState

    if config.features is None or config.bank is None:
        raise InputError("Training needs a feature set and a bank: --set features=DIR --set bank=DIR")
    place = PartialState()
    if place.num_processes > 1:
        raise InputError("Training runs in one process: start it with --num_processes 1")
    whole = FeatureSet.open(config.features)
    features, bank = whole.training_part(), Bank.open(config.bank)
    bank.check_match(features)
    dev = whole.part("dev") if "dev" in set(whole.index["split"]) else None
    return Gan(config, features, bank, torch.device(place.device or "cpu")), dev


def untrained(config: GanConfig) -> Sampler:
    """The control that a trained generator must beat: the same one, with its initial weights."""
    return prepared(config)[0].sampler(0)


def one_update(gan: Gan, update: int) -> dict[str, float]:
    """Critic updates, then one generator update, then the average. Raises RunError naming a term gone wrong."""
    scalars: dict[str, Tensor] = {}
    for k in range(gan.config.training.critic_steps):
        scalars |= critic_step(gan, gan.batch(CRITIC, update, k))
    scalars |= generator_step(gan, gan.batch(GENERATOR, update))
    average_step(gan, update)
    values = torch.stack([value.detach() for value in scalars.values()]).tolist()
    named = dict(zip(scalars, values, strict=True))
    check_finite(update, named)
    return named


def keep_if_better(gan: Gan, run: Run, dev: FeatureSet | None, update: int) -> None:
    """Score the averaged generator on dev and keep it if no earlier one was better; without dev keep it anyway."""
    sampler = gan.sampler(update)
    scores = {} if dev is None else dev_scores(sampler, dev, gan.config.training)
    score = sum(scores.values()) / len(scores) if scores else None
    if scores:
        run.log(update, {f"dev/{name}": value for name, value in scores.items()})
        listed = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        say(f"update {update}: dev UAR of heads trained on samples: {listed}")
    if score is None or run.best is None or score > run.best:
        run.best = score
        sampler.facts["trained"] |= {"dev_uar": scores}
        made_by = {"command": "train", "seed": gan.config.training.seed}
        sampler.save(run.folder / KIND, made_by, card(sampler))


def dev_scores(sampler: Sampler, dev: FeatureSet, training: Training) -> dict[str, float]:
    """UAR on dev of one head of each scoring kind, trained on samples alone."""
    with tempfile.TemporaryDirectory() as scratch:
        distilled = Path(scratch) / "distilled"
        sample(sampler, dict.fromkeys(sampler.labels, training.evaluate_ppc), training.seed, distilled)
        samples = FeatureSet.open(distilled)
        heads = {kind: train_head(samples, HeadConfig(head=kind)) for kind in training.evaluate_heads}
    return {kind: head_score(head, dev)["uar"] for kind, head in heads.items()}


def shareable(config: GanConfig) -> dict[str, Any]:
    """The settings that shaped a generator, without where things lay on somebody's disk."""
    return {key: value for key, value in config.to_dict().items() if key not in ("features", "bank")}


def card(sampler: Sampler) -> str:
    """The generator's README: what it is, what it came from, how to sample, what is not claimed."""
    facts = sampler.facts
    architecture = sampler.generator.architecture
    counts = "".join(f"| {label} | {count} |\n" for label, count in facts["class_counts"].items())
    scores = ", ".join(f"{kind} {uar:.3f}" for kind, uar in facts["trained"]["dev_uar"].items()) or "not measured"
    start = {
        "random": "Trained from random weights, as in the paper.",
        "closed-form": "Trained from a closed-form start (class means, principal components), not in the paper.",
    }[architecture.start]
    return f"""# Generator `{architecture.kind}`

{start}

Replaces the training part of a labelled speech corpus: it makes labelled features, {architecture.frames} frames of
{sampler.generator.dims} dims each.

    gandistill sample GENERATOR --ppc 100 --balanced --out distilled

Corpus: {facts.get("corpus") or "not stated"}; licence of the corpus: {facts.get("licence") or "not stated"}.
UAR on the dev part of heads trained on its samples alone: {scores} (it was chosen by this score).

| class | utterances of the training part |
|---|---|
{counts}
It holds no recording, but nothing was measured here that would show it keeps speakers private.
Settings and provenance are in `config.json`.
"""


def _drawn(rows: list[NDArray[np.int64]], labels: Tensor, draws: torch.Generator) -> NDArray[np.int64]:
    places = torch.rand(len(labels), generator=draws).tolist()
    return np.array([rows[c][int(place * len(rows[c]))] for c, place in zip(labels.tolist(), places, strict=True)])
