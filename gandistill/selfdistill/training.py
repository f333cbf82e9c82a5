"""Self-distillation: a pretrained transformer is fine-tuned together with exits behind some of its layers.

Ren et al. 2023, "Fast Yet Effective Speech Emotion Recognition with Self-Distillation" (arXiv 2210.14636). Without
exits it is plain fine-tuning, whose rows of Table 2 are beside it there.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gandistill import artifacts, processes
from gandistill.console import muted, say
from gandistill.corpora.manifest import read_manifest, read_origin
from gandistill.errors import InputError
from gandistill.features.upstreams import parameters_sha256
from gandistill.metrics import say_absent, scores
from gandistill.numerics import drawn_by, no_tf32
from gandistill.run import Run, check_folder, stop_asked
from gandistill.selfdistill.backbone import backbone_of, encoder_of, load_upstream
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.fitting import WEIGHTS, fit
from gandistill.selfdistill.inference import posteriors
from gandistill.selfdistill.layerwise import distil_layers
from gandistill.selfdistill.losses import self_distillation
from gandistill.selfdistill.model import NETWORK, Network, exits_of, save_network
from gandistill.selfdistill.settings import FREE, SelfDistilConfig, TrainingConfig


@dataclass(frozen=True)
class Inputs:
    """What a training begins with: labelled clips, and the pretrained model, of which ``network`` has its part."""

    manifest: Path
    training: Utterances
    dev: Utterances | None
    model: Any
    network: Network

    def fingerprints(self) -> dict[str, str]:
        """What was read, by content."""
        parts = {"train": self.training, "dev": self.dev}
        by_part = {name: part.fingerprint for name, part in parts.items() if part is not None}
        return by_part | {"upstream": parameters_sha256(encoder_of(self.model))}


def train(config: SelfDistilConfig, out: Path, resume: bool = False, inexact: bool = False) -> None:
    """Fine-tune a network with exits in the run folder ``out``; ``out/network`` is the last, or the best by dev so far.

    On several processes at once under ``accelerate launch``. ``inexact``: resume even where the bits would differ from
    an uninterrupted run's. Raises InputError for bad input, RunError naming the term when a loss is no longer a sane
    number.
    """
    check_folder(out, resume)
    with muted(not processes.place().is_main_process):
        inputs = processes.together(lambda: prepared(config))
        fingerprints = processes.together(inputs.fingerprints)
        with (
            Run(out, config, resume, inexact, FREE, config.training.seed, **fingerprints) as run,
            stop_asked() as stop,
            no_tf32(),
        ):
            network = inputs.network
            network.facts |= origin(config, inputs, fingerprints)
            if config.layerwise is not None and not run.state:
                say("First stage: the student learns to predict deeper layers")
                distil_layers(
                    config, config.layerwise, inputs.model, network, inputs.training, out, inexact, fingerprints, stop
                )

            def losses(clips: Tensor, lengths: Tensor | None, targets: Tensor) -> dict[str, Tensor]:
                return self_distillation(dict(network.answers(clips, lengths)), targets, config.loss)

            def after_epoch(epoch: int) -> None:
                processes.main_alone(lambda: save_if_selected(network, run, config.training, inputs.dev, epoch))

            epochs = config.training.epochs
            fit(run, network, losses, inputs.training, network, config.training, epochs, stop, after_epoch)
            if processes.together(lambda: lacks_last(out / NETWORK, config.training)):
                after_epoch(epochs)
            say(f"Network: {out / NETWORK}")


def prepared(config: SelfDistilConfig) -> Inputs:
    """Clips and the network with its initial weights. Raises InputError for input that does not fit together."""
    if config.manifest is None:
        raise InputError("Training needs a manifest with a train part: --set manifest=FILE")
    batch, count = config.training.batch, processes.place().num_processes
    if batch % count:
        raise InputError(f"training.batch {batch} cannot be shared evenly by {count} processes")
    training = Utterances.read(config.manifest, "train")
    if len(set(training.targets)) < 2:
        raise InputError(f"{config.manifest}: its train part has one class only, there is nothing to tell apart")
    has_dev = any(entry.split == "dev" for entry in read_manifest(config.manifest))
    if config.training.select == "dev" and not has_dev:
        raise InputError(f"{config.manifest}: has no dev part for training.select=dev, expected last")
    dev = Utterances.read(config.manifest, "dev", training.labels) if has_dev else None
    if dev is not None:
        say_absent(dev.targets, dev.labels, "dev")
    for label in sorted(set(training.labels) - {entry.emotion for entry in training.entries}):
        say(f"{config.manifest}: its train part has no {label}, which is trained without")
    settings = config.network
    model, normalise = load_upstream(settings.upstream)
    layers = len(model.encoder.layers)
    exits = exits_of(layers, settings.exits, settings.block, settings.depth)
    if config.layerwise is not None and max(config.layerwise.layers) > layers:
        raise InputError(f"Bad layerwise.layers {list(config.layerwise.layers)}, the model has layers 1 to {layers}")
    with drawn_by(config.training.seed, WEIGHTS):
        backbone = backbone_of(model, max(exits))
        backbone.saving = config.training.gradient_checkpointing
        network = Network(backbone, exits, training.labels, normalise, config.training.clip)
    for part in (training, dev):
        if part is not None:
            part.check_lengths(network)
    training.check_whole(network)
    lower = [backbone.encoder, *backbone.layers[: backbone.depth // 2]]
    frozen = {"nothing": [], "encoder": [backbone.encoder], "half": lower, "backbone": [backbone]}
    for part in frozen[config.training.freeze]:
        part.requires_grad_(False)
    return Inputs(config.manifest, training, dev, model, network)


def origin(config: SelfDistilConfig, inputs: Inputs, fingerprints: dict[str, str]) -> dict[str, Any]:
    """What a network says of where it came from: no place on anybody's disk."""
    provenance = read_origin(inputs.manifest)
    source = {"manifest": inputs.manifest.name, "fingerprint": fingerprints["train"]}
    source |= {key: provenance[key] for key in ("protocol", "fold", "dev") if key in provenance}
    name = config.network.upstream
    upstream = {
        "name": Path(name).resolve().name if Path(name).is_dir() else name,
        "fingerprint": fingerprints["upstream"],
    }
    counts = Counter(entry.emotion for entry in inputs.training.entries)
    trained = {
        "config": config.shareable(),
        "upstream": upstream,
        "utterances": {label: counts[label] for label in inputs.training.labels},
    }
    return {"trained": trained, "source": source} | {
        key: provenance[key] for key in ("corpus", "licence") if key in provenance
    }


def save_if_selected(network: Network, run: Run, config: TrainingConfig, dev: Utterances | None, epoch: int) -> None:
    """Write the network after an epoch where it is the one to keep: the last, or the best on dev so far."""
    last = epoch == config.epochs
    scores = dev_scores(network, dev) if dev is not None and (last or config.select == "dev") else {}
    if scores:
        listed = ", ".join(f"exit {depth} {uar:.3f}" for depth, uar in scores.items())
        say(f"epoch {epoch}: dev UAR of {listed}")
    if config.select == "dev":
        score = float(np.mean(list(scores.values())))
        if run.best is not None and score <= run.best:
            return
        run.best = score
    elif not last:
        return
    network.facts["trained"] |= {"epoch": epoch, "dev_uar": {str(depth): uar for depth, uar in scores.items()}}
    save_network(run.folder / NETWORK, network, {"command": "selfdistill train", "seed": config.seed})


def lacks_last(folder: Path, config: TrainingConfig) -> bool:
    """Whether the last epoch's network is still to be written: when that epoch ended, more of them were asked for."""
    if not (folder / artifacts.CONFIG).is_file():
        return True
    written = artifacts.read_json(folder / artifacts.CONFIG).get("trained") or {}
    return config.select == "last" and written.get("epoch") != config.epochs


def dev_scores(network: Network, dev: Utterances) -> dict[int, float]:
    """UAR of each exit on a part."""
    by_depth = posteriors(network, dev)
    return {
        depth: scores(dev.targets, probabilities.argmax(-1).cpu().numpy(), len(dev.labels))["uar"]
        for depth, probabilities in by_depth.items()
    }
