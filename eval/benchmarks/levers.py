"""What changes of the GAN's training bring, one by one: UAR on training speakers whom neither generator nor bank heard.

    python eval/benchmarks/levers.py work/ravdess/whisper work/ravdess/manifest.csv

FEATURES of Whisper's by ``recipes/ravdess/whisper.yaml``, and the manifest of RAVDESS's fold 1 by ``ravdess-dyads``. Of
its 16 training speakers the last four judge and all others train; its dev and test parts are not read. The recipe is
``gan_time_whisper_closed_form.yaml``, its weight average after all updates, so that nothing is chosen. Heads that see
time are trained on 50 designed samples of each class, hard labels. Three generators of each: a point or two is within
chance.

Rows: ``variant``, ``updates``, ``head``, ``uar`` (mean over seeds of generator and head, 0 to 1), ``uars`` (a mean over
seeds of the head for each generator).
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch

import changed_critic
import relativistic
import train_step
from benchmark import Row, parser, write
from gandistill import artifacts
from gandistill.console import track
from gandistill.controls.select import select
from gandistill.corpora.manifest import origin_path, read_manifest, read_origin, write_manifest
from gandistill.features.featureset import FeatureSet
from gandistill.features.resplit import resplit
from gandistill.gan.sampling import sampled
from gandistill.gan.settings import GanConfig
from gandistill.heads.bank import BankConfig, build_bank
from gandistill.heads.training import HeadConfig, score, train_head
from gandistill.numerics import no_tf32
from loops import Loop

RECIPES = Path(__file__).parents[2] / "recipes" / "ravdess"
UPDATES, GENERATORS, HEAD, SEEDS, PPC, JUDGES = 200, (0, 1, 2), "cnn-attention", (0, 1), 50, 4
NO_CLASSIFIER = ("losses.class_real=0", "losses.class_generated=0")
PROJECTED = Loop(one_update=changed_critic.one_projected_update, change=changed_critic.projected)
VARIANTS = {
    "as the recipe": Loop(),
    "rates fall to zero, last weights": Loop(("training.decay=cosine", "training.average=0")),
    "a tenth of the rates": Loop(("training.learning_rate=1e-5", "training.critic_learning_rate=1e-5")),
    "projection critic beside the classifier": PROJECTED,
    "projection critic, no classifier": replace(PROJECTED, settings=NO_CLASSIFIER),
    "R3GAN's loss": Loop(one_update=relativistic.one_update),
    "shifted and masked": Loop(change=changed_critic.disturbed),
    "batches of 64": Loop(("training.batch=64",)),
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("features", type=Path, nargs="?")
    arguments.add_argument("manifest", type=Path, nargs="?")
    arguments.add_argument("--work", type=Path, help="where features and bank are kept; default: nowhere")
    arguments.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    options = arguments.parse_args()
    if not options.quick and options.manifest is None:
        arguments.error("FEATURES and MANIFEST are needed, but for --quick")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, no_tf32():
        write("levers", rows(options, options.work or Path(scratch), Path(scratch)), options)


def inputs(options: argparse.Namespace, work: Path) -> list[str]:
    """Settings that name features, whose dev part some training speakers are, and a bank of the others, in ``work``."""
    features, bank = work / "features", work / "bank"
    if options.quick:
        train_step.inputs(work, 8)
        return [f"features={features}", f"bank={bank}", "architecture.frames=20", *train_step.NARROW]
    if not bank.is_dir():
        whole, manifest = FeatureSet.open(options.features), work / "manifest.csv"
        training = [entry for entry in read_manifest(options.manifest) if entry.split == "train"]
        judges = sorted({entry.speaker for entry in training})[-JUDGES:]
        entries = [replace(entry, split="dev" if entry.speaker in judges else "train") for entry in training]
        write_manifest(manifest, entries)
        artifacts.write_json(origin_path(manifest), read_origin(options.manifest) | {"dev": f"speakers {judges}"})
        build_bank(
            resplit(whole, manifest, features),
            BankConfig.load(RECIPES / "whisper_bank.yaml"),
            bank,
            {"command": "bank"},
        )
    return [f"features={features}", f"bank={bank}"]


def rows(options: argparse.Namespace, work: Path, scratch: Path) -> Iterator[Row]:
    settings = inputs(options, work)
    whole = FeatureSet.open(work / "features")
    updates, generators, ppc = (1, (0,), 2) if options.quick else (UPDATES, GENERATORS, PPC)
    counts, taught = dict.fromkeys(whole.labels, ppc), 2 if options.quick else HeadConfig().updates
    heads, dev = [HeadConfig(head=HEAD, seed=seed, updates=taught) for seed in SEEDS], whole.part("dev")

    def judged(training: FeatureSet) -> float:
        return fmean(score(train_head(training, config), dev)["uar"] for config in heads)

    def row(variant: str, made: int, uars: list[float]) -> Row:
        return {"variant": variant, "updates": made, "head": HEAD, "uar": fmean(uars), "uars": uars}

    for method in ("random", "class-gaussian"):
        sets = (select(whole, method, counts, seed, scratch / f"{method}-{seed}") for seed in generators)
        yield row(method, 0, [judged(each) for each in sets])
    for variant in options.variants:
        loop, uars = VARIANTS[variant], dict[int, list[float]]()
        for seed in generators:
            overrides = [*settings, *loop.settings, f"training.seed={seed}"]
            gan = loop.start(GanConfig.load(RECIPES / "gan_time_whisper_closed_form.yaml", overrides))
            starts = (0,) if variant == options.variants[0] else ()
            for made in (*starts, updates):
                done = range(1, made + 1)
                for update in track(done, f"{variant}, seed {seed}", len(done), unit="updates"):
                    loop.one_update(gan, update)
                uars.setdefault(made, []).append(judged(sampled(gan.sampler(made), counts, seed)))
        for made, of_seeds in uars.items():
            yield row(variant if made else "its start", made, of_seeds)


if __name__ == "__main__":
    main()
