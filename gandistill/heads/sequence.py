"""Heads that see time: SUPERB's projector, then pooling that weighs frames, or convolutions over them.

Shapes: B batch, T frames, D feature dims, C classes, H hidden width.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, linear

from gandistill.heads.superb import PROJECTION, all_valid, valid_frames


def attend(features: Tensor, scores: Tensor, valid: Tensor | None) -> Tensor:
    """Mean [B, H] of features [B, T, H] weighted by the softmax of scores [B, T, 1] over valid [B, T, 1] frames."""
    weights = without(scores, valid, float("-inf")).softmax(dim=1)
    return (weights.transpose(1, 2) @ features).squeeze(1)


def mask(lengths: Tensor, frames: int) -> Tensor | None:
    """Mask [B, T, 1] of the frames that belong to an utterance, or none where all of them do."""
    valid = valid_frames(lengths, frames)
    return None if all_valid(valid) else valid


def without(frames: Tensor, valid: Tensor | None, value: float = 0.0) -> Tensor:
    """Frames [B, T, D] with ``value`` where valid [B, T, 1] is false; as they are where there is no mask."""
    return frames if valid is None else frames.masked_fill(~valid, value)


class Attentive(nn.Module):
    """Linear(D, 256), attentive pooling, Linear(256, C).

    Source: s3prl's ``emotion`` downstream with ``AttentivePooling``, to which this is equal without padding. s3prl adds
    a 0/1 mask to the scores, so its padding takes part; here padded frames weigh nothing.

    The projector is linear, and so are what comes next on either way: a mean, and the first layer of the scores.
    Averaged first, one frame of each utterance is projected; and where frames are many, both layers are made one.
    """

    sees = "time"

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        self.projector = nn.Linear(dims, PROJECTION)
        self.score = nn.Sequential(nn.Linear(PROJECTION, PROJECTION), nn.ReLU(), nn.Linear(PROJECTION, 1))
        self.linear = nn.Linear(PROJECTION, classes)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]."""
        valid = mask(lengths, frames.shape[1])
        frames = without(frames, valid)
        scores = self.score[1:](self.opened(frames))
        return self.linear(self.projector(attend(frames, scores, valid)))

    def opened(self, frames: Tensor) -> Tensor:
        """The first layer of the scores [B, T, 256] behind the projector, of frames [B, T, D]."""
        first, projector = self.score[0], self.projector
        assert isinstance(first, nn.Linear)
        if torch.compiler.is_exporting() or frames.shape[:2].numel() < frames.shape[2]:
            return first(projector(frames))
        return linear(frames, first.weight @ projector.weight, first(projector.bias))


def pictures(series: Tensor) -> Tensor:
    """Features over time [B, T, H] as pictures of one row [B, H, 1, T], channels last: nothing is moved."""
    return series.transpose(1, 2).unsqueeze(2)


def series(pictures: Tensor) -> Tensor:
    """Pictures of one row [B, H, 1, T] as features over time [B, T, H]."""
    return pictures.squeeze(2).transpose(1, 2)


class Convolution(nn.Conv1d):
    """One over time that keeps its length, of features [B, T, H], taken as they lie in memory: channels last."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__(before, after, kernel, padding=kernel // 2)

    def forward(self, input: Tensor) -> Tensor:
        around = (0, self.kernel_size[0] // 2)
        return series(conv2d(pictures(input), self.weight.unsqueeze(2), self.bias, padding=around))


class Dropout(nn.Module):
    """torch's dropout, whose masks take 16 random bits a value: torch draws 64 for each, which costs half a layer."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """In training zeros in a share p of the places [B, T, H], and the others larger by as much."""
        if not self.training:
            return x
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= round((self.p - 0.5) * 2**16)
        return x * kept.to(x.dtype).div_(1 - self.p)


class CNNAttention(nn.Module):
    """Linear(D, 256), then s3prl's ``CNNSelfAttention`` with SUPERB's sizes.

    Average pooling by 5, three convolutions over time, self-attention pooling, two linear layers. Equal to s3prl's on
    each utterance alone: every layer finds zeros behind an utterance, as at the edge of a batch.
    """

    sees = "time"
    hidden, kernel, pooling, dropout = 80, 5, 5, 0.4

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        self.projector = nn.Linear(dims, PROJECTION)
        self.convolutions = nn.ModuleList(
            Convolution(width, self.hidden, self.kernel) for width in (PROJECTION, self.hidden, self.hidden)
        )
        self.drop = Dropout(self.dropout)
        self.score = nn.Linear(self.hidden, 1)
        self.classifier = nn.Sequential(nn.Linear(self.hidden, self.hidden), nn.ReLU(), nn.Linear(self.hidden, classes))

    def averaged(self, frames: Tensor) -> Tensor:
        """Means of five frames, around every fifth of [B, T, D], with zeros before the first and behind the last."""
        return series(avg_pool2d(pictures(frames), (1, self.pooling), padding=(0, self.pooling // 2)))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]."""
        valid = mask(lengths, frames.shape[1])
        # Projector and average are both linear: averaged first, a fifth of the frames is projected, and the bias
        # counts for the share of frames that are there.
        there = self.averaged(frames.new_ones(1, frames.shape[1], 1) if valid is None else valid.to(frames.dtype))
        features = linear(self.averaged(without(frames, valid)), self.projector.weight) + there * self.projector.bias
        valid = None if valid is None else valid_frames((lengths + self.pooling - 1) // self.pooling, features.shape[1])
        for number, convolution in enumerate(self.convolutions):
            before = features if number == 0 else features.relu()
            features = convolution(self.drop(without(before, valid)))
        return self.classifier(attend(features, self.score(features), valid))
