"""Seconds of audio a second through the whole extraction, beside the bare model on the same files.

    python eval/benchmarks/extract.py                          on a corpus that is synthesised
    python eval/benchmarks/extract.py --corpus path/to/RAVDESS

Variants: ``model``, each file through the upstream, its samples in memory already; ``read, model``, the same with the
files read from disk; ``extract``, the command: audio checked and hashed, features stored, sums written. ``overhead``
is what extract takes beyond the model, as a fraction of it, and ``overhead_beyond_reading`` what it takes beyond
reading and the model. Upstreams: log-Mel, and a HuBERT of 3 layers of 256 dims with random weights, on the CPU and on
the GPU where there is one, all in one thread. The model's loading counts for extract alone.

Rows: ``upstream``, ``device``, ``variant``, ``audio_seconds`` of the corpus, ``seconds`` taken,
``audio_seconds_per_second``, ``overhead``, ``overhead_beyond_reading``.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmark import Row, parser, seconds, write
from gandistill.corpora import audio
from gandistill.corpora.manifest import read_manifest
from gandistill.corpora.prepare import prepare
from gandistill.corpora.synthetic import synthesise
from gandistill.features.extract import ExtractConfig, extract, load_upstream


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--corpus", type=Path, help="RAVDESS on disk; none: a corpus that is synthesised")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        manifest = make_manifest(work, options.corpus, options.quick)
        rows = []
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            for upstream, rounds in (("logmel", 15), ("hubert", 3)):
                config = ExtractConfig.load(overrides=[f"upstream={upstream}", f"hubert.model={tiny_hubert(work)}"])
                rows += measure(manifest, config, device, 1 if options.quick else rounds, work)
    write("extract", rows, options)


def make_manifest(work: Path, corpus: Path | None, quick: bool) -> Path:
    """320 clips of 2.4 s on average (8 for ``quick``), or RAVDESS' 1,440 of 3.7 s."""
    manifest = work / "manifest.csv"
    if corpus is None:
        synthesise(work / "corpus", sessions=1 if quick else 4, per_class=1 if quick else 10)
    prepare("synthetic" if corpus is None else "ravdess", corpus or work / "corpus", manifest)
    return manifest


def tiny_hubert(work: Path) -> Path:
    """A model folder."""
    from transformers import HubertConfig, HubertModel, logging

    folder = work / "hubert"
    if not folder.is_dir():
        logging.disable_progress_bar()
        torch.manual_seed(0)
        config = HubertConfig(
            hidden_size=256, num_hidden_layers=3, num_attention_heads=4, intermediate_size=1024, conv_dim=[128] * 7
        )
        HubertModel(config).save_pretrained(folder)
    return folder


def measure(manifest: Path, config: ExtractConfig, device: str, rounds: int, work: Path) -> list[Row]:
    """A row for each variant."""
    upstream = load_upstream(config, device)
    entries = read_manifest(manifest)
    clips = [torch.from_numpy(audio.load_utterance(entry)) for entry in entries]

    def model() -> None:
        for clip in clips:
            upstream(clip)

    def read_model() -> None:
        for entry in entries:
            upstream(torch.from_numpy(audio.load_utterance(entry)))

    def whole() -> None:
        extract(manifest, config, Path(tempfile.mkdtemp(dir=work)), device=device)

    variants: dict[str, Callable[[], None]] = {"model": model, "read, model": read_model, "extract": whole}
    taken = seconds(variants, rounds)
    length = sum(map(len, clips)) / audio.SAMPLE_RATE
    return [
        {
            "upstream": config.upstream,
            "device": device,
            "variant": variant,
            "audio_seconds": length,
            "seconds": taken[variant],
            "audio_seconds_per_second": length / taken[variant],
            "overhead": taken[variant] / taken["model"] - 1,
            "overhead_beyond_reading": taken[variant] / taken["read, model"] - 1,
        }
        for variant in variants
    ]


if __name__ == "__main__":
    main()
