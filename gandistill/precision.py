"""Weights in fewer bytes: float32 tensors stored in float16 or int8, and read back as float32.

float16 holds every number as a half float. int8 holds each weight of two or more dims as -127 to 127 steps, symmetric
about 0, with one float32 step size for each output channel (as in Krishnamoorthi 2018, arXiv:1806.08342); biases, norms
and other vectors, which are few, stay float32 there. Whole numbers are stored as they are.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gandistill import artifacts
from gandistill.errors import InputError

FULL = "float32"
REDUCED = ("float16", "int8")
PRECISIONS = (FULL, *REDUCED)
STEP = ".step"
"""What the name of a weight's step sizes ends in."""
MOST_STEPS = 127


def save_weights(path: Path, weights: Mapping[str, Tensor], precision: str, transposed: Collection[str] = ()) -> None:
    """Write float32 weights in a precision; ``transposed`` is what the function of that name says of their module.

    Raises InputError if a number is beyond float16 where that is the precision.
    """
    artifacts.save_tensors(path, stored(weights, precision, transposed))


def load_weights(
    path: Path, expected: Mapping[str, Tensor], precision: str, transposed: Collection[str] = ()
) -> dict[str, Tensor]:
    """Read weights as ``save_weights`` wrote them, in float32.

    ``expected``, which may be on the meta device, says their names, shapes and dtypes in memory. Raises InputError if
    the file holds others, has changed, or stands for numbers that are not finite.
    """
    tensors = artifacts.load_verified(path, stored(expected, precision, transposed))
    weights = {}
    for name, weight in expected.items():
        weights[name] = tensors.pop(name).to(weight.dtype)
        if name + STEP in tensors:
            weights[name] *= tensors.pop(name + STEP)
            if not weights[name].isfinite().all():
                raise InputError(f"{path}: tensor {name!r} stands for numbers beyond float32")
    return weights


def stored(weights: Mapping[str, Tensor], precision: str, transposed: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors that a file holds for these weights; of meta tensors, their names, shapes and dtypes alone."""
    tensors = {}
    for name, weight in weights.items():
        tensors[name] = weight
        if not weight.is_floating_point():
            continue
        if precision == "float16":
            tensors[name] = _halved(name, weight)
        elif precision == "int8" and weight.dim() > 1:
            tensors[name], tensors[name + STEP] = quantised(weight, 1 if name in transposed else 0)
    return tensors


def quantised(weight: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Whole steps (int8), 127 of them for a channel's largest, and step sizes, 1 long in all dims but ``channels``."""
    others = [dim for dim in range(weight.dim()) if dim != channels]
    step = weight.abs().amax(others, keepdim=True) / MOST_STEPS
    steps = weight / torch.where(step > 0, step, 1.0)
    return steps.round().clamp(-MOST_STEPS, MOST_STEPS).to(torch.int8), step


def transposed(module: nn.Module) -> set[str]:
    """Weights whose output channels are their second dim, not their first: those of transposed convolutions."""
    layers = module.named_modules()
    return {f"{name}.weight" for name, layer in layers if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)}


def _halved(name: str, weight: Tensor) -> Tensor:
    half = weight.half()
    if not half.is_meta and not half.isfinite().all():
        most = float(weight.abs().max())
        raise InputError(f"Tensor {name!r} holds numbers up to {most:.4g}, beyond float16's 65,504: int8 can hold them")
    return half
