"""What a page says of a generator, and of the run that trained it."""

from pathlib import Path

from gandistill.evaluate.markdown import percent
from gandistill.experiments.report import known, training
from gandistill.experiments.report.training import UAR, Panel
from gandistill.gan.generator import CLOSED_FORMS
from gandistill.gan.sampling import Sampler

PANELS = (
    Panel("dev/", "dev: heads trained on samples", UAR),
    *(Panel(f"{part}/", f"{part}: losses") for part in ("critic", "generator", "flow")),
)
NOT = (
    "It holds no recording, but that is not privacy: it holds statistics of the people who spoke, and what learns from "
    "its samples can still tell speakers apart. UAR says how useful samples are for the emotions named here, on the "
    "speakers judged here, and nothing of other corpora."
)


def described(sampler: Sampler, folder: Path) -> str:
    """What a generator in this folder is, and what it is not."""
    facts, shape = sampler.facts, sampler.generator.architecture
    trained, counts = facts["trained"], facts["class_counts"]
    scores = ", ".join(f"{kind} {percent(uar)} %" for kind, uar in trained.get("dev_uar", {}).items())
    share = sampler.design and f"designed, {sampler.design.share:g} of what is between speakers"
    entries = {
        "kind": f"{shape.kind}, {_kind(sampler)}",
        **known.origin(facts),
        "replaces": f"{sum(counts.values()):,} utterances",
        "features": known.features(facts),
        "a sample": f"{shape.frames} frames x {sampler.generator.dims} dims",
        "draws": share or "independent",
        "soft labels": "none" if sampler.bank is None else f"by {len(sampler.bank.heads)} heads",
        "UAR on dev": f"{scores} (it was chosen by this)" if scores else None,
        **known.identity(folder),
    }
    return known.description(entries, counts, "utterances it replaces", NOT)


def _kind(sampler: Sampler) -> str:
    shape, updates = sampler.generator.architecture, sampler.facts["trained"].get("updates")
    if shape.kind in CLOSED_FORMS:
        return "a closed form, fitted without training"
    start = {"random": "random weights", "closed-form": "a closed form"}[shape.start]
    return f"trained for {updates} updates from {start}"


def trained(run: Path, classes: int) -> str:
    """The curves of its training, and the seconds."""
    caption = "UAR on dev of heads trained on samples alone, and the terms of the losses"
    return training.trained(run, PANELS, classes, "update", caption)
