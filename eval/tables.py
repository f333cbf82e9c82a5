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

import yaml

from gandistill import artifacts
from gandistill.console import say
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.evaluate import tables
from gandistill.evaluate.cells import Store, bytes_of_generator, compute
from gandistill.evaluate.inputs import make_inputs
from gandistill.evaluate.plan import Plan
from gandistill.evaluate.report import markdown, percent
from gandistill.evaluate.rows import BOTH, DRAWN, REAL, Facts, Fold, Row, Rows
from gandistill.evaluate.storage import storage_rows
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.heads.bank import Bank, BankConfig

ROOT = Path(__file__).parents[1]
EXPECTED = ROOT / "eval" / "expected"


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
        sys.exit(f"tables: {error}")


def run(options: argparse.Namespace) -> None:
    plan, shard = Plan.load(options.plan).rooted(ROOT / "recipes"), part_of(options.shard)
    work = options.work or Path("work/tables") / options.plan.stem
    extracting, banking = ExtractConfig.load(plan.extract), BankConfig.load(plan.bank)
    inputs = make_inputs(plan.corpus, options.corpus, plan.protocol, plan.folds, work, extracting, banking)
    folds, store = [Fold.of(one) for one in inputs], Store(work)
    within = bytes_of_generator(inputs[0], plan.generator_config(plan.balanced, BOTH, 0))
    speakers = speakers_of(plan, options, work) if options.table == 4 else None
    rows = Rows(plan, folds, within).table(options.table, speakers)
    cells = [cell for row in rows for cell in row.all_cells()]
    missing = compute(cells, store, options.jobs, shard)
    if missing:
        say(f"{len(missing)} cells belong to other shards: copy their {work / 'cells'} here and run this again")
        return
    if options.table == 1:
        found = weighed(rows, folds[0], store, work)
    else:
        found = tables.probed(rows, store) if options.table == 4 else tables.judged(rows, folds, store, plan)
    put(options, plan, folds, [with_paper(row, options.table, plan) for row in found])


def weighed(rows: Sequence[Row], fold: Fold, store: Store, work: Path) -> list[Facts]:
    """Table 1: bytes of the training part and of the generators, by the names of rows."""
    runs = {row.facts["training set"]: store.run(row.costs[0].source, fold.inputs) for row in rows}
    kinds = {row.facts["training set"]: row.facts["kind"] for row in rows}
    whole, bank = FeatureSet.open(fold.inputs.features), Bank.open(fold.inputs.bank)
    found = storage_rows(fold.inputs.features.with_name("manifest.csv"), whole, runs, work, bank)
    return [row | {"kind": kinds.get(row["what"].partition(", float32")[0])} for row in found]


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


def with_paper(row: Facts, number: int, plan: Plan) -> Facts:
    """The row with the paper's value, where it has one, and whether its corpus and features are ours."""
    paper = yaml.safe_load((EXPECTED / f"gan_paper_table{number}.yaml").read_text())
    keys = published(row, number)
    values = [each for each in paper["rows"] if all(each[key] == keys.get(key) for key in paper["keys"])]
    if not values:
        return row
    extracting = ExtractConfig.load(plan.extract)
    ours = plan.corpus, plan.protocol, list(plan.folds), f"hubert {extracting.hubert.model}"
    same = ours == (paper["corpus"], paper["protocol"], [paper["fold"]], paper["upstream"])
    value = {key: values[0][key] for key in ("bytes", "uar", "accuracy") if key in values[0]}
    where = {} if same else {"other corpus": f"{paper['corpus']}, {paper['protocol']}, {paper['upstream']}"}
    return row | {"paper": value | where}


def published(row: Facts, number: int) -> Facts:
    """A row in the words of the paper's tables, whose heads are ``superb``, hard labels, no control, no warm start."""
    if number == 1:
        return {"what": {"audio, WAV": "audio", "features, float32": "features"}.get(row["what"], row.pop("kind"))}
    if number == 4:
        system = {"speaker head": "sid", f"emotion head, {REAL}": "ser-real"}.get(row["first layer of"])
        return {"system": system or {"baseline": "ser-baseline", BOTH: "ser-gan-att"}.get(row.get("losses", ""))}
    if row["head"] != "superb" or row["labels"] != "hard" or row.get("start", "random") != "random":
        return {}
    if number == 2:
        return {"generator": row.get("kind"), "losses": row.get("losses"), "ppc": row.get("ppc")}
    data = row["kind"] if "kind" in row else "real" if row["training set"] in (REAL, DRAWN["random"]) else None
    full = row["training set"] == REAL or row["balance"].endswith("full size")
    balance = "balanced" if row["balance"].startswith("yes") else "imbalanced"
    return {"data": data, "balance": balance, "points": "full" if full else 2447}


def put(options: argparse.Namespace, plan: Plan, folds: Sequence[Fold], found: list[Facts]) -> None:
    """Write the table: everything as JSON, and what a person reads as Markdown."""
    out = options.out or ROOT / "eval" / "results" / options.plan.stem
    out.mkdir(parents=True, exist_ok=True)
    whole = [FeatureSet.open(fold.inputs.features) for fold in folds]
    facts = {
        "table": options.table,
        "corpus": whole[0].config["corpus"],
        "protocol": plan.protocol,
        "folds": [{part: sizes(one.part(part)) for part in ("train", "dev", "test")} for one in whole],
        "plan": plan.model_dump(mode="json", exclude={"extract", "bank", "head", "generators", "speakers"}),
        "versions": artifacts.versions(),
    }
    artifacts.write_text(out / f"table{options.table}.json", json.dumps(facts | {"rows": found}, indent=1) + "\n")
    artifacts.write_text(out / f"table{options.table}.md", f"{caption(facts)}\n\n{shown(options.table, found, plan)}")
    say(f"Table {options.table}: {out / f'table{options.table}.md'}")


def sizes(part: FeatureSet) -> dict[str, int]:
    return {"utterances": len(part), "speakers": len(set(part.index["speaker"]))}


def caption(facts: Facts) -> str:
    parts = (f"{part} {n['utterances']} ({n['speakers']})" for part, n in facts["folds"][0].items())
    return (
        f"{facts['corpus']}, `{facts['protocol']}`, fold {', '.join(map(str, facts['plan']['folds']))}; utterances "
        f"(speakers){' of the first' if len(facts['folds']) > 1 else ''}: {', '.join(parts)}."
    )


def shown(number: int, found: list[Facts], plan: Plan) -> str:
    """The table as Markdown."""
    if number == 1:
        return markdown([size_row(row) for row in found])
    if number == 4:
        return markdown([probe_row(row) for row in found])
    seed, across = plan.dagger_seed, ("ppc", "balance")
    parts = []
    for head in dict.fromkeys(row["head"] for row in found):
        mine = [row for row in found if row["head"] == head]
        table = tables.wide(mine, ("training set", "labels"), across, lambda row: tables.shown(row, seed))
        parts.append(f"Head `{head}`, UAR in per cent:\n\n{markdown(table)}")
    return "\n".join(parts)


def size_row(row: Facts) -> Facts:
    shares = {key: percent(value) for key, value in row.items() if key.startswith("smaller than")}
    return {"what": row["what"], "bytes": f"{row['bytes']:,}"} | shares


def probe_row(row: Facts) -> Facts:
    cells = {"first layer of": row["first layer of"]}
    for group in tables.GROUPS:
        for what, value in row.get(group, {}).items():
            cells[f"{what.replace('_', ' ')}, {group}"] = percent(value["mean"], *tables.bounds(value))
    return cells | {"chance": percent(row["chance"]["accuracy"])}


def part_of(text: str) -> tuple[int, int]:
    """``3/8`` as numbers. Raises InputError if it is no such part."""
    found = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise InputError(f"Bad --shard {text!r}, expected i/n such as 3/8")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    main()
