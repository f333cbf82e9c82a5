"""The GAN paper's values beside ours: the same corpus, fold and features, or said to be of another."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gandistill.evaluate.plan import Plan
from gandistill.evaluate.report import markdown
from gandistill.evaluate.rows import BASELINE, BOTH, DRAWN, REAL, Facts
from gandistill.features.extract import ExtractConfig

EXPECTED = Path(__file__).parent / "expected"
MEASURES = ("bytes", "uar", "accuracy")


def beside(row: Facts, number: int, plan: Plan) -> Facts:
    """The row with ``paper``, where that has a value: its own, and ours of its fold if all else is the same too."""
    published = expected(number)
    keys = words(row, number)
    values = [each for each in published["rows"] if all(each[key] == keys.get(key) for key in published["keys"])]
    if not values:
        return row
    value = {key: values[0][key] for key in MEASURES if key in values[0]}
    if not same_setting(published, plan):
        return row | {"paper": value | {"other_corpus": f"{published['corpus']}, {published['upstream']}"}}
    if "fold_uars" in row:
        value["ours"] = 100 * row["fold_uars"][plan.folds.index(published["fold"])]
    return row | {"paper": value}


@cache
def expected(number: int) -> dict[str, Any]:
    return yaml.safe_load((EXPECTED / f"gan_paper_table{number}.yaml").read_text(encoding="utf-8"))


def same_setting(published: dict[str, Any], plan: Plan) -> bool:
    """Whether a plan runs what the paper ran: corpus, protocol, fold, upstream, and speakers where it asks for them."""
    extracting = ExtractConfig.load(plan.extract)
    upstream = f"{extracting.upstream} {extracting.hubert.model}"
    same = (plan.corpus, plan.protocol, upstream) == tuple(published[key] for key in ("corpus", "protocol", "upstream"))
    asked = None if plan.speakers is None else plan.speakers.corpus
    return same and published["fold"] in plan.folds and published.get("probe_corpus", asked) == asked


def words(row: Facts, number: int) -> Facts:
    """What the paper's tables call a row. Their heads are ``superb``, of hard labels; no control, no warm start."""
    if row.get("start", "random") != "random":
        return {}
    if number == 1:
        audio_and_features = {"audio, WAV": "audio", "features, float32": "features"}
        return {"what": audio_and_features.get(row["what"], row.get("kind"))}
    if number == 4:
        real = {"speaker head": "sid", f"emotion head, {REAL}": "ser-real"}
        made = {BASELINE: "ser-baseline", BOTH: "ser-gan-att"}
        return {"system": real.get(row["first layer of"]) or made.get(row.get("losses", ""))}
    if row["head"] != "superb" or row["labels"] != "hard":
        return {}
    if number == 2:
        return {"generator": row.get("kind"), "losses": row.get("losses"), "ppc": row.get("ppc")}
    real = row["training set"] in (REAL, DRAWN["random"])
    full = row["training set"] == REAL or row["balance"].endswith("full size")
    balance = "balanced" if row["balance"].startswith("yes") else "imbalanced"
    return {"data": "real" if real else row.get("kind"), "balance": balance, "points": "full" if full else 2447}


def table(found: list[Facts]) -> str:
    """The paper's values as Markdown; none: no table."""
    rows = []
    for row in found:
        if "paper" in row:
            value, name = (
                row["paper"],
                next(str(row[key]) for key in ("training set", "first layer of", "what") if key in row),
            )
            of = {key: row[key] for key in ("ppc", "balance") if "training set" in row and row.get(key) is not None}
            measures = {f"paper's {key}": f"{value[key]:,}" for key in MEASURES if key in value}
            ours = {"ours": f"{value['ours']:.2f}"} if "ours" in value else {}
            rows.append({"row": name} | of | measures | ours | {"other corpus": value.get("other_corpus")})
    return f"The paper's values (Ritter-Gutierrez et al. 2024):\n\n{markdown(rows)}" if rows else ""
