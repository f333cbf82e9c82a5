"""What heads, their bank and their scoring take, and with ``--against`` what they took in another build.

    python eval/benchmarks/heads.py --against path/to/another/checkout

Both builds measure in fresh processes by turns, in one thread, on random numbers of the size of RAVDESS: 90 to 140
frames an utterance; ``evaluate`` on clips of 3,000. Medians over rounds. Seconds are the processor's, since the machine
may have other work, which still costs them caches: ``load`` is how many processes wanted to run on average.

Rows: ``task`` (train: an update of one head; several: an update of ten heads, each on its own set; bank: a bank of 27
heads; evaluate: scoring), ``head``, ``dims``, ``utterances``, ``updates``, ``unit`` (processor seconds, or bytes of
memory beyond the set), ``value``; and of the other build ``against`` (its commit), ``before`` and ``ratio``, before
over value; ``rounds``, ``load``.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from against import HERE, Build, build_at, medians
from benchmark import Row, parser, write

SCRIPT = Path(__file__).with_name("heads_measured.py")
TASKS = [
    (
        3,
        [
            *(f"several:superb:{dims}:200:200" for dims in (64, 512)),
            *(f"train:{head}:{dims}:576:60" for head in ("superb", "attentive", "cnn-attention") for dims in (64, 512)),
        ],
    ),
    (1, ["evaluate:cnn:64:64:0"]),
    (1, ["bank:all:64:576:100", "bank:all:64:2304:100"]),
]
"""Rounds, and what one process measures: task, head, dims, utterances, updates. Peaks need a process of their own."""
QUICK = [(1, ["several:superb:8:12:4", "train:attentive:8:12:8"]), (1, ["evaluate:cnn:8:4:0"])]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--against", type=Path, help="another build's checkout")
    options = arguments.parse_args()
    builds = [Build(HERE), *([] if options.against is None else [build_at(options.against)])]
    write("heads", rows(builds, options), options)


def rows(builds: list[Build], options: argparse.Namespace) -> Iterator[Row]:
    for rounds, given in QUICK if options.quick else TASKS:
        values = zip(*medians(builds, SCRIPT, given, rounds), strict=True)
        for measured, (value, *before) in zip(given, values, strict=True):
            task, head, *sizes = measured.split(":")
            row = {"task": task, "head": head} | dict(
                zip(("dims", "utterances", "updates"), map(int, sizes), strict=True)
            )
            row |= {"unit": "bytes" if task == "evaluate" else "seconds", "value": value}
            for build, other in zip(builds[1:], before, strict=True):
                row |= {"against": build.commit, "before": other, "ratio": other / value}
            yield row | {"rounds": rounds, "load": os.getloadavg()[0]}


if __name__ == "__main__":
    main()
