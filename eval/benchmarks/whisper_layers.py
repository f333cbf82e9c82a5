"""Which layer of Whisper's encoder tells emotions apart, in each context: UAR of a linear head on utterance means.

    python eval/benchmarks/whisper_layers.py --corpus path/to/RAVDESS --model openai/whisper-base --work work/layers

RAVDESS's four classes, all folds of ravdess-dyads. SUPERB's head is trained on the means over time of the train part
alone, with the package's settings, and judged on dev, by which a layer may be chosen, and on test. All layers come
from one pass of the encoder; what it gave stays in --work, a file for every 32 clips, so that the same command goes on
where it was stopped. --every 2 takes every second clip. Without --corpus it is one that is synthesised, --quick takes a
tiny Whisper beside.

Rows: ``model``, ``context`` (clip, 30s), ``layer`` (0 enters the first block; last: behind the final norm),
``utterances`` of all parts, ``dev_uars`` and ``uars`` on the dev and test part of each fold, ``dev_uar`` and ``uar``,
their means.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmark import Row, parser, write
from gandistill import artifacts
from gandistill.console import track
from gandistill.corpora import audio
from gandistill.corpora.manifest import Entry
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.features.whisper import Whisper, WhisperConfig
from gandistill.files import dump_compact
from gandistill.heads.training import HeadConfig, score, train_head
from gandistill.tensors import load_tensors, save_tensors
from whisper import CONTEXTS, entries_of, tiny_whisper

FOLDS = range(1, 6)
TOGETHER = 32
"""Clips whose means share a file: what a run that is stopped can lose."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--corpus", type=Path, help="RAVDESS on disk; none: a corpus that is synthesised")
    arguments.add_argument("--model", default="openai/whisper-base", help="name on the Hugging Face Hub, or a folder")
    arguments.add_argument("--every", type=int, default=1, help="take one clip of so many (default: all)")
    arguments.add_argument("--work", type=Path, help="folder to keep means in, to go on later; none: they are not kept")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model = tiny_whisper(scratch / "whisper") if options.quick else options.model
        folds = [
            entries_of(options.corpus, scratch, fold)[:: options.every]
            for fold in FOLDS[: 1 if options.quick else None]
        ]
        config = HeadConfig(head="superb", updates=5 if options.quick else HeadConfig().updates)
        write("whisper_layers", measure(model, folds, config, options.work or scratch / "means", scratch), options)


def measure(model: str, folds: list[list[Entry]], config: HeadConfig, work: Path, scratch: Path) -> Iterator[Row]:
    """A row for each context and layer; every fold holds the same utterances in the same order, split another way."""
    for context in CONTEXTS:
        upstream = Whisper(WhisperConfig(model=model, context=context))
        means = torch.cat([*kept_means(upstream, folds[0], work)])
        for layer in range(means.shape[1]):
            scores = [uars(means[:, layer], entries, config, scratch / "set") for entries in folds]
            on_dev, on_test = map(list, zip(*scores, strict=True))
            yield {
                "model": upstream.name.removeprefix("whisper "),
                "context": context,
                "layer": "last" if layer == means.shape[1] - 1 else layer,
                "utterances": len(means),
                "dev_uars": on_dev,
                "uars": on_test,
                "dev_uar": fmean(on_dev),
                "uar": fmean(on_test),
            }


def kept_means(upstream: Whisper, entries: list[Entry], work: Path) -> Iterator[Tensor]:
    """Means [N, layers, D] of every so many clips, from ``work`` where they are there."""
    parts = [entries[start : start + TOGETHER] for start in range(0, len(entries), TOGETHER)]
    for part in track(parts, f"Hearing clips, context {upstream.config.context}", len(parts), unit="files"):
        key = [
            upstream.describe(),
            [(artifacts.sha256(entry.path), entry.channel, *filter(None, [entry.segment])) for entry in part],
        ]
        path = work / f"{hashlib.sha256(dump_compact(key).encode()).hexdigest()}.safetensors"
        if not path.is_file():
            clips = (torch.from_numpy(audio.load_utterance(entry)) for entry in part)
            save_tensors(path, {"means": torch.stack([layer_means(upstream, clip) for clip in clips])})
        yield load_tensors(path)["means"]


@torch.no_grad()
def layer_means(upstream: Whisper, clip: Tensor) -> Tensor:
    """Means over time [layers, D] of a clip [samples]: of layer 0 to the highest, and of the encoder's output."""
    parts = [torch.stack([*states, upstream.encoder.layer_norm(states[-1])]) for states in upstream.windows(clip)]
    return torch.cat(parts, 1).mean(1)


def uars(means: Tensor, entries: list[Entry], config: HeadConfig, folder: Path) -> list[float]:
    """UAR on the dev and on the test part of a head trained on the train part of means [N, D]."""
    labels = sorted({entry.emotion for entry in entries})
    rows = zip(entries, means, strict=True)
    utterances = (Utterance(e.id, e.emotion, mean[None], e.speaker, e.session, e.split) for e, mean in rows)
    facts = artifacts.describe(KIND, {"command": "benchmark"}, labels=labels, dims=means.shape[1])
    write_feature_set(folder, utterances, facts, "")
    features = FeatureSet.open(folder)
    head = train_head(features, config)
    return [score(head, features.part(part))["uar"] for part in ("dev", "test")]


if __name__ == "__main__":
    main()
