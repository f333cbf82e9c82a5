"""Emotions of audio files of any length, answered no deeper than is asked for.

Section 2.3, "Dynamic Inference", of Ren et al. 2023. Paper: which exit answers is chosen for a device. Here: or for
each clip, by how sure the exits are. Shapes: S samples, C classes.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandistill import artifacts
from gandistill.corpora.audio import stream
from gandistill.corpora.windows import answers, averaged, windows
from gandistill.errors import InputError, choices
from gandistill.numerics import no_tf32
from gandistill.processes import device
from gandistill.selfdistill.calibration import Calibration, tempered
from gandistill.selfdistill.inference import FUSION, can_fuse, fused_of
from gandistill.selfdistill.model import KIND, Network, described_network, load_network, network_folder
from gandistill.selfdistill.windows import shortest_of, window_of

AUTO = "auto"


@dataclass(frozen=True)
class Predictor:
    """A network that holds no more exits and layers than ``exit`` needs: a depth, "fusion" or "auto".

    "fusion" is ``inference.fused``. "auto" leaves at the first exit that is sure enough by the network's
    ``calibration``, and says its calibrated probabilities; others' are as the network gives them.
    """

    network: Network
    exit: str
    calibration: Calibration | None = None

    @classmethod
    def open(cls, folder: Path, exit: str) -> Self:
        """Read from a network's folder, or from that of its run, what ``exit`` needs, and nothing else.

        Raises InputError for an exit that it does not have, "auto" if it is not calibrated, a damaged folder.
        """
        folder = network_folder(folder)
        config = artifacts.open_artifact(folder, KIND, verify=(artifacts.CONFIG,))
        whole = described_network(config, folder / artifacts.CONFIG)
        if exit == AUTO:
            calibration = Calibration.of(whole, folder)
            return cls(load_network(folder).to(device()), exit, calibration)
        if exit == FUSION:
            return cls(load_network(folder, fused_of(whole.depths)).to(device()), exit)
        if exit not in map(str, whole.depths):
            several = [FUSION] * can_fuse(whole.depths) + [AUTO] * (len(whole.depths) > 1)
            raise choices(f"exit of {folder}:", exit, [*map(str, whole.depths), *several])
        return cls(load_network(folder, [int(exit)]).to(device()), exit)

    @torch.inference_mode()
    def answer(self, audio: Tensor) -> tuple[int, Tensor]:
        """How many layers were run on audio [S] at 16 kHz, heard at once, and the probabilities [C] in float64."""
        depth, posteriors, calibration = 0, list[Tensor](), self.calibration
        clip = self.network.prepared(audio.to(next(self.network.parameters()).device))
        with no_tf32():
            for depth, answer in self.network.answers(clip[None]):
                posteriors.append(
                    tempered(answer.logits[0].cpu(), 1.0 if calibration is None else calibration.temperatures[depth])
                )
                if calibration is not None and posteriors[-1].max() > calibration.threshold:
                    break
        return depth, torch.stack(posteriors).mean(0) if self.exit == FUSION else posteriors[-1]

    def file(self, path: Path, channel: int | None = None) -> Generator[None, None, dict[str, Any]]:
        """Answer on a file, window after window, passing once for each; memory does not grow with the file.

        Of a file ``channel`` (1 is the first) is heard, or the average. Gives ``path``, ``label``, ``probabilities`` by
        class, ``seconds``, ``exit`` and ``depth``. Probabilities and depth (layers run) are means over the windows by
        their lengths. Raises AudioError, also for audio too short for the network, RunError if it gives NaN.
        """
        shortest = shortest_of(self.network)
        parts = windows(stream(path, channel), window_of(self.network), shortest)
        least = 0 if self.network.clip else shortest
        answer, (depth,) = yield from averaged(parts, self._heard, self.network.labels, least, path, "the network")
        return {"path": str(path)} | answer | {"exit": self.exit, "depth": float(depth)}

    def _heard(self, audio: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities and, behind them, how many layers were run [C + 1]."""
        depth, posterior = self.answer(torch.from_numpy(audio))
        return np.append(posterior.numpy(), depth)


def predict(
    folder: Path, paths: Sequence[Path], exit: str, channel: int | None = None
) -> tuple[dict[str, Any], list[InputError]]:
    """The emotion of each audio file, and what is wrong with those that cannot be answered.

    As plain values: ``files``, as ``Predictor.file`` gives each, in the order given, and ``mean_depth``, how many
    layers were run, averaged over them. A folder stands for all audio below it. A file longer than
    ``windows.window_of`` the network is heard in windows of that length, as ``evaluate`` and ``calibrate`` hear it.
    Raises InputError as ``Predictor.open`` and ``answers`` do.
    """
    predictor = Predictor.open(folder, exit)
    answered, problems = answers(paths, partial(predictor.file, channel=channel), window_of(predictor.network))
    return {"files": answered, "mean_depth": fmean(answer["depth"] for answer in answered)}, problems
