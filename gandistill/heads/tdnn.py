"""A small time-delay network: of no bank, so that it judges what other heads taught.

Shapes: B batch, T frames, D feature dims, C classes, H hidden width.
"""

import torch
from torch import Tensor, nn

from gandistill.heads.sequence import mask, without


class TDNN(nn.Module):
    """Linear(D, H), three dilated convolutions over time with ReLU, mean and deviation over time, Linear(2 H, C).

    Reach and pooling of an x-vector network, a twentieth of its width: no attention, so that it asks for other things
    of how features move than a bank's heads do. What an utterance is batched with changes nothing.

    Source: Snyder et al. 2018 (*X-vectors: robust DNN embeddings for speaker recognition*).
    """

    sees = "time"
    hidden, dropout = 64, 0.3
    shapes = ((5, 1), (3, 2), (3, 3))
    """Kernel and dilation of each convolution."""

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        self.entry = nn.Linear(dims, self.hidden)
        convolutions = [
            nn.Conv1d(self.hidden, self.hidden, kernel, padding=dilation * (kernel // 2), dilation=dilation)
            for kernel, dilation in self.shapes
        ]
        self.convolutions = nn.ModuleList(convolutions)
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # torch's own shrink what they are given
        self.drop = nn.Dropout(self.dropout)
        self.linear = nn.Linear(2 * self.hidden, classes)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]."""
        valid = mask(lengths, frames.shape[1])
        valid = None if valid is None else valid.mT  # [B, 1, T]
        maps = without(self.entry(frames).mT, valid)
        for convolution in self.convolutions:
            maps = without(self.drop(convolution(maps).relu()), valid)
        mean = maps.sum(2) / lengths[:, None]
        spread = without(maps - mean.unsqueeze(2), valid).square().sum(2) / lengths[:, None]
        return self.linear(torch.cat([mean, (spread + 1e-6).sqrt()], dim=1))
