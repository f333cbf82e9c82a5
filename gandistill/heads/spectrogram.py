"""Heads that see features as a picture, time by frequency. Never in a bank: they judge what a bank's heads taught.

Every layer that halves a picture rounds up, so that one frame stays one place; and every layer finds zeros behind an
utterance's end, as at the edge of a batch, so that what it is batched with changes nothing. Pooling comes after ReLU:
a zero takes no part in a maximum of what ReLU leaves.

Shapes: B batch, T frames, D feature dims, C classes, H channels.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from gandistill.heads.superb import all_valid, valid_frames


def ended(picture: Tensor, lengths: Tensor) -> Tensor:
    """A picture [B, H, T, D] of utterances with lengths [B], zeros behind each end."""
    return picture.masked_fill(~valid_frames(lengths, picture.shape[2]).unsqueeze(1), 0.0)


def halved(lengths: Tensor) -> Tensor:
    """Lengths [B] of utterances after a layer that halves."""
    return (lengths + 1) // 2


class FrameNorm(nn.Module):
    """Batch norm of [B, H, T, D] over the frames that belong to an utterance; zeros at all others.

    Where all frames do, it is plain batch norm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, picture: Tensor, lengths: Tensor) -> Tensor:
        """Normalise a picture [B, H, T, D] of utterances with lengths [B]."""
        valid = valid_frames(lengths, picture.shape[2]).squeeze(-1)
        if all_valid(valid):
            return self.norm(picture)
        by_frame = picture.transpose(1, 2)
        normalised = torch.zeros_like(by_frame)
        normalised[valid] = self.norm(by_frame[valid].unsqueeze(2)).squeeze(2)
        return normalised.transpose(1, 2)


class CNN(nn.Module):
    """Four convolutions with batch norm and ReLU, each halving both axes, mean over valid time, one linear layer.

    The first halves by its stride, which makes it quick, the others by max pooling. Small enough to train in seconds on
    a CPU, for log-Mels and any other features.
    """

    sees = "spectrogram"
    widths = (16, 32, 64, 128)

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, self.widths[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm = FrameNorm(self.widths[0])
        widths = list(pairwise(self.widths))
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1, bias=False) for pair in widths)
        self.norms = nn.ModuleList(FrameNorm(after) for _, after in widths)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        bands = -(-dims // 2 ** len(self.widths))
        self.linear = nn.Linear(self.widths[-1] * bands, classes)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]."""
        picture, lengths = self.stem(ended(frames.unsqueeze(1), lengths)), halved(lengths)
        picture = self.stem_norm(picture, lengths).relu()
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            picture = self.pool(norm(convolution(picture), lengths).relu())
            lengths = halved(lengths)
        mean = picture.sum(2) / lengths[:, None, None]
        return self.linear(mean.flatten(1))


class Convolution(nn.Module):
    """A convolution of odd kernel, then batch norm; with stride 2 it halves both axes."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=bias)
        self.norm = FrameNorm(after)

    def forward(self, picture: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """From a picture [B, H, T, D] of utterances with lengths [B] to another."""
        if self.convolution.stride == (2, 2):
            lengths = halved(lengths)
        return self.norm(self.convolution(picture), lengths), lengths


class Block(nn.Module):
    """Convolutions of one width with batch norm and ReLU, then 2 x 2 max pooling."""

    def __init__(self, before: int, after: int, kernel: int, depth: int = 1, bias: bool = False) -> None:
        super().__init__()
        widths = pairwise((before, *[after] * depth))
        self.convolutions = nn.ModuleList(Convolution(*pair, kernel, bias=bias) for pair in widths)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, picture: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """From a picture [B, H, T, D] of utterances with lengths [B] to one of half the size."""
        for convolution in self.convolutions:
            picture = convolution(picture, lengths)[0].relu()
        return self.pool(picture), halved(lengths)


class Stem(nn.Module):
    """How a ResNet begins: a 7 x 7 convolution of stride 2, batch norm, ReLU, and 3 x 3 max pooling of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = Convolution(1, width, 7, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, picture: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """From a picture [B, 1, T, D] of utterances with lengths [B] to one of a quarter of the size."""
        picture, lengths = self.convolution(picture, lengths)
        lengths = halved(lengths)
        # Windows overlap: one centred behind the end may reach back before it.
        return ended(self.pool(picture.relu()), lengths), lengths


class Residual(nn.Module):
    """Two 3 x 3 convolutions, the first of stride 2, and a 1 x 1 shortcut of stride 2, added before the last ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = Convolution(before, after, 3, stride=2)
        self.second = Convolution(after, after, 3)
        self.shortcut = Convolution(before, after, 1, stride=2)

    def forward(self, picture: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """From a picture [B, H, T, D] of utterances with lengths [B] to one of half the size."""
        straight, _ = self.shortcut(picture, lengths)
        inner, lengths = self.first(picture, lengths)
        residual, lengths = self.second(inner.relu(), lengths)
        return (residual + straight).relu(), lengths


class GlobalMax(nn.Module):
    """What the MTT paper's networks share: each channel's maximum over time and frequency, then two linear layers.

    A clip may have any T and D from 1. In training mode a batch needs more than one place for its batch norm.

    Source: section 4.2 of *Breaking Resource Barriers in SER via Data Distillation* (arXiv 2406.15119). Paper: kernels,
    widths and the number of parameters at 7 classes, nothing on batch norm, biases or how halving rounds. Here: batch
    norm after every convolution, shortcuts too; convolutions have no bias but in VGG-15; rounding up. Why: these give
    all three numbers. VGG-15's needs both (14.85 M with one of them), ResNet-9's needs one (4.95 M with none); a bias
    in front of batch norm changes no output, so the others go without.
    """

    sees = "spectrogram"
    widths = (64, 128, 256, 512)
    hidden = 256

    def __init__(self, blocks: list[nn.Module], classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        hidden = nn.Linear(self.widths[-1], self.hidden)
        self.classifier = nn.Sequential(hidden, nn.ReLU(), nn.Linear(self.hidden, classes))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]."""
        picture = ended(frames.unsqueeze(1), lengths)
        for block in self.blocks:
            picture, lengths = block(picture, lengths)
        return self.classifier(picture.amax((2, 3)))


class CNN6(GlobalMax):
    """Four 5 x 5 convolutions, each followed by max pooling. 4.44 M parameters at 7 classes.

    Paper: 3 x 3 kernels. Here: 5 x 5, as in the CNN-6 of PANNs (Kong et al. 2020). Why: 3 x 3 makes 1.68 M.
    """

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__([Block(*pair, kernel=5) for pair in pairwise((1, *self.widths))], classes)


class ResNet9(GlobalMax):
    """A 7 x 7 convolution with max pooling and three residual blocks. 4.96 M parameters at 7 classes.

    Source: He et al. 2016, whose blocks these are.
    """

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__([Stem(self.widths[0]), *(Residual(*pair) for pair in pairwise(self.widths))], classes)


class VGG15(GlobalMax):
    """Blocks of 2, 2, 3, 3 and 3 convolutions, 3 x 3 with biases, and max pooling. 14.86 M parameters at 7 classes.

    Source: Simonyan and Zisserman 2015.
    """

    def __init__(self, dims: int, classes: int) -> None:
        widths = pairwise((1, *self.widths, self.widths[-1]))
        blocks = zip(widths, (2, 2, 3, 3, 3), strict=True)
        super().__init__([Block(*pair, kernel=3, depth=depth, bias=True) for pair, depth in blocks], classes)
