"""The files of a plan of self-distillation: all of it as JSON and CSV, what a person reads, predictions, costs.

But for ``costs.csv`` and ``costs.md`` they are the same bits whenever the same plan is run again on the same machine.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.corpora.manifest import read_manifest, read_origin
from gandistill.evaluate.markdown import markdown
from gandistill.evaluate.predictions import file_name
from gandistill.experiments import canvas
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.names import Facts
from gandistill.experiments.printed import beyond, uar_of, wide
from gandistill.experiments.results import as_csv, made_by, rows_of, size, write_table
from gandistill.experiments.selfdistill import figures
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.selfdistill.rows import (
    CHANCE,
    DEEPEST,
    EARLY,
    EXITS,
    FINE_TUNED,
    LAYERS,
    NETWORKS,
    PRECISIONS,
    SELF,
    Measured,
)
from gandistill.experiments.selfdistill.trials import ExitInputs
from gandistill.selfdistill.inference import FUSION

PAPER = {EXITS: "sd_paper_table1", NETWORKS: "sd_paper_table2"}
TITLES = {
    EXITS: "Table 1: every exit, by block and similarity loss",
    NETWORKS: "Table 2: plain fine-tuning, layer-wise distillation and self-distillation",
    LAYERS: "Figure 2: one student behind one layer after another",
    PRECISIONS: "Weights in fewer bytes: exits stored in float16 and int8",
    EARLY: "Leaving early",
}
READING = """\
UAR in per cent with 95 % t intervals over trainings. Judged on dev: trained on train; judged on test: trained on train
and dev. Exits of one training are not independent of each other. Differences are in percentage points: an exit's to the
deepest of its own training, or to itself in float32, are paired, a network's to plain fine-tuning are not; in round
brackets 95 % bootstrap intervals, the trained networks held fixed. Chance is no network: what is beyond it has the t
interval of one sample. No interval is corrected for the number of rows, of which one in twenty may miss by luck alone.
Fusion is the mean posterior of the students, the deepest exit left out. Bytes on disk are those of the folder that
`gandistill selfdistill export` writes of an exit; its weights are read back as float32. Nothing was chosen on test."""
ALONE = """\
In this table alone, what is judged on test was taught by train without dev, which calibrated it: each exit's
temperature, and the threshold of confidence above which it answers, lowest such that UAR on dev falls by no more
than the stated loss. Test has had no part in that. Work counts the exits that were asked in vain, and is a mean over
utterances, as depth is."""
RESAMPLED = {
    "speaker": "The bootstrap here is over test speakers, whose utterances resemble each other.",
    "utterance": (
        "The bootstrap here is over test utterances, not over speakers, of whom test has fewer than six: its "
        "intervals are about these speakers alone."
    ),
}
"""What is said of bootstrap intervals, by what they are over."""
WORK = "M multiply-accumulates per second heard"
Table = Sequence[tuple[Measured, Facts]]


def write(
    name: str,
    plan: ExitPlan,
    inputs: ExitInputs,
    table: Table,
    weights: Sequence[Facts],
    times: Sequence[Facts],
    checkout: Checkout,
    out: Path,
) -> str:
    """Write all files into ``out``. Gives what of them says most, for a document.

    ``weights`` are what ``sizes`` says of each row, ``times`` what ``seconds`` does.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = [result for row, _ in table for result in chain(*row.results.values())]
    described, spent = facts_of(plan, inputs) | made_by(name, plan.resolved(), results, checkout), []
    tables: dict[str, list[Facts]] = {}
    for (measured, facts), weight, taken in zip(table, weights, times, strict=True):
        kind = measured.row.table
        rows = tables.setdefault(kind, [])
        rows.append({"row": len(rows)} | beside(facts, kind, plan, checkout) | weight)
        if taken:
            spent.append({"table": kind} | rows[-1] | taken)
    captioned, costs = caption(described, plan), weighed(spent, plan)
    for kind, rows in tables.items():
        text = f"{captioned}\n## {TITLES[kind]}\n\n{READING}\n\n{read(kind, rows, plan)}\n{paper(rows, plan)}"
        write_table(out, kind, {"table": kind} | described, rows, text)
    for part in plan.parts:
        artifacts.write_text(out / file_name(part), as_csv(predicted(table, inputs, part)))
    artifacts.write_text(out / "costs.csv", as_csv([cost_of(row, plan) for row in spent]))
    artifacts.write_text(out / "costs.md", f"{captioned}\n## What an answer costs\n\n{costs}")
    canvas.write(figures.drawn(described, tables, plan.parts), out)
    return f"{captioned}\n{costs}"


def facts_of(plan: ExitPlan, inputs: ExitInputs) -> Facts:
    """What was run: corpus, protocol, fold, upstream and parts."""
    parts: Facts = {}
    for part, manifest in inputs.manifests.items():
        entries = read_manifest(manifest)
        for role, split in (("taught by", "train"), ("judged", part)):
            parts.setdefault(part, {})[role] = size([entry.speaker for entry in entries if entry.split == split])
    origin = read_origin(next(iter(inputs.manifests.values())))
    return {
        "corpus": origin["corpus"],
        "protocol": plan.protocol,
        "fold": plan.fold,
        "upstream": {"name": plan.upstream, "layers": inputs.layers, "parameters_sha256": inputs.upstream_sha256},
        "parts": parts,
        "labels": inputs.labels,
    }


def caption(described: Facts, plan: ExitPlan) -> str:
    """The plan's note, and what the tables are of."""
    sizes = [
        f"{n['judged']['utterances']} ({n['judged']['speakers']}) of {part} judge what "
        f"{n['taught by']['utterances']} ({n['taught by']['speakers']}) have taught"
        for part, n in described["parts"].items()
    ]
    training, upstream = plan.whole.training, described["upstream"]
    text = (
        f"{described['corpus']}, `{described['protocol']}` fold {described['fold']}. "
        f"Utterances (speakers): {'; '.join(sizes)}. Upstream: {upstream['name']}, {upstream['layers']} layers. "
        f"{plan.seeds} trainings of each network, {training.epochs} epochs, batches of {training.batch}."
    )
    if plan.layerwise is not None and plan.layerwise.blocks:
        epochs = plan.layerwise.stage.epochs
        text += f" Layer-wise distillation takes {epochs} more before: {epochs} + {training.epochs} epochs."
    return "\n\n".join(filter(None, (plan.note, text))) + "\n"


def read(table: str, rows: Sequence[Facts], plan: ExitPlan) -> str:
    """A table to read, and its differences."""
    (level,) = [row for row in rows if row["network"] == CHANCE]
    chance = ", ".join(f"{uar_of(level[part])} on {part}" for part in plan.parts)
    shown = [row for row in rows if row["network"] != CHANCE]
    if table == NETWORKS:
        text = markdown([named(row) | uars(row, plan) | sizes(row) for row in shown])
    elif table == PRECISIONS:
        text = markdown([named(row) | {"kB on disk": f"{row['bytes'] / 1e3:,.0f}"} | uars(row, plan) for row in shown])
    elif table == EARLY:
        text = markdown([named(row) | uars(row, plan) | worked(row) for row in shown])
    else:
        down = ("block", "similarity") if table == EXITS else ("layer",)
        if table == LAYERS:  # all students share a column
            shown = [row if row["exit"] == DEEPEST else row | {"exit": "student"} for row in shown]
        cells = [row | {"part": part} for row in shown for part in plan.parts]
        text = markdown(wide(cells, down, ("exit", "part"), lambda cell: uar_of(cell[cell["part"]])))
    compared, over = [], set[str]()
    for row in (row for row in rows if row["network"] != CHANCE):
        for part in row["trials"]:
            gaps = {rival: gap[part] for rival, gap in row["differences"].items()}
            over |= {gap["bootstrap"]["over"] for gap in gaps.values() if "bootstrap" in gap}
            compared.append(named(row) | {"part": part} | {f"beyond {rival}": beyond(g) for rival, g in gaps.items()})
    resampled = "".join(f"{RESAMPLED[unit]}\n\n" for unit in sorted(over))
    why = f"{ALONE}\n\n" if table == EARLY else ""
    return f"{why}Whoever says one class always has a UAR of {chance}.\n\n{text}\n{resampled}{markdown(compared)}"


def named(row: Facts) -> Facts:
    """What a row is."""
    words = {"layer": "layer", "precision": "precision", "uar_loss": "stated loss of UAR"}
    of_some = {word: row[key] for key, word in words.items() if key in row}
    return {key: row.get(key) for key in ("network", "block", "similarity", "exit")} | of_some


def uars(row: Facts, plan: ExitPlan) -> Facts:
    return {f"{part} UAR": uar_of(row[part]) for part in plan.parts if part in row}


def worked(row: Facts) -> Facts:
    depth = {"mean depth": f"{row['mean_depth']:.2f}"} if "mean_depth" in row else {}
    return depth | {WORK: f"{row['multiply_accumulates'] / 1e6:,.0f}"}


def sizes(row: Facts) -> Facts:
    """Parameters, work and bytes."""
    return {
        "M parameters, as the paper counts": f"{row['parameters_paper'] / 1e6:.3g}",
        "M parameters, deployed": f"{row['parameters_deployed'] / 1e6:.3g}",
        **worked(row),
        "MB": f"{row['bytes'] / 1e6:,.2f}",
    }


def cost_of(row: Facts, plan: ExitPlan) -> Facts:
    """What a row's answer costs, beside what it is worth."""
    costs = ("parameters_paper", "parameters_deployed", "multiply_accumulates", "bytes", "seconds", "training_seconds")
    worth = {f"{part}.uar": row[part]["uar"] for part in plan.parts}
    return {key: row[key] for key in ("table", "row")} | named(row) | worth | {key: row.get(key) for key in costs}


def weighed(spent: Sequence[Facts], plan: ExitPlan) -> str:
    """What answers cost beside what they are worth: Table 2's networks, and the named run of every block."""
    taken, others = plan.competing.students, [block for block in plan.blocks if block != plan.competing.block]
    rows = [row for row in spent if row["network"] != CHANCE]
    rows = [
        row
        for row in rows
        if row["table"] == NETWORKS
        or (row["similarity"] == taken and (row["block"] in others or row["exit"] == FUSION))
    ]
    table = [
        named(row) | uars(row, plan) | sizes(row) | {"seconds per second heard": f"{row['seconds']:.4f}"}
        for row in rows
    ]
    text = (
        "Seconds of one core for a second that is heard, in clips as long as the network's, layers above the exit not "
        "run: medians of rounds in which all were asked by turns, on one machine. Shorter audio is repeated to a whole "
        "clip and costs as much. Fusion asks all students."
    )
    return f"{text}\n\n{markdown(table)}"


def predicted(table: Table, inputs: ExitInputs, part: str) -> list[Facts]:
    """A row for each utterance; what each exit of each trial said of it, as class numbers, in its own column."""
    entries = inputs.judged(part).entries
    columns: dict[str, Any] = {key: [getattr(entry, key) for entry in entries] for key in ("id", "speaker")}
    columns["label"] = [entry.emotion for entry in entries]
    for measured, facts in table:
        for key, result in zip(facts.get("trials", {}).get(part, []), measured.results.get(part, []), strict=True):
            columns |= {f"{key}.{name}": exit["predicted"] for name, exit in result["exits"].items()}
    return rows_of(columns)


def beside(row: Facts, table: str, plan: ExitPlan, checkout: Checkout) -> Facts:
    """The row with the paper's ``paper`` values, where it has any of that name."""
    if table not in PAPER or row["network"] == CHANCE:
        return row
    published = checkout.reference(PAPER[table])
    if table == EXITS:
        mine = {key: row[key] for key in ("block", "similarity")}
        values = [entry["uar"].get(row["exit"]) for entry in published["rows"] if mine.items() <= entry.items()]
    else:
        taken = [plan.competing.block, plan.competing.students, plan.competing.teacher]
        if row["network"] == SELF and taken != [published[key] for key in ("block", "students", "teacher")]:
            return row
        key = ("network", "exit") if row["network"] in (SELF, FINE_TUNED) else ("network", "block")
        values = [entry for entry in published["rows"] if all(entry.get(k) == row[k] for k in key)]
    if not values or values[0] is None:
        return row
    value = {part: values[0][part] for part in plan.parts}
    setting = [published[key] for key in ("corpus", "protocol", "upstream")]
    same = setting == [plan.corpus, plan.protocol, plan.upstream]
    return row | {"paper": value | ({} if same else {"other_corpus": f"{setting[0]}, {setting[2]}"})}


def paper(rows: Sequence[Facts], plan: ExitPlan) -> str:
    """The paper's values as Markdown; none: no table."""
    table = [
        named(row)
        | {f"paper's {part} UAR": row["paper"][part] for part in plan.parts}
        | {"other corpus": row["paper"].get("other_corpus")}
        for row in rows
        if "paper" in row
    ]
    return f"The paper's values (Ren et al. 2023; one training each):\n\n{markdown(table)}" if table else ""
