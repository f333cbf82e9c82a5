"""One measurement of heads, printed as a number: of whatever build is imported, so it asks for what all builds have.

python eval/benchmarks/heads_measured.py TASK HEAD DIMS UTTERANCES UPDATES
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from gandistill.artifacts import describe
from gandistill.features.featureset import KIND, HeldSet, Utterance
from gandistill.heads import training
from gandistill.heads.bank import BankConfig, build_bank
from gandistill.heads.head import Head, posteriors
from gandistill.heads.training import HeadConfig
from gandistill.processes import peak_bytes

LABELS = ["angry", "happy", "neutral", "sad"]
FRAMES = (90, 140)
"""Of RAVDESS's clips as log-Mels."""
LONG = (3000, 3001)
HEADS = 10


def noise(utterances: int, dims: int, frames: tuple[int, int] = FRAMES, seed: int = 0) -> HeldSet:
    """A set of random numbers, in memory."""
    draws = torch.Generator().manual_seed(seed)
    lengths = torch.randint(*frames, (utterances,), generator=draws).tolist()
    clips = (
        Utterance(str(i), LABELS[i % len(LABELS)], torch.randn(length, dims, generator=draws))
        for i, length in enumerate(lengths)
    )
    return HeldSet.of("noise", clips, describe(KIND, {"command": "benchmark"}, labels=LABELS, dims=dims), "Noise.\n")


def train(head: str, dims: int, utterances: int, updates: int) -> float:
    """Processor seconds of one update of a head, the set read and the machine warm."""
    features = noise(utterances, dims)
    config = HeadConfig(head=head, updates=updates)
    made = training.descend(training.untrained(features, head, config), features, config, seed=0)
    for _ in range(updates // 4):
        next(made)
    start = time.process_time()
    left = sum(1 for _ in made)
    return (time.process_time() - start) / left


def several(head: str, dims: int, utterances: int, updates: int) -> float:
    """Processor seconds of one update of ten heads, each on a set of its own, the sets read."""
    sets = [noise(utterances, dims, seed=seed) for seed in range(HEADS)]
    config = HeadConfig(head=head, updates=updates)
    heads = [training.untrained(features, head, config) for features in sets]
    if hasattr(training, "descend_together"):
        runs = [training.descend_together(heads, sets, config, range(HEADS))]
    else:
        runs = [training.descend(*each, config, seed) for seed, each in enumerate(zip(heads, sets, strict=True))]
    for run in runs:
        next(run)
    start = time.process_time()
    for run in runs:
        for _ in run:
            pass
    return (time.process_time() - start) / (updates - 1)


def bank(_: str, dims: int, utterances: int, updates: int) -> float:
    """Processor seconds of a bank of 27 heads."""
    features = noise(utterances, dims)
    with tempfile.TemporaryDirectory() as folder:
        features.save(Path(folder) / "set")
        start = time.process_time()
        build_bank(features, BankConfig(updates=updates, half_trained=updates // 20), Path(folder) / "bank", {})
        return time.process_time() - start


def evaluate(head: str, dims: int, utterances: int, _: int) -> float:
    """Bytes that scoring long clips takes at the most, beyond what was held before."""
    features = noise(utterances, dims, LONG)
    judge, before = Head(head, LABELS, dims), peak_bytes()
    posteriors(judge, features)
    return peak_bytes() - before


TASKS = {"train": train, "several": several, "bank": bank, "evaluate": evaluate}


def main() -> None:
    torch.set_num_threads(1)
    found = []
    for given in sys.argv[1:]:
        task, head, *numbers = given.split(":")
        found.append(TASKS[task](head, *map(int, numbers)))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
