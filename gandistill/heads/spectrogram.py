"""Heads that see features as a picture, time by frequency. Never in a bank: they judge what a bank's heads taught.

Shapes: B batch, T frames, D feature dims, C classes, H channels.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from gandistill.heads.superb import valid_frames


class FrameNorm(nn.Module):
    """Batch norm of [B, H, T, D] over the frames that belong to an utterance, then ReLU; zeros at all others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, picture: Tensor, lengths: Tensor) -> Tensor:
        """Normalise and rectify a picture [B, H, T, D] of utterances with lengths [B]."""
        valid = valid_frames(lengths, picture.shape[2]).squeeze(-1)
        if valid.all():
            return self.norm(picture).relu()
        by_frame = picture.transpose(1, 2)
        normalised = torch.zeros_like(by_frame)
        normalised[valid] = self.norm(by_frame[valid].unsqueeze(2)).squeeze(2)
        return normalised.transpose(1, 2).relu()


class CNN(nn.Module):
    """Four convolutions with batch norm and ReLU, each halving both axes, mean over valid time, one linear layer.

    The first halves by its stride, which makes it quick, the others by max pooling. Small enough to train in seconds on
    a CPU, for log-Mels and any other features. Every layer finds zeros behind an utterance, as at the edge of a batch,
    and a zero takes no part in a maximum of what ReLU leaves.
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
        picture = frames.masked_fill(~valid_frames(lengths, frames.shape[1]), 0.0).unsqueeze(1)
        lengths = -(-lengths // 2)
        picture = self.stem_norm(self.stem(picture), lengths)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            picture = self.pool(norm(convolution(picture), lengths))
            lengths = -(-lengths // 2)
        mean = picture.sum(2) / lengths[:, None, None]
        return self.linear(mean.flatten(1))
