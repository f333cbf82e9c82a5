"""The GAN paper's tables 1 to 4 on any corpus, by a plan: every row with its controls, intervals and tests.

    python eval/tables.py eval/plans/ravdess.yaml path/to/RAVDESS --table 2
    python eval/tables.py eval/plans/ravdess.yaml path/to/RAVDESS --table 2 --jobs 16 --shard 3/8

Work is a set of cells, kept in the folder ``--work``: a later run, or one after a kill, computes only what is missing,
and shards that were computed on other machines are merged by copying their folders into one. When no cell is missing,
the table's files go to ``eval/results/PLAN/``. The paper's values stand beside ours where the corpus
is the same, and under "other corpus" where it is not.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import kept
import paper
import printed
from command import answer, parser_of, tell

from gandistill.console import say
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.evaluate import tables
from gandistill.evaluate.cells import Store, bytes_of_generator, compute
from gandistill.evaluate.inputs import inputs_of_folds
from gandistill.evaluate.plan import Plan
from gandistill.evaluate.rows import BOTH, TIME_POOLED, Facts, Fold, Row, Rows
from gandistill.evaluate.storage import storage_rows
from gandistill.evaluate.tables import Measured
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.gan.generator import CLOSED_FORMS
from gandistill.heads.bank import Bank, BankConfig

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = parser_of(__doc__, "work/tables/PLAN", "eval/results/PLAN")
    parser.add_argument("--table", type=int, choices=(1, 2, 3, 4), required=True)
    parser.add_argument("--speakers", type=Path, help="where the corpus of speakers lies, if the plan names one")
    parser.add_argument("--set", action="append", default=[], help="of the extraction, such as whisper.model=FOLDER")
    parser.add_argument("--shard", default="1/1", help="i/n: only the i-th of n parts of the work")
    answer("tables", run, parser.parse_args())


def run(options: argparse.Namespace) -> None:
    plan, shard = Plan.load(options.plan).rooted(ROOT / "recipes"), part_of(options.shard)
    work = options.work or Path("work/tables") / options.plan.stem
    extracting = ExtractConfig.load(plan.extract, options.set)
    banking = BankConfig.load(plan.bank) if plan.needs_bank else None
    if options.table == 4:
        check_speakers(plan, options)
    inputs = inputs_of_folds(
        plan.corpus, options.corpus, plan.protocol, plan.folds, work, extracting, banking, plan.ppc
    )
    speakers = speakers_of(plan, options, work) if options.table == 4 else None
    folds, store = [Fold.of(one) for one in inputs], Store(work)
    within = bytes_of_generator(inputs[0], plan.generator_config(plan.balanced, BOTH, 0))
    rows = Rows(plan, folds, within).table(options.table, speakers)
    cells = [cell for row in rows for cell in row.all_cells()]
    missing = compute(cells, store, options.jobs, shard)
    if missing:
        say(f"{len(missing)} cells belong to other shards: copy their cells and runs into {work} and run this again")
        return
    if options.table == 1:
        found = weighed(rows, folds, store, plan, work)
    else:
        found = tables.probed(rows, store) if options.table == 4 else tables.judged(rows, folds, store, plan)
    found = [paper.beside(row, options.table, plan) for row in found]
    made = [Measured.of(row, folds, store) for row in rows] if options.table in (2, 3) else []
    name, out = options.plan.stem, options.out or ROOT / "eval" / "results" / options.plan.stem
    results = map(store.result, cells)
    caption = kept.keep(options.table, name, plan, folds, found, made, results, out)
    say(f"Table {options.table}: {out / f'table{options.table}.md'}")
    if options.out is None and options.table == 2:
        tell(f"eval/tables.py {name}", f"{caption}\n{printed.digest(found, plan)}")


def weighed(rows: Sequence[Row], folds: Sequence[Fold], store: Store, plan: Plan, work: Path) -> list[Facts]:
    """Table 1: bytes of the training part and of the generators, and what the forms that heads were trained on reach.

    Features with soft labels and generators with their bank are worth what soft labels teach, others what hard ones do.
    """
    weighing, judging = [row for row in rows if not row.cells], [row for row in rows if row.cells]
    names = {row.facts["training set"]: row.facts for row in weighing}
    inputs = folds[0].inputs
    runs = {name: store.run(row.costs[0].source, inputs) for name, row in zip(names, weighing, strict=True)}
    whole, bank = FeatureSet.open(inputs.features), None if inputs.bank is None else Bank.open(inputs.bank)
    found = storage_rows(inputs.features.with_name("manifest.csv"), whole, runs, work, bank)
    worth = {form(row): row for row in tables.judged(judging, folds, store, plan)}
    for row in found:
        judged = worth.get(row["what"], {})
        if judged.get("training set") == TIME_POOLED and judged["points"] < sum(folds[0].train.values()):
            continue  # as many as fit, not all that are weighed here
        row |= {key: judged[key] for key in ("uar", "low", "high", "labels", "ppc") if key in judged}
        if row["what"].removesuffix(", float32") in names:
            facts = names[row["what"].removesuffix(", float32")]
            row |= {key: facts[key] for key in ("kind", "start") if key in facts}
    return found


def form(row: Facts) -> str:
    """What of Table 1 a row of judged heads was trained on."""
    soft = row["labels"] == "soft"
    if "precision" in row:
        bank = "" if soft or row["kind"] in CLOSED_FORMS else ", without bank"
        return f"{row['training set']}, {row['precision']}{bank}"
    pooled = "time-pooled, " if row["training set"] == TIME_POOLED else ""
    return f"features, {pooled}float16{', soft labels' if soft else ''}"


def check_speakers(plan: Plan, options: argparse.Namespace) -> None:
    """Raise InputError unless it is known whose speakers Table 4 asks for, and where they are."""
    if plan.speakers is None:
        raise InputError(f"{options.plan} has no 'speakers', which Table 4 needs")
    if plan.speakers.corpus is None:
        return
    if options.speakers is None:
        raise InputError(f"Table 4 of {options.plan} needs {plan.speakers.corpus}: --speakers path/to/it")
    if not options.speakers.is_dir():
        raise InputError(f"{options.speakers}: no such folder")


def speakers_of(plan: Plan, options: argparse.Namespace, work: Path) -> Path | None:
    """Features of the plan's corpus of speakers, by the same upstream; none if it is the corpus itself."""
    assert plan.speakers is not None
    if plan.speakers.corpus is None:
        return None
    manifest = work / "speakers" / "manifest.csv"
    prepare(plan.speakers.corpus, options.speakers, manifest, protocol=plan.speakers.protocol)
    extract(manifest, ExtractConfig.load(plan.extract, options.set), work / "speakers" / "features")
    return work / "speakers" / "features"


def part_of(text: str) -> tuple[int, int]:
    """``3/8`` as numbers. Raises InputError if it is no such part."""
    found = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise InputError(f"Bad --shard {text!r}, expected i/n such as 3/8")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    main()
