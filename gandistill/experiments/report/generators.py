"""What a page says of a generator, and of the run that trained it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.artifacts import CONFIG
from gandistill.charts import CLASSES, Chart, Look, Point, Series, curves
from gandistill.console import say
from gandistill.evaluate.markdown import percent
from gandistill.experiments.report import page
from gandistill.gan.generator import CLOSED_FORMS
from gandistill.gan.sampling import Sampler

MOST_POINTS = 240
"""Of a curve that is drawn; of more, every second, third, ..., and the last."""
NOT = (
    "It holds no recording, but that is not privacy: it holds statistics of the people who spoke, and what learns from "
    "its samples can still tell speakers apart. UAR says how useful samples are for the emotions named here, on the "
    "speakers judged here, and nothing of other corpora."
)


def described(sampler: Sampler, folder: Path) -> str:
    """What a generator in this folder is, and what it is not."""
    facts, shape = sampler.facts, sampler.generator.architecture
    made_by = artifacts.read_json(folder / CONFIG).get("made_by", {})
    rate, upstream = facts.get("frame_rate"), facts.get("upstream") or {}
    trained, counts = facts["trained"], facts["class_counts"]
    scores = ", ".join(f"{kind} {percent(uar)} %" for kind, uar in trained.get("dev_uar", {}).items())
    share = (
        "independent" if sampler.design is None else f"designed, {sampler.design.share:g} of what is between speakers"
    )
    known = {
        "kind": f"{shape.kind}, {_kind(sampler)}",
        "corpus": _joined(facts.get("corpus") or "not stated", facts.get("protocol"), _fold(facts)),
        "licence": f"{facts.get('licence') or 'not stated'} (of the corpus)",
        "replaces": f"{sum(counts.values()):,} utterances",
        "features": _joined(upstream.get("name", "not stated"), _layer(upstream), rate and f"{rate:g} frames a second"),
        "a sample": f"{shape.frames} frames x {sampler.generator.dims} dims",
        "draws": share,
        "soft labels": "none" if sampler.bank is None else f"by {len(sampler.bank.heads)} heads",
        "bytes": f"{artifacts.bytes_on_disk(folder):,}",
        "UAR on dev": f"{scores} (it was chosen by this)" if scores else None,
        "versions": ", ".join(f"{name} {number}" for name, number in made_by.get("versions", {}).items()),
        "fingerprint": artifacts.fingerprint(folder),
    }
    told = page.facts({name: said for name, said in known.items() if said})
    classes = page.table([{"class": label, "utterances it replaces": count} for label, count in counts.items()])
    return page.part("What it is", told, classes) + page.part("What it is not", page.paragraph(NOT))


def _kind(sampler: Sampler) -> str:
    shape, updates = sampler.generator.architecture, sampler.facts["trained"].get("updates")
    if shape.kind in CLOSED_FORMS:
        return "a closed form, fitted without training"
    start = {"random": "random weights", "closed-form": "a closed form"}[shape.start]
    return f"trained for {updates} updates from {start}"


def _fold(facts: dict[str, Any]) -> str | None:
    return None if facts.get("fold") is None else f"fold {facts['fold']}"


def _layer(upstream: dict[str, Any]) -> str | None:
    return None if upstream.get("layer") is None else f"layer {upstream['layer']}"


def _joined(*said: str | None) -> str:
    return ", ".join(each for each in said if each)


def trained(metrics: Path, classes: int) -> str:
    """The curves of a training, by its log; nothing if there is none."""
    logged: dict[str, list[Point]] = {}
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines() if metrics.is_file() else ():
        with suppress(ValueError):  # a kill may have cut the last line
            scalars = json.loads(line)
            step = scalars.pop("step")
            for name, value in scalars.items():
                logged.setdefault(name, []).append(Point(step, value))
    drawn = [_curves(group, logged, classes) for group in dict.fromkeys(name.split("/")[0] for name in logged)]
    if not drawn:
        say(f"{metrics.parent} has no log of its training: the report has no curves of it")
        return ""
    drawn.sort(key=lambda chart: not chart.about.startswith("dev"))
    caption = f"UAR on dev of heads trained on samples alone, and the terms of the losses, from {metrics.name}."
    numbers = [_numbers(name, [point.y for point in line]) for name, line in logged.items()]
    return page.part("Its training", page.figure(drawn, caption, numbers))


def _numbers(name: str, values: list[float]) -> dict[str, Any]:
    extent = {"first": values[0], "lowest": min(values), "highest": max(values), "last": values[-1]}
    return {"scalar": name, "logged": len(values)} | {said: f"{value:.4g}" for said, value in extent.items()}


def _curves(group: str, logged: dict[str, list[Point]], classes: int) -> Chart:
    """Of what is logged under one name before the stroke."""
    lines = {name.removeprefix(f"{group}/"): line for name, line in logged.items() if name.split("/")[0] == group}
    drawn = []
    for number, (name, line) in enumerate(lines.items()):
        look = Look(f"class{number % len(CLASSES)}", dash="" if number < len(CLASSES) else "4 2")
        kept = [*line[: -1 : -(-len(line) // MOST_POINTS)], line[-1]]
        points = [Point(p.x, 100 * p.y if group == "dev" else p.y) for p in kept]
        drawn.append(Series(name, look, points, marked=len(points) < 30))
    if group != "dev":
        return curves(f"{group}: losses", drawn, "update", "loss", form=".3g")
    drawn.append(Series("chance", Look("faint"), [Point(0, 100 / classes)], across=True))
    return curves("dev: heads trained on samples", drawn, "update", "UAR, %", least=100 / classes)
