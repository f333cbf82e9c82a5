"""The GAN paper's equations (1)-(8), one function each.

Paper: Ritter-Gutierrez et al. 2024, "Dataset-Distillation Generative Model for Speech Emotion Recognition". Shapes: B
batch, T frames, D feature dims, C classes, Z noise. Every function returns a scalar tensor, a mean over the batch.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from gandistill.config import Config


class LossWeights(Config):
    """The lambdas of eq. (1)-(8). A weight of 0 switches its term off.

    Paper: lambda_1 = 10, the others not given. Here: from a few trials on train and
    dev parts of RAVDESS (``ravdess-dyads``, fold 1), not a search.
    """

    gradient_penalty: NonNegativeFloat = 10.0
    """lambda_1, eq. (1)."""
    class_real: NonNegativeFloat = 1.0
    """lambda_2, eq. (4): the critic's cross-entropy on real samples."""
    class_generated: NonNegativeFloat = 1.0
    """lambda_3, eq. (4) and (5): cross-entropy of the critic's class output on generated samples."""
    feature_matching: NonNegativeFloat = 0.1
    """lambda_4, eq. (5)."""
    diversity: NonNegativeFloat = 1.0
    """lambda_5, eq. (8)."""
    softmax_matching: NonNegativeFloat = 10.0
    """lambda_6, eq. (8)."""
    diversity_bound: PositiveFloat | None = None
    """tau, eq. (7); none: the ratio that pairs of real clips have, measured before training."""


def critic_adversarial(real_scores: Tensor, generated_scores: Tensor) -> Tensor:
    """Negative Wasserstein estimate from scores [B] and [B], without the penalty. Eq. (1)."""
    return generated_scores.mean() - real_scores.mean()


def gradient_penalty(score: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, mix: Tensor) -> Tensor:
    """How far the critic's slope is from 1 between real [B, T, D] and generated [B, T, D] samples.

    ``mix`` [B] in 0..1 is the share of the real sample in each interpolate. L_GP of eq. (1); Gulrajani et al. 2017.
    """
    mix = mix.view(-1, *[1] * (real.dim() - 1))
    interpolates = (mix * real + (1 - mix) * generated).detach().requires_grad_()
    (slope,) = torch.autograd.grad(score(interpolates).sum(), interpolates, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def generator_adversarial(generated_scores: Tensor) -> Tensor:
    """The generator raises the critic's scores [B]. Eq. (2)."""
    return -generated_scores.mean()


def feature_matching(real_maps: Sequence[Tensor], generated_maps: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of the critic's M feature maps, each [B, ...], averaged over layers. Eq. (3).

    Paper: |.| unnormalised. Here: the mean over a map's elements, so that every layer counts the same, as in HiFi-GAN.
    """
    return torch.stack([F.l1_loss(g, r) for r, g in zip(real_maps, generated_maps, strict=True)]).mean()


def critic_loss(adversarial: Tensor, penalty: Tensor, real: Tensor, generated: Tensor, weights: LossWeights) -> Tensor:
    """Eq. (1) with its penalty, plus the cross-entropies ``real`` and ``generated`` of the class output. Eq. (4)."""
    return (
        adversarial
        + weights.gradient_penalty * penalty
        + weights.class_real * real
        + weights.class_generated * generated
    )


def generator_loss(adversarial: Tensor, generated: Tensor, matching: Tensor, weights: LossWeights) -> Tensor:
    """The plain conditional WGAN-GP's generator loss, ``generated`` the cross-entropy of the class output. Eq. (5)."""
    return adversarial + weights.class_generated * generated + weights.feature_matching * matching


def softmax_matching(real_logits: Tensor, generated_logits: Tensor) -> Tensor:
    """KL divergence of a frozen head's posteriors, real from generated, logits [B, C] and [B, C]. Eq. (6).

    Row j of both must be of the same class.
    """
    target = F.log_softmax(real_logits, dim=1)
    return F.kl_div(F.log_softmax(generated_logits, dim=1), target, reduction="batchmean", log_target=True)


def diversity(first: Tensor, second: Tensor, first_noise: Tensor, second_noise: Tensor, bound: float) -> Tensor:
    """Minus the mean ratio of output distance to noise distance, at most ``bound`` (tau) for a pair. Eq. (7).

    Samples [B, T, D] and noises [B, Z]; row j of all four is of the same class, so the one-hot parts of z cancel.
    Paper: |.| unnormalised. Here: mean absolute differences, so that tau means the same at any T, D and Z.
    """
    outputs = (first - second).abs().flatten(1).mean(dim=1)
    noises = (first_noise - second_noise).abs().mean(dim=1)
    return -(outputs / noises).clamp(max=bound).mean()


def real_diversity(first: Tensor, second: Tensor) -> float:
    """The ratio of eq. (7) that real clips of one class in pairs, [B, T, D] each, would have: what tau bounds by.

    Their noise is not known: two standard normal values lie 2 / sqrt(pi) apart in the mean. Not in the paper.
    """
    return float((first - second).abs().mean()) * math.sqrt(math.pi) / 2


def distillation_loss(generator: Tensor, diversity: Tensor, matching: Tensor, weights: LossWeights) -> Tensor:
    """The proposed generator loss: eq. (5) plus diversity and softmax matching. Eq. (8)."""
    return generator + weights.diversity * diversity + weights.softmax_matching * matching
