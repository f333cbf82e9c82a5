"""Tables as Markdown."""

from collections.abc import Sequence
from functools import partial

from gandistill.evaluate import tables
from gandistill.evaluate.plan import Plan
from gandistill.evaluate.report import markdown, percent
from gandistill.evaluate.rows import DRAWN, REAL, Facts

MAIN = (REAL, "real, time-pooled", DRAWN["random"], DRAWN["class-gaussian"])
"""Controls of the short table."""


def caption(facts: Facts) -> str:
    """What a table is of."""
    parts = (f"{part} {n['utterances']} ({n['speakers']})" for part, n in facts["folds"][0].items())
    first = " of the first" if len(facts["folds"]) > 1 else ""
    folds = ", ".join(map(str, facts["plan"]["folds"]))
    return (
        f"{facts['corpus']}, `{facts['protocol']}`, fold {folds}; utterances (speakers){first}: {', '.join(parts)}.\n"
    )


def table(number: int, found: Sequence[Facts], plan: Plan) -> str:
    """A whole table."""
    if number == 1:
        return markdown([_size(row) for row in found])
    if number == 4:
        return markdown([_probe(row) for row in found])
    parts = [_of_head(head, found, plan) for head in dict.fromkeys(row["head"] for row in found)]
    versus = [_versus(row) for row in found if "differences" in row]
    text = (
        "UAR of generators beyond that of other rows of the same head, labels and points, in percentage points with "
        "95 % bootstrap intervals (the trained models held fixed); on par: within "
        f"{percent(plan.margin)} of all real data (TOST). Seconds are of one processor."
    )
    parts.append(f"{text}\n\n{markdown(versus)}")
    return "\n".join(parts)


def digest(found: Sequence[Facts], plan: Plan) -> str:
    """The rows of Table 2 that say most, for the plan's first head."""
    warm = [name for name, each in plan.generators.items() if len(each.losses) == 1]
    shown = [row for row in found if row["training set"] in MAIN or row.get("generator") in (plan.balanced, *warm)]
    return _of_head(plan.heads[0].kind, shown, plan)


def _of_head(head: str, found: Sequence[Facts], plan: Plan) -> str:
    mine = [row for row in found if row["head"] == head]
    show = partial(tables.shown, dagger_seed=plan.dagger_seed)
    wide = tables.wide(mine, ("training set", "labels"), ("ppc", "balance"), show)
    return f"Head `{head}`, UAR in per cent:\n\n{markdown(wide)}"


def _versus(row: Facts) -> Facts:
    named = {key: row[key] for key in ("training set", "head", "labels", "ppc", "balance") if row.get(key) is not None}
    gaps = {
        f"beyond {rival}": percent(found["uar_difference"], *found["interval"])
        for rival, found in row["differences"].items()
    }
    on_par = row["differences"].get(REAL, {}).get("equivalence", {}).get("equivalent")
    cost = row["cost"]
    after = cost.get("pays_after_heads")
    return (
        named
        | gaps
        | {
            "on par": {True: "yes", False: "not shown", None: ""}[on_par],
            "generator, s": f"{cost['generator_seconds']:.0f}" if "generator_seconds" in cost else "",
            "head, s": f"{cost['head_seconds']:.1f}",
            "pays after heads": "never" if after is None else f"{after:,.0f}",
            "memory, MB": f"{cost['peak_bytes'] / 1e6:.0f}",
        }
    )


def _size(row: Facts) -> Facts:
    shares = {key: percent(value) for key, value in row.items() if key.startswith("smaller than")}
    return {"what": row["what"], "bytes": f"{row['bytes']:,}"} | shares


def _probe(row: Facts) -> Facts:
    cells = {"first layer of": row["first layer of"]}
    for group in tables.GROUPS:
        for what, value in row.get(group, {}).items():
            cells[f"{what.replace('_', ' ')}, {group}"] = percent(value["mean"], *tables.bounds(value))
    return cells | {"chance": percent(row["chance"]["accuracy"])}
