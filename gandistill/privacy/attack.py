"""Attacks on an artifact by whoever holds it: what does it tell of the speakers it was made from? Measured, not argued.

Members are the utterances of the train part, others those of speakers that no training met.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gandistill import artifacts
from gandistill.console import track
from gandistill.errors import InputError
from gandistill.features.featureset import KIND as FEATURES
from gandistill.features.featureset import FeatureSet, check_origin
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, generator_folder, sampled
from gandistill.heads.head import KIND as HEAD
from gandistill.heads.head import Head, load_head, posteriors
from gandistill.numerics import keyed
from gandistill.privacy.membership import (
    SCORES,
    People,
    Records,
    Space,
    by_speakers,
    judge,
    moments,
    told,
    tracing,
    within_class,
)
from gandistill.privacy.shadows import likelihood_ratio

FEWEST = 2
"""Speakers that must be held out: one as reference while the other is judged."""
MOST = 500
"""Samples of a class that are drawn of a generator."""


def attack(artifact: Path, features: FeatureSet, seed: int = 0) -> dict[str, Any]:
    """What a generator, a distilled set or a head tells of the speakers whose features it was made from.

    Gives ``membership`` (attack to ``utterance`` and ``speaker``, as ``membership.told`` gives each), of records
    ``linkage`` too, how many ``speakers`` were ``members`` and ``others``, and what was attacked. A generator is
    attacked through the statistics that it stores, and as many samples as its training part had utterances.

    Raises InputError for another artifact, one that was made from other features, features without speakers, and with
    fewer than two speakers that it was not trained on.
    """
    artifact = generator_folder(artifact)
    kind = artifacts.kind_of(artifact, "attack", (GENERATOR, FEATURES, HEAD))
    config = artifacts.open_artifact(artifact, kind)
    check_made_from(artifact, config, features)
    people_of, members = split_people(features)
    facts = {
        "artifact": {"name": artifact.name, "kind": kind, "fingerprint": artifacts.fingerprint(artifact)},
        "features": {"name": features.folder.name, "fingerprint": features.fingerprint},
        "speakers": {
            side: len(set(people_of.index["speaker"].to_numpy(str)[chosen]))
            for side, chosen in (("members", members), ("others", ~members))
        },
    }
    if kind == HEAD:
        return facts | attack_head(load_head(artifact), people_of, members, seed)
    if kind == FEATURES:
        return facts | attack_records(FeatureSet.open(artifact), None, people_of, members, seed)
    sampler = Sampler.open(artifact)
    counts = {label: min(count, MOST) for label, count in sampler.facts["class_counts"].items()}
    stored = None if sampler.design is None else sampler.design.mean.double().numpy()
    return facts | attack_records(sampled(sampler, counts, seed), stored, people_of, members, seed)


def check_made_from(artifact: Path, config: dict[str, Any], features: FeatureSet) -> None:
    """Raise InputError where the artifact says that it was made from other features than these."""
    check_origin(str(artifact), config, features)
    source = config.get("source", {}).get("fingerprint")
    if source is not None and source not in features.fingerprints:
        raise InputError(
            f"{artifact} was made from other features than {features.folder}: who was in its training is not known"
        )


def split_people(features: FeatureSet) -> tuple[FeatureSet, np.ndarray]:
    """The utterances of all parts, those of members first asked, and which are members [N]: the train part's.

    Utterances of training speakers in other parts are left out. Raises InputError as ``attack`` says.
    """
    index = features.index
    speakers, train = index["speaker"].to_numpy(str), (index["split"] == "train").to_numpy()
    if (speakers == "").any():
        raise InputError(
            f"{features.folder}: an attack asks who spoke, but {int((speakers == '').sum())} utterances do not say"
        )
    strangers = ~np.isin(speakers, speakers[train])
    if not train.any() or len(set(speakers[strangers])) < FEWEST:
        raise InputError(
            f"{features.folder} has {len(set(speakers[strangers]))} speakers who are not in its train part, an attack "
            f"needs at least {FEWEST}: prepare the corpus with a protocol that holds speakers out"
        )
    return features.rows(train | strangers), train[train | strangers]


def attack_records(
    records: FeatureSet, stored: np.ndarray | None, features: FeatureSet, members: np.ndarray, seed: int
) -> dict[str, Any]:
    """``membership`` and ``linkage`` by records, of whose classes the means [C, D] may be ``stored`` beside them."""
    named = {label: c for c, label in enumerate(records.labels)}
    targets = np.array([named[label] for label in features.index["label"]])
    speakers, dims = features.index["speaker"].to_numpy(str), records.dims
    values, asked = moments(records), moments(features)
    means = np.stack([_mean_of(values[:, :dims], records.targets == c) for c in range(len(records.labels))])
    whole, flat = Space.of(values), Space.of(values[:, :dims])
    held = Records(whole.points(values), records.targets, np.empty((0, 0)))
    told_means = flat.points(means if stored is None else stored)
    people = People(whole.points(asked), targets, speakers, members)
    in_means = replace(people, points=flat.points(asked[:, :dims]))
    means_held = Records(flat.points(values[:, :dims]), records.targets, told_means)
    found = dict[str, Any]()
    for name, score in track(SCORES.items(), "attacking", len(SCORES), unit="attacks"):
        found[name] = judge(score, *((means_held, in_means) if score is tracing else (held, people)), seed)
    ratios = within_class(likelihood_ratio(told_means, in_means, seed), people)
    found["likelihood ratio"] = {
        "utterance": told([(ratios, people.members, people.speakers)], seed),
        "speaker": told([by_speakers(ratios, people)], seed),
    }
    return {"membership": found, "linkage": linkage(held, people, seed), "records": len(records)}


def _mean_of(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return values[chosen].mean(0) if chosen.any() else values.mean(0)


def attack_head(head: Head, features: FeatureSet, members: np.ndarray, seed: int) -> dict[str, Any]:
    """``membership`` by a head: how sure it is of the right class (Yeom et al. 2018)."""
    ordered = replace(features, config=features.config | {"labels": head.labels})
    sure = posteriors(head, ordered).double().numpy()[np.arange(len(ordered)), ordered.targets]
    speakers = ordered.index["speaker"].to_numpy(str)
    people = People(np.log(np.maximum(sure, 1e-30))[:, None], ordered.targets, speakers, members)
    scores = within_class(people.points[:, 0], people)
    by_speaker = told([by_speakers(scores, people)], seed)
    return {
        "membership": {"confidence": {"utterance": told([(scores, members, speakers)], seed), "speaker": by_speaker}}
    }


def linkage(records: Records, people: People, seed: int, draws: int = 200) -> dict[str, Any]:
    """Is the nearest speaker of a record one who trained the artifact, beyond chance?

    A speaker is the mean of their utterances of a class. Among as many members as others, drawn ``draws`` times, the
    ``share`` of records whose nearest speaker is a member; ``chance`` is a half; ``interval`` holds 95 % of the draws.
    """
    cells = _speaker_means(people)
    names = [np.unique(people.speakers[side]) for side in (people.members, ~people.members)]
    few, generator, shares = min(map(len, names)), keyed(seed, 3), list[float]()
    for _ in range(draws):
        drawn = np.concatenate([generator.permutation(side)[:few] for side in names])
        hits = total = 0
        for c in np.unique(records.targets):
            means = [(speaker, cells[speaker, c]) for speaker in drawn if (speaker, c) in cells]
            points = records.points[records.targets == c]
            if len(means) < 2:
                continue
            distances = np.stack([np.square(points - mean).sum(1) for _, mean in means], axis=1)
            winners = distances.argmin(1)
            hits += int(np.isin(np.array([speaker for speaker, _ in means])[winners], names[0]).sum())
            total += len(points)
        shares.append(hits / total)
    return {"share": float(np.mean(shares)), "chance": 0.5, "interval": np.quantile(shares, [0.025, 0.975]).tolist()}


def _speaker_means(people: People) -> dict[tuple[str, int], np.ndarray]:
    """The mean point [K] of each speaker's utterances of each class."""
    pairs = {*zip(people.speakers.tolist(), people.targets.tolist(), strict=True)}
    return {
        (speaker, c): people.points[(people.speakers == speaker) & (people.targets == c)].mean(0)
        for speaker, c in pairs
    }


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What ``attack`` found, to read."""
    people = result["speakers"]
    yield f"{people['members']} speakers in training, {people['others']} others; AUC [95 % interval by speaker]"
    for name, found in result["membership"].items():
        for of, each in found.items():
            low, high = each["interval"]
            caught = "".join(
                f", {share:.0%} of members at {float(rate):.1%} false" for rate, share in each["tpr"].items()
            )
            yield f"{name}, {of}: {each['auc']:.2f} [{low:.2f}, {high:.2f}]{caught}"
    if "linkage" in result:
        linked = result["linkage"]
        yield f"linkage: {linked['share']:.0%} of records are nearest to a training speaker, where half would be chance"
