"""Training the generator that replaces a corpus: a short loop around one update, its scores on dev, what is kept."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from gandistill import processes
from gandistill.artifacts import fingerprints, present
from gandistill.console import muted, say, track
from gandistill.controls.draws import Design, fitted_design
from gandistill.controls.select import fitted_gaussian
from gandistill.errors import InputError, RunError
from gandistill.features.featureset import FeatureSet
from gandistill.gan.closed_form import ClosedForm
from gandistill.gan.flowing import Flowing, flow_update
from gandistill.gan.generator import CLOSED_FORMS, FLOW, WITHOUT_BANK
from gandistill.gan.private import NOISY, noisy, private_form
from gandistill.gan.sampling import KIND, Sampler, described, sampled
from gandistill.gan.settings import GanConfig, Training
from gandistill.gan.steps import Gan
from gandistill.gan.steps import one_update as gan_update
from gandistill.heads.bank import Bank
from gandistill.heads.training import HeadConfig, train_head
from gandistill.heads.training import score as head_score
from gandistill.metrics import say_absent
from gandistill.numerics import no_tf32
from gandistill.run import Run, check_folder, stop_asked

SCORING = 2000
"""Seed of the samples and heads that score on dev. Judging ones have others, so that none has chosen its generator."""


def train(config: GanConfig, out: Path, resume: bool = False, inexact: bool = False) -> None:
    """Train a generator in the run folder ``out``; ``out/generator`` is the best by dev so far, or the last one.

    On several processes at once under ``accelerate launch``: the same generator but for rounding. ``inexact``: resume
    even where the bits would differ from an uninterrupted run's. Raises InputError for bad input, RunError naming the
    term when a loss is no longer a sane number.
    """
    check_folder(out, resume)
    config = processes.together(lambda: with_frames(config))
    if config.architecture.kind in CLOSED_FORMS:
        fit(config, out, resume)
        return
    gan, dev = processes.together(lambda: prepared(config))
    inputs = {"features": gan.features.fingerprints}
    if config.bank is not None:
        inputs |= {"bank": fingerprints(config.bank)}
    updates = config.training.updates
    free = ("features", "bank", "training.chunks")
    if config.training.decay == "none":
        free += ("training.updates",)
    best = config.training.keep == "best"
    is_main = processes.place().is_main_process
    with (
        muted(not is_main),
        Run(out, config, resume, inexact, free, config.training.seed, **inputs) as run,
        stop_asked() as stop,
        no_tf32(),
    ):
        kept_update = kept_updates(out / KIND)
        done = max(run.step, kept_update or 0)
        if done > updates:
            raise InputError(f"{out} has made {done} updates already, more than training.updates asks for")
        if run.state:
            gan.load_state(run.state, out)
        processes.check_same(gan.state() | {"step": torch.tensor(run.step)})
        if dev is None:
            say(f"{config.features} has no dev part: the last generator is kept")
        else:
            say_absent(dev.targets, dev.labels, "dev")
        if run.step == 0 and best and config.architecture.start == "closed-form":
            processes.main_alone(lambda: keep_if_better(gan, run, dev, 0))
        elif kept_update is None and (run.best is not None or run.step == updates):
            say(f"{out / KIND} is gone: the generator of update {run.step} is kept until there is a better one")
            run.best = None
            processes.main_alone(lambda: keep_if_better(gan, run, dev, run.step))
        steps = run.steps(updates, "update", gan.state, config.training.checkpoint_every, stop)
        for update in track(steps, "training", updates, run.step, unit="updates"):
            scalars = one_update(gan, update)
            if update % config.training.log_every == 0:
                run.log(update, scalars)
            if update == updates or (best and update % config.training.evaluate_every == 0):
                processes.main_alone(partial(keep_if_better, gan, run, dev, update))
        say(f"Generator: {out / KIND}")


def with_frames(config: GanConfig) -> GanConfig:
    """The config, its samples as long as the median clip that trains unless it says how long they are.

    Lengths are private too: with a guarantee they are the public corpus's. Raises InputError for bad features.
    """
    public = config.privacy.public
    if "frames" in config.architecture.model_fields_set or config.features is None:
        return config
    clips = FeatureSet.open(config.features).training_part() if public is None else FeatureSet.open(public)
    return config.model_copy(update={"architecture": config.architecture.lasting(clips.median_length)})


def one_update(gan: Gan | Flowing, update: int) -> dict[str, float]:
    """Make update 1, 2, ...; gives the terms of its loss. Raises RunError naming one that has gone wrong."""
    return flow_update(gan, update) if isinstance(gan, Flowing) else gan_update(gan, update)


def fit(config: GanConfig, out: Path, resume: bool = False) -> None:
    """Fit a closed form to the features in the run folder ``out``; there is nothing to go on from, so it is made again.

    Its bank, which gives soft labels, may be missing. Of several processes each fits, and one writes. Raises InputError
    for bad input, and for a private one that is there: made again it would be a second release.
    """
    if config.privacy.epsilon is not None and present(out / KIND):
        raise InputError(f"{out / KIND} is there: another release of the same data would weaken its guarantee")
    seed, is_main = config.training.seed, processes.place().is_main_process
    with muted(not is_main):
        _say_unused(config)
        sampler = processes.together(lambda: fitted(config))
        folders = {"features": config.features, "bank": config.bank}
        inputs = {name: fingerprints(folder) for name, folder in folders.items() if folder is not None}
        with Run(out, config, resume, False, ("features", "bank"), seed, **inputs):
            made_by = {"command": "train", "seed": seed}
            processes.main_alone(lambda: sampler.save(out / KIND, made_by, card(sampler)))
        say(f"Generator: {out / KIND}")


def _say_unused(config: GanConfig) -> None:
    """Say which settings are of trainings alone, so that nobody takes a closed form for what they asked for."""
    changed = config.model_dump(exclude={"training": {"seed"}}, exclude_defaults=True)
    unused = [f"{part}.{name}" for part in ("training", "losses") for name in changed.get(part, ())]
    if unused:
        kind = config.architecture.kind
        say(f"{', '.join(unused)}: of no effect, a {kind} is fitted (--set architecture.kind=gan-att trains a GAN)")


def fitted(config: GanConfig) -> Sampler:
    """The closed form that the config names, of the train part. Raises InputError for bad input."""
    if config.features is None:
        raise InputError("Training needs a feature set: --set features=DIR")
    features = FeatureSet.open(config.features).training_part()
    if config.privacy.public is not None and config.privacy.epsilon is not None:
        return private_form(config, features, FeatureSet.open(config.privacy.public), config.privacy.epsilon)
    bank = opened_bank(config, features)
    return closed_form(config, features, bank, fitted_design(features.folder, features.fingerprint))


def closed_form(config: GanConfig, features: FeatureSet, bank: Bank | None, design: Design) -> Sampler:
    """The closed form that the config's architecture names, of these features, with what a bank has converged to.

    Raises InputError for bad features.
    """
    shape, seed = config.architecture, config.training.seed
    generator = ClosedForm(shape, len(features.labels), features.dims).eval()
    gaussian, units = fitted_gaussian(features, False, shape.frames, shape.noise, seed)
    generator.fill(gaussian)
    facts = described(config, features, 0)
    facts["trained"] |= {"dev_uar": {}}
    return Sampler(generator, *units, None if bank is None else Bank(bank.converged()), facts, design)


def opened_bank(config: GanConfig, features: FeatureSet) -> Bank | None:
    """The bank that the config names, if any. Raises InputError if it is for other features."""
    bank = None if config.bank is None else Bank.open(config.bank)
    if bank is not None:
        bank.check_match(features)
    return bank


def prepared(config: GanConfig) -> tuple[Gan | Flowing, FeatureSet | None]:
    """The untrained GAN or flow and the dev part, if there is one.

    Raises InputError for input that does not fit together, and RunError if there is no memory for the networks.
    """
    from accelerate.utils.memory import should_reduce_batch_size

    if config.features is None or (config.bank is None and config.architecture.kind not in WITHOUT_BANK):
        raise InputError("Training needs a feature set and a bank: --set features=DIR --set bank=DIR")
    place, batch = processes.place(), config.training.batch
    if batch % (2 * place.num_processes):
        raise InputError(f"training.batch {batch} cannot be shared by {place.num_processes} processes in whole pairs")
    whole = FeatureSet.open(config.features)
    features = whole.training_part()
    bank = opened_bank(config, features)
    dev = whole.part("dev") if "dev" in set(whole.index["split"]) else None
    try:
        device = processes.device()
        if bank is None or config.architecture.kind == FLOW:
            return Flowing(config, features, bank, device), dev
        return Gan(config, features, bank, device), dev
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        raise RunError("Out of memory for the networks themselves: a smaller architecture takes less") from None


def untrained(config: GanConfig) -> Sampler:
    """The control that a trained generator must beat: the same one, with its initial weights. A closed form: itself."""
    config = with_frames(config)
    return fitted(config) if config.architecture.kind in CLOSED_FORMS else prepared(config)[0].sampler(0)


def kept_updates(generator: Path) -> int | None:
    """After how many updates the generator that a run keeps was made; a killed run's may be ahead of its checkpoint.

    None if there is none, or it is damaged, which is said.
    """
    try:
        return Sampler.open(generator).facts["trained"]["updates"] if present(generator) else None
    except InputError as error:
        say(str(error))
        return None


def keep_if_better(gan: Gan | Flowing, run: Run, dev: FeatureSet | None, update: int) -> None:
    """Score the averaged generator on dev and keep it if no earlier one was better; the last one anyway, or without
    dev."""
    sampler = gan.sampler(update)
    scores = {} if dev is None else dev_scores(sampler, dev, gan.config.training)
    score = sum(scores.values()) / len(scores) if scores else None
    if scores:
        run.log(update, {f"dev/{name}": value for name, value in scores.items()})
        listed = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        say(f"update {update}: dev UAR of heads trained on samples: {listed}")
    if score is None or gan.config.training.keep == "last" or run.best is None or score > run.best:
        run.best = score
        sampler.facts["trained"] |= {"dev_uar": scores}
        made_by = {"command": "train", "seed": gan.config.training.seed}
        sampler.save(run.folder / KIND, made_by, card(sampler))


def dev_scores(sampler: Sampler, dev: FeatureSet, training: Training) -> dict[str, float]:
    """Mean UAR on dev of heads of each scoring kind, each trained on samples of its own alone."""
    sums = dict.fromkeys(training.evaluate_heads, 0.0)
    for seed in range(SCORING, SCORING + training.evaluate_seeds):
        samples = sampled(sampler, dict.fromkeys(sampler.labels, training.evaluate_ppc), seed)
        for kind in sums:
            sums[kind] += head_score(train_head(samples, HeadConfig(head=kind, seed=seed)), dev)["uar"]
    return {kind: total / training.evaluate_seeds for kind, total in sums.items()}


def card(sampler: Sampler) -> str:
    """The generator's README: what it is, what it came from, how to sample, what is not claimed."""
    facts = sampler.facts
    architecture = sampler.generator.architecture
    counts = "".join(f"| {label} | {count} |\n" for label, count in facts["class_counts"].items())
    scores = ", ".join(f"{kind} {uar:.3f}" for kind, uar in facts["trained"]["dev_uar"].items()) or "not measured"
    chosen = facts["trained"]["dev_uar"] and facts["trained"]["config"]["training"].get("keep", "best") == "best"
    scores += " (it was chosen by this score)" if chosen else ""
    share = "none" if sampler.design is None else f"{sampler.design.share:g}"
    start = {
        "random": "Trained from random weights, as in the paper.",
        "closed-form": "Trained from a closed-form start (class means, principal components), not in the paper.",
    }[architecture.start]
    if architecture.kind == FLOW:
        start = "A rectified flow from a Gaussian for each class over clips to the clips themselves; not in the paper."
    if architecture.kind in CLOSED_FORMS:
        start = "A Gaussian for each class over whole clips, fitted in closed form; not in the paper."
    counted = "utterances of the training part" if "privacy" not in facts else "samples that --as-original draws"
    moments = f"""class means of the corpus's utterance means, and their covariance with a share of {share} of that
between speakers"""
    if "privacy" in facts:
        moments = "class means as they were released, and a covariance of which most is the public corpus's"
    return f"""# Generator `{architecture.kind}`

{start}

Replaces the training part of a labelled speech corpus: it makes labelled features, {architecture.frames} frames of
{sampler.generator.dims} dims each.

    gandistill sample GENERATOR --ppc 100 --balanced --out distilled

Corpus: {facts.get("corpus") or "not stated"}; licence of the corpus: {facts.get("licence") or "not stated"}.
UAR on the dev part of heads trained on its samples alone: {scores}.
Designed draws: {moments}.

| class | {counted} |
|---|---|
{counts}
{_on_privacy(facts)}
Settings and provenance are in `config.json`.
"""


def _on_privacy(facts: dict[str, Any]) -> str:
    if "privacy" not in facts:
        return "It holds no recording. That keeps nobody private; `gandistill attack` measures what is told of whom."
    terms = facts["privacy"]
    public, epsilon, delta = terms["public"]["corpus"] or "public features", terms["epsilon"], terms["delta"]
    loud = f"\n{noisy(terms)}." if terms.get("noise", 0) > NOISY else ""  # earlier versions' do not say
    return f"""Differentially private for speakers with epsilon {epsilon:g} and delta {delta:.2g}: {terms["adjacency"]}
of {terms["speakers"]}, one Gaussian release. Every further generator of the same speakers costs its epsilon again.
Corpus, protocol, fold, labels, frames and the number of speakers count as public. How speech moves comes from
{public}, which is not protected: heads that see time gain nothing by it.{loud}"""
