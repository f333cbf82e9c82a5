"""One update of the GAN: the paper's section 4, a function a step.

Shapes: B batch (the share of one process), T frames, D feature dims, C classes, Z noise.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gandistill import processes
from gandistill.console import say
from gandistill.controls import gaussian
from gandistill.errors import InputError, RunError
from gandistill.gan import losses
from gandistill.gan.critic import Critic
from gandistill.gan.distilling import BATCH, INITIAL, Distilling
from gandistill.gan.generator import Generator
from gandistill.heads.bank import Bank
from gandistill.heads.head import Head
from gandistill.numerics import drawn_by, generator_for
from gandistill.run import check_finite

T = TypeVar("T")
Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Rows 2k and 2k + 1 are of the same class: real [B, T, D] and noise [B, Z] of labels [B]; mix [B] in 0..1."""

    labels: Tensor
    real: Tensor
    noise: Tensor
    mix: Tensor
    head: Head

    def chunks(self, count: int) -> "Iterator[tuple[slice, Batch]]":
        """At most ``count`` parts of whole pairs, each with its place in the batch."""
        pairs = np.array_split(np.arange(len(self.labels) // 2), count)
        for part in pairs:
            if len(part):
                at = slice(2 * int(part[0]), 2 * int(part[-1]) + 2)
                yield at, Batch(self.labels[at], self.real[at], self.noise[at], self.mix[at], self.head)


@dataclass
class Gan(Distilling[Generator, Bank]):
    """Everything an update of a GAN reads and changes."""

    chunks: int = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        config, training = self.config, self.config.training
        self.chunks = training.chunks
        self.bank.to(self.device)
        for head in self.bank.heads:
            head.to(self.dtype)
        with drawn_by(training.seed, INITIAL):
            generator = Generator(config.architecture, len(self.rows), self.features.dims)
            self.critic = Critic(config.architecture, len(self.rows), self.features.dims)
        if config.architecture.start == "closed-form":
            generator.start_from(*self.closed_form())
        self.diversity_bound = 0.0  # takes no part where its term does not
        if config.losses.diversity:
            self.diversity_bound = config.losses.diversity_bound or self.real_diversity()
        self.place(generator)
        self.critic.to(self.device, self.dtype)
        self.generator_optimiser = self.adam(self.generator, training.learning_rate)
        self.critic_optimiser = self.adam(self.critic, training.critic_learning_rate)

    def units(self, samples: Tensor) -> Tensor:
        """Standardised samples [B, T, D] in the units of the features, as heads expect them."""
        return samples * self.deviation + self.mean

    def closed_form(self) -> tuple[Tensor, Tensor]:
        """Class means [C, T D] and scaled principal components [K, T D] of standardised windows, K at most Z.

        As the class-Gaussian control, but one scale for all classes, and fitted to at most ``START_CLIPS`` windows.
        """
        clips, classes = self.start_clips()
        fitted = gaussian.fit(clips, classes, len(self.rows), self.config.architecture.noise)
        return fitted.mean, fitted.basis * fitted.scale.square().mean(0).sqrt()[:, None]

    def real_diversity(self) -> float:
        """tau of eq. (7) as real clips have it: of pairs of one class, at most ``START_CLIPS`` windows in all.

        Raises InputError where no class has two clips, or all clips of each are the same.
        """
        clips, classes = self.start_clips()
        members = [torch.nonzero(classes == c).flatten() for c in range(len(self.rows))]
        pairs = torch.cat([rows[: len(rows) // 2 * 2].unflatten(0, (-1, 2)) for rows in members])
        bound = losses.real_diversity(clips[pairs[:, 0]], clips[pairs[:, 1]]) if len(pairs) else 0.0
        if not bound:
            where = self.features.folder
            raise InputError(f"{where} has no two different clips of a class: set losses.diversity_bound")
        return bound

    def batch(self, *key: int) -> Batch:
        """This process's share of the batch that the seed and this key decide.

        Pairs of each class, as nearly equal in number as the batch allows.
        """
        training, architecture = self.config.training, self.config.architecture
        draws = generator_for(training.seed, BATCH, *key)
        labels, rows, places = self.drawn(draws)
        noise = torch.randn(training.batch, architecture.noise, generator=draws)
        mix = torch.rand(training.batch, generator=draws)
        head = self.bank.draw(draws)
        shares = (processes.share(x).to(self.device) for x in (labels, noise, mix))
        labels, noise, mix = shares
        return Batch(labels, self.real(rows, places), noise.to(self.dtype), mix.to(self.dtype), head)

    def mixed_precision(self) -> AbstractContextManager[object]:
        """Within, networks compute as the config's precision says."""
        mixed = self.config.training.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)

    def generate(self, batch: Batch) -> Tensor:
        """Samples [B, T, D] of a batch's labels and noise; batch norm's running statistics move."""
        self.generator.saving = self.chunks > 1
        with self.mixed_precision():
            return self.generator(batch.labels, batch.noise).to(self.dtype)

    def judge(self, samples: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The critic's scores [B], class logits [B, C] and feature maps."""
        with self.mixed_precision():
            scores, classes, maps = self.critic(samples)
        return scores.to(self.dtype), classes.to(self.dtype), maps

    @property
    def networks(self) -> dict[str, torch.nn.Module]:
        return super().networks | {"critic": self.critic}

    @property
    def optimisers(self) -> dict[str, tuple[torch.optim.Optimizer, float]]:
        training = self.config.training
        return {
            "generator_optimiser": (self.generator_optimiser, training.learning_rate),
            "critic_optimiser": (self.critic_optimiser, training.critic_learning_rate),
        }

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"memory.chunks": torch.tensor(self.chunks)}

    def load_state(self, state: dict[str, Tensor], where: Path) -> None:
        super().load_state(state, where)
        chunks = state.get("memory.chunks")
        if chunks is None or chunks.shape != () or not 1 <= int(chunks) <= self.config.training.batch:
            raise InputError(f"{where}: 'memory.chunks' is missing or bad")
        self.chunks = max(int(chunks), self.config.training.chunks)

    def facts(self) -> dict[str, float]:
        return {"diversity_bound": self.diversity_bound} if self.config.losses.diversity else {}


def one_update(gan: Gan, update: int) -> dict[str, float]:
    """Critic updates, then one generator update, then the average. Raises RunError naming a term gone wrong.

    The last critic update and the generator update share a batch, so that its samples are computed once.
    """
    training, terms = gan.config.training, Terms()
    gan.set_learning_rates(update)
    for k in range(training.critic_steps):
        batch, statistics = gan.batch(update, k), _statistics(gan.generator)
        last = k == training.critic_steps - 1
        with torch.set_grad_enabled(last):
            samples = within_memory(
                gan, lambda batch=batch, statistics=statistics: _regenerated(gan, batch, statistics)
            )
        critic_update = (update - 1) * training.critic_steps + k + 1
        detached, with_graph = samples.detach(), [samples]
        del samples  # with_graph alone keeps the graph, so that it can be let go of where memory runs out
        terms |= critic_step(gan, batch, detached, critic_update % training.penalty_every == 0)
        if last:
            terms |= generator_step(gan, batch, with_graph, statistics)
    gan.average_step(update)
    values = processes.mean(torch.stack([value.detach().to(gan.dtype) for value in terms.values()])).tolist()
    scalars = dict(zip(terms, values, strict=True))
    check_finite(update, scalars)
    return scalars


def critic_step(gan: Gan, batch: Batch, samples: Tensor, penalised: bool) -> Terms:
    """One update of the critic on samples [B, T, D], eq. (4); a term of weight 0 is not computed."""

    def descend() -> Terms:
        gan.critic_optimiser.zero_grad()
        return _summed(critic_terms(gan, part, samples[at], penalised) for at, part in batch.chunks(gan.chunks))

    terms = within_memory(gan, descend)
    processes.average_gradients(gan.critic.parameters())
    descend_once(gan.critic_optimiser)
    return terms


def critic_terms(gan: Gan, batch: Batch, samples: Tensor, penalised: bool) -> tuple[float, Terms]:
    """Add a part's gradient of eq. (4) to the critic's; gives the part's share of the batch, and its terms."""
    weights, training = gan.config.losses, gan.config.training
    share = len(samples) * processes.world() / training.batch
    penalty = real = generated = torch.zeros((), device=gan.device, dtype=gan.dtype)
    scores, classes, _ = gan.judge(torch.cat([batch.real, samples]))
    (real_scores, generated_scores), (real_classes, generated_classes) = scores.chunk(2), classes.chunk(2)
    adversarial = losses.critic_adversarial(real_scores, generated_scores)
    penalised = penalised and weights.gradient_penalty > 0
    if penalised:
        penalty = losses.gradient_penalty(lambda x: gan.critic(x)[0], batch.real, samples, batch.mix)
    if weights.class_real:
        real = F.cross_entropy(real_classes, batch.labels)
    if weights.class_generated:
        generated = F.cross_entropy(generated_classes, batch.labels)
    loss = losses.critic_loss(adversarial, penalty * training.penalty_every, real, generated, weights)
    (loss * share).backward()
    terms = {"critic/adversarial": adversarial, "critic/class_real": real, "critic/class_generated": generated}
    return share, terms | ({"critic/gradient_penalty": penalty} if penalised else {})


def generator_step(gan: Gan, batch: Batch, with_graph: list[Tensor], statistics: dict[str, Tensor]) -> Terms:
    """One update of the generator, eq. (8), through the samples [B, T, D] in ``with_graph``, which is emptied.

    The losses' gradient by the samples is gathered part by part, and goes through the generator once. If memory runs
    out the samples are made again, from the batch norm ``statistics`` before them.
    """

    def descend() -> Terms:
        samples = with_graph.pop() if with_graph else _regenerated(gan, batch, statistics)
        gan.generator_optimiser.zero_grad()
        gradient = torch.empty_like(samples)

        def parts() -> Iterator[tuple[float, Terms]]:
            for at, part in batch.chunks(gan.chunks):
                share, terms, gradient[at] = generator_terms(gan, part, samples[at].detach().requires_grad_())
                yield share, terms

        terms = _summed(parts())
        samples.backward(gradient)
        return terms

    terms = within_memory(gan, descend)
    processes.average_gradients(gan.generator.parameters())
    descend_once(gan.generator_optimiser)
    return terms


def generator_terms(gan: Gan, batch: Batch, samples: Tensor) -> tuple[float, Terms, Tensor]:
    """A part's share of the batch, its terms of eq. (8), and the loss's gradient [B, T, D] by its samples.

    A term of weight 0 is not computed.
    """
    weights = gan.config.losses
    share = len(samples) * processes.world() / gan.config.training.batch
    generated = matching = diversity = softmax = torch.zeros((), device=gan.device, dtype=gan.dtype)
    scores, classes, maps = gan.judge(samples)
    adversarial = losses.generator_adversarial(scores)
    if weights.class_generated:
        generated = F.cross_entropy(classes, batch.labels)
    if weights.feature_matching:
        with torch.no_grad():
            real_maps = gan.judge(batch.real)[2]
        matching = losses.feature_matching(real_maps, maps)
    if weights.diversity:
        pairs = samples[0::2], samples[1::2], batch.noise[0::2], batch.noise[1::2]
        diversity = losses.diversity(*pairs, bound=gan.diversity_bound)
    if weights.softmax_matching:
        lengths = torch.full((len(samples),), samples.shape[1], device=gan.device)
        with torch.no_grad():
            target = batch.head(gan.units(batch.real), lengths)
        softmax = losses.softmax_matching(target, batch.head(gan.units(samples), lengths))
    plain = losses.generator_loss(adversarial, generated, matching, weights)
    loss = losses.distillation_loss(plain, diversity, softmax, weights)
    (gradient,) = torch.autograd.grad(loss * share, samples)  # by the samples alone: the critic's weights need none
    return (
        share,
        {
            "generator/adversarial": adversarial,
            "generator/class_generated": generated,
            "generator/feature_matching": matching,
            "generator/diversity": diversity,
            "generator/softmax_matching": softmax,
        },
        gradient,
    )


def descend_once(optimiser: torch.optim.Optimizer) -> None:
    """A step of Adam. Raises RunError where memory does not suffice for its moments, which no smaller part avoids."""
    from accelerate.utils.memory import should_reduce_batch_size

    try:
        optimiser.step()
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        weights = sum(weight.nbytes for group in optimiser.param_groups for weight in group["params"])
        raise RunError(
            f"Out of memory for Adam's moments, {2 * weights:,} bytes: a smaller architecture.preset takes less"
        ) from None


def within_memory(gan: Gan, work: Callable[[], T]) -> T:
    """Do work; where memory runs out do it again in twice as many chunks, to the same result but for rounding.

    Raises RunError when a chunk is one pair already, or when other processes wait for this one.
    """
    from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

    while True:
        try:
            return work()
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
        pairs = gan.config.training.batch // 2 // processes.world()
        if gan.chunks >= pairs:
            raise RunError(f"Out of memory with one pair of samples at a time ({gan.chunks} chunks)")
        if processes.world() > 1:
            raise RunError(f"Out of memory: go on by --resume --set training.chunks={2 * gan.chunks}")
        gan.chunks = min(2 * gan.chunks, pairs)
        clear_device_cache(garbage_collection=True)
        say(f"Out of memory: batches are computed in {gan.chunks} chunks from here on, with the same gradients")


def _regenerated(gan: Gan, batch: Batch, statistics: dict[str, Tensor]) -> Tensor:
    """Samples of a batch, batch norm's ``statistics`` first set back to what they were before it."""
    gan.generator.load_state_dict(statistics, strict=False)
    return gan.generate(batch)


def _statistics(generator: Generator) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in generator.named_buffers()}


def _summed(parts: Iterator[tuple[float, Terms]]) -> Terms:
    """Terms of a batch from those of its parts, each weighted by its share."""
    terms = Terms()
    for share, part in parts:
        terms = {name: terms.get(name, 0) + share * value.detach() for name, value in part.items()}
    return terms
