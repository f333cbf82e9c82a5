"""What a guarantee costs, and what attacks find, by the number of speakers: ``eval/results/privacy/``.

    python eval/privacy.py work/ravdess/whisper work/nemo/whisper

FEATURES with speakers held out, and PUBLIC features of another corpus by the same upstream. One table is of the real
speakers, the others of speakers drawn in feature space from their statistics (``gandistill/privacy/drawn.py``), who are
nobody: they show how things change with numbers that no corpus at hand has. What is computed is kept, and not computed
again. --drawn 50,200 says how many speakers train, --draws how often everything random is drawn.
"""

import argparse
import json
from pathlib import Path

from gandistill.console import say
from gandistill.evaluate.markdown import markdown
from gandistill.experiments.checkout import Checkout
from gandistill.features.featureset import FeatureSet
from gandistill.files import write_json
from gandistill.privacy.drawn import drawn
from gandistill.privacy.tables import Question, shown

CHECKOUT = Checkout(Path(__file__).parents[1])
OUT = CHECKOUT.results("privacy")
FRAMES = 16
"""Of a sample, where speakers are real: the head sees means alone, and public clips of more take minutes to fit."""
OTHERS = 200
"""Drawn speakers who are held out, to judge and to attack."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("public", type=Path)
    parser.add_argument("--drawn", default="50,200,1000")
    parser.add_argument("--draws", type=int, default=2)
    options = parser.parse_args()
    features, public = FeatureSet.open(options.features), FeatureSet.open(options.public)
    keep(OUT / "real.json", Question(features, public, FRAMES, options.draws, 128))
    for speakers in map(int, options.drawn.split(",")):
        crowd = drawn(features, speakers, OTHERS, seed=0)
        keep(OUT / f"drawn-{speakers}.json", Question(crowd, public, 1, options.draws, 250))
    CHECKOUT.put("eval/privacy.py", table())
    say(table())


def keep(path: Path, question: Question) -> None:
    """Compute the rows of a table, unless they are there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"corpus": question.features.config.get("corpus"), "rows": list(question.rows())})


def table() -> str:
    """What is kept, as Markdown: real speakers first, then those that are drawn, by their number."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in OUT.glob("*.json")]
    kept.sort(key=lambda one: (one["corpus"].split()[0].isdecimal(), one["rows"][0]["speakers"]))
    return "\n".join(f"{one['corpus']}:\n\n{markdown([shown(row) for row in one['rows']])}" for one in kept)


if __name__ == "__main__":
    main()
