"""Trials that are in no recipe: a critic that is told a sample's class, and one that sees samples shifted and masked.

Shapes: B batch, k of them one after another, T frames, D feature dims, C classes.
"""

import torch
from torch import Tensor, nn

from gandistill.gan import steps
from gandistill.gan.critic import Critic
from gandistill.gan.steps import Gan
from gandistill.numerics import generator_for

FARTHEST, MASKED = 1 / 8, 1 / 8
"""Share of the frames that a sample is shifted by at the most, and that is masked of it."""


class Projection(nn.Module):
    """A critic whose score also says how well a sample fits its class: ``score(x) + <v_y, phi(x)>``, phi the last map.

    Miyato and Koyama 2018, "cGANs with projection discriminator". ``labels`` [B] are those of the batch.
    """

    def __init__(self, critic: Critic, classes: int) -> None:
        super().__init__()
        self.critic = critic
        self.of_class = nn.Linear(critic.score.in_features, classes, bias=False)
        nn.init.zeros_(self.of_class.weight)
        self.labels = torch.empty(0, dtype=torch.long)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As the critic, of samples [k B, T, D]."""
        scores, classes, maps = self.critic(samples)
        labels = self.labels.repeat(len(samples) // len(self.labels))
        return scores + self.of_class(maps[-1].flatten(1)).gather(1, labels[:, None]).squeeze(1), classes, maps


class Disturbed(nn.Module):
    """A critic that sees every sample shifted in time and with a run of frames masked, real and generated alike.

    After Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training".
    """

    def __init__(self, critic: Critic, seed: int) -> None:
        super().__init__()
        self.critic, self.draws = critic, generator_for(seed)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As the critic, of samples [B, T, D]."""
        count, frames = samples.shape[:2]
        most, length = int(FARTHEST * frames), int(MASKED * frames)
        by = torch.randint(-most, most + 1, (count, 1), generator=self.draws)
        begin = torch.randint(0, frames - length + 1, (count, 1), generator=self.draws)
        at = torch.arange(frames).repeat(count, 1)
        seen = (at >= begin + length) | (at < begin)
        seen &= (at + by >= 0) & (at + by < frames)
        shifted = samples[torch.arange(count)[:, None], (at + by).clamp(0, frames - 1)]
        return self.critic(shifted * seen[:, :, None])


def projected(gan: Gan) -> Gan:
    """It with a projection critic."""
    return _with(gan, Projection(gan.critic, len(gan.features.labels)))


def disturbed(gan: Gan) -> Gan:
    """It with a critic that sees disturbed samples."""
    return _with(gan, Disturbed(gan.critic, gan.config.training.seed))


def _with(gan: Gan, critic: nn.Module) -> Gan:
    gan.critic = critic.to(gan.device, gan.dtype)  # type: ignore[assignment]
    gan.critic_optimiser = gan.adam(critic, gan.config.training.critic_learning_rate)
    return gan


def one_projected_update(gan: Gan, update: int) -> object:
    """Ours, the critic told the batch's labels."""
    gan.critic.labels = gan.batch(update, 0).labels  # type: ignore[assignment]
    return steps.one_update(gan, update)
