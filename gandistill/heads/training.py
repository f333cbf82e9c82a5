"""One trainer for all heads: updates on batches drawn from a seed, the best checkpoint kept by dev or the last one.

Shapes: N utterances, B batch, T frames, D feature dims, C classes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from gandistill import console
from gandistill.config import Config
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, scale
from gandistill.features.origin import made_from
from gandistill.files import dump_compact
from gandistill.guarantee import guaranteed
from gandistill.heads.head import Head, check_match, pooled, posteriors, save_head, sees
from gandistill.heads.stack import Stack, Superbs
from gandistill.metrics import say_absent, scores
from gandistill.numerics import keep_memory, no_tf32, one_thread, seeded
from gandistill.run import check_finite


class Schedule(Config):
    """How weights are fitted. The default is a quick recipe of ours, the same for every head and size of set."""

    updates: int = Field(default=400, ge=1)
    """Optimiser steps, whatever the size of the set, so that small and large sets get the same student budget."""
    batch: int = Field(default=32, ge=1)
    """Utterances in a batch."""
    accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients are averaged into one update."""
    window: int = Field(default=96, ge=0)
    """Frames of the window cut from each utterance at random (shorter ones are repeated); 0 takes whole utterances.
    Heads that see means take whole utterances always."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Learning rate of the first update."""
    decay: Literal["none", "cosine"] = "cosine"
    """How the learning rate falls: not at all, or along half a cosine to zero."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """AdamW's decoupled weight decay; 0 makes it Adam."""
    clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm."""
    standardise: bool = True
    """Bring features to mean 0 and deviation 1 in each dimension, by the training frames' moments."""
    labels: Literal["hard", "soft"] = "hard"
    """Learn from class labels, or from the probabilities that the set stores beside them."""


class HeadConfig(Schedule):
    """How one head is trained."""

    head: str = "superb"
    """Kind of head, as ``gandistill heads`` lists them."""
    evaluate_every: int = Field(default=25, ge=1)
    """Updates between scores on dev, where dev is given; the last update is scored too."""
    select: Literal["uar", "accuracy"] = "uar"
    """The dev score whose best checkpoint is kept, the earliest where several are equal."""
    class_weights: Literal["none", "balanced"] = "none"
    """Let every class weigh the same in the loss, however few its utterances, or every utterance."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Initial weights, order of utterances and dropout follow from this alone."""


def train_head(
    features: FeatureSet, config: HeadConfig, dev: FeatureSet | None = None, device: torch.device | str = "cpu"
) -> Head:
    """Train a head on the training part of a feature set; without ``dev``, the last update's weights are the result.

    It is trained on ``device`` and comes back on the CPU. The same data, config, threads, device and build give the
    same bits; on another device batches and initial weights are the same, dropout and rounding are not. A class without
    utterances is said on stderr and trained without. Raises InputError if fewer than two classes occur, if dev's
    labels, dims or upstream differ, or if soft labels are asked for and there are none.
    """
    return train_heads([features], [config], dev, device)[0]


def train_heads(
    sets: Sequence[FeatureSet],
    configs: Sequence[HeadConfig],
    dev: FeatureSet | None = None,
    device: torch.device | str = "cpu",
) -> list[Head]:
    """Train a head on each set by its config, as ``train_head`` does: those that can be stacked together, which is
    several times as quick. These are heads that see means, of the same dims and classes, whose configs differ in
    nothing but the seed; a head's bits do not depend on what it is stacked with.
    """
    stacks: dict[Any, list[int]] = {}
    for place, (features, config) in enumerate(zip(sets, configs, strict=True)):
        alone = place if sees(config.head) != "mean" else None
        same = dump_compact([config.model_copy(update={"seed": 0}).to_dict(), features.dims, len(features.labels)])
        stacks.setdefault((same, alone), []).append(place)
    heads: dict[int, Head] = {}
    for places in stacks.values():
        trained = _train_stack([sets[i] for i in places], [configs[i] for i in places], dev, device)
        heads |= dict(zip(places, trained, strict=True))
    return [heads[place] for place in range(len(sets))]


def _train_stack(
    sets: Sequence[FeatureSet], configs: Sequence[HeadConfig], dev: FeatureSet | None, device: torch.device | str
) -> list[Head]:
    parts, schedule = [features.training_part() for features in sets], configs[0]
    heads, best, kept = list[Head](), [-1.0] * len(sets), dict[int, dict[str, Tensor]]()
    if dev is not None:
        for part in parts:
            check_match("the training set", part.labels, part.dims, part.config, dev)
        say_absent(dev.targets, dev.labels, "dev")
    with seeded(schedule.seed), no_tf32():
        for part, config in zip(parts, configs, strict=True):
            torch.manual_seed(config.seed)
            heads.append(untrained(part, config.head, config).to(device))
            heads[-1].trained = {"config": config.to_dict(), "utterances": part.class_counts, "update": config.updates}
        seeds = [config.seed for config in configs]
        updates = descend_together(heads, parts, schedule, seeds, schedule.class_weights == "balanced")
        for update in console.track(updates, f"training {schedule.head}", schedule.updates, unit="updates"):
            if dev is not None and (update % schedule.evaluate_every == 0 or update == schedule.updates):
                for i, head in enumerate(heads):
                    on_dev = score(head, dev)
                    if on_dev[schedule.select] > best[i]:
                        best[i], kept[i] = on_dev[schedule.select], deepcopy(head.state_dict())
                        head.trained |= {"update": update, "dev": on_dev}
    for i, state in kept.items():
        heads[i].load_state_dict(state)
    return [head.cpu().eval() for head in heads]


def train_head_to(
    out: Path,
    features: FeatureSet,
    config: HeadConfig,
    dev: FeatureSet | None,
    made_by: dict[str, Any],
    device: torch.device | str = "cpu",
) -> Head:
    """Train a head as ``train_head`` does and write it as an artifact that says what it was trained on."""
    head = train_head(features, config, dev, device)
    save_head(out, head, made_by, **trained_on(features, dev))
    return head


def trained_on(features: FeatureSet, dev: FeatureSet | None) -> dict[str, Any]:
    """What a head's folder says of the sets that it was trained on and chosen by: a guarantee, if nothing else was."""
    if dev is not None:
        return made_from(features) | {"dev_features": made_from(dev)["source"]}
    return made_from(features) | guaranteed(features.config)


def score(head: Head, features: FeatureSet) -> dict[str, float]:
    """``uar`` and ``accuracy`` of a head on labelled features."""
    predicted = posteriors(head, features).argmax(1).numpy()
    return scores(features.targets, predicted, len(features.labels))


def untrained(features: FeatureSet, kind: str, schedule: Schedule) -> Head:
    """A head with initial weights for these features, standardised by their moments where the schedule says so."""
    head = Head(kind, features.labels, features.dims, origin=features.config)
    if schedule.standardise:
        mean, deviation = features.moments()
        head.mean.copy_(mean)
        head.deviation.copy_(scale(deviation))
    return head


def descend(head: Head, features: FeatureSet, schedule: Schedule, seed: int, balanced: bool = False) -> Iterator[int]:
    """Fit a head, on its device, to features, giving the number of each update (1, 2, ...) once it is made.

    The loss of a batch is ``-sum_c w[c] q[c] log p[c]``, q the target and w the class weights (1 unless ``balanced``),
    averaged over its utterances. (torch's ``cross_entropy`` with class numbers divides by the batch's sum of weights
    instead, so that a rare class would weigh less in the batches that hold it.)
    Raises RunError when the loss is no longer a sane number.
    """
    return descend_together([head], [features], schedule, [seed], balanced)


def descend_together(
    heads: Sequence[Head], sets: Sequence[FeatureSet], schedule: Schedule, seeds: Sequence[int], balanced: bool = False
) -> Iterator[int]:
    """Fit each head to its set by its seed, as ``descend`` does, all in one stack.

    Several heads must see means and be of the same kind, dims, classes and device.
    """
    keep_memory()
    means = heads[0].sees == "mean"
    stack = Stack(heads)
    losses = (_losses_of_means if means else _losses_of_frames)(stack, sets, schedule, seeds, balanced)
    optimiser = torch.optim.AdamW([stack.weights], weight_decay=schedule.weight_decay, fused=True)
    threads = one_thread if means else nullcontext  # means are so small that threads cost more
    try:
        for update in range(schedule.updates):
            with threads():
                stack.gradients.zero_()
                for _ in range(schedule.accumulation):
                    check_finite(update + 1, {f"{heads[0].kind}/loss": next(losses).item()})
                stack.clip(schedule.clip)
                optimiser.param_groups[0]["lr"] = learning_rate(update, schedule)
                optimiser.step()
            yield update + 1
    finally:
        stack.part()


def _losses_of_means(
    stack: Stack, sets: Sequence[FeatureSet], schedule: Schedule, seeds: Sequence[int], balanced: bool
) -> Iterator[Tensor]:
    """The largest loss of the heads in a batch of each set, once their gradients are added to the stack's."""
    model, device = Superbs(stack), stack.weights.device
    means = [
        head.standardise_(pooled(features)[0].to(device)) for head, features in zip(stack.heads, sets, strict=True)
    ]
    table = torch.cat(means).squeeze(1)
    targets = torch.cat([_weighed(features, schedule, balanced) for features in sets]).to(device)
    sizes = [len(features) for features in sets]
    draws = [batches(size, schedule.batch, seed) for size, seed in zip(sizes, seeds, strict=True)]
    first = torch.tensor([0, *sizes[:-1]]).cumsum(0).unsqueeze(1)
    while True:
        rows = (first + torch.stack([next(draw) for draw in draws])).to(device)
        yield model.add_gradients(table[rows], targets[rows], 1 / schedule.accumulation).max()


def _losses_of_frames(
    stack: Stack, sets: Sequence[FeatureSet], schedule: Schedule, seeds: Sequence[int], balanced: bool
) -> Iterator[Tensor]:
    """The loss of the only head in a batch, once its gradients are added."""
    (head,), (features,), (seed,) = stack.heads, sets, seeds
    device = head.mean.device
    targets = _weighed(features, schedule, balanced)
    read = reader(features, schedule.window, seed)
    for chosen in batches(len(features), schedule.batch, seed):
        head.train()
        frames, lengths = read(chosen)
        logits = head.model(head.standardise_(frames.to(device)), lengths.to(device))
        loss = cross_entropy(logits, targets[chosen].to(device))
        (loss / schedule.accumulation).backward()
        yield loss.detach()


def _weighed(features: FeatureSet, schedule: Schedule, balanced: bool) -> Tensor:
    """What the head should say [N, C], by the weights of classes."""
    targets = target_distributions(features, schedule)
    return targets * balanced_weights(targets) if balanced else targets


def learning_rate(update: int, schedule: Schedule) -> float:
    """The rate of update 0, 1, ...: constant, or half a cosine that reaches zero after the last one."""
    if schedule.decay == "none":
        return schedule.learning_rate
    return schedule.learning_rate * (1 + math.cos(math.pi * update / schedule.updates)) / 2


def target_distributions(features: FeatureSet, schedule: Schedule) -> Tensor:
    """What the head should say [N, C]: one-hot labels, or the soft labels stored with them. Raises InputError."""
    missing = [label for label, count in features.class_counts.items() if count == 0]
    if len(missing) > len(features.labels) - 2:
        raise InputError(f"{features.folder} has utterances of fewer than two classes, nothing to tell apart")
    if missing:
        console.say(f"{features.folder} has no training utterance of [{', '.join(missing)}]: never to be recognised")
    if schedule.labels == "hard":
        return one_hot(torch.from_numpy(features.targets), len(features.labels)).float()
    if features.soft is None:
        raise InputError(f"{features.folder} stores no soft labels: use labels=hard, or sample with --labels soft")
    return torch.from_numpy(features.soft)


def balanced_weights(targets: Tensor) -> Tensor:
    """Class weights [C] under which all classes weigh the same, from what a head should say [N, C]: N / (C n_c).

    n_c is the number of utterances of class c, or with soft labels the probability that they give it, summed; C counts
    the classes for which it is not 0, and the others weigh 0. The mean weight over the set is 1. scikit-learn's
    ``balanced`` (King & Zeng 2001).
    """
    mass = targets.double().sum(0)
    return torch.where(mass > 0, len(targets) / ((mass > 0).sum() * mass), 0.0).float()


def batches(utterances: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Row numbers [B] without end: one shuffled pass over the utterances after another, cut into full batches."""
    generator = torch.Generator().manual_seed(seed)
    queue = torch.empty(0, dtype=torch.int64)
    while True:
        while len(queue) < batch:
            queue = torch.cat([queue, torch.randperm(utterances, generator=generator)])
        yield queue[:batch]
        queue = queue[batch:]


def reader(features: FeatureSet, window: int, seed: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A function from row numbers [B] to frames [B, T, D] and lengths [B]; large sets stay on disk."""
    features = features.held()
    if window == 0:
        return lambda rows: features.padded(rows.numpy())
    generator = torch.Generator().manual_seed(seed)

    def read(rows: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.rand(len(rows), generator=generator)
        return features.windows(rows.numpy(), window, places), torch.full((len(rows),), window)

    return read
