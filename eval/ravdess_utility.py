"""What heads trained on samples alone reach on RAVDESS, beside real data and the closed-form control.

    python eval/ravdess_utility.py path/to/RAVDESS [--work work/ravdess-utility]

Protocol ``ravdess-dyads``, fold 1, log-Mels, GAN-ATT by ``recipes/ravdess/gan_att.yaml``; three seeds, each with a
generator, a draw and a head of its own. Writes ``eval/results/ravdess_utility.json`` and the table in ``README.md``.
What is in the work folder already is not redone. RAVDESS is acted speech: these are not IEMOCAP results.
"""

import argparse
import json
from pathlib import Path

from gandistill import artifacts, demo
from gandistill.evaluate.report import markdown
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler
from gandistill.gan.training import GanConfig, train, untrained
from gandistill.run import CONFIG

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "ravdess" / "gan_att.yaml"
RESULT = ROOT / "eval" / "results" / "ravdess_utility.json"
PPCS = (10, 50, 100)
BEGIN, END = "<!-- table: eval/ravdess_utility.py -->\n", "<!-- end of table -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--work", type=Path, default=Path("work/ravdess-utility"))
    options = parser.parse_args()
    features, bank = demo.inputs(options.corpus, options.work)
    configs = [
        GanConfig.load(RECIPE, [f"features={features}", f"bank={bank}", f"training.seed={seed}"]) for seed in demo.SEEDS
    ]
    for seed, config in zip(demo.SEEDS, configs, strict=True):
        run = options.work / f"gan-{seed}"
        train(config, run, resume=(run / CONFIG).is_file())
    trained = [Sampler.open(options.work / f"gan-{seed}") for seed in demo.SEEDS]
    whole = FeatureSet.open(features)
    rows = demo.judge(whole, trained, [untrained(config) for config in configs], PPCS, options.work)
    facts = {
        "corpus": whole.config.get("corpus"),
        "protocol": whole.config.get("protocol"),
        "fold": whole.config.get("fold"),
        "test_utterances": len(whole.part("test")),
        "dev_uar": [sampler.facts["trained"]["dev_uar"] for sampler in trained],
        "versions": artifacts.versions(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    artifacts.write_text(RESULT, json.dumps(facts | {"rows": [row.to_dict() for row in rows]}, indent=1) + "\n")
    write_table(markdown(demo.side_by_side(rows)))


def write_table(table: str) -> None:
    """Put the table between its marks in the README."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    artifacts.write_text(readme, before + BEGIN + "\n" + table + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
