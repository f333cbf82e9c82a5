"""A trial that is in no recipe: R3GAN's adversarial loss in place of the paper's, everything else as ours.

Huang et al. 2024, "The GAN is dead; long live the GAN! A modern GAN baseline": the critic tells a real sample from a
generated one of its pair (here both of one class), and is kept flat around real samples (R1) and generated ones (R2).
One critic update and one generator update on the same batch. What it reaches beside ours, ``equal_updates.py`` says.

Shapes: B batch, T frames, D feature dims.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gandistill.gan import losses
from gandistill.gan.steps import Batch, Gan

GAMMA = 1.0
"""Weight of R1 + R2."""


def one_update(gan: Gan, update: int) -> None:
    """A critic update, a generator update, the weight average."""
    batch = gan.batch(update, 0)
    samples = gan.generate(batch)
    critic_update(gan, batch, samples.detach(), update % gan.config.training.penalty_every == 0)
    generator_update(gan, batch, samples)
    gan.average_step(update)


def critic_update(gan: Gan, batch: Batch, generated: Tensor, penalised: bool) -> None:
    """On real and generated [B, T, D]; the penalties as rarely as ours, and weighted by as much."""
    weights, training = gan.config.losses, gan.config.training
    both = torch.cat([batch.real, generated]).requires_grad_(penalised)
    scores, classes, _ = gan.judge(both)
    loss = adversarial(*scores.chunk(2))
    for weight, logits in zip((weights.class_real, weights.class_generated), classes.chunk(2), strict=True):
        loss = loss + weight * F.cross_entropy(logits, batch.labels)
    if penalised:
        (slopes,) = torch.autograd.grad(scores.sum(), both, create_graph=True)
        flatness = 2 * slopes.flatten(1).square().sum(1).mean()  # R1 + R2, each a mean over half of the rows
        loss = loss + GAMMA / 2 * training.penalty_every * flatness
    gan.critic_optimiser.zero_grad()
    loss.backward()
    gan.critic_optimiser.step()


def generator_update(gan: Gan, batch: Batch, generated: Tensor) -> None:
    """Through generated [B, T, D], which hold the generator's graph."""
    weights = gan.config.losses
    gan.critic.requires_grad_(False)
    scores, classes, maps = gan.judge(generated)
    with torch.no_grad():
        real_scores, _, real_maps = gan.judge(batch.real)
    plain = adversarial(scores, real_scores) + weights.class_generated * F.cross_entropy(classes, batch.labels)
    plain = plain + weights.feature_matching * losses.feature_matching(real_maps, maps)
    gan.generator_optimiser.zero_grad()
    guided(gan, batch, generated, plain).backward()
    gan.generator_optimiser.step()
    gan.critic.requires_grad_(True)


def guided(gan: Gan, batch: Batch, generated: Tensor, plain: Tensor) -> Tensor:
    """Eq. (8): the ``plain`` loss of generated [B, T, D], with diversity and the matching of a head of the bank."""
    weights = gan.config.losses
    lengths = torch.full((len(generated),), generated.shape[1], device=gan.device)
    with torch.no_grad():
        target = batch.head(gan.units(batch.real), lengths)
    matching = losses.softmax_matching(target, batch.head(gan.units(generated), lengths))
    pairs = generated[0::2], generated[1::2], batch.noise[0::2], batch.noise[1::2]
    return losses.distillation_loss(plain, losses.diversity(*pairs, bound=gan.diversity_bound), matching, weights)


def adversarial(higher: Tensor, lower: Tensor) -> Tensor:
    """Small where scores [B] of the first are above those [B] of the second, pair by pair (RpGAN's loss)."""
    return F.softplus(lower - higher).mean()
