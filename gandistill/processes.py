"""One training on several processes: each computes its share of every batch, and all end with the same weights.

Started by ``accelerate launch``; alone, everything here is the identity. Every process draws the same batch and
computes its share of the rows, so with B rows in all it makes no difference, beyond rounding, how many there are.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed import ReduceOp

from gandistill.errors import InputError, RunError, choices

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")
PATIENCE = timedelta(hours=6)
"""How long processes wait for each other: one evaluates and writes while the others do nothing."""
Rows = TypeVar("Rows", Tensor, NDArray[np.int64])


def place() -> "PartialState":
    """Which process this is, of how many, on which device; joins the others where there are any.

    Without an accelerator processes speak through gloo, which accelerate takes only when told that there is none.
    """
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)


def device(name: str | None = None) -> torch.device:
    """The device of that name, such as cpu, cuda:1 or mps; without a name that of ``place``: an accelerator, if any.

    Raises InputError, naming those that this machine has, for any other.
    """
    if name is None:
        return torch.device(place().device or "cpu")
    names = ["cpu"]
    if torch.accelerator.is_available():
        kind = str(torch.accelerator.current_accelerator())
        names += [kind, *(f"{kind}:{number}" for number in range(torch.accelerator.device_count()))]
    if name not in names:
        raise choices("device", name, names)
    return torch.device(name)


def peak_bytes() -> int:
    """The most memory that this process has held, where the system is of Unix's kind."""
    import resource  # which others lack: they import this room all the same

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def leaving() -> Iterator[None]:
    """Within, a program runs to its ``sys.exit``. One of several processes then parts from the others and ends at once.

    torch may hold on to a group that was destroyed, threads and all, and on those Python's own ending aborts now and
    then: a process that had done all its work would say that it failed.
    """
    try:
        yield
    except BaseException as end:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
            if isinstance(end, SystemExit):
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


def world() -> int:
    """How many processes train together."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def share(rows: Rows) -> Rows:
    """This process's part of B rows: as many for each, in order."""
    if world() == 1:
        return rows
    count = len(rows) // world()
    first = torch.distributed.get_rank() * count
    return rows[first : first + count]


def mean(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes, the same bits in each."""
    if world() == 1:
        return values
    total = values.detach().clone()
    torch.distributed.all_reduce(total)
    return total / world()


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Give every process the mean gradient, in one exchange.

    Explicit, not by the hooks of DistributedDataParallel: those fire in the first of a gradient penalty's two passes.
    """
    if world() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    joined = mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def differentiable_mean(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes, through which gradients flow to all of them."""
    return _Sum.apply(values) / world()


class _Sum(torch.autograd.Function):
    """Sum over the processes; each one's gradient is the sum of all, since each one's input reached all outputs."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0])


def together(work: Callable[[], T]) -> T:
    """Do work in every process, and go on when all have done it. Where one fails, all raise: none waits for ever."""
    try:
        result = work()
    except Exception:
        any_of(True)
        raise
    if any_of(False):
        raise InputError("Another process could not go on")
    return result


def main_alone(work: Callable[[], object]) -> None:
    """Do work in the first process, while the others wait. Where it fails, all raise."""
    together(work if place().is_main_process else lambda: None)


def check_same(tensors: Mapping[str, Tensor]) -> None:
    """Raises RunError unless every process holds the same tensors: else their weights have drifted apart."""
    if world() == 1:
        return
    sums = torch.stack([tensor.detach().to(place().device).double().sum() for tensor in tensors.values()])
    low, high = sums.clone(), sums.clone()
    torch.distributed.all_reduce(low, ReduceOp.MIN)
    torch.distributed.all_reduce(high, ReduceOp.MAX)
    for name, same in zip(tensors, ((low == high) | sums.isnan()).tolist(), strict=True):
        if not same:
            raise RunError(f"The processes no longer agree on {name!r}: resume from the last checkpoint")


def any_of(flag: bool) -> bool:
    """Whether it is true in any process."""
    if world() == 1:
        return flag
    any_flag = torch.tensor(float(flag), device=place().device)
    torch.distributed.all_reduce(any_flag, ReduceOp.MAX)
    return bool(any_flag)
