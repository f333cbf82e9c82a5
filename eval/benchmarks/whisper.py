"""Whisper's encoder on a clip's own length against 30 s of padded sound, as it was trained: seconds for the same clips.

    python eval/benchmarks/whisper.py --corpus path/to/RAVDESS --model openai/whisper-base

Both contexts hear the same clips, in turn, through all blocks, in one thread. Without --corpus they are synthesised;
--quick takes a tiny Whisper with random weights, which hears 4 s instead of 30.

Rows: ``model``, ``context`` (clip, 30s), ``clips``, ``audio_seconds`` of them, ``seconds`` taken,
``audio_seconds_per_second``, ``speedup`` over 30s, ``threads``.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmark import Row, parser, seconds, write
from gandistill.corpora import audio
from gandistill.corpora.manifest import Entry
from gandistill.corpora.prepare import prepare
from gandistill.corpora.synthetic import synthesise
from gandistill.features.whisper import Whisper, WhisperConfig

CONTEXTS = ("clip", "30s")
CLIPS = 24


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--corpus", type=Path, help="RAVDESS on disk; none: a corpus that is synthesised")
    arguments.add_argument("--model", default="openai/whisper-base", help="name on the Hugging Face Hub, or a folder")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_whisper(Path(folder) / "whisper") if options.quick else options.model
        clips = spread(entries_of(options.corpus, Path(folder)), 4 if options.quick else CLIPS)
        write("whisper", measure(model, clips, 1 if options.quick else 5), options)


def entries_of(corpus: Path | None, work: Path, fold: int = 1) -> list[Entry]:
    """RAVDESS's four classes, split by dyads, or a corpus that is synthesised below ``work``."""
    if corpus is not None:
        return prepare("ravdess", corpus, work / "manifest.csv", protocol="ravdess-dyads", fold=fold)
    if not (work / "corpus").is_dir():
        synthesise(work / "corpus", sessions=3, per_class=1)
    return prepare("synthetic", work / "corpus", work / "manifest.csv", protocol="speaker-independent", fold=fold)


def spread(entries: list[Entry], number: int) -> list[Tensor]:
    """Clips [samples] of so many utterances, evenly spread over all."""
    chosen = entries[:: max(1, len(entries) // number)][:number]
    return [torch.from_numpy(audio.load_utterance(entry)) for entry in chosen]


def tiny_whisper(folder: Path) -> str:
    """A model folder."""
    from transformers import WhisperConfig as Settings
    from transformers import WhisperModel, logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    settings = Settings(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=2,
        max_source_positions=200,
        vocab_size=40,
        pad_token_id=0,
    )
    WhisperModel(settings).save_pretrained(folder)
    return str(folder)


def measure(model: str, clips: list[Tensor], rounds: int) -> Iterator[Row]:
    """A row for each context."""
    upstreams = {context: Whisper(WhisperConfig(model=model, context=context)) for context in CONTEXTS}
    taken = seconds({name: lambda u=upstream: run(u, clips) for name, upstream in upstreams.items()}, rounds)
    length = sum(map(len, clips)) / audio.SAMPLE_RATE
    for context in CONTEXTS:
        yield {
            "model": upstreams[context].name.removeprefix("whisper "),
            "context": context,
            "clips": len(clips),
            "audio_seconds": length,
            "seconds": taken[context],
            "audio_seconds_per_second": length / taken[context],
            "speedup": taken["30s"] / taken[context],
            "threads": torch.get_num_threads(),
        }


def run(upstream: Whisper, clips: Iterable[Tensor]) -> None:
    for clip in clips:
        upstream(clip)


if __name__ == "__main__":
    main()
