"""What a guarantee costs, and what attacks find, by the number of speakers: ``eval/results/privacy/``.

    python eval/privacy.py work/ravdess/whisper work/nemo/whisper

FEATURES with speakers held out, and PUBLIC features of another corpus by the same upstream. One table is of the real
speakers, the others of speakers drawn in feature space from their statistics (``gandistill/privacy/drawn.py``), who are
nobody: they show how things change with numbers that no corpus at hand has. Each table is kept as soon as it is done,
and not computed again. --drawn 50,200 says how many speakers train, --draws how often everything random is drawn.
"""

import argparse
import json
from pathlib import Path

from gandistill.console import say
from gandistill.evaluate.markdown import markdown
from gandistill.features.featureset import FeatureSet
from gandistill.files import write_json, write_text
from gandistill.privacy.drawn import drawn
from gandistill.privacy.tables import Question, shown

OUT = Path(__file__).parent / "results" / "privacy"
FRAMES = 16
"""Of a sample, where speakers are real: the head sees means alone, and public clips of more take minutes to fit."""
OTHERS = 200
"""Drawn speakers who are held out, to judge and to attack."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("public", type=Path)
    parser.add_argument("--drawn", default="50,200,1000")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    features, public = FeatureSet.open(options.features), FeatureSet.open(options.public)
    put(options.out / "ravdess.json", Question(features, public, FRAMES, options.draws, 128))
    for speakers in map(int, options.drawn.split(",")):
        crowd = drawn(features, speakers, OTHERS, seed=0)
        put(options.out / f"drawn-{speakers}.json", Question(crowd, public, 1, options.draws, 250))


def put(path: Path, question: Question) -> None:
    """Compute a table, unless it is there, and show it."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"corpus": question.features.config.get("corpus"), "rows": list(question.rows())})
    table = markdown([shown(row) for row in json.loads(path.read_text())["rows"]])
    write_text(path.with_suffix(".md"), f"{question.features.config.get('corpus')}\n\n{table}")
    say(table)


if __name__ == "__main__":
    main()
