"""From a class and noise to a sample: GAN-CNN and GAN-ATT, and one whose only axis is time.

Paper: Ritter-Gutierrez et al. 2024, section 5.1. A sample [T, D] is treated as an image of one channel, time by
feature dims. The generator is transposed and plain 2-D convolutions with batch norm and leaky ReLU; its last
convolution is bare, without tanh, since features are not limited to [-1, 1]. Not the paper's: dims of an encoder have
no neighbours, so ``gan-time`` takes them as channels, in the same layers over time alone.

Shapes: B batch, T frames, D feature dims, C classes, Z noise.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Annotated, Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gandistill.batch_norm import BatchNorm
from gandistill.config import Config

SLOPE = 0.2
CLOSED_FORMS = ("class-gaussian",)
"""Kinds that are fitted, not trained."""
FLOW = "flow"
PAPER = ("gan-cnn", "gan-att")
"""The paper's kinds."""
WITHOUT_BANK = (*CLOSED_FORMS, FLOW)
"""Kinds that no bank takes part in; given one, it makes soft labels."""
Size = Annotated[int, Field(ge=1, le=2**16)]
Width = Annotated[int, Field(ge=1, le=2**14)]
"""Bounded, so that no generator file can ask for sizes that overflow."""


class Architecture(Config):
    """Widths of generator and critic. The paper gives layer kinds, channels and the bytes; the rest is ours."""

    kind: Literal["gan-cnn", "gan-att", "gan-time", "flow", "class-gaussian"] = "class-gaussian"
    """class-gaussian: no network but a Gaussian for each class, of ``noise`` components, fitted in closed form;
    gan-cnn, the paper's: convolutions alone; gan-att, the paper's too: dilated ones and one self-attention over time
    after the 4th; gan-time: as gan-att, with dims as channels, many times as fast on wide features; flow: a rectified
    flow from such a Gaussian to clips."""
    preset: Literal["small", "paper"] = "small"
    """Where the other fields' values come from unless given: small suits a CPU, paper comes near Table 1's bytes."""
    start: Literal["random", "closed-form"] = "random"
    """closed-form: beside the convolutions a linear map from z to the sample, set to class means and principal
    components before training, so that the losses only have to improve on such a Gaussian. Not in the paper."""
    frames: Size = 112
    """T of every sample; where it is not given and no preset has it, training takes the median clip's."""
    noise: Size = 64
    """Z, size of the noise e."""
    channels: tuple[Width, ...] = Field(default=(96, 64, 32, 16, 8), min_length=3, max_length=17)
    """Channels of the generator's first map and after each doubling of its size; of a flow, one for each block, all as
    the first."""
    kernel: int = Field(default=3, ge=1, le=63)
    """Side of the generator's plain convolutions, odd."""
    critic_channels: tuple[Width, ...] = Field(default=(8, 16, 16, 32, 32, 64, 64, 64), min_length=8, max_length=8)
    """Channels of the critic's eight convolutions."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if isinstance(values, dict):
            kind, preset = values.get("kind", cls.model_fields["kind"].default), values.get("preset", "small")
            return PRESETS.get(f"{kind}, {preset}", {}) | values
        return values

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is even, expected an odd number")
        if self.kind not in PAPER and self.preset == "paper":
            raise ValueError(f"preset 'paper' is of the paper's kinds, {self.kind} has 'small' alone")
        if self.kind in WITHOUT_BANK and self.start != "random":
            raise ValueError(f"a {self.kind} starts from a Gaussian always, 'start' is for GANs")
        if self.kind == FLOW and len({*self.channels}) > 1:
            raise ValueError(f"channels {self.channels} of a {FLOW} differ, expected one width for all blocks")
        if 2 ** (len(self.channels) - 1) > max(2 * self.frames, 16):
            raise ValueError(f"{len(self.channels)} channels double a map beyond {self.frames} frames, expected fewer")
        return self

    def lasting(self, frames: int) -> "Architecture":
        """The same for samples of another length."""
        return self.build(self.to_dict() | {"frames": frames}, f"samples of {frames} frames")

    @property
    def over_time(self) -> bool:
        """Whether maps [B, K, T, 1] have time as their only axis; else they are images [B, K, T, F]."""
        return self.kind == TIME

    def sides(self, length: int, alone: int = 1) -> tuple[int, int]:
        """A length along both axes of an image, or along time and ``alone`` where that is the only axis."""
        return length, alone if self.over_time else length


TIME = "gan-time"
PRESETS: dict[str, dict[str, Any]] = {
    "gan-cnn, paper": {"frames": 256, "noise": 100, "channels": (256,) * 5, "kernel": 3, "critic_channels": (256,) * 8},
    "gan-att, paper": {"frames": 256, "noise": 120, "channels": (128,) * 5, "kernel": 5, "critic_channels": (128,) * 8},
    "flow, small": {"noise": 256, "channels": (128,) * 6},
    "gan-time, small": {"channels": (256, 192, 128, 128), "critic_channels": (128,) * 8},
}
"""Paper: 256 and 128 channels, 0.1 and 0.06 GB. Here: noise and kernel chosen so that the bytes agree at D = 768."""


class Generator(nn.Module):
    """z = onehot(y) ++ e, e ~ N(0, I), to standardised samples [B, T, D].

    ``saving``: compute again in the backward pass what the forward pass would have kept, which saves memory.
    """

    saving = False

    def __init__(self, architecture: Architecture, classes: int, dims: int) -> None:
        super().__init__()
        self.architecture, self.classes, self.dims = architecture, classes, dims
        first, *rest = architecture.channels
        halvings = len(rest)
        sides, attends = architecture.sides, architecture.kind != "gan-cnn"
        bands = 1 if architecture.over_time else math.ceil(dims / 2**halvings)
        self.start = (first, math.ceil(architecture.frames / 2**halvings), bands)
        self.project = nn.Linear(classes + architecture.noise, math.prod(self.start))
        self.enter = nn.Sequential(BatchNorm(first), nn.LeakyReLU(SLOPE, inplace=True))
        layers: list[nn.Module] = []
        for stage, (fan_in, fan_out) in enumerate(zip(architecture.channels, rest, strict=False)):
            layers += _normed(nn.ConvTranspose2d(fan_in, fan_out, sides(4), sides(2), sides(1, 0), bias=False))
            dilation = 2 if attends else 1
            reach, kernel = dilation * (architecture.kernel // 2), sides(architecture.kernel)
            layers += _normed(nn.Conv2d(fan_out, fan_out, kernel, 1, sides(reach, 0), sides(dilation), bias=False))
            if attends and stage == 1:
                layers.append(TimeAttention(fan_out))
        self.layers = nn.Sequential(*layers)
        self.leave = nn.Conv2d(rest[-1], dims, 1) if architecture.over_time else nn.Conv2d(rest[-1], 1, 3, padding=1)
        self.linear = None
        if architecture.start == "closed-form":
            self.linear = nn.Linear(classes + architecture.noise, architecture.frames * dims, bias=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def start_from(self, means: Tensor, components: Tensor) -> None:
        """Make onehot(y) ++ e give ``means[y] + e @ components`` and nothing else, until training moves the weights.

        Class means [C, T D] and at most Z scaled components [K, T D], all of standardised samples.
        """
        if self.linear is None:
            raise ValueError("this generator has no linear map: its architecture starts at random")
        self.linear.weight.zero_()
        self.linear.weight[:, : self.classes] = means.T
        self.linear.weight[:, self.classes : self.classes + len(components)] = components.T
        nn.init.zeros_(self.leave.weight)
        if self.leave.bias is not None:
            nn.init.zeros_(self.leave.bias)

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Class numbers [B] and noise [B, Z] to samples [B, T, D], in units of the corpus's standard deviation."""
        z = torch.cat([F.one_hot(labels, self.classes).to(noise.dtype), noise], dim=1)
        maps = self.project(z).view(-1, *self.start).contiguous(memory_format=torch.channels_last)
        maps = self.enter(maps)
        for stage in self._stages() if self.saving else ():
            maps = checkpoint(stage, maps, use_reentrant=False, context_fn=self._once)
        if not self.saving:
            maps = self.layers(maps)
        maps = self.leave(maps)
        samples = maps.squeeze(3).mT if self.architecture.over_time else maps.squeeze(1)
        samples = samples[:, : self.architecture.frames, : self.dims]
        return samples if self.linear is None else samples + self.linear(z).view_as(samples)

    def _stages(self) -> Iterator[nn.Sequential]:
        """The layers from each doubling of the map to the next."""
        first = [place for place, layer in enumerate(self.layers) if isinstance(layer, nn.ConvTranspose2d)]
        for start, end in zip(first, [*first[1:], len(self.layers)], strict=True):
            yield nn.Sequential(*list(self.layers)[start:end])

    def _once(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Contexts of the forward pass and of its repetition: statistics count once."""
        return nullcontext(), self._not_counting()

    @contextmanager
    def _not_counting(self) -> Iterator[None]:
        norms = [module for module in self.modules() if isinstance(module, BatchNorm)]
        for norm in norms:
            norm.counting = False
        try:
            yield
        finally:
            for norm in norms:
                norm.counting = True


class TimeAttention(nn.Module):
    """One self-attention over time: a frame of a map [B, K, T, F] is one token, all its channels and bands together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, max(channels // 8, 1), 1)
        self.key = nn.Conv2d(channels, max(channels // 8, 1), 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, K, T, F], each frame with what it finds in the others added."""

        def tokens(conv: nn.Conv2d) -> Tensor:
            vectors = conv(maps).transpose(1, 2).flatten(2)
            return vectors.unsqueeze(1) if torch.compiler.is_exporting() else vectors  # ONNX asks for an axis of heads

        attended = F.scaled_dot_product_attention(tokens(self.query), tokens(self.key), tokens(self.value))
        batch, channels, frames, bands = maps.shape
        return maps + self.mix(attended.view(batch, frames, channels, bands).transpose(1, 2))


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [convolution, BatchNorm(convolution.out_channels), nn.LeakyReLU(SLOPE, inplace=True)]
