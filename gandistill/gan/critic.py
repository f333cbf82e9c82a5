"""From a sample to its Wasserstein score and its class: the critic, the paper's discriminator.

Paper: Ritter-Gutierrez et al. 2024, section 5.1: eight 2-D convolutions with layer norm and leaky ReLU, then two linear
outputs. Here: every other convolution halves the map (the paper does not say where). Those of ``gan-time`` have time as
their only axis, and dims as channels.
"""

import math

import torch
from torch import Tensor, nn

from gandistill.gan.generator import SLOPE, Architecture


class LayerNorm(nn.GroupNorm):
    """Layer norm over all of a map [K, T, F] with a gain for each channel (WGAN-GP: no statistics across the batch)."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)


class Critic(nn.Module):
    """Standardised samples [B, T, D] to scores [B], class logits [B, C] and the eight feature maps."""

    def __init__(self, architecture: Architecture, classes: int, dims: int) -> None:
        super().__init__()
        self.over_time, sides = architecture.over_time, architecture.sides
        fan_ins = (dims if self.over_time else 1, *architecture.critic_channels[:-1])
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(fan_in, fan_out, sides(3), sides(2 - layer % 2), sides(1, 0)),
                LayerNorm(fan_out),
                nn.LeakyReLU(SLOPE, inplace=True),
            )
            for layer, (fan_in, fan_out) in enumerate(zip(fan_ins, architecture.critic_channels, strict=True))
        )
        halvings = len(self.layers) // 2
        bands = 1 if self.over_time else math.ceil(dims / 2**halvings)
        places = math.ceil(architecture.frames / 2**halvings) * bands
        self.score = nn.Linear(places * architecture.critic_channels[-1], 1)
        self.classify = nn.Linear(places * architecture.critic_channels[-1], classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Scores [B], class logits [B, C] and the maps [B, K, T', D'] of each layer, from samples [B, T, D]."""
        maps, feature_maps = samples.mT.unsqueeze(3) if self.over_time else samples.unsqueeze(1), []
        for layer in self.layers:
            maps = layer(maps)
            feature_maps.append(maps)
        flat = torch.flatten(maps, 1)
        return self.score(flat).squeeze(1), self.classify(flat), feature_maps
