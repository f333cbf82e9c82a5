"""What answers cost: parameters, multiply-accumulates and bytes of what is deployed for them, and seconds, measured.

Which exits a network has decides its costs, not what it was taught.
"""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from gandistill import artifacts
from gandistill.console import track
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.evaluate.exit_rows import LAYERS, Row
from gandistill.evaluate.exit_trials import FUSION, ExitInputs, Trial, TrialStore
from gandistill.evaluate.judgements import digest
from gandistill.run import one_thread
from gandistill.selfdistill.describe import CLIP, describe
from gandistill.selfdistill.model import Network, exits_of, load_network
from gandistill.selfdistill.training import NETWORK

REPEATS = 5
Facts = dict[str, Any]


def sizes(row: Row, inputs: ExitInputs) -> Facts:
    """What the architecture alone says of a row's answer; nothing for chance, Figure 2 and fusion.

    ``parameters_paper``, as the paper's Table 2 counts them, ``parameters_deployed``, ``multiply_accumulates`` for a
    second of audio, and ``bytes`` of the weights. Raises InputError for an upstream whose architecture is not known.
    """
    if not has_costs(row):
        return {}
    config = row.of_all[0].config
    network = config.network
    told = described(inputs.upstream, network.exits, network.block, len(inputs.labels), network.depth)
    (found,) = [each for each in told["exits"] if each["exit"] == int(row.answer)]
    plain = found["parameters_finetuned"]
    block = found["parameters_paper"] - plain
    blocks = len(config.layerwise.layers) if config.layerwise else 1 if network.exits else 0
    return {
        "parameters_paper": plain + blocks * block,
        "parameters_deployed": found["parameters_deployed"],
        "multiply_accumulates": found["multiply_accumulates_per_second"],
        "bytes": found["bytes"],
    }


described = cache(describe)
"""Rows share shapes."""


def has_costs(row: Row) -> bool:
    """Whether a row is one exit of a network of Table 1 or 2."""
    return row.trials is not None and row.table != LAYERS and row.answer != FUSION


def seconds(rows: Sequence[Row], store: TrialStore) -> list[float | None]:
    """Of one core for a second of audio, for each row's answer; None where ``sizes`` has nothing.

    Measured once for each shape of network, its exits by turns, and kept.
    """
    shapes: dict[str, Trial] = {}
    for row in rows:
        if has_costs(row):
            shapes.setdefault(shape_of(row.of_all[0]), row.of_all[0])
    for shape, trial in track(shapes.items(), "timing", len(shapes), unit="networks"):
        path = store.folder / "seconds" / f"{shape}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            artifacts.write_json(path, timed(load_network(store.run(trial) / NETWORK)))
    found = {shape: artifacts.read_json(store.folder / "seconds" / f"{shape}.json") for shape in shapes}
    return [found[shape_of(row.of_all[0])][row.answer] if has_costs(row) else None for row in rows]


def shape_of(trial: Trial) -> str:
    """What decides how long a network takes: its layers and blocks."""
    network, inputs = trial.config.network, trial.inputs
    exits = exits_of(inputs.layers, network.exits, network.block, network.depth)
    return digest([inputs.upstream_sha256, [*exits.items()]])[:16]


@torch.inference_mode()
def timed(network: Network) -> dict[str, float]:
    """Seconds for a second of audio, by depth: the fastest of several passes, layers above the exit not run.

    Of clips as long as those by which ``describe`` counts.
    """
    clip = torch.randn(1, CLIP, generator=torch.Generator().manual_seed(0))
    taken: dict[int, list[float]] = {depth: [] for depth in network.depths}
    with one_thread():
        for repeat in range(1 + REPEATS):
            for depth, times in taken.items():
                start = time.perf_counter()
                for _ in network.answers(clip, depths=[depth]):
                    pass
                if repeat:  # the first pass finds memory
                    times.append(time.perf_counter() - start)
    return {str(depth): min(times) * SAMPLE_RATE / CLIP for depth, times in taken.items()}
