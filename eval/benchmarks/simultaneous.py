"""A trial that is in no recipe: critic and generator learn from one pass of the critic, everything else as ours.

Ours moves the critic first, so that the generator is judged by the critic as it then is; that takes a second pass of
the critic, over samples and real clips. Here both gradients are taken at the weights before the update (simultaneous
gradient descent, Nowozin et al. 2016, "f-GAN", algorithm 1), and real clips and samples pass the critic once. What it
saves ``train_step.py`` says, what it reaches beside ours ``equal_updates.py``.

Shapes: B batch, T frames, D feature dims.
"""

import torch
import torch.nn.functional as F

from gandistill.gan import losses
from gandistill.gan.steps import Gan
from relativistic import guided


def one_update(gan: Gan, update: int) -> None:
    """Both gradients, then both updates, then the weight average. Eq. (4) and (8), every term with its weight."""
    weights, training = gan.config.losses, gan.config.training
    batch = gan.batch(update, 0)
    samples = gan.generate(batch)
    generated = samples.detach().requires_grad_()
    real_scores, real_classes, real_maps = gan.judge(batch.real)
    generated_scores, generated_classes, generated_maps = gan.judge(generated)
    real_entropy, generated_entropy = (
        F.cross_entropy(classes, batch.labels) for classes in (real_classes, generated_classes)
    )

    adversarial = losses.generator_adversarial(generated_scores)
    matching = losses.feature_matching([real.detach() for real in real_maps], generated_maps)
    plain = losses.generator_loss(adversarial, generated_entropy, matching, weights)
    (gradient,) = torch.autograd.grad(guided(gan, batch, generated, plain), generated, retain_graph=True)

    penalty = torch.zeros((), device=gan.device)
    if update % training.penalty_every == 0:
        penalty = losses.gradient_penalty(lambda x: gan.critic(x)[0], batch.real, generated, batch.mix)
    adversarial = losses.critic_adversarial(real_scores, generated_scores)
    loss = losses.critic_loss(adversarial, penalty * training.penalty_every, real_entropy, generated_entropy, weights)
    gan.critic_optimiser.zero_grad()
    loss.backward(inputs=list(gan.critic.parameters()))
    gan.critic_optimiser.step()

    gan.generator_optimiser.zero_grad()
    samples.backward(gradient)
    gan.generator_optimiser.step()
    gan.average_step(update)
