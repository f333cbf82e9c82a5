"""What a guarantee costs, and what attacks find, by the number of speakers: ``eval/results/privacy/``.

    python eval/privacy.py work/ravdess/whisper work/nemo/whisper [--manifest work/ravdess/manifest.csv]

FEATURES with speakers held out, and PUBLIC features of another corpus by the same upstream. One table is of the real
speakers, the others of speakers drawn in feature space from their statistics (``gandistill/privacy/drawn.py``), who are
nobody: they show how things change with numbers that no corpus at hand has. What is computed is kept, and not computed
again. --drawn 50,200 says how many speakers train, --priced 3000 how many where nobody is attacked, which would take
long; --draws how often everything random is drawn. With the manifest of FEATURES genders are attacked too. --generators
names generators that were trained on FEATURES, such as GANs, for rows of their own; there are none without.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gandistill.console import say
from gandistill.controls.private import MECHANISM
from gandistill.experiments.checkout import Checkout
from gandistill.features.featureset import FeatureSet
from gandistill.files import read_json, write_json, write_text
from gandistill.privacy.attributes import read_genders
from gandistill.privacy.drawn import drawn
from gandistill.privacy.tables import Question, Row, listed, statistics_row

CHECKOUT = Checkout(Path(__file__).parents[1])
OUT = CHECKOUT.results("privacy")
FRAMES = 16
"""Of a sample, where speakers are real: the head sees means alone, and public clips of more take minutes to fit."""
FEW, STRANGERS, CROWDS = (4, 16, 64), 48, 3
"""Speakers whose class means alone are attacked, how many others there are, and crowds of each number."""
OTHERS = 200
"""Drawn speakers who are held out, to judge and to attack."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("public", type=Path)
    parser.add_argument("--drawn", default="50,200,1000")
    parser.add_argument("--priced", type=int, default=3000)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--generators", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    features, public = FeatureSet.open(options.features), FeatureSet.open(options.public)
    genders = None if options.manifest is None else read_genders(options.manifest)
    real = Question(features, public, FRAMES, options.draws, 128, genders)
    keep(OUT / "real.json", real.rows(), MECHANISM)
    keep(OUT / "controls.json", real.controls())
    if options.generators:
        keep(OUT / "generators.json", real.trained(options.generators))
    few = (statistics_row(features, speakers, STRANGERS, CROWDS) for speakers in FEW)
    keep(OUT / "statistics.json", few)
    for speakers in map(int, options.drawn.split(",")):
        keep(OUT / f"drawn-{speakers}.json", crowd(features, public, speakers, options.draws, Question.rows), MECHANISM)
    priced = crowd(features, public, options.priced, options.draws, Question.prices)
    keep(OUT / f"drawn-{options.priced}.json", priced, MECHANISM)
    write_text(OUT / "tables.md", table())
    CHECKOUT.put("eval/privacy.py", table())
    say(table())


def crowd(
    features: FeatureSet, public: FeatureSet, speakers: int, draws: int, rows: Callable[[Question], Iterator[Row]]
) -> Iterator[Row]:
    """Rows of drawn speakers, who are drawn when the first row is asked for."""
    yield from rows(Question(drawn(features, speakers, OTHERS, seed=0), public, 1, draws, 250))


def keep(path: Path, rows: Iterator[Row], mechanism: int | None = None) -> None:
    """Compute the rows of a table, unless they are there, by the same mechanism where they have a guarantee."""
    if not path.is_file() or read_json(path).get("mechanism") != mechanism:
        say(path.stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = list(rows)
        write_json(path, {"corpus": kept[0]["corpus"], "mechanism": mechanism, "rows": kept})


def table() -> str:
    """What is kept, as Markdown: real speakers first, then those that are drawn, by their number."""
    kept = {path.stem: read_json(path) for path in OUT.glob("*.json")}
    real = kept["real"] | {"rows": []}
    for name in ("real", "generators", "controls"):
        real["rows"] += kept.pop(name, {"rows": []})["rows"]
    crowds = sorted(kept.values(), key=lambda one: one["rows"][0]["speakers"])
    return "\n".join(f"{one['corpus']}{_age(one)}:\n\n{listed(one['rows'])}" for one in (real, *crowds))


def _age(kept: dict[str, Any]) -> str:
    guaranteed = any(row.get("epsilon") for row in kept["rows"])
    older = guaranteed and kept.get("mechanism") != MECHANISM
    return " (rows with an epsilon are of older constants, to be made again)" if older else ""


if __name__ == "__main__":
    main()
