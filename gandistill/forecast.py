"""What a training would take, told by a few of its updates made here, in memory, with nothing written."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gandistill import artifacts
from gandistill.features.featureset import FeatureSet
from gandistill.gan.distilling import Distilling
from gandistill.gan.generator import CLOSED_FORMS
from gandistill.gan.settings import GanConfig
from gandistill.gan.steps import Gan
from gandistill.gan.training import fitted, one_update, prepared, with_frames
from gandistill.heads.bank import KIND as BANK
from gandistill.heads.bank import STAGES, BankConfig
from gandistill.heads.head import Head
from gandistill.heads.training import HeadConfig, Schedule, descend, untrained
from gandistill.numerics import no_tf32, seeded
from gandistill.processes import peak_bytes
from gandistill.run import KEPT, last_step

WARM_UP, TIMED, ENOUGH = 2, 16, 10.0
"""Updates made before the clock starts, and at most while it runs: fewer where so many seconds have passed."""
Facts = dict[str, Any]


def bank(features: FeatureSet, config: BankConfig, out: Path, device: torch.device | str = "cpu") -> Facts:
    """What ``build_bank`` would do from its beginning: ``seconds`` are told by updates of each kind of head.

    Raises InputError as it does.
    """
    artifacts.check_free(out, BANK)
    training = features.training_part().held()
    heads = {kind: _timed_head(training, kind, config, device) for kind in config.heads}
    updates, stored = config.updates * config.seeds, len(STAGES) * config.seeds
    return {
        "utterances": len(training),
        "dims": training.dims,
        "heads": len(heads) * stored,
        "trainings": len(heads) * config.seeds,
        "updates": len(heads) * updates,
        "bytes": stored * sum(_bytes(head) for head, _ in heads.values()),
        "memory_bytes": peak_bytes(),
        "seconds": round(updates * sum(seconds for _, seconds in heads.values()), 1),
    }


def training(config: GanConfig, out: Path) -> Facts:
    """What ``train`` would do in ``out``, of a run that is there the rest; ``seconds`` are of updates and scorings.

    Raises InputError as it does, and for a config that names no features.
    """
    config = with_frames(config)
    if config.architecture.kind in CLOSED_FORMS:
        start = time.monotonic()
        generator = fitted(config).generator
        return {
            "utterances": sum(FeatureSet.open(str(config.features)).training_part().class_counts.values()),
            "updates": 0,
            "parameters": _parameters(generator),
            "bytes": _bytes(generator),
            "memory_bytes": peak_bytes(),
            "seconds": round(time.monotonic() - start, 1),
        }
    gan, dev = prepared(config)
    with no_tf32():
        seconds = _seconds(one_update(gan, update) for update in range(1, 1 + WARM_UP + TIMED))
    state = sum(tensor.nbytes for tensor in gan.state().values())
    heads = [] if gan.bank is None else gan.bank.converged()
    schedule, generator = config.training, _bytes(gan.generator) + sum(map(_bytes, heads))
    left = schedule.updates - last_step(out)
    checkpoints = min(KEPT, -(-schedule.updates // schedule.checkpoint_every))
    every = schedule.evaluate_every if schedule.keep == "best" else schedule.updates
    scorings = 0 if dev is None else -(-left // every)
    return {
        "utterances": len(gan.features),
        "dims": gan.features.dims,
        "updates": left,
        "parameters": _parameters(gan.generator),
        **({"critic_parameters": _parameters(gan.critic)} if isinstance(gan, Gan) else {}),
        "scorings": scorings,
        "bytes": generator + checkpoints * state,
        "memory_bytes": _memory(gan),
        "seconds": round(left * seconds + scorings * _scoring_seconds(gan), 1),
    }


def _scoring_seconds(gan: Distilling) -> float:
    """Of one scoring: heads that are trained in full, timed on real utterances for want of samples."""
    trained = [HeadConfig(head=kind) for kind in gan.config.training.evaluate_heads]
    seconds = sum(config.updates * _timed_head(gan.in_memory, config.head, config)[1] for config in trained)
    return gan.config.training.evaluate_seeds * seconds


def _timed_head(
    features: FeatureSet, kind: str, schedule: Schedule, device: torch.device | str = "cpu"
) -> tuple[Head, float]:
    """A head for these features, and the seconds that one update of it takes."""
    with seeded(0), no_tf32():
        head = untrained(features, kind, schedule).to(device)
        most = schedule.model_copy(update={"updates": WARM_UP + TIMED})
        return head, _seconds(descend(head, features, most, seed=0))


def _seconds(updates: Iterator[Any]) -> float:
    """Of one update, the first ones left out."""
    for _ in range(WARM_UP):
        next(updates)
    start, made = time.monotonic(), 0
    while made < TIMED and time.monotonic() - start < ENOUGH:
        next(updates)
        made += 1
    return (time.monotonic() - start) / made


def _memory(gan: Distilling) -> int:
    """The most that was held at once: of the GPU's memory where it computes there."""
    return torch.cuda.max_memory_allocated(gan.device) if gan.device.type == "cuda" else peak_bytes()


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _bytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())
