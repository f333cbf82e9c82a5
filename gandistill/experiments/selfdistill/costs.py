"""What answers cost: parameters, multiply-accumulates and bytes of what is deployed for them, and seconds, measured.

Which exits a network has decides its costs, and how long its clips are, not what it was taught.
"""

import time
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from statistics import fmean, median
from typing import TypeVar

import torch

from gandistill.console import track
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.experiments.names import Facts
from gandistill.experiments.selfdistill.rows import EXITS, NETWORKS, Row
from gandistill.experiments.selfdistill.trials import ExitInputs, Trial
from gandistill.experiments.store import Store
from gandistill.numerics import one_thread
from gandistill.selfdistill.backbone import backbone_of
from gandistill.selfdistill.describe import architecture, count, describe, samples_of
from gandistill.selfdistill.inference import FUSION
from gandistill.selfdistill.model import NETWORK, Network, exits_of, load_network, transformer
from gandistill.selfdistill.work import Work

ROUNDS = 7
K = TypeVar("K", bound=Hashable)
Shape = tuple[tuple[int, str | None], ...]
"""Each exit of a network, by depth, and its block."""


def sizes(row: Row, inputs: ExitInputs) -> Facts:
    """What the architecture alone says of a row's answer, where ``has_costs``.

    ``parameters_paper``, as the paper's Table 2 counts them, ``parameters_deployed``, ``multiply_accumulates`` for a
    second that is heard, in clips as long as the network's, and ``bytes`` of the weights. Fusion is the deepest student
    with the exits of all others. Raises InputError for an upstream whose architecture is not known.
    """
    if not has_costs(row):
        return {}
    trial = row.trials[0]
    config, depths = trial.config, depths_of(row)
    network = config.network
    architecture_facts = described(inputs.upstream, network.exits, network.block, len(inputs.labels), network.depth)
    (answer,) = [exit for exit in architecture_facts["exits"] if exit["exit"] == depths[-1]]
    plain = answer["parameters_finetuned"]
    block = answer["parameters_paper"] - plain
    blocks = len(config.layerwise.layers) if config.layerwise else 1 if network.exits else 0
    shape, work = weightless(inputs.upstream, shape_of(trial), len(inputs.labels), config.training.clip)
    others = [shape.exits[str(depth)] for depth in depths[:-1]]
    more = sum(tensor.nbytes for exit in others for tensor in exit.state_dict().values())
    return {
        "parameters_paper": plain + blocks * block + count(*others),
        "parameters_deployed": answer["parameters_deployed"] + count(*others),
        "multiply_accumulates": round(work.together(depths)),
        "bytes": answer["bytes"] + more,
    }


described = cache(describe)
"""Rows share shapes."""


@cache
def weightless(upstream: str, shape: Shape, classes: int, clip: int) -> tuple[Network, Work]:
    """A network on the meta device, and its work."""
    exits = dict(shape)
    with torch.device("meta"):
        backbone = backbone_of(transformer(architecture(upstream), max(exits), upstream))
        network = Network(backbone, exits, [str(number) for number in range(classes)], clip=clip).eval()
    return network, Work.of(network)


def has_costs(row: Row) -> bool:
    """Whether a row is an answer of a network of Table 1 or 2."""
    return bool(row.trials) and row.table in (EXITS, NETWORKS)


def depths_of(row: Row) -> tuple[int, ...]:
    """Behind which layers a row's answer is given: one, or for fusion the students'."""
    return row.trials[0].config.network.exits if row.answer == FUSION else (int(row.answer),)


def shape_of(trial: Trial) -> Shape:
    """What decides, beside the upstream and the clip, how long a network takes: its layers and blocks."""
    network = trial.config.network
    return tuple(exits_of(trial.inputs.layers, network.exits, network.block, network.depth).items())


def seconds(rows: Sequence[Row], store: Store) -> list[Facts]:
    """What each row's answer takes; nothing where ``sizes`` has nothing.

    ``seconds`` of one core for a second that is heard, measured anew in each call, all shapes of networks by turns, so
    that what slows a machine for a while slows all; ``training_seconds`` of the processor, means over trainings, where
    none of them was interrupted.
    """
    places = [(shape_of(row.trials[0]), depths_of(row)) if has_costs(row) else None for row in rows]
    trials = {place[0]: row.trials[0] for place, row in zip(places, rows, strict=True) if place}
    networks = {shape: load_network(trial.run(store) / NETWORK) for shape, trial in trials.items()}
    times = timed({place: (networks[place[0]], place[1]) for place in places if place})
    return [
        {"seconds": times[place]} | trained(row.trials, store) if place else {}
        for place, row in zip(places, rows, strict=True)
    ]


def trained(trials: Sequence[Trial], store: Store) -> Facts:
    """``training_seconds`` of some trials' networks, where they are known of all."""
    costs = [store.cost(trial.run(store)) for trial in trials]
    known = [cost["seconds"] for cost in costs if "seconds" in cost]
    return {"training_seconds": fmean(known)} if len(known) == len(costs) else {}


@torch.inference_mode()
def timed(networks: Mapping[K, tuple[Network, Sequence[int]]]) -> dict[K, float]:
    """Seconds for a second that is heard, of networks that answer at some depths: layers above those are not run.

    Each is asked once in every round, of a clip as long as its own; medians of rounds.
    """
    taken: dict[K, list[float]] = {key: [] for key in networks}
    with one_thread():
        for turn in track(range(1 + ROUNDS), "timing", 1 + ROUNDS, unit="rounds"):
            for key, (network, depths) in networks.items():
                samples = samples_of(network)
                clip = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
                start = time.perf_counter()
                for _ in network.answers(clip, depths=depths):
                    pass
                if turn:  # the first round finds memory
                    taken[key].append((time.perf_counter() - start) * SAMPLE_RATE / samples)
    return {key: median(times) for key, times in taken.items()}
