"""Time, memory and bytes of answering after layer 3 of a base-size wav2vec 2.0, against its full depth.

    python eval/benchmarks/early_exit.py

Weights are random, audio is noise, one thread computes. What is timed is ``gandistill selfdistill predict``'s own
``Predictor.answer`` on a clip of 95,744 samples, and in the same rounds the bare modules of which it cannot be faster:
what comes before the layers (convolutions, projection, positions), the layers, and what comes behind. The limit of the
early exit is (before + 3 layers + exit) / (before + 12 layers + last exit). Memory is measured in fresh processes that
predict files of several lengths, bytes on the folders that ``gandistill selfdistill export`` writes. ``--quick``: a
model of four small layers, exit 1.

Rows: ``variant``; of times, ``seconds`` for a clip (median of ``rounds``), ``seconds_per_second`` of audio and
``share`` of the full depth's; of the ratio, ``measured`` (time at the exit over that at full depth), ``limit`` and
``over_limit``, the one over the other; of folders, ``bytes`` and ``share``; of memory, ``audio_seconds`` in the file
and ``peak_mb`` (MiB by which opening the network and predicting raised what the process held).
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from benchmark import Row, parser, seconds, write
from gandistill.artifacts import bytes_on_disk
from gandistill.console import say, track
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.precision import PRECISIONS
from gandistill.selfdistill.backbone import WaveBackbone
from gandistill.selfdistill.export import export
from gandistill.selfdistill.model import Network, exits_of, save_network, transformer
from gandistill.selfdistill.prediction import Predictor

MIB = 2**20
LABELS = ["anger", "disgust", "fear", "guilt", "happiness", "sadness", "surprise"]


@dataclass(frozen=True)
class Case:
    """What is measured: a transformer, its exits, and for how long."""

    architecture: dict[str, Any]
    layers: int
    exits: tuple[int, ...]
    clip: int
    rounds: int
    lengths: tuple[int, ...]


FULL = Case({"model_type": "wav2vec2"}, 12, (3, 8, 10), 95_744, 9, (6, 30, 120))
QUICK = Case(
    {"model_type": "wav2vec2", "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
    | {"conv_dim": [64] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
    4,
    (1, 2),
    SAMPLE_RATE,
    3,
    (10,),
)


def main() -> None:
    options = parser(__doc__).parse_args()
    case = QUICK if options.quick else FULL
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        whole, exported = Path(scratch) / "whole", Path(scratch) / "exported"
        save_network(whole, network(case), {"command": "benchmark"})
        rows = [{"variant": "whole folder", "bytes": bytes_on_disk(whole), "share": 1.0}]
        for precision in reversed(PRECISIONS):  # the last one stays
            facts = export(whole, case.exits[0], exported, precision)
            rows.append(
                {"variant": f"exit {case.exits[0]}, {precision}", "bytes": facts["bytes"], "share": facts["share"]}
            )
        rows = [*times(case, exported, whole), *rows, *memory(case, exported, whole)]
    write("early_exit", rows, options)


def network(case: Case) -> Network:
    """One with random weights, LSTM blocks."""
    torch.manual_seed(0)
    backbone = WaveBackbone(transformer(case.architecture, case.layers, "the benchmark"))
    return Network(backbone, exits_of(case.layers, case.exits, "lstm"), LABELS, clip=case.clip).eval()


def times(case: Case, exported: Path, whole: Path) -> list[Row]:
    """Rows of what is predicted, of its parts, and of the ratio to the limit."""
    first, last = case.exits[0], case.layers
    early, full = Predictor.open(exported, str(first)), Predictor.open(whole, str(last))
    audio = torch.randn(case.clip, generator=torch.Generator().manual_seed(0))
    variants = {f"exit {first}": lambda: early.answer(audio), f"exit {last}": lambda: full.answer(audio)}
    with torch.inference_mode():
        backbone = full.network.backbone
        assert isinstance(backbone, WaveBackbone)
        frames = before(backbone, audio)
        parts = {
            "before the layers": lambda: before(backbone, audio),
            f"{first} layers": lambda: through(backbone, first, frames),
            f"{last} layers": lambda: through(backbone, last, frames),
            f"exit's block and linears, {first}": lambda: early.network.exits[str(first)](frames, None),
            f"exit's linears, {last}": lambda: full.network.exits[str(last)](frames, None),
        }
        say(f"Timing {case.rounds + 1} rounds")
        timings = seconds(variants | parts, case.rounds)
    at_exit, at_last, start, few, all_layers, exit, head = timings.values()
    limit = (start + few + exit) / (start + all_layers + head)
    per_clip = case.clip / SAMPLE_RATE
    rows: list[Row] = [
        {"variant": name, "seconds": taken, "seconds_per_second": taken / per_clip, "share": taken / at_last}
        | {"rounds": case.rounds}
        for name, taken in timings.items()
    ]
    measured = at_exit / at_last
    return [*rows, {"variant": "ratio", "measured": measured, "limit": limit, "over_limit": measured / limit}]


def before(backbone: WaveBackbone, audio: Tensor) -> Tensor:
    """What enters the first layer, by the modules alone."""
    features = backbone.projection(backbone.encoder(audio[None]).transpose(1, 2))[0]
    return backbone.norm(features + backbone.positions(features))


def through(backbone: WaveBackbone, layers: int, hidden: Tensor) -> Tensor:
    """What leaves a layer, by the layers alone."""
    for layer in backbone.layers[:layers]:
        hidden = layer(hidden)
    return hidden


def memory(case: Case, exported: Path, whole: Path) -> list[Row]:
    """Rows of the exported exit on files of all lengths, and of the full depth on the shortest."""
    runs = [(exported, case.exits[0], length) for length in case.lengths] + [(whole, case.layers, case.lengths[0])]
    rows: list[Row] = []
    for folder, exit, length in track(runs, "Memory", len(runs), unit="processes"):
        file = folder.parent / "noise.wav"
        noise = torch.randn(length * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
        soundfile.write(file, 0.1 * noise.numpy(), SAMPLE_RATE)
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            peak = process.submit(raised, folder, exit, file).result()
        rows.append({"variant": f"exit {exit}", "audio_seconds": length, "peak_mb": peak / MIB})
    return rows


def raised(folder: Path, exit: int, file: Path) -> int:
    """Bytes by which predicting a file raises what this process, which has loaded the code, holds at most."""
    torch.set_num_threads(1)
    network(QUICK)
    resident = kilobytes("VmRSS")
    for _ in Predictor.open(folder, str(exit)).file(file):
        pass
    return 1024 * (kilobytes("VmHWM") - resident)


def kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
