"""Constants of the private kind, chosen for speakers whom no table of its price judges: ``eval/results/budget/``.

    python eval/budget.py work/nemo/whisper work/nemo/manifest.csv work/ravdess/whisper

FEATURES of a corpus with women and men, and its manifest, which says who is which; OTHER features by the same upstream,
whose train part is public speech alone. All choices are judged and kept,
the best first; the best is what ``gandistill/controls/private.py`` has.
"""

import argparse
from pathlib import Path

from gandistill.console import say
from gandistill.experiments.checkout import Checkout
from gandistill.features.featureset import FeatureSet
from gandistill.files import read_json, write_json
from gandistill.privacy.attributes import read_genders
from gandistill.privacy.budget import listed, rows

CHECKOUT = Checkout(Path(__file__).parents[1])
KEPT = CHECKOUT.results("budget") / "choices.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("other", type=Path)
    options = parser.parse_args()
    features = FeatureSet.open(options.features)
    found = rows(features, read_genders(options.manifest), FeatureSet.open(options.other))
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    write_json(KEPT, {"corpus": features.config.get("corpus"), "rows": found})
    CHECKOUT.put("eval/budget.py", table())
    say(table())


def table() -> str:
    """What is kept, as Markdown."""
    return listed(read_json(KEPT)["rows"])


if __name__ == "__main__":
    main()
