"""Seconds of one update and bytes of a generator whose only axis is time, beside the paper's, by width of the features.

    python eval/benchmarks/wide.py

GAN-ATT takes frames and dims as an image; gan-time takes dims as channels. Both preset small, all losses, batches of
16, the package's trainer at its defaults, features and a bank of random numbers. What either teaches is a table's to
say (``eval/plans/whisper_gan.yaml``).

Rows: ``generator``, ``frames``, ``dims``, ``threads`` of torch, ``seconds_per_update``, ``speedup`` over GAN-ATT,
``bytes`` of the generator's weights.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmark import Row, parser, seconds, write
from gandistill.numerics import no_tf32
from loops import LOOPS
from train_step import UPDATES, gan_of, inputs, updates

KINDS = ("gan-att", "gan-time")
SIZES = ((112, 64), (92, 512))


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, no_tf32():
        write("wide", rows(options, Path(scratch)), options)


def rows(options: argparse.Namespace, scratch: Path) -> Iterator[Row]:
    for frames, dims in ((20, 8),) if options.quick else SIZES:
        work = scratch / str(dims)
        inputs(work, dims)
        settings = [f"architecture.frames={frames}"]
        gans = {kind: gan_of(LOOPS["ours"], work, [*settings, f"architecture.kind={kind}"]) for kind in KINDS}
        calls = {kind: updates(LOOPS["ours"], gan) for kind, gan in gans.items()}
        taken = {kind: duration / UPDATES for kind, duration in seconds(calls, 1 if options.quick else 5).items()}
        for kind, gan in gans.items():
            size = sum(tensor.nbytes for tensor in gan.generator.state_dict().values())
            row = {"generator": kind, "frames": frames, "dims": dims, "threads": torch.get_num_threads()}
            row |= {"seconds_per_update": taken[kind], "speedup": taken[KINDS[0]] / taken[kind], "bytes": size}
            yield row


if __name__ == "__main__":
    main()
