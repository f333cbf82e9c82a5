"""Training SUPERB's head: on every frame, as s3prl does, against the package, which pools each utterance once.

    python eval/benchmarks/head.py --corpus path/to/RAVDESS

The head is linear before its mean over time, so that both learn the same function. Training sets: RAVDESS as log-Mels
(the training part of fold 1; without --corpus noise of its size), and a set distilled from it at 50 points per class.
Both variants start at a feature set on disk and make the same updates: same initial weights, batches, optimiser.

Rows: ``data`` (real, distilled), ``utterances``, ``dims``, ``updates``, ``variant`` (frames: every frame of a batch
through the projector; pooled: one pass over the disk first), ``seconds`` from set to trained head, ``speedup`` over
frames, ``largest_difference`` of the class probabilities from those of the head trained on frames.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark import Row, parser, seconds, write
from gandistill.artifacts import describe
from gandistill.corpora.prepare import prepare
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.shipped import shipped
from gandistill.heads.head import Head, posteriors
from gandistill.heads.superb import Superb
from gandistill.heads.training import HeadConfig, batches, target_distributions, train_head, untrained
from gandistill.numerics import seeded

PPC = 50
RAVDESS_UTTERANCES, RAVDESS_FRAMES, RAVDESS_DIMS = 576, (90, 140), 64
SEED = 0


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--corpus", type=Path, help="RAVDESS; none: noise of its size")
    options = arguments.parse_args()
    config = HeadConfig(head="superb", updates=20 if options.quick else HeadConfig().updates, seed=SEED)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        sampler = Sampler.open(shipped())
        sample(sampler, dict.fromkeys(sampler.labels, 2 if options.quick else PPC), SEED, work / "distilled")
        real = noise(work / "real", sampler.labels, 48 if options.quick else RAVDESS_UTTERANCES)
        if options.corpus is not None:
            real = ravdess(options.corpus, work)
        for data, features in (("real", real), ("distilled", FeatureSet.open(work / "distilled"))):
            rows += compared(data, features.training_part(), config, rounds=1 if options.quick else 5)
    write("head", rows, options)


def compared(data: str, features: FeatureSet, config: HeadConfig, rounds: int) -> list[Row]:
    """A row for each variant on one training set."""
    trainings: dict[str, Callable[[FeatureSet, HeadConfig], Head]] = {"frames": train_on_frames, "pooled": train_head}
    heads: dict[str, Head] = {}

    def trained(variant: str) -> None:
        heads[variant] = trainings[variant](features, config)

    times = seconds({variant: lambda v=variant: trained(v) for variant in trainings}, rounds)
    expected = posteriors(heads["frames"], features)
    facts = {"data": data, "utterances": len(features), "dims": features.dims, "updates": config.updates}
    return [
        facts
        | {
            "variant": variant,
            "seconds": taken,
            "speedup": times["frames"] / taken,
            "largest_difference": float((posteriors(heads[variant], features) - expected).abs().max()),
        }
        for variant, taken in times.items()
    ]


def train_on_frames(features: FeatureSet, config: HeadConfig) -> Head:
    """The plain loop: whole utterances read batch by batch, projected frame by frame, then averaged over time."""
    targets = target_distributions(features, config)
    with seeded(config.seed):
        head = untrained(features, "superb", config)
        model = head.model
        assert isinstance(model, Superb)
        optimiser = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.updates)
        rows = batches(len(features), config.batch, config.seed)
        for _ in range(config.updates):
            chosen = next(rows)
            frames, lengths = features.padded(chosen.numpy())
            projected = model.projector((frames - head.mean) / head.deviation)
            loss = cross_entropy(model.linear(mean_pooling(projected, lengths)), targets[chosen])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), config.clip)
            optimiser.step()
            schedule.step()
    return head.eval()


def mean_pooling(frames: Tensor, lengths: Tensor) -> Tensor:
    """Means [B, D] over time of frames [B, T, D] with lengths [B], each by itself (s3prl's MeanPooling)."""
    return torch.stack([utterance[:length].mean(0) for utterance, length in zip(frames, lengths.tolist(), strict=True)])


def ravdess(root: Path, work: Path) -> FeatureSet:
    """Log-Mels of RAVDESS, fold 1, as ``recipes/ravdess/logmel.yaml`` has them."""
    prepare("ravdess", root, work / "manifest.csv", protocol="ravdess-dyads")
    extract(work / "manifest.csv", ExtractConfig(), work / "ravdess")
    return FeatureSet.open(work / "ravdess")


def noise(folder: Path, labels: list[str], utterances: int) -> FeatureSet:
    """Noise of the size of RAVDESS's training part."""
    draws = torch.Generator().manual_seed(SEED)
    lengths = torch.randint(*RAVDESS_FRAMES, (utterances,), generator=draws).tolist()
    clips = (
        Utterance(str(i), labels[i % len(labels)], torch.randn(length, RAVDESS_DIMS, generator=draws))
        for i, length in enumerate(lengths)
    )
    write_feature_set(folder, clips, describe(KIND, {"command": "benchmark"}, labels=labels, dims=RAVDESS_DIMS), "")
    return FeatureSet.open(folder)


if __name__ == "__main__":
    main()
