"""One update of a rectified flow: see ``flow.py``. Neither a critic nor a bank takes part.

Shapes: B batch (the share of one process), T frames, D feature dims, Z noise, J x L a latent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gandistill import processes
from gandistill.gan.distilling import BATCH, INITIAL, Distilling
from gandistill.gan.flow import Flow
from gandistill.heads.bank import Bank
from gandistill.numerics import drawn_by, generator_for
from gandistill.run import check_finite


@dataclass
class Flowing(Distilling[Flow, Bank | None]):
    """Everything an update of a flow reads and changes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        training = self.config.training
        with drawn_by(training.seed, INITIAL):
            flow = Flow(self.config.architecture, len(self.rows), self.features.dims)
        flow.fill(*self.start_clips())
        self.place(flow)
        self.optimiser = self.adam(self.generator, training.learning_rate)

    @property
    def optimisers(self) -> dict[str, tuple[torch.optim.Optimizer, float]]:
        return {"optimiser": (self.optimiser, self.config.training.learning_rate)}


def flow_update(flowing: Flowing, update: int) -> dict[str, float]:
    """One descent of the loss, then the average. Raises RunError naming a term gone wrong."""
    flowing.set_learning_rates(update)
    training, architecture = flowing.config.training, flowing.config.architecture
    draws = generator_for(training.seed, BATCH, update)
    labels, rows, places = flowing.drawn(draws)
    noise = torch.randn(training.batch, architecture.noise, generator=draws)
    times = torch.rand(training.batch, generator=draws)
    labels, noise, times = (processes.share(x).to(flowing.device) for x in (labels, noise, times))
    loss = rectified_flow(
        flowing.generator, flowing.real(rows, places), labels, noise.to(flowing.dtype), times.to(flowing.dtype)
    )
    flowing.optimiser.zero_grad()
    loss.backward()
    processes.average_gradients(flowing.generator.parameters())
    flowing.optimiser.step()
    flowing.average_step(update)
    scalars = {"flow/loss": processes.mean(loss.detach()).item()}
    check_finite(update, scalars)
    return scalars


def rectified_flow(flow: Flow, real: Tensor, labels: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """``E || x_1 - x_0 - v(x_t, t, y) ||^2``, a mean over a latent's values and over the batch.

    Real samples [B, T, D] of class numbers [B], noise [B, Z] and times [B] in 0..1. Liu et al. 2023, eq. (1).
    """
    ends, starts = flow.encoded(real), flow.start(labels, noise)
    between = torch.lerp(starts, ends, times[:, None, None])
    return (ends - starts - flow.velocity(between, times, labels)).square().mean()
