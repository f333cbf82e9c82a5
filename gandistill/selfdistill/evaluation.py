"""What each exit of a network is worth on one part of a manifest, and what leaving early is."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from gandistill import artifacts
from gandistill.evaluate.predict import class_scores
from gandistill.evaluate.predictions import file_name, write_predictions
from gandistill.metrics import say_absent
from gandistill.processes import device
from gandistill.selfdistill.calibration import FACT, Calibration
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.inference import FUSION, Heard, can_fuse, fused, hear, posteriors_of, students_of
from gandistill.selfdistill.model import load_network, network_folder
from gandistill.selfdistill.prediction import AUTO


def evaluate(folder: Path, manifest: Path, split: str) -> dict[str, Any]:
    """Judge all that a network can answer by on one split, and write predictions into its folder (outside its hash).

    ``exits`` of what is returned has an entry for each exit, by depth, for "fusion" where there are two students, and
    for "auto" where the network is calibrated: ``uar``, ``accuracy``, ``recalls``, ``confusion`` as
    ``evaluate.predict.evaluate`` has them, ``mean_depth``, the layers run for an utterance, and ``predictions``, the
    file's name, such as ``exit-03-predictions.csv`` or ``auto-predictions-dev.csv``; "auto" also ``left``, how many
    windows were answered behind each layer: utterances, but for those that are longer than one, of which all that is
    said are means, as ``predict`` gives them. Beside it: ``labels``, ``utterances``, ``split``, and name and hash of
    ``network`` and ``manifest``.

    ``folder`` may be that of the network's run. Raises InputError for a folder that holds no network, a manifest that
    does not fit it, bad audio.
    """
    folder = network_folder(folder)
    network = load_network(folder).to(device())
    utterances = Utterances.read(manifest, split, network.labels)
    heard = hear(network, utterances)
    p = posteriors_of(heard)
    answers = {str(depth): _all_at(depth, p[depth], heard) for depth in p}
    if can_fuse(p):
        answers[FUSION] = _all_at(max(students_of(p)), fused(p), heard)
    if FACT in network.facts:
        answers[AUTO] = Calibration.of(network, folder).chosen(heard)
    say_absent(utterances.targets, utterances.labels, split)
    index = pd.DataFrame([(e.id, e.speaker, e.emotion) for e in utterances.entries], columns=["id", "speaker", "label"])
    exits = {}
    for name, (depths, posterior) in answers.items():
        file = f"{f'exit-{int(name):02d}' if name.isdecimal() else name}-{file_name(split)}"
        write_predictions(folder / file, index, posterior.numpy(), utterances.labels)
        result = class_scores(utterances.targets, posterior.numpy().argmax(axis=1), utterances.labels)
        exits[name] = result | {"mean_depth": float(heard.mean(depths).mean()), "predictions": file}
        if name == AUTO:
            exits[name]["left"] = {str(depth): int((depths == depth).sum()) for depth in p}
    return {
        "exits": exits,
        "labels": utterances.labels,
        "utterances": len(utterances),
        "split": split,
        "network": {"name": folder.name, "fingerprint": artifacts.fingerprint(folder)},
        "manifest": {"name": manifest.name, "sha256": artifacts.sha256(manifest)},
    }


def _all_at(depth: int, posterior: Tensor, heard: Heard) -> tuple[NDArray[np.int64], Tensor]:
    """Depth [W] and posterior [N, C] where all windows are answered alike."""
    return np.full(len(heard.samples), depth), posterior
