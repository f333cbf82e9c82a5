"""The GAN paper's values beside ours: the same corpus, fold and features, or said to be of another."""

from typing import Any

from gandistill.evaluate.markdown import markdown
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import BASELINE, BOTH
from gandistill.experiments.names import DRAWN, REAL, Facts
from gandistill.features.extract import ExtractConfig

MEASURES = ("bytes", "uar", "accuracy")


def beside(row: Facts, keys: Facts, published: dict[str, Any], plan: Plan) -> Facts:
    """The row with ``paper``, where that has a value: its own, and ours of its fold if all else is the same too.

    ``keys`` are what the paper's table, of which ``published`` is all that it says, calls such a row.
    """
    values = [entry for entry in published["rows"] if all(entry[key] == keys.get(key) for key in published["keys"])]
    if not values:
        return row
    value = {key: values[0][key] for key in MEASURES if key in values[0]}
    if not _is_same_setting(published, plan):
        return row | {"paper": value | {"other_corpus": f"{published['corpus']}, {published['upstream']}"}}
    if "fold_uars" in row:
        value["ours"] = 100 * row["fold_uars"][plan.folds.index(published["fold"])]
    return row | {"paper": value}


def _is_same_setting(published: dict[str, Any], plan: Plan) -> bool:
    """Whether a plan runs what the paper ran: corpus, protocol, fold, upstream, and speakers where it asks for them."""
    extracting = ExtractConfig.load(plan.extract)
    upstream = f"{extracting.upstream} {extracting.hubert.model}"
    same = (plan.corpus, plan.protocol, upstream) == tuple(published[key] for key in ("corpus", "protocol", "upstream"))
    probe_corpus = None if plan.speakers is None else plan.speakers.corpus
    return same and published["fold"] in plan.folds and published.get("probe_corpus", probe_corpus) == probe_corpus


def of_size(row: Facts) -> Facts:
    """What Table 1 calls a row."""
    audio_and_features = {"audio, WAV": "audio", "features, float32": "features"}
    keys = {"what": audio_and_features.get(row["what"], row.get("kind"))}
    return keys if row.get("start", "random") == "random" else {}


def of_losses(row: Facts) -> Facts:
    """What Table 2 calls a row."""
    keys = {"generator": row.get("kind"), "losses": row.get("losses"), "ppc": row.get("ppc")}
    return keys if _is_published(row) else {}


def of_balance(row: Facts) -> Facts:
    """What Table 3 calls a row."""
    data = "real" if row["training set"] in (REAL, DRAWN["random"]) else row.get("kind")
    balance, points = "balanced" if row["balanced"] else "imbalanced", "full" if row["full_size"] else 2447
    return {"data": data, "balance": balance, "points": points} if _is_published(row) else {}


def of_speakers(row: Facts) -> Facts:
    """What Table 4 calls a row."""
    real = {"speaker head": "sid", f"emotion head, {REAL}": "ser-real"}
    made = {BASELINE: "ser-baseline", BOTH: "ser-gan-att"}
    return {"system": real.get(row["first layer of"]) or made.get(row.get("losses", ""))}


def _is_published(row: Facts) -> bool:
    # The paper's heads are ``superb``, of hard labels, and no start is closed-form.
    return (row.get("start", "random"), row["head"], row["labels"]) == ("random", "superb", "hard")


def table(measured: list[Facts]) -> str:
    """The paper's values as Markdown; none: no table."""
    rows = []
    for row in measured:
        if "paper" in row:
            value = row["paper"]
            name = next(str(row[key]) for key in ("training set", "first layer of", "what") if key in row)
            of = {key: row[key] for key in ("ppc", "balance") if "training set" in row and row.get(key) is not None}
            measures = {f"paper's {key}": f"{value[key]:,}" for key in MEASURES if key in value}
            ours = {"ours": f"{value['ours']:.2f}"} if "ours" in value else {}
            rows.append({"row": name} | of | measures | ours | {"other corpus": value.get("other_corpus")})
    return f"The paper's values (Ritter-Gutierrez et al. 2024):\n\n{markdown(rows)}" if rows else ""
