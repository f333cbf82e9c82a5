"""The files of a plan of trajectory matching: all of it as JSON and CSV, what a person reads, predictions, costs.

But for ``costs.csv`` they are the same bits whenever the same plan is run again on the same machine.
"""

from collections.abc import Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.evaluate.markdown import markdown
from gandistill.experiments import canvas
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.names import Facts
from gandistill.experiments.printed import beyond, uar_of, wide
from gandistill.experiments.results import as_csv, made_by, rows_of, sizes_of_parts, write_table
from gandistill.experiments.trajectory import figures
from gandistill.experiments.trajectory.plan import TrajectoryPlan
from gandistill.experiments.trajectory.rows import DISTILLED, FULL, HARD, RANDOM, STEP_0, Measured
from gandistill.experiments.trajectory.trials import PARTS
from gandistill.features.featureset import FeatureSet

PAPER = {FULL: "mtt_paper_table2", DISTILLED: "mtt_paper_table3"}
TITLES = {FULL: "Table 2: all real data", DISTILLED: "Table 3: distilled sets, and what they must beat"}
READING = """\
Step 0 is plain real points, drawn as the random control is; a distilled row is compared with its own.
UAR beyond that of other rows of the same student and points, in percentage points: 95 % t intervals over sets (or
students), for a row's own step 0 paired by seed; in round brackets 95 % bootstrap intervals over test utterances or
speakers, the trained students held fixed. The first random sets are the step 0 of the distilled ones, which the t
interval beyond random points does not know, and is too wide by. Learned soft labels stand beside random real points
with the mean posterior of the bank, whose heads are not the teachers. Steps are those that the plan names; a step
chosen on dev says so. Nothing was chosen on test."""
Table = Sequence[tuple[Measured, Facts]]


def write(name: str, plan: TrajectoryPlan, features: FeatureSet, table: Table, checkout: Checkout, out: Path) -> str:
    """Write all files into ``out``. Gives what of them says most, for a document."""
    out.mkdir(parents=True, exist_ok=True)
    results = [result for row, _ in table for result in chain(*row.results)]
    described, costs = facts_of(plan, features) | made_by(name, plan.resolved(), results, checkout), []
    captioned = caption(described, plan)
    for kind, show in ((FULL, full), (DISTILLED, distilled)):
        published = checkout.reference(PAPER[kind])
        entries = [beside(facts, kind, published, plan) for row, facts in table if row.row.table == kind]
        rows: list[Facts] = [{"row": place} | facts for place, facts in enumerate(entries)]
        costs += [{"table": kind, "row": row["row"]} | row.pop("cost") for row in rows]
        text = f"{captioned}\n## {TITLES[kind]}\n\n{show(rows)}\n{paper(rows)}"
        write_table(out, kind, {"table": kind} | described, rows, text)
    artifacts.write_text(out / "predictions.csv", as_csv(predicted(table, features)))
    artifacts.write_text(out / "costs.csv", as_csv(costs))
    canvas.write(figures.drawn(described, [facts for _, facts in table]), out)
    return f"{captioned}\n{digest([facts for row, facts in table if row.row.table == DISTILLED])}"


def facts_of(plan: TrajectoryPlan, features: FeatureSet) -> Facts:
    """What was run: corpus, protocol, fold and parts."""
    known = {"corpus": features.config["corpus"], "protocol": plan.protocol, "fold": plan.fold}
    return known | {"parts": sizes_of_parts(features), "labels": features.labels}


def caption(described: Facts, plan: TrajectoryPlan) -> str:
    """The plan's note, and what the tables are of."""
    parts = ", ".join(f"{part} {n['utterances']} ({n['speakers']})" for part, n in described["parts"].items())
    evaluate, teach = plan.whole.evaluate, plan.whole.teach
    epoch = "a whole pass" if evaluate.epoch_updates is None else f"{evaluate.epoch_updates} updates, whatever the set"
    by = f"Students of every row of Table 3: {evaluate.epochs} epochs of {epoch}, batches of at most {teach.batch}."
    of = f"{described['corpus']}, `{described['protocol']}` fold {described['fold']}; utterances (speakers): {parts}."
    return "\n\n".join(filter(None, (plan.note, f"{of} {by}"))) + "\n"


def full(rows: Sequence[Facts]) -> str:
    """Table 2: UAR of each network on each part."""
    table = [
        {"network": row["student"], "updates": f"{row['updates']:,}"}
        | {f"{part} UAR": uar_of(row[part]) for part in PARTS if part in row}
        for row in rows
    ]
    return f"Networks trained on all real data by the teachers' schedule, UAR in per cent:\n\n{markdown(table)}"


def distilled(rows: Sequence[Facts]) -> str:
    """Table 3: UARs, and differences of what must beat others."""
    text = []
    for part in [part for part in ("test", "dev") if part in rows[0]]:
        for start in dict.fromkeys(row["start"] for row in rows):
            text.append(uars([row for row in rows if row["start"] == start], part))
    compared = [row for row in rows if "differences" in row]
    ahead = []
    for row, part in product(compared, PARTS):
        if part in next(iter(row["differences"].values())):
            name = row["training set"] + (", step chosen on dev" if "chosen" in row else "")
            named = {"row": name} | {key: row.get(key) for key in ("step", "student", "start", "ppc")}
            gaps = {f"beyond {rival}": beyond(gap[part]) for rival, gap in row["differences"].items()}
            ahead.append(named | {"part": part} | gaps)
    text.append(f"{READING}\n\n{counted(rows)}\n\n{markdown(ahead)}")
    return "\n".join(text)


def digest(rows: Sequence[Facts]) -> str:
    """The rows of Table 3 that say most: of students from initial weights of their own, the first and the last step."""
    first = [row for row in rows if row["start"] == "scratch" and (not row.get("step") or row.get("last"))]
    return f"{uars(first, 'test')}\n{counted(rows)}\n"


def uars(rows: Sequence[Facts], part: str) -> str:
    """UARs on a part of students of one start: a row for each training set, a column for each student and ppc."""
    shown = [row | {"step": None if row.get("step") is None else str(row["step"])} for row in rows]
    shown = [row | {"ppc": None} if "ppc" not in row else row for row in shown if "chosen" not in row]
    table = wide(shown, ("training set", "step", "labels"), ("student", "ppc"), lambda row: uar_of(row[part]))
    weights = "initial weights of their own" if rows[0]["start"] == "scratch" else "their teachers' initial weights"
    return f"UAR on {part} in per cent, students from {weights}:\n\n{markdown(table)}"


def counted(rows: Sequence[Facts]) -> str:
    """How many distilled rows after their last step are above, or below, their step 0 and random real points."""
    last = [row for row in rows if row.get("last") and row["start"] == "scratch" and "chosen" not in row]
    lines = [f"Of {len(last)} distilled rows after their last step, by their test UAR:"]
    for rival in (STEP_0, RANDOM):
        gaps = [row["differences"][rival]["test"] for row in last]
        over_sets = [(gap.get("low", -1), gap.get("high", 1)) for gap in gaps]
        held_fixed = [gap["bootstrap"]["interval"] for gap in gaps]
        name = "their own step 0" if rival == STEP_0 else rival
        lines.append(
            f"- against {name}: {_sides(over_sets)} by the t interval over sets; {_sides(held_fixed)} by the bootstrap "
            f"over {gaps[0]['bootstrap']['over']}s, the trained students held fixed"
        )
    sets = {(row["matched"], row["ppc"]): row["halvings"] for row in last}  # students judge the same sets
    rolled = [count for halvings in sets.values() for count in halvings]
    lines.append(f"- {sum(map(bool, rolled))} of their {len(rolled)} sets were rolled back on their way, rates halved")
    return "\n".join(lines)


def _sides(intervals: Sequence[Sequence[float]]) -> str:
    """How many intervals of differences lie above 0, below it, or hold it."""
    above, below = sum(low > 0 for low, _ in intervals), sum(high < 0 for _, high in intervals)
    return f"{above} above, {below} below, {len(intervals) - above - below} neither"


def predicted(table: Table, features: FeatureSet) -> list[Facts]:
    """A row for each utterance of dev and test; what each student said of it, as class numbers, in its own column."""
    results: dict[str, Facts] = {}
    for row, _ in table:
        keys = (trial.key[:12] for trial in chain(*row.row.trials))
        results |= zip(keys, chain(*row.results), strict=True)
    rows: list[Facts] = []
    for part in table[0][0].parts:
        utterances = features.part(part)
        columns: dict[str, Any] = {"part": [part] * len(utterances)}
        columns |= {name: utterances.index[name] for name in ("id", "speaker", "label")}
        rows += rows_of(columns | {key: result["predicted"][part] for key, result in results.items()})
    return rows


def beside(row: Facts, table: str, published: dict[str, Any], plan: TrajectoryPlan) -> Facts:
    """The row with the paper's ``paper`` values where networks, points, steps and, of Table 3, training parts are its
    own: there it has dev values of sets distilled from train, test values of others, from train and dev together."""
    conditions, parts = {"student": row["student"]}, PARTS
    if table == DISTILLED:
        parts = ("test",) if plan.merge_dev else ("dev",)
        if row.get("ppc") != published["ppc"] or row.get("step") != published["step"] or len(row["guides"]) > 1:
            return row
        conditions["guide"] = row["guides"][0]
    if row["start"] != "scratch" or row["labels"] != HARD or "chosen" in row:
        return row
    values = [entry for entry in published["rows"] if all(entry[key] == value for key, value in conditions.items())]
    if not values:
        return row
    value = {part: values[0][part] for part in parts}
    same = (plan.corpus, plan.protocol) == (published["corpus"], published["protocol"])
    return row | {"paper": value | ({} if same else {"other_corpus": published["corpus"]})}


def paper(rows: Sequence[Facts]) -> str:
    """The paper's values as Markdown; none: no table."""
    table = []
    for row in rows:
        if "paper" in row:
            named = {key: row[key] for key in ("training set", "student", "ppc", "step") if key in row}
            values = {f"paper's {part} UAR": row["paper"][part]["uar"] for part in PARTS if part in row["paper"]}
            table.append(named | values | {"other corpus": row["paper"].get("other_corpus")})
    return f"The paper's values (Chang et al. 2024):\n\n{markdown(table)}" if table else ""
