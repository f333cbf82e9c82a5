"""The synthetic set while it is distilled: what is learned, and how the gradients of a step change it.

Shapes: N clips, T frames, D feature dims, C classes.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gandistill.errors import InputError
from gandistill.trajectory.matching import Gradients
from gandistill.trajectory.settings import DistilConfig

CLIPS, LABELS, RATE = "clips", "labels", "rate"
VELOCITY, HALVINGS = "velocity.", "halvings"
TINY = 1e-30


class SyntheticSet:
    """Clips [N, T, D] in standardised units, their labels, and alpha [], the rate at which students learn from them.

    ``learned`` holds the numbers that gradients change: ``clips``, ``rate``, and where labels are soft their logits,
    ``labels`` [N, C]. SGD's learning rates, ``rates`` at first, have been halved ``halvings`` times.
    """

    def __init__(self, clips: Tensor, classes: Tensor, number: int, config: DistilConfig) -> None:
        """From real clips [N, T, D], their class numbers [N], and the ``number`` C of classes."""
        self.config = config
        self.hard = one_hot(classes, number).to(clips)
        self.learned = {CLIPS: clips, RATE: clips.new_tensor(config.rate)}
        if config.labels == "soft":
            self.learned[LABELS] = (self.hard * (1 - config.smoothing) + config.smoothing / number).log()
        self.rates = {
            CLIPS: config.clips_learning_rate,
            LABELS: config.labels_learning_rate,
            RATE: config.rate_learning_rate,
        }
        self.velocity = {name: torch.zeros_like(values) for name, values in self.learned.items()}
        self.halvings = 0

    @property
    def clips(self) -> Tensor:
        """Clips [N, T, D] in standardised units."""
        return self.learned[CLIPS]

    @property
    def rate(self) -> Tensor:
        """alpha [], above 0."""
        return self.learned[RATE]

    @property
    def targets(self) -> Tensor:
        """What a student should say of each clip [N, C]: distributions."""
        return self.learned[LABELS].softmax(-1) if LABELS in self.learned else self.hard

    def descend(self, gradients: Gradients) -> dict[str, float]:
        """Take one step of SGD. Gives the norm of each gradient before it is clipped, each by itself: a student that is
        thrown about has alpha's gradient grow a hundredfold, which should not stop the clips."""
        by_name = {CLIPS: gradients.clips, RATE: gradients.rate}
        if LABELS in self.learned:  # through their softmax
            by_name[LABELS] = self.targets * (
                gradients.targets - (self.targets * gradients.targets).sum(-1, keepdim=True)
            )
        norms = {name: float(gradient.norm()) for name, gradient in by_name.items()}
        steps = {}
        for name, gradient in by_name.items():
            clipped = min(1.0, self._largest_norm(name) / max(norms[name], TINY))
            self.velocity[name] = self.config.momentum * self.velocity[name] + clipped * gradient
            steps[name] = self.rates[name] / 2**self.halvings * self.velocity[name]
        self.learned = {name: self.learned[name] - step for name, step in steps.items()} | {
            RATE: positive_step(self.rate, steps[RATE])
        }
        return norms

    def _largest_norm(self, name: str) -> float:
        """Largest norm that a gradient keeps: a number, or for clips what moves them ``farthest`` at full rates."""
        if name != CLIPS:
            return self.config.clip
        learning_rate = self.rates[CLIPS]
        return self.config.farthest * math.sqrt(self.clips.numel()) / learning_rate if learning_rate else math.inf

    def halve(self, times: int) -> None:
        """Halve alpha, and from now on SGD's learning rates; ``times`` since the beginning."""
        self.learned = self.learned | {RATE: self.rate / 2 ** (times - self.halvings)}
        self.halvings = times

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, by name. No step writes into these tensors."""
        velocity = {VELOCITY + name: values for name, values in self.velocity.items()}
        return self.learned | velocity | {HALVINGS: torch.tensor(self.halvings)}

    def load_state(self, state: Mapping[str, Tensor], where: Path) -> None:
        """Undo ``state``. Raises InputError, naming ``where``, if it is of another set."""
        expected = self.state()
        if {name: values.shape for name, values in state.items()} != {name: expected[name].shape for name in expected}:
            raise InputError(f"{where}: its checkpoint is of another synthetic set")
        tensors = {name: values.to(expected[name]) for name, values in state.items()}
        self.halvings = int(tensors.pop(HALVINGS))
        self.learned = {name: tensors[name] for name in self.learned}
        self.velocity = {name: tensors[VELOCITY + name] for name in self.velocity}


def positive_step(rate: Tensor, step: Tensor) -> Tensor:
    """A rate [] above 0 after a step [] of SGD, above 0 again.

    Paper: ``rate - step``, which a large step takes below 0, from where students climb. Here: that for a step upwards,
    and for one downwards the step in log rate that is the same to first order, ``rate exp(-step / rate)``. Why: no step
    can reach 0, and however near one comes, the next one upwards is as long as the paper's.
    """
    after = torch.where(step > 0, rate * (-step / rate).exp(), rate - step)
    return after.clamp(min=torch.finfo(rate.dtype).tiny)
