"""The reference that our trainer is measured against: a textbook conditional WGAN-GP with the paper's losses.

As tutorials write it: eager, float32, maps in PyTorch's default layout, torch's Adam, a penalty at every critic update,
a batch and a pass of the generator for each of the two updates, a pass of the critic for each kind of input, and a
backward pass through all of the critic where the generator learns. Networks, losses, batches and settings are ours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gandistill.gan import losses
from gandistill.gan.generator import Generator
from gandistill.gan.steps import Batch, Gan


class PlainGenerator(Generator):
    """The generator, its maps in PyTorch's default layout."""

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        z = torch.cat([F.one_hot(labels, self.classes).to(noise.dtype), noise], dim=1)
        samples = self.leave(self.layers(self.enter(self.project(z).view(-1, *self.start)))).squeeze(1)
        samples = samples[:, : self.architecture.frames, : self.dims]
        return samples if self.linear is None else samples + self.linear(z).view_as(samples)


def make_plain(gan: Gan) -> Gan:
    """Turn a GAN that has made no update into what the reference trains: the same weights, plainly laid out."""
    weights, training = gan.generator.state_dict(), gan.config.training
    gan.generator = PlainGenerator(gan.config.architecture, len(gan.rows), gan.features.dims).to(gan.device)
    gan.generator.load_state_dict(weights)
    for network in (gan.generator, gan.critic, gan.average):
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, nn.LeakyReLU):
                module.inplace = False
    betas = training.betas
    gan.generator_optimiser = torch.optim.Adam(gan.generator.parameters(), training.learning_rate, betas=betas)
    gan.critic_optimiser = torch.optim.Adam(gan.critic.parameters(), training.critic_learning_rate, betas=betas)
    return gan


def one_update(gan: Gan, update: int) -> None:
    """A critic update, a generator update, the weight average."""
    critic_update(gan, gan.batch(update, 0))
    generator_update(gan, gan.batch(update, 1))
    gan.average_step(update)


def critic_update(gan: Gan, batch: Batch) -> None:
    """Eq. (4); a term of weight 0 is left out."""
    weights = gan.config.losses
    generated = gan.generator(batch.labels, batch.noise).detach()
    real_scores, real_classes, _ = gan.critic(batch.real)
    generated_scores, generated_classes, _ = gan.critic(generated)
    loss = losses.critic_adversarial(real_scores, generated_scores)
    loss = loss + weights.class_real * F.cross_entropy(real_classes, batch.labels)
    loss = loss + weights.class_generated * F.cross_entropy(generated_classes, batch.labels)
    if weights.gradient_penalty:
        penalty = losses.gradient_penalty(lambda x: gan.critic(x)[0], batch.real, generated, batch.mix)
        loss = loss + weights.gradient_penalty * penalty
    gan.critic_optimiser.zero_grad()
    loss.backward()
    gan.critic_optimiser.step()


def generator_update(gan: Gan, batch: Batch) -> None:
    """Eq. (8); a term of weight 0 is left out."""
    weights = gan.config.losses
    samples = gan.generator(batch.labels, batch.noise)
    scores, classes, maps = gan.critic(samples)
    loss = losses.generator_adversarial(scores) + weights.class_generated * F.cross_entropy(classes, batch.labels)
    if weights.feature_matching:
        loss = loss + weights.feature_matching * losses.feature_matching(gan.critic(batch.real)[2], maps)
    if weights.diversity:
        pairs = samples[0::2], samples[1::2], batch.noise[0::2], batch.noise[1::2]
        loss = loss + weights.diversity * losses.diversity(*pairs, bound=gan.diversity_bound)
    if weights.softmax_matching:
        lengths = torch.full((len(samples),), samples.shape[1], device=gan.device)
        real_logits, generated_logits = (
            batch.head(gan.units(batch.real), lengths),
            batch.head(gan.units(samples), lengths),
        )
        loss = loss + weights.softmax_matching * losses.softmax_matching(real_logits, generated_logits)
    gan.generator_optimiser.zero_grad()
    loss.backward()
    gan.generator_optimiser.step()
