"""A generator as one ONNX file, for a device: noise and labels in, frames out, by designed draws or independent ones.

Shapes: B batch, Z noise, T frames, D feature dims, C classes, K directions.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gandistill import onnx
from gandistill.controls.draws import moved
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.gan.closed_form import ClosedForm
from gandistill.gan.sampling import KIND, Sampler
from gandistill.numerics import noise, one_thread

FRAMES = ("frames",)
CHECKED = 3
"""Samples of each class that are compared."""


def export(sampler: Sampler, file: Path) -> dict[str, Any]:
    """Write a generator to ``file``; gives kind, inputs, outputs, bytes and ``difference``.

    Inputs are ``noise`` [B, Z], standard normal, and ``label`` [B], class numbers. The output is ``frames`` [B, T, D],
    in the corpus's units, before they are rounded to half floats. A sampler whose draws are designed has a third input,
    ``direction`` [B, K]: rows of ``Design.directions``, or any whose mean is 0 and whose covariance is 1 over the
    samples of a class. The class means and F that make a designed mean of them are in the file; zeros move a sample to
    the mean of its class.

    The difference is the largest to what the sampler computes, in deviations of a feature. Raises InputError for a
    ``file`` that does not end in .onnx, or where ``[edge]`` is not installed, RunError where ONNX Runtime computes
    other numbers.
    """
    onnx.check_file(file)
    sampler = sampler.to("cpu")
    given, frames = _samples(sampler)
    alone = {name: value[-1:] for name, value in given.items()}
    batch = {0: torch.export.Dim("batch", min=1)}
    model = onnx.program(Drawn(sampler).eval(), given, FRAMES, dict.fromkeys(given, batch))
    facts = {"kind": KIND, "generator": sampler.generator.architecture.kind}
    facts |= {"draws": sampler.draws, "labels": sampler.labels}
    facts |= {"sample_rate": SAMPLE_RATE} | onnx.origin(sampler.facts)
    difference = onnx.write(file, model, [given, alone], [[frames], [frames[-1:]]], facts, unit=sampler.deviation)
    return onnx.summary(KIND, file, model, difference)


class Drawn(nn.Module):
    """Noise [B, Z], class numbers [B] and, of designed draws, directions [B, K] to samples [B, T, D]."""

    mean: Tensor
    deviation: Tensor
    centres: Tensor
    factor: Tensor

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.network = sampler.folded
        held = {"mean": sampler.mean, "deviation": sampler.deviation}
        if sampler.design is not None:
            held |= {"centres": sampler.design.mean, "factor": sampler.design.factor}
        for name, tensor in held.items():
            self.register_buffer(name, tensor)

    def forward(self, noise: Tensor, label: Tensor, direction: Tensor | None = None) -> Tensor:
        compute = self.network.together if isinstance(self.network, ClosedForm) else self.network
        frames = compute(label, noise) * self.deviation + self.mean
        return frames if direction is None else moved(frames, self.centres[label] + direction @ self.factor)


@torch.no_grad()
def _samples(sampler: Sampler) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs of the first samples of each class, and the samples [B, T, D] as the sampler itself computes them."""
    classes, size = range(len(sampler.labels)), sampler.generator.architecture.noise
    given = {"noise": torch.cat([noise(0, number, 0, CHECKED, size) for number in classes])}
    given |= {"label": torch.tensor(classes).repeat_interleave(CHECKED)}
    means = None
    if (design := sampler.design) is not None:
        given |= {"direction": torch.cat([design.directions(c, 0, CHECKED, 0) for c in classes]).float()}
        means = torch.cat([design.means(c, 0, CHECKED, 0) for c in classes])
    with one_thread():
        return given, sampler.frames(given["label"], given["noise"], means)
