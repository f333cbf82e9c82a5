"""SUPERB's emotion head: linear from end to end, so it sees an utterance only through its mean.

Shapes: B batch, T frames, D feature dims, C classes.
"""

import torch
from torch import Tensor, nn

PROJECTION = 256
"""Width of the projector that opens each of SUPERB's emotion heads."""


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """Mask [B, T, 1], true where a frame belongs to its utterance, from lengths [B] and T."""
    places = torch.arange(frames, device=lengths.device)
    return (places < lengths[:, None]).unsqueeze(-1)


def all_valid(valid: Tensor) -> bool:
    """Whether every frame belongs to its utterance, as all do in what is exported: it takes one utterance, whole."""
    return torch.compiler.is_exporting() or bool(valid.all())


class Superb(nn.Module):
    """Linear(D, 256), mean over valid frames, Linear(256, C), with no nonlinearity anywhere.

    Means commute with linear maps, so frames are averaged before they are projected: the same function.
    197,892 parameters at D = 768 and C = 4.

    Source: Yang et al. 2021 (SUPERB); s3prl's ``emotion`` downstream with ``MeanPooling``.
    """

    sees = "mean"

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        self.projector = nn.Linear(dims, PROJECTION)
        self.linear = nn.Linear(PROJECTION, classes)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]."""
        valid = valid_frames(lengths, frames.shape[1])
        mean = frames.masked_fill(~valid, 0.0).sum(1) / lengths.unsqueeze(1)
        return self.linear(self.projector(mean))
