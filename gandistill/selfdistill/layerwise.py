"""Layer-wise distillation, the rival of Table 2: a shallow student learns to predict a frozen model's deeper layers.

Chang et al. 2022, "DistilHuBERT: Speech Representation Learning by Layer-Wise Distillation of Hidden-Unit BERT"
(arXiv 2110.01900), as Ren et al. 2023 use it in section 3.5. Shapes: B batch, S samples, F frames, R dims.
"""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, l1_loss, logsigmoid

from gandistill import processes
from gandistill.numerics import drawn_by
from gandistill.run import CONFIG, Run
from gandistill.selfdistill.backbone import Backbone, backbone_of
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.fitting import WEIGHTS, fit
from gandistill.selfdistill.model import Network, make_block
from gandistill.selfdistill.settings import FREE, LayerwiseConfig, SelfDistilConfig

FOLDER = "layerwise"
"""Run folder of the first stage, in that of the second."""


class LayerwiseStudent(nn.Module):
    """A backbone, and for each of a teacher's layers a block that predicts it from the backbone's last hidden state.

    Paper: what becomes of the blocks in the second stage is not said; its parameters count them. Here: they are left
    behind, as in DistilHuBERT, and the student is fine-tuned as any other network of so many layers.
    """

    def __init__(self, backbone: Backbone, layers: tuple[int, ...], block: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = nn.ModuleDict({str(layer): make_block(block, backbone.dims) for layer in layers})

    def forward(self, clips: Tensor, lengths: Tensor | None) -> tuple[dict[int, Tensor], Tensor | None]:
        """Predictions [B, F, R] of the teacher's layers, and the mask [B, F] of frames, from clips [B, S]."""
        mask = self.backbone.mask(lengths)
        *_, last = self.backbone.states(clips, lengths)
        return {int(layer): block(last, mask) for layer, block in self.blocks.items()}, mask


def prediction_loss(teacher: Tensor, predicted: Tensor, weight: float) -> dict[str, Tensor]:
    """L1 distance and -log sigmoid of the cosine of hidden states [..., R], and ``loss``, the first plus weighted last.

    Eq. (1) of DistilHuBERT, as means over frames rather than sums, which Adam makes the same.
    """
    distance = l1_loss(predicted, teacher)
    cosine = -logsigmoid(cosine_similarity(predicted, teacher, dim=-1)).mean()
    return {"loss": distance + weight * cosine, "l1": distance, "cosine": cosine}


def layerwise_loss(
    teacher: Backbone, student: LayerwiseStudent, clips: Tensor, lengths: Tensor | None, weight: float
) -> dict[str, Tensor]:
    """``prediction_loss`` averaged over the layers that a student predicts, from clips [B, S] and their lengths [B].

    Processes may hold clips of other lengths: each weighs its mean by its frames, so that all frames count alike.
    """
    predicted, mask = student(clips, lengths)
    with torch.no_grad():
        states = enumerate(teacher.states(clips, lengths), 1)
        goals = {layer: state for layer, state in states if layer in predicted}
    valid = slice(None) if mask is None else mask
    terms = [prediction_loss(goals[n][valid], predicted[n][valid], weight) for n in predicted]
    frames = torch.tensor(
        next(iter(predicted.values()))[valid][..., 0].numel(), dtype=torch.float64, device=clips.device
    )
    share = frames / processes.mean(frames)
    return {name: torch.stack([term[name] for term in terms]).mean() * share for name in terms[0]}


def distil_layers(
    config: SelfDistilConfig,
    layerwise: LayerwiseConfig,
    model: Any,
    network: Network,
    utterances: Utterances,
    out: Path,
    inexact: bool,
    fingerprints: dict[str, str],
    stop: Callable[[], bool],
) -> None:
    """The first stage: the network's backbone, a part of ``model``, learns to predict layers of ``model`` as it was.

    A run of its own in ``out/layerwise``, which goes on where it was stopped. ``fingerprints`` are of what the run
    reads, by content. Raises what ``fit`` raises.
    """
    device = processes.device()
    teacher = backbone_of(deepcopy(model), max(layerwise.layers)).requires_grad_(False).eval().to(device)
    with drawn_by(config.training.seed, WEIGHTS, *layerwise.layers):
        student = LayerwiseStudent(network.backbone, layerwise.layers, config.network.block)

    def loss(clips: Tensor, lengths: Tensor | None, _targets: Tensor) -> dict[str, Tensor]:
        return layerwise_loss(teacher, student, clips, lengths, layerwise.cosine)

    folder = out / FOLDER
    resume = processes.together((folder / CONFIG).is_file)
    with Run(folder, config, resume, inexact, FREE, config.training.seed, **fingerprints) as run:
        fit(run, student, loss, utterances, network, config.training, layerwise.epochs, stop)
