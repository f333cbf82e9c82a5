"""What a generator is worth: real speech judges heads that learned from its samples alone, and its card says it."""

import shutil
from itertools import count, islice
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.console import track
from gandistill.corpora.manifest import SPLITS
from gandistill.errors import choices
from gandistill.evaluate.markdown import markdown, percent, plain
from gandistill.evaluate.significance import interval
from gandistill.features.featureset import FeatureSet
from gandistill.files import read_json, read_text
from gandistill.gan.sampling import KIND, Sampler, generator_folder, sampled
from gandistill.heads.bank import Bank
from gandistill.heads.head import check_match
from gandistill.heads.training import HeadConfig, score, train_head

HEADS = ("superb", "cnn-attention")
"""What judges: the paper's head, which sees an utterance's mean alone, and one that sees time."""
PPC = 100
SEEDS = 5
FIRST_SEED = 5000
HEADING = "What it teaches"
"""Section of a card that says so."""
SAMPLES, REAL = "samples", "real, all of it"


def evaluate(folder: Path, features: FeatureSet, split: str) -> dict[str, Any]:
    """Judge a generator, or that of a run, on one part of real features; its card and ``scores.json`` say it from now.

    Returns plain values: ``heads``, by kind the UAR of ``samples`` and of ``real, all of it`` (``uar`` with ``low``
    and ``high``, its 95 % t interval, and ``uars`` by seed), ``ppc``, ``seeds`` (none is one of the bank's heads),
    ``split``, ``utterances``, ``speakers``, and name and fingerprint of ``generator`` and ``features``. Raises
    InputError for another split than train, dev or test, if labels, dims, upstream or fold differ, or if there is no
    such part.
    """
    if split not in SPLITS:
        raise choices("split", split, SPLITS)
    folder = generator_folder(folder)
    sampler = Sampler.open(folder)
    check_match("the generator", sampler.labels, sampler.generator.dims, sampler.facts, features)
    seeds, part = seeds_of(sampler.bank), features.part(split).held()
    taught = {SAMPLES: sampler.drawing(None), REAL: features.training_part().held()}
    uars: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in taught} for kind in HEADS}
    jobs = [(kind, name, seed) for kind in HEADS for name in taught for seed in seeds]
    for kind, name, seed in track(jobs, "judging", len(jobs), unit="heads"):
        of = taught[name]
        training = sampled(of, dict.fromkeys(of.labels, PPC), seed) if isinstance(of, Sampler) else of
        uars[kind][name].append(score(train_head(training, HeadConfig(head=kind, seed=seed)), part)["uar"])
    scores = {
        "heads": {kind: {name: _summary(values) for name, values in of.items()} for kind, of in uars.items()},
        "ppc": PPC,
        "seeds": seeds,
        "split": split,
        "utterances": len(part),
        "speakers": len({*part.index["speaker"]} - {""}),
        "generator": {"name": folder.resolve().name, "fingerprint": artifacts.fingerprint(folder)},
        "features": {"name": features.folder.name, "fingerprint": features.fingerprint},
    }
    _put(folder, scores)
    return scores


def seeds_of(bank: Bank | None) -> list[int]:
    """Seeds of heads that judge: none that the bank has, since a judge that guided the generator would flatter it."""
    taken = set() if bank is None else {head.trained["seed"] for head in bank.heads}
    return [*islice((seed for seed in count(FIRST_SEED) if seed not in taken), SEEDS)]


def rows(scores: dict[str, Any]) -> list[dict[str, str]]:
    """A table of what ``evaluate`` gives, a row for each kind of head."""
    return [
        {"head": kind} | {f"{name}, UAR %": percent(s["uar"], s["low"], s["high"]) for name, s in of.items()}
        for kind, of in scores["heads"].items()
    ]


def lines(scores: dict[str, Any]) -> list[str]:
    """What ``evaluate`` gives, to read."""
    return [caption(scores), "", plain(rows(scores)).rstrip()]


def caption(scores: dict[str, Any]) -> str:
    """What the table is of."""
    return (
        f"UAR of heads on {scores['utterances']} real utterances of {scores['speakers']} speakers "
        f"(the {scores['split']} part). They learned from {scores['ppc']} samples of each class alone, or from all of "
        f"the real train part: means and 95 % t intervals of {len(scores['seeds'])} draws and heads, whose seeds no "
        "head of the bank has."
    )


def _summary(uars: list[float]) -> dict[str, Any]:
    uar, low, high = interval(uars)
    return {"uar": uar, "low": low, "high": high, "uars": uars}


def _put(folder: Path, scores: dict[str, Any]) -> None:
    """Write the generator anew with these scores and a card that has them; its fingerprint stays."""
    facts = read_json(folder / artifacts.CONFIG)
    header = artifacts.card_header(facts | {"model-index": [model_index(facts, scores)]})
    body = artifacts.without_sections(artifacts.card_body(read_text(folder / artifacts.CARD)), HEADING)
    kept = [name for name in artifacts.read_sums(folder) if name not in (artifacts.CARD, artifacts.SCORES)]
    with artifacts.new_artifact(folder, KIND) as building:
        for name in kept:
            shutil.copyfile(folder / name, building / name)
        text = f"{header}\n{body.strip()}\n\n## {HEADING}\n\n{caption(scores)}\n\n{markdown(rows(scores))}"
        artifacts.write_text(building / artifacts.CARD, text)
        artifacts.write_json(building / artifacts.SCORES, scores)


def model_index(facts: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    """The scores of samples as the Hugging Face Hub reads them."""
    corpus = facts.get("corpus") or "not stated"
    fold = None if facts.get("fold") is None else f"fold {facts['fold']}"
    split = ", ".join(str(part) for part in (facts.get("protocol"), fold, scores["split"]) if part)
    metrics = [
        {
            "type": "recall",
            "name": f"UAR of {kind} heads, {scores['ppc']} samples per class",
            "value": of[SAMPLES]["uar"],
        }
        for kind, of in scores["heads"].items()
    ]
    dataset = {"name": corpus, "type": artifacts.slug(corpus), "split": split}
    task = {"type": "audio-classification", "name": "Speech emotion recognition"}
    return {"name": scores["generator"]["name"], "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}
