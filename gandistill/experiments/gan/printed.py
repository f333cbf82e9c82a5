"""The GAN paper's tables as Markdown."""

from collections.abc import Sequence
from functools import partial

from gandistill.controls.draws import INDEPENDENT
from gandistill.evaluate.markdown import markdown, percent
from gandistill.experiments.differences import bounds
from gandistill.experiments.gan.measured import GROUPS, SIGNIFICANT
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import BASELINE, SML, TIME_POOLED, UNTRAINED
from gandistill.experiments.names import DRAWN, REAL, Facts, called
from gandistill.experiments.printed import uar_of, wide

MAIN = ("random", "random-oversampled", "real-recentred", "real-designed", "class-gaussian")
"""Controls of the short table, beside all real data."""
COMPARED = (
    DRAWN["random"],
    DRAWN["real-recentred"],
    DRAWN["real-designed"],
    DRAWN["class-gaussian"],
    called(DRAWN["class-gaussian"], INDEPENDENT),
    REAL,
)
"""Rows of several corpora that stand side by side."""


def caption(facts: Facts, note: str) -> str:
    """What a table is of, and the plan's note."""
    fold, first = next(iter(facts["folds"].items()))
    parts = ", ".join(f"{part} {n['utterances']} ({n['speakers']})" for part, n in first.items())
    folds = ", ".join(facts["folds"])
    text = f"{facts['corpus']}, `{facts['protocol']}` fold {folds}; utterances (speakers) of fold {fold}: {parts}.\n"
    return f"{note}\n\n{text}" if note else text


def sizes(rows: Sequence[Facts]) -> list[Facts]:
    """Table 1, a row at a time."""
    table = []
    for row in rows:
        shares = {key: percent(value) for key, value in row.items() if key.startswith("smaller than")}
        uar = {"UAR": uar_of(row) if "uar" in row else ""}
        table.append({"what": row["what"], "bytes": f"{row['bytes']:,}"} | shares | uar)
    return table


def probed(rows: Sequence[Facts]) -> list[Facts]:
    """Table 4, a row at a time."""
    table = []
    for row in rows:
        cells = {"first layer of": row["first layer of"], "ppc": row.get("ppc")}
        for group in GROUPS:
            for what, value in row.get(group, {}).items():
                cells[f"{what.replace('_', ' ')}, {group}"] = percent(value["mean"], *bounds(value))
        table.append(cells | {"chance": percent(row["chance"]["accuracy"])})
    return table


def judged(rows: Sequence[Facts], plan: Plan) -> str:
    """Tables 2 and 3."""
    parts = [_of_head(head, rows, plan) for head in dict.fromkeys(row["head"] for row in rows)]
    versus = [_versus(row) for row in rows if "differences" in row]
    text = (
        "UAR of what no corpus holds beyond that of other rows of the same head, labels and points, in percentage "
        "points with 95 % bootstrap intervals (the trained models held fixed); on par: within "
        f"{percent(plan.margin)} of all real data (TOST). What rows cost is in costs.csv."
    )
    return "\n".join([*parts, f"{text}\n\n{markdown(versus)}\n{counted(rows)}"])


def digest(rows: Sequence[Facts], plan: Plan) -> str:
    """The rows of Table 2 that say most, and by how much what no corpus holds is above random real clips, or where a
    plan has none of them, above all real data.

    A plan that trains generators is shown by its first head; one of closed forms, being shorter, by every head.
    """
    warm = [name for name, generator in plan.generators.items() if len(generator.losses) == 1]
    real, made = (REAL, TIME_POOLED), (plan.balanced, *warm)
    main = [
        row for row in rows if row["training set"] in real or row.get("method") in MAIN or row.get("generator") in made
    ]
    if not all(map(plan.is_closed, plan.generators)):
        return f"{_of_head(plan.heads[0].kind, main, plan)}\n{counted(rows)}"
    parts = [_of_head(head.kind, main, plan) for head in plan.heads]
    name = DRAWN["random"] if "random" in plan.controls else REAL
    gaps = [row | {"gap": row["differences"][name]} for row in main if name in row.get("differences", {})]
    table = wide(gaps, ("training set", "labels"), ("head", "ppc"), lambda row: _gap(row["gap"]))
    over = gaps[0]["gap"]["bootstrap"]
    text = f"UAR beyond {name}, in percentage points with 95 % bootstrap intervals over {over}s:"
    return "\n".join([*parts, f"{text}\n\n{markdown(table)}"])


def compared(tables: Sequence[tuple[Facts, Sequence[int]]], head: str = "superb", labels: str = "hard") -> str:
    """Tables 2 side by side, as they are kept, each at some numbers of points per class.

    What has no such number, all real data, is said at each of them. Random clips are oversampled where a table has so
    many points that they must be.
    """
    columns = {f"{table['corpus']}, {points} ppc": (table, points) for table, ppc in tables for points in ppc}
    rows = [{"training set": name} for name in COMPARED]
    for row in rows:
        names = [row["training set"]]
        if names == [DRAWN["random"]]:
            names.append(DRAWN["random-oversampled"])
        row |= {
            column: uar_of(entry)
            for column, (table, points) in columns.items()
            for entry in table["rows"]
            if entry["training set"] in names
            and (entry["head"], entry["labels"]) == (head, labels)
            and entry.get("ppc", points) == points
        }
    return markdown(rows)


def _gap(difference: Facts) -> str:
    return percent(difference["uar_difference"], *difference["interval"])


def counted(rows: Sequence[Facts]) -> str:
    """In how many rows trained generators are above others, below them, or neither, by the bootstrap interval."""
    table: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row in rows:
        if row.get("losses") in (None, UNTRAINED):
            continue
        for rival, gap in row.get("differences", {}).items():
            start = "random weights" if row["start"] == "random" else "a closed form"
            sides = table.setdefault((start, row["head"]), {}).setdefault(rival, [0, 0, 0])
            low, high = gap["interval"]
            sides[0 if low > 0 else 1 if high < 0 else 2] += 1
    counts = [
        {"started from": start, "head": head} | {rival: " / ".join(map(str, n)) for rival, n in rivals.items()}
        for (start, head), rivals in table.items()
    ]
    if not counts:
        return ""
    text = (
        "Rows of trained generators whose UAR is above / below / neither than that of others with the same head,\n"
        "labels and points, by the 95 % bootstrap interval (the trained models held fixed; not corrected for how many\n"
        "there are):"
    )
    return f"{text}\n\n{markdown(counts)}{_tested(rows)}"


def _tested(rows: Sequence[Facts]) -> str:
    """How many tests between kinds of losses are significant, and which way, for each seed of a generator."""
    seeds: dict[int, list[int]] = {}
    for row in rows:
        for losses in (BASELINE, SML):
            for test in row.get("mcnemar", {}).get(losses, []):
                sides = seeds.setdefault(test["seed"], [0, 0, 0])
                small = test["holm"] < SIGNIFICANT
                sides[2 if not small else 0 if test["more_right"] > 0 else 1] += 1
    if not seeds:
        return ""
    counts = "; ".join(f"seed {seed}: {' / '.join(map(str, sides))}" for seed, sides in sorted(seeds.items()))
    return f"\nMcNemar's tests against the baseline and +SML, better / worse / neither after Holm: {counts}.\n"


def _of_head(head: str, rows: Sequence[Facts], plan: Plan) -> str:
    of_head = [row for row in rows if row["head"] == head]
    show = partial(shown, dagger_seed=plan.dagger_seed)
    table = wide(of_head, ("training set", "labels"), ("ppc", "balance"), show)
    return f"Head `{head}`, UAR in per cent:\n\n{markdown(table)}"


def _versus(row: Facts) -> Facts:
    named = {key: row[key] for key in ("training set", "head", "labels", "ppc", "balance") if row.get(key) is not None}
    gaps = {f"beyond {rival}": _gap(difference) for rival, difference in row["differences"].items()}
    on_par = row["differences"].get(REAL, {}).get("equivalence", {}).get("equivalent")
    updates = row.get("updates_kept", [])
    alike = updates[1:] == updates[:-1]
    kept = {"updates kept": ", ".join(map(str, updates[:1] if alike else updates))} if updates else {}
    by = {"intervals by": next(iter(row["differences"].values()))["bootstrap"]}
    return named | kept | gaps | by | {"on par": {True: "yes", False: "not shown", None: ""}[on_par]}


def shown(entry: Facts, dagger_seed: int) -> str:
    """UAR in per cent with its interval, and what is significant of the one seed named beforehand.

    A dagger: differs from the baseline, a double one: from +SML (McNemar, Holm over the table), followed by a down
    arrow where it is worse; an equals sign: on par with all real data (TOST).
    """
    text = uar_of(entry)
    if entry["points"] < entry.get("ppc", 0) * entry["classes"]:
        text += f" ({entry['points']} points)"
    for losses, sign in ((BASELINE, "†"), (SML, "‡")):
        for test in entry.get("mcnemar", {}).get(losses, []):
            if test["seed"] == test["head_seed"] == dagger_seed and test["holm"] < SIGNIFICANT:
                text += f" {sign}" if test["more_right"] > 0 else f" {sign}↓"
    on_par = entry.get("differences", {}).get(REAL, {}).get("equivalence", {}).get("equivalent")
    return f"{text} =" if on_par else text
