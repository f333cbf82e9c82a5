"""What every training of a generator has: the features in their units, batches of all classes, and a weight average.

Shapes: B batch, N utterances, T frames, D feature dims.
"""

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gandistill import processes
from gandistill.artifacts import load_module
from gandistill.controls.draws import fitted_design
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, scale
from gandistill.gan.flow import Flow
from gandistill.gan.generator import Generator
from gandistill.gan.sampling import Sampler, described
from gandistill.gan.settings import GanConfig, Training
from gandistill.heads.bank import Bank
from gandistill.numerics import generator_for
from gandistill.run import load_optimiser_state, optimiser_state

START_CLIPS = 1024
"""Windows that a closed-form start is fitted to, so that its memory does not grow with the corpus."""
INITIAL, BATCH = range(2)
"""What random numbers are for: they are keyed by (seed, purpose, update, critic step)."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""Of the weights, for each precision."""
Network = TypeVar("Network", Generator, Flow)
Teacher = TypeVar("Teacher", Bank, Bank | None)


@dataclass
class Distilling(ABC, Generic[Network, Teacher]):
    """A generator in training, and the training part of the features that it shall replace.

    Real samples are standardised: mean 0 and standard deviation 1 in each dimension over that part. Raises InputError
    if a class has no utterance.
    """

    config: GanConfig
    features: FeatureSet
    bank: Teacher
    device: torch.device
    generator: Network = field(init=False)

    def __post_init__(self) -> None:
        self.dtype, self.in_memory = DTYPES[self.config.training.precision], self.features.held()
        self.rows = [np.flatnonzero(self.features.targets == c) for c in range(len(self.features.labels))]
        missing = [label for label, rows in zip(self.features.labels, self.rows, strict=True) if not len(rows)]
        if missing:
            raise InputError(f"{self.features.folder} has no training utterance of [{', '.join(missing)}]")
        mean, deviation = self.features.moments()
        self.mean, self.deviation = mean.to(self.device, self.dtype), deviation.to(self.device, self.dtype)
        self.scale = scale(self.deviation)

    def place(self, generator: Network) -> None:
        """Take the generator to where it is trained, its average beside it."""
        self.generator = generator.to(self.device, self.dtype)
        self.average = copy.deepcopy(generator).eval().requires_grad_(False)

    def adam(self, network: nn.Module, rate: float) -> torch.optim.Adam:
        """Adam for the weights of a network that are trained."""
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        return torch.optim.Adam(weights, rate, betas=self.config.training.betas, fused=True)

    def start_clips(self) -> tuple[Tensor, Tensor]:
        """Standardised windows [N, T, D] of the features and their class numbers [N], at most ``START_CLIPS``."""
        draws = generator_for(self.config.training.seed, INITIAL)
        order = torch.randperm(len(self.features), generator=draws).numpy()
        classes = self.features.targets[order]
        per_class = START_CLIPS // len(self.rows)
        chosen = np.sort(np.concatenate([np.flatnonzero(classes == c)[:per_class] for c in range(len(self.rows))]))
        places = torch.rand(len(chosen), generator=draws)
        clips = self.features.windows(order[chosen], self.config.architecture.frames, places)
        return (clips - self.mean.float().cpu()) / self.scale.float().cpu(), torch.from_numpy(classes[chosen])

    def drawn(self, draws: torch.Generator) -> tuple[Tensor, NDArray[np.int64], Tensor]:
        """Class numbers [B], rows [B] and places [B] of a batch, on every process the same.

        Rows 2k and 2k + 1 are of one class; pairs of each class, as nearly equal in number as the batch allows.
        """
        batch = self.config.training.batch
        classes = torch.randperm(len(self.rows), generator=draws).repeat(batch)[: batch // 2]
        labels = classes.repeat_interleave(2)
        chosen = torch.rand(len(labels), generator=draws).tolist()
        rows = [self.rows[c][int(place * len(self.rows[c]))] for c, place in zip(labels.tolist(), chosen, strict=True)]
        return labels, np.array(rows), torch.rand(batch, generator=draws)

    def real(self, rows: NDArray[np.int64], places: Tensor) -> Tensor:
        """This process's share of the standardised windows [B, T, D] at these rows and places."""
        frames = self.config.architecture.frames
        windows = self.in_memory.windows(processes.share(rows), frames, processes.share(places))
        return (windows.to(self.device, self.dtype) - self.mean) / self.scale

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What is trained, and the average."""
        return {"generator": self.generator, "average": self.average}

    @property
    @abstractmethod
    def optimisers(self) -> dict[str, tuple[torch.optim.Optimizer, float]]:
        """Each with the learning rate of its first update."""

    def set_learning_rates(self, update: int) -> None:
        """Those of update 1, 2, ..."""
        left = learning_rate_share(update, self.config.training)
        for optimiser, rate in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate * left

    @torch.no_grad()
    def average_step(self, update: int) -> None:
        """Move the average to ``sum_k a^(u-k) w_k / sum_k a^(u-k)`` over the weights w_k of updates k = 1 to u.

        As Adam corrects its moments (Kingma and Ba 2015): initial weights take no part.
        """
        decay = self.config.training.average
        share = (1 - decay) / (1 - decay**update)
        pairs = zip(self.average.state_dict().values(), self.generator.state_dict().values(), strict=True)
        for averaged, current in pairs:
            if averaged.is_floating_point():
                averaged.lerp_(current, share)
            else:
                averaged.copy_(current)

    def state(self) -> dict[str, Tensor]:
        """Everything the next update depends on, as named tensors."""
        parts = {name: network.state_dict() for name, network in self.networks.items()}
        parts |= {name: optimiser_state(optimiser) for name, (optimiser, _) in self.optimisers.items()}
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def load_state(self, state: dict[str, Tensor], where: Path) -> None:
        """Undo ``state``. Raises InputError if a tensor is missing, not expected, or of another shape."""

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}

        for name, network in self.networks.items():
            load_module(network, part(name), where)
        for name, (optimiser, _) in self.optimisers.items():
            load_optimiser_state(optimiser, part(name), where)

    def facts(self) -> dict[str, float]:
        """What the training measured before its first update."""
        return {}

    def sampler(self, updates: int) -> Sampler:
        """The averaged generator after so many updates, with all it needs to sample without the corpus."""
        facts = described(self.config, self.features, updates)
        facts["trained"] |= self.facts()
        units = self.mean.float().cpu(), self.deviation.float().cpu()
        bank = None if self.bank is None else copy.deepcopy(Bank(self.bank.converged())).to("cpu")
        for head in [] if bank is None else bank.heads:
            head.float()
        design = fitted_design(self.features.folder, self.features.fingerprint)
        return Sampler(copy.deepcopy(self.average).cpu().float(), *units, bank, facts, design)


def learning_rate_share(update: int, training: Training) -> float:
    """What is left of the learning rates at update 1, 2, ...: all, or along half a cosine to zero behind the last."""
    if training.decay == "none":
        return 1.0
    return (1 + math.cos(math.pi * (update - 1) / training.updates)) / 2
