"""The GAN paper's tables 1 to 4 on any corpus, by a plan: every row with its controls, intervals and tests.

    python eval/tables.py eval/plans/ravdess.yaml path/to/RAVDESS --table 2
    python eval/tables.py eval/plans/ravdess.yaml path/to/RAVDESS --table 2 --jobs 16 --shard 3/8

Work is a set of cells, kept in the folder ``--work``: a later run, or one after a kill, computes only what is missing,
and shards that were computed on other machines are merged by copying their folders into one. When no cell is missing,
the table goes to ``eval/results/PLAN/tableN.json`` and ``.md``. The paper's values stand beside ours where the corpus
is the same, and under "other corpus" where it is not.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import paper
import printed

from gandistill import artifacts
from gandistill.console import say
from gandistill.corpora.manifest import SPLITS
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError, RunError
from gandistill.evaluate import tables
from gandistill.evaluate.cells import Store, bytes_of_generator, compute
from gandistill.evaluate.inputs import inputs_of_folds
from gandistill.evaluate.plan import Plan
from gandistill.evaluate.report import put_table
from gandistill.evaluate.rows import BOTH, Facts, Fold, Row, Rows
from gandistill.evaluate.storage import storage_rows
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.heads.bank import Bank, BankConfig

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("corpus", type=Path, help="where the plan's corpus lies")
    parser.add_argument("--table", type=int, choices=(1, 2, 3, 4), required=True)
    parser.add_argument("--speakers", type=Path, help="where the corpus of speakers lies, if the plan names one")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes at once, each on one thread")
    parser.add_argument("--shard", default="1/1", help="i/n: only the i-th of n parts of the work")
    parser.add_argument("--work", type=Path, help="default: work/tables/PLAN")
    parser.add_argument("--out", type=Path, help="default: eval/results/PLAN")
    options = parser.parse_args()
    try:
        run(options)
    except InputError as error:
        fail(error, 2)
    except RunError as error:
        fail(error, 1)


def fail(error: Exception, code: int) -> None:
    print(f"tables: {error}", file=sys.stderr)
    sys.exit(code)


def run(options: argparse.Namespace) -> None:
    plan, shard = Plan.load(options.plan).rooted(ROOT / "recipes"), part_of(options.shard)
    if options.jobs < 1:
        raise InputError(f"Bad --jobs {options.jobs}, expected 1 or more")
    work = options.work or Path("work/tables") / options.plan.stem
    extracting, banking = ExtractConfig.load(plan.extract), BankConfig.load(plan.bank)
    speakers = speakers_of(plan, options, work) if options.table == 4 else None
    inputs = inputs_of_folds(plan.corpus, options.corpus, plan.protocol, plan.folds, work, extracting, banking)
    folds, store = [Fold.of(one) for one in inputs], Store(work)
    within = bytes_of_generator(inputs[0], plan.generator_config(plan.balanced, BOTH, 0))
    rows = Rows(plan, folds, within).table(options.table, speakers)
    cells = [cell for row in rows for cell in row.all_cells()]
    missing = compute(cells, store, options.jobs, shard)
    if missing:
        say(f"{len(missing)} cells belong to other shards: copy their cells and runs into {work} and run this again")
        return
    if options.table == 1:
        found = weighed(rows, folds[0], store, work)
    else:
        found = tables.probed(rows, store) if options.table == 4 else tables.judged(rows, folds, store, plan)
    put(options, plan, folds, [paper.beside(row, options.table, plan) for row in found])


def weighed(rows: Sequence[Row], fold: Fold, store: Store, work: Path) -> list[Facts]:
    """Table 1: bytes of the training part and of the generators, by the names of rows."""
    runs = {row.facts["training set"]: store.run(row.costs[0].source, fold.inputs) for row in rows}
    whole, bank = FeatureSet.open(fold.inputs.features), Bank.open(fold.inputs.bank)
    found = storage_rows(fold.inputs.features.with_name("manifest.csv"), whole, runs, work, bank)
    facts = {f"{row.facts['training set']}, float32": row.facts for row in rows}
    return [
        {key: facts[one["what"]][key] for key in ("kind", "start")} | one if one["what"] in facts else one
        for one in found
    ]


def speakers_of(plan: Plan, options: argparse.Namespace, work: Path) -> Path | None:
    """Features of the plan's corpus of speakers, by the same upstream; none if it is the corpus itself."""
    if plan.speakers is None:
        raise InputError(f"{options.plan} has no 'speakers', which Table 4 needs")
    if plan.speakers.corpus is None:
        return None
    if options.speakers is None:
        raise InputError(f"Table 4 of {options.plan} needs {plan.speakers.corpus}: --speakers path/to/it")
    manifest = work / "speakers" / "manifest.csv"
    prepare(plan.speakers.corpus, options.speakers, manifest, protocol=plan.speakers.protocol)
    extract(manifest, ExtractConfig.load(plan.extract), work / "speakers" / "features")
    return work / "speakers" / "features"


def put(options: argparse.Namespace, plan: Plan, folds: Sequence[Fold], found: list[Facts]) -> None:
    """Write the table: everything as JSON, and what a person reads as Markdown."""
    out = options.out or ROOT / "eval" / "results" / options.plan.stem
    out.mkdir(parents=True, exist_ok=True)
    whole = [FeatureSet.open(fold.inputs.features) for fold in folds]
    facts = {
        "table": options.table,
        "corpus": whole[0].config["corpus"],
        "protocol": plan.protocol,
        "folds": [{part: sizes(one.part(part)) for part in SPLITS if part in {*one.index["split"]}} for one in whole],
        "plan": plan.model_dump(mode="json", exclude={"extract", "bank", "head", "generators", "speakers"}),
        "versions": artifacts.versions(),
    }
    artifacts.write_text(out / f"table{options.table}.json", json.dumps(facts | {"rows": found}, indent=1) + "\n")
    text = "\n".join([printed.caption(facts), printed.table(options.table, found, plan), paper.table(found)])
    artifacts.write_text(out / f"table{options.table}.md", text.rstrip() + "\n")
    say(f"Table {options.table}: {out / f'table{options.table}.md'}")
    if options.out is None and options.table == 2 and options.plan.stem in README.read_text(encoding="utf-8"):
        put_table(
            README, f"eval/tables.py {options.plan.stem}", f"{printed.caption(facts)}\n{printed.digest(found, plan)}"
        )


def sizes(part: FeatureSet) -> dict[str, int]:
    return {"utterances": len(part), "speakers": len(set(part.index["speaker"]))}


def part_of(text: str) -> tuple[int, int]:
    """``3/8`` as numbers. Raises InputError if it is no such part."""
    found = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise InputError(f"Bad --shard {text!r}, expected i/n such as 3/8")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    main()
