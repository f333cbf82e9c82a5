"""What heads trained on samples alone reach on a real corpus, beside real data and the closed-form control.

    python eval/utility.py ravdess path/to/RAVDESS
    python eval/utility.py nemo path/to/nEMO --ppc 50

Log-Mels, bank and generators by the corpus's recipes; GAN-ATT from random weights and from a closed-form start, each
beside what it is before its first update, with hard labels and with the bank's soft ones. Three seeds, each with a
generator, a draw and a head of its own; twenty for generators of random weights, which cost no training and vary widely
from one to another. Writes ``eval/results/utility_CORPUS.json`` and the corpus's table in ``README.md``. What is in the
work folder already is not redone. Both corpora are acted speech: these are neither IEMOCAP nor DEMoS results.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from gandistill import artifacts, demo
from gandistill.evaluate.report import markdown, percent, put_table
from gandistill.features.extract import ExtractConfig
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import BankConfig
from gandistill.run import CONFIG

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
UNTRAINED = 20
CORPORA = ("ravdess", "nemo")
RECIPES = {"GAN-ATT": "gan_att", "GAN-ATT, closed-form start": "gan_att_closed_form"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("root", type=Path, help="where the corpus lies")
    parser.add_argument("--ppc", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--heads", nargs="+", default=["superb", "cnn-attention"], help="kinds that judge")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES.values()), default=list(RECIPES.values()))
    parser.add_argument("--work", type=Path, help="default: work/utility-CORPUS")
    options = parser.parse_args()
    work = options.work or Path(f"work/utility-{options.corpus}")
    put_table(README, f"eval/utility.py {options.corpus}")
    recipes = ROOT / "recipes" / options.corpus
    extracting, banking = ExtractConfig.load(recipes / "logmel.yaml"), BankConfig.load(recipes / "bank.yaml")
    features, bank = demo.inputs(options.corpus, options.root, work, extracting, banking)
    generators: dict[str, list[Sampler]] = {}
    for name, recipe in RECIPES.items():
        if recipe in options.recipes:
            generators |= trained(name, recipes / f"{recipe}.yaml", features, bank, work)
    whole = FeatureSet.open(features)
    soft = [name for name, made in generators.items() if len(made) == len(demo.SEEDS)]
    rows = demo.judge(whole, generators, options.ppc, options.heads, work, soft)
    facts = {
        "corpus": whole.config.get("corpus"),
        "protocol": whole.config.get("protocol"),
        "fold": whole.config.get("fold"),
        "parts": {split: size(whole.part(split)) for split in ("train", "dev", "test")},
        "generators": {name: [sampler.facts["trained"] for sampler in made] for name, made in generators.items()},
        "threads": torch.get_num_threads(),
        "versions": artifacts.versions(),
    }
    result = ROOT / "eval" / "results" / f"utility_{options.corpus}.json"
    artifacts.write_text(result, json.dumps(facts | {"rows": [row.to_dict() for row in rows]}, indent=1) + "\n")
    table = f"{caption(facts, whole)}\n\n{markdown(demo.side_by_side(rows))}"
    put_table(README, f"eval/utility.py {options.corpus}", table)


def trained(name: str, recipe: Path, features: Path, bank: Path, work: Path) -> dict[str, list[Sampler]]:
    """One generator a seed, before its first update and after its training."""
    before, after = [], []
    for seed in demo.SEEDS:
        run = work / f"{recipe.stem}-{seed}"
        train(configured(recipe, features, bank, seed), run, resume=(run / CONFIG).is_file())
        after.append(Sampler.open(run))
    random = configured(recipe, features, bank, 0).architecture.start == "random"
    for seed in range(UNTRAINED if random else len(demo.SEEDS)):
        before.append(untrained(configured(recipe, features, bank, seed)))
    return {f"{name}, 0 updates": before, name: after}


def configured(recipe: Path, features: Path, bank: Path, seed: int) -> GanConfig:
    return GanConfig.load(recipe, [f"features={features}", f"bank={bank}", f"training.seed={seed}"])


def size(part: FeatureSet) -> dict[str, int]:
    return {"utterances": len(part), "speakers": len(set(part.index["speaker"]))}


def caption(facts: dict[str, Any], whole: FeatureSet) -> str:
    sizes = (f"{part} {n['utterances']} ({n['speakers']})" for part, n in facts["parts"].items())
    chance = percent(1 / len(whole.labels))
    return (
        f"{facts['corpus']}, `{facts['protocol']}` fold {facts['fold']}, utterances (speakers): {', '.join(sizes)}. "
        f"Chance: {chance}."
    )


if __name__ == "__main__":
    main()
