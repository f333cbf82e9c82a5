"""Heads that see time: SUPERB's projector, then pooling that weighs frames, or convolutions over them.

Shapes: B batch, T frames, D feature dims, C classes, H hidden width.
"""

from torch import Tensor, nn
from torch.nn.functional import linear, pad

from gandistill.heads.superb import PROJECTION, all_valid, valid_frames


def attend(features: Tensor, scores: Tensor, valid: Tensor) -> Tensor:
    """Mean [B, H] of features [B, T, H] weighted by the softmax of scores [B, T, 1] over valid [B, T, 1] frames."""
    weights = scores.masked_fill(~valid, float("-inf")).softmax(dim=1)
    return (features * weights).sum(1)


def without(frames: Tensor, valid: Tensor) -> Tensor:
    """Frames [B, T, D] with zeros where valid [B, T, 1] is false; as they are where it never is."""
    return frames if all_valid(valid) else frames.masked_fill(~valid, 0.0)


class Attentive(nn.Module):
    """Linear(D, 256), attentive pooling, Linear(256, C).

    Source: s3prl's ``emotion`` downstream with ``AttentivePooling``, to which this is equal without padding. s3prl adds
    a 0/1 mask to the scores, so its padding takes part; here padded frames weigh nothing.
    """

    sees = "time"

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        self.projector = nn.Linear(dims, PROJECTION)
        self.score = nn.Sequential(nn.Linear(PROJECTION, PROJECTION), nn.ReLU(), nn.Linear(PROJECTION, 1))
        self.linear = nn.Linear(PROJECTION, classes)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]."""
        valid = valid_frames(lengths, frames.shape[1])
        projected = self.projector(without(frames, valid))
        return self.linear(attend(projected, self.score(projected), valid))


class CNNAttention(nn.Module):
    """Linear(D, 256), then s3prl's ``CNNSelfAttention`` with SUPERB's sizes.

    Average pooling by 5, three convolutions over time, self-attention pooling, two linear layers. Equal to s3prl's on
    each utterance alone: every layer finds zeros behind an utterance, as at the edge of a batch.
    """

    sees = "time"
    hidden, kernel, pooling, dropout = 80, 5, 5, 0.4

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        padding = self.kernel // 2
        self.projector = nn.Linear(dims, PROJECTION)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, self.hidden, self.kernel, padding=padding)
            for width in (PROJECTION, self.hidden, self.hidden)
        )
        self.drop = nn.Dropout(self.dropout)
        self.score = nn.Linear(self.hidden, 1)
        self.classifier = nn.Sequential(nn.Linear(self.hidden, self.hidden), nn.ReLU(), nn.Linear(self.hidden, classes))

    def averaged(self, frames: Tensor) -> Tensor:
        """Means of five frames, around every fifth of [B, T, D], with zeros before the first and behind the last."""
        blocks = (frames.shape[1] + self.pooling - 1) // self.pooling
        before = self.pooling // 2
        padded = pad(frames, (0, 0, before, blocks * self.pooling - frames.shape[1] - before))
        return padded.unflatten(1, (blocks, self.pooling)).mean(2)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Logits [B, C] from frames [B, T, D] and lengths [B]."""
        valid = valid_frames(lengths, frames.shape[1])
        # Projector and average are both linear: averaged first, a fifth of the frames is projected, and the bias
        # counts for the share of frames that are there.
        averaged, there = self.averaged(without(frames, valid)), self.averaged(valid.to(frames.dtype))
        features = linear(averaged, self.projector.weight) + there * self.projector.bias
        features = features.transpose(1, 2)
        valid = valid_frames((lengths + self.pooling - 1) // self.pooling, features.shape[2])
        behind = ~valid.transpose(1, 2)
        for number, convolution in enumerate(self.convolutions):
            before = features if number == 0 else features.relu()
            features = convolution(self.drop(before.masked_fill(behind, 0.0)))
        features = features.transpose(1, 2)
        return self.classifier(attend(features, self.score(features), valid))
