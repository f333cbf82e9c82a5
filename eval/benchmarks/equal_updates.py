"""Whether a quicker update teaches as much: UAR on dev at equal numbers of updates, variant by variant.

    python eval/benchmarks/equal_updates.py --corpus path/to/RAVDESS

RAVDESS, ``ravdess-dyads`` fold 1, log-Mels, recipe ``gan_att.yaml``, each variant for the same updates and by the same
seeds: the textbook loop of ``reference.py``, with a gradient penalty at every update of the critic; ours with one at
every 4th or 8th, weighted by as much; ours in bfloat16; and trials that are in no recipe, one with a single pass of the
critic (``simultaneous.py``), one with R3GAN's adversarial loss (``relativistic.py``). Heads are trained on samples
alone, with hard and with soft labels, and scored on the dev part, which has 72 utterances of two speakers: differences
of a few points mean nothing. How long an update takes is ``train_step.py``'s to say. Without ``--corpus`` the demo's
corpus is synthesised.

Rows: ``variant``, ``updates``, ``labels``, ``ppc``, ``head``, ``uar`` (mean over seeds of generator and head, 0 to 1),
``uars`` (a mean over seeds of the head for each seed of the generator).
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import torch

from benchmark import Row, parser, write
from gandistill.console import track
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import sample
from gandistill.gan.settings import GanConfig
from gandistill.numerics import no_tf32
from loops import LOOPS
from time_to_quality import HEADS, PPC, RECIPES, SEEDS, inputs, judged, with_corpus

UPDATES = 1000
GENERATORS = (0, 1, 2)


def main() -> None:
    arguments = with_corpus(parser(__doc__))
    arguments.add_argument("--variants", nargs="+", choices=list(LOOPS), default=list(LOOPS))
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, no_tf32():
        write("equal_updates", rows(options, options.work or Path(scratch), Path(scratch) / "distilled"), options)


def rows(options: argparse.Namespace, work: Path, distilled: Path) -> Iterator[Row]:
    settings, whole = inputs(options, work)
    updates, generators, heads, ppc = (2, (0,), HEADS[:1], 2) if options.quick else (UPDATES, GENERATORS, HEADS, PPC)
    for variant in options.variants:
        loop, results = LOOPS[variant], dict[tuple[str, str], list[Row]]()
        for seed in generators:
            overrides = [*settings, *loop.settings, f"training.seed={seed}"]
            gan = loop.start(GanConfig.load(RECIPES / "gan_att.yaml", overrides))
            for update in track(range(1, updates + 1), f"{variant}, seed {seed}", updates, unit="updates"):
                loop.one_update(gan, update)
            sampler = gan.sampler(updates)
            sample(sampler, dict.fromkeys(sampler.labels, ppc), seed, distilled, soft=True)
            row = {"variant": variant, "seconds": 0.0, "updates": updates}
            for result in judged(FeatureSet.open(distilled), whole, row, heads, SEEDS, ("hard", "soft")):
                results.setdefault((result["labels"], result["head"]), []).append(result)
        for (labels, head), of_head in results.items():
            uars = [result["uar"] for result in of_head]
            row = {"variant": variant, "updates": updates, "labels": labels, "ppc": ppc, "head": head}
            yield row | {"uar": fmean(uars), "uars": uars}


if __name__ == "__main__":
    main()
