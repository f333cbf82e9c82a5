"""Fitting a head to clips of one length, epoch by epoch, as the paper trains its teachers and its students.

Section 4.2 of Chang et al. 2024, "Breaking Resource Barriers in Speech Emotion Recognition via Data Distillation".
Shapes: N clips, B batch, T frames, D feature dims.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy

from gandistill.config import Config
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import Head
from gandistill.heads.training import Schedule, batches, target_distributions, untrained
from gandistill.numerics import drawn_by, generator_for, no_tf32, seeded
from gandistill.run import check_finite

ORDER, DROPOUT = range(2)


class EpochSchedule(Config):
    """How weights are fitted, epoch by epoch, by plain cross-entropy.

    Rate, decay and epochs are the paper's; of batches and class weights it says nothing, so these are ours.
    """

    epochs: PositiveInt = 50
    """Passes over all clips, unless ``epoch_updates`` says otherwise."""
    epoch_updates: PositiveInt | None = None
    """Updates that count as an epoch, on full batches, so that sets of any size have the same budget; none: as many as
    a pass over the clips takes."""
    batch: int = Field(default=32, ge=3)
    """Clips in a batch, at most: those of a pass are shared out evenly over as few batches as that takes. So none is
    left out, and none left alone, of which batch norm would have no statistics (hence at least 3)."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate in the first epochs."""
    decay: float = Field(default=0.7, gt=0, le=1)
    """What the learning rate is multiplied by after every ``decay_every`` epochs."""
    decay_every: PositiveInt = 5
    """Epochs of one learning rate."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """The paper's is Adam. Plain SGD, as in MTT, is what the updates of a matched student are, eq. (1)."""
    labels: Literal["hard", "soft"] = "hard"
    """Learn from class labels, or from the probabilities that the set stores beside them."""


def fresh(training: FeatureSet, kind: str, seed: int) -> Head:
    """A head of a kind for these features, whose initial weights follow from the seed."""
    with seeded(seed):
        return untrained(training, kind, Schedule())


def fit(
    head: Head,
    features: FeatureSet,
    schedule: EpochSchedule,
    seed: int,
    optimiser: torch.optim.Optimizer | None = None,
    done: int = 0,
) -> Iterator[int]:
    """Fit a head, on its device, to clips of one length, giving the number of each epoch (1, 2, ...) once it is made.

    Order and dropout of an epoch follow from seed and epoch alone, so it can go on after ``done`` epochs with the
    ``optimiser`` that made them. Raises InputError if the clips differ in length, fewer than two classes occur, or
    there are no soft labels where they are asked for; RunError when the loss is no longer a sane number.
    """
    device = head.mean.device
    frames, read = clip_frames(features), reader(features)
    targets = target_distributions(features, Schedule(labels=schedule.labels)).to(device)
    optimiser = optimiser or optimiser_of(head, schedule)
    count = updates_in_epoch(len(features), schedule)
    for epoch in range(done, schedule.epochs):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(epoch, schedule)
        head.train()
        rows_of_batches = epoch_batches(len(features), schedule, generator_for(seed, ORDER, epoch))
        with drawn_by(seed, DROPOUT, epoch), no_tf32():
            for update, rows in enumerate(rows_of_batches, epoch * count + 1):
                optimiser.zero_grad()
                lengths = torch.full((len(rows),), frames, device=device)
                loss = cross_entropy(head(read(rows).to(device), lengths), targets[rows.to(device)])
                check_finite(update, {f"{head.kind}/loss": loss.item()})
                loss.backward()
                optimiser.step()
        yield epoch + 1


def updates_in_epoch(clips: int, schedule: EpochSchedule) -> int:
    """Updates of an epoch of N ``clips``."""
    return schedule.epoch_updates or -(-clips // schedule.batch)


def epoch_batches(clips: int, schedule: EpochSchedule, draws: torch.Generator) -> Sequence[Tensor]:
    """Row numbers [B] of each update of an epoch of N ``clips``, in an order drawn for it."""
    if schedule.epoch_updates is None:
        return torch.randperm(clips, generator=draws).tensor_split(updates_in_epoch(clips, schedule))
    order = batches(clips, min(schedule.batch, clips), draws.initial_seed())
    return list(islice(order, schedule.epoch_updates))


def optimiser_of(head: Head, schedule: EpochSchedule) -> torch.optim.Optimizer:
    """The optimiser of ``fit``, before its first epoch."""
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[schedule.optimiser]
    return kind(head.parameters(), schedule.learning_rate, fused=True)


def learning_rate(epoch: int, schedule: EpochSchedule) -> float:
    """The rate of epoch 0, 1, ...: 1e-3, from epoch 5 on 0.7 of it, from epoch 10 on 0.49, ... with the defaults."""
    return schedule.learning_rate * schedule.decay ** (epoch // schedule.decay_every)


def clip_frames(features: FeatureSet) -> int:
    """T of a set whose clips all have one length. Raises InputError saying which lengths there are."""
    lengths = features.lengths
    if lengths.min() != lengths.max():
        raise InputError(
            f"{features.folder} has clips of {lengths.min()} to {lengths.max()} frames, expected one length: extract "
            "features with the setting clip, the samples that every clip is brought to"
        )
    return int(lengths[0])


def reader(features: FeatureSet) -> Callable[[Tensor], Tensor]:
    """A function from row numbers [B] to clips [B, T, D] of a set of one length.

    Large sets stay on disk.
    """
    frames, features = clip_frames(features), features.held()
    return lambda rows: features.windows(rows.numpy(), frames, torch.zeros(len(rows)))
