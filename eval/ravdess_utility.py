"""What heads trained on samples alone reach on RAVDESS, beside real data and the closed-form control.

    python eval/ravdess_utility.py path/to/RAVDESS [--work work/ravdess-utility]

Protocol ``ravdess-dyads``, fold 1, log-Mels, GAN-ATT by two recipes, from random weights and from a closed-form start,
each beside what it is before its first update; three seeds, each with a generator, a draw and a head of its own.
Writes ``eval/results/ravdess_utility.json`` and the table in ``README.md``. What is in the work folder already is not
redone. RAVDESS is acted speech: these are not IEMOCAP results.
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
RECIPES = {
    "GAN-ATT": ROOT / "recipes" / "ravdess" / "gan_att.yaml",
    "GAN-ATT, closed-form start": ROOT / "recipes" / "ravdess" / "gan_att_closed_form.yaml",
}
RESULT = ROOT / "eval" / "results" / "ravdess_utility.json"
PPCS = (10, 50, 100)
HEADS = ("superb", "cnn")
"""The paper's head, which sees an utterance's mean alone, and a kind that sees time and is in no bank."""
BEGIN, END = "<!-- table: eval/ravdess_utility.py -->\n", "<!-- end of table -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--work", type=Path, default=Path("work/ravdess-utility"))
    options = parser.parse_args()
    features, bank = demo.inputs(options.corpus, options.work)
    generators: dict[str, list[Sampler]] = {}
    for name, recipe in RECIPES.items():
        configs = [
            GanConfig.load(recipe, [f"features={features}", f"bank={bank}", f"training.seed={seed}"])
            for seed in demo.SEEDS
        ]
        runs = [options.work / f"{recipe.stem}-{seed}" for seed in demo.SEEDS]
        for config, run in zip(configs, runs, strict=True):
            train(config, run, resume=(run / CONFIG).is_file())
        generators[f"{name}, 0 updates"] = [untrained(config) for config in configs]
        generators[name] = [Sampler.open(run) for run in runs]
    whole = FeatureSet.open(features)
    rows = demo.judge(whole, generators, PPCS, HEADS, options.work)
    facts = {
        "corpus": whole.config.get("corpus"),
        "protocol": whole.config.get("protocol"),
        "fold": whole.config.get("fold"),
        "test_utterances": len(whole.part("test")),
        "generators": {name: [sampler.facts["trained"] for sampler in made] for name, made in generators.items()},
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
