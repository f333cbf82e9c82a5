"""A head as one ONNX file, for a device: behind log-Mels it hears audio, behind any other upstream it takes features.

Shapes: S samples, T frames, D feature dims, C classes.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gandistill import onnx
from gandistill.console import say
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.windows import WINDOW
from gandistill.features.logmel import LogMel
from gandistill.features.rebuild import rebuilt
from gandistill.features.upstreams import Upstream
from gandistill.heads.head import KIND, Head

OUTPUTS = ("logits", "probabilities")


def export(head: Head, name: str, file: Path) -> dict[str, Any]:
    """Write a head, which errors call ``name``, to ``file``; gives kind, inputs, outputs, bytes and ``difference``.

    Behind log-Mels its input ``audio`` [1, S] is mono at 16 kHz, about -1 to 1; framing, Mel filters, clip and pool are
    in the file. Behind another upstream, whose weights are not, it is ``features`` [1, T, D], which is said. Outputs
    are ``logits`` and ``probabilities`` [1, C]. All audio is heard at once; ``window`` in the metadata says how many
    samples ``Recogniser.predict`` hears at once, whose answer on more is a mean over windows. The difference is the
    largest to what torch computes. Raises InputError for a ``file`` that does not end in .onnx, or where ``[edge]`` is
    not installed, RunError where ONNX Runtime computes other numbers.
    """
    onnx.check_file(file)
    described, upstream = head.origin.get("upstream"), None
    if isinstance(described, Mapping) and described.get("name") == LogMel.name:
        upstream = rebuilt(name, described)
    draws = torch.Generator().manual_seed(0)
    if upstream is None:
        say(f"{name}: its upstream is no part of {file}, which takes the features that it gives")
        examples = [{"features": torch.randn(1, frames, head.dims, generator=draws)} for frames in (50, 1, 7, 123)]
        dynamic = {"features": {1: torch.export.Dim("frames", min=1)}}
    else:
        least = upstream.least()
        lengths = (max(SAMPLE_RATE, 2 * least), least, least + 1, 3 * SAMPLE_RATE + least)
        examples = [{"audio": 0.1 * torch.randn(1, length, generator=draws)} for length in lengths]
        dynamic = {"audio": {1: torch.export.Dim("samples", min=least)}}
    module = Heard(copy.deepcopy(head).cpu(), upstream).eval().requires_grad_(False)
    with torch.inference_mode():
        expected = [module(*example.values()) for example in examples]
    model = onnx.program(module, examples[0], OUTPUTS, dynamic)
    facts = {"kind": KIND, "head": head.kind, "labels": head.labels, "sample_rate": SAMPLE_RATE}
    facts |= onnx.origin(head.origin)
    if upstream is not None:
        facts["window"] = upstream.describe().get("clip", WINDOW)
    difference = onnx.write(file, model, examples, expected, facts)
    return onnx.summary(KIND, file, model, difference)


class Heard(nn.Module):
    """Audio [1, S], or without an upstream features [1, T, D], to logits and probabilities [1, C]."""

    def __init__(self, head: Head, upstream: Upstream | None) -> None:
        super().__init__()
        self.head, self.upstream = head, upstream

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        # Half floats, as features are stored.
        frames = given[0] if self.upstream is None else self.upstream(given[0]).half().float()
        logits = self.head(frames[None], torch.full((1,), frames.shape[0]))
        return logits, logits.softmax(-1)
