"""Attacks on an artifact by whoever holds it: what does it tell of the speakers it was made from? Measured, not argued.

Members are the utterances of the train part, others those of speakers who are not in it (of whom dev speakers may have
chosen an update).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gandistill import artifacts
from gandistill.console import say, track
from gandistill.controls.private import MECHANISM, Public
from gandistill.errors import InputError
from gandistill.features.featureset import KIND as FEATURES
from gandistill.features.featureset import FeatureSet
from gandistill.features.origin import check_origin
from gandistill.gan.sampling import KIND as GENERATOR
from gandistill.gan.sampling import Sampler, generator_folder, sampled
from gandistill.guarantee import guaranteed
from gandistill.heads.bank import KIND as BANK
from gandistill.heads.bank import Bank
from gandistill.heads.head import KIND as HEAD
from gandistill.heads.head import Head, load_head, posteriors
from gandistill.hub import ATTACKS
from gandistill.numerics import keyed
from gandistill.privacy.attributes import FEWEST as ENOUGH_OF_A_GENDER
from gandistill.privacy.attributes import attributes
from gandistill.privacy.membership import (
    SCORES,
    Floats,
    People,
    Records,
    Space,
    distances,
    judge,
    moments,
    told_of_each,
    tracing,
)
from gandistill.privacy.release import released
from gandistill.privacy.shadow_gans import shadow_gans, shadow_ratio
from gandistill.privacy.shadows import likelihood_ratio

ATTACKED = (GENERATOR, FEATURES, HEAD, BANK)
FEWEST = 4
"""Speakers that must be held out: two as reference while the other two are judged."""
NO_RELEASE = "public features are for the attack on a private release, and it holds none"
MOST = 500
"""Samples of a class that are drawn of a generator."""
DRAWS = 200
"""Of speakers, by which ``linkage`` knows chance."""


@dataclass(frozen=True)
class Knowledge:
    """What an attacker has beside the artifact and the population: the ``genders`` of speakers, the ``public`` features
    that a private generator was made with, and a folder of ``shadows``, which are trained there if they are not there.
    """

    genders: Mapping[str, str] | None = None
    public: FeatureSet | None = None
    shadows: Path | None = None


NOTHING = Knowledge()


def attack(artifact: Path, features: FeatureSet, seed: int = 0, known: Knowledge = NOTHING) -> dict[str, Any]:
    """What a generator, a distilled set, a head or a bank tells of the speakers whose features it was made from.

    Gives ``membership`` (attack to ``utterance`` and ``speaker``, as ``membership.roc`` gives each), of records
    ``linkage`` too and, where genders are known, ``attributes``, how many ``speakers`` were ``members`` and ``others``,
    and what was attacked. A generator is attacked through the statistics and the bank that it stores, and as many
    samples as ``--as-original`` draws, of a class at most ``MOST``; a private one through its release too, where the
    public features are known.

    Raises InputError for another artifact, one that was made from other features, features without speakers, fewer than
    ``FEWEST`` speakers that it was not trained on, and for knowledge that is no use against it.
    """
    artifact = generator_folder(artifact)
    kind = artifacts.kind_of(artifact, "attack", ATTACKED)
    config = artifacts.open_artifact(artifact, kind)
    labels = config["labels"]
    if sorted(labels) != sorted(features.labels) or config["dims"] != features.dims:
        raise InputError(
            f"{artifact} has {config['dims']} dims and the labels [{', '.join(labels)}], {features.folder} has "
            f"{features.dims} and [{', '.join(features.labels)}]"
        )
    check_made_from(artifact, config, features)
    people_of, members = split_people(replace(features, config=features.config | {"labels": labels}))
    facts = {
        "artifact": {"name": artifact.name, "kind": kind, "fingerprint": artifacts.fingerprint(artifact)},
        "features": {"name": features.folder.name, "fingerprint": features.fingerprint},
        "speakers": {
            side: len(set(people_of.index["speaker"].to_numpy(str)[chosen]))
            for side, chosen in (("members", members), ("others", ~members))
        },
    }
    if kind != GENERATOR and known.public is not None:
        raise InputError(f"{artifact}: {NO_RELEASE}")
    if kind in (HEAD, BANK) and known.shadows is not None:
        raise InputError(f"{artifact}: shadow GANs are for what has samples, not for a {kind}")
    if kind == HEAD:
        return facts | attack_heads([load_head(artifact)], people_of, members, seed)
    if kind == BANK:
        return facts | attack_heads(Bank.open(artifact).converged(), people_of, members, seed)
    if kind == FEATURES:
        return facts | attack_records(FeatureSet.open(artifact), None, people_of, members, seed, known)
    return facts | attack_generator(Sampler.open(artifact), people_of, members, seed, known)


def attack_generator(
    sampler: Sampler,
    features: FeatureSet,
    members: np.ndarray,
    seed: int,
    known: Knowledge = NOTHING,
) -> dict[str, Any]:
    """What its samples tell, the statistics that it stores, its bank, and where public features are known its release.

    Raises InputError where it has no release, or one that was made with other public features.
    """
    counts = {label: min(count, MOST) for label, count in sampler.facts["class_counts"].items()}
    stored = None if sampler.design is None else sampler.design.mean.double().numpy()
    result = attack_records(sampled(sampler, counts, seed), stored, features, members, seed, known)
    if sampler.bank is not None:
        sure = attack_heads(sampler.bank.converged(), features, members, seed)
        result["membership"]["bank's confidence"] = sure["membership"]["confidence"]
    if known.public is not None:
        result["membership"]["release"] = attack_release(sampler, features, members, known.public, seed)
    return result


def attack_release(
    sampler: Sampler, features: FeatureSet, members: np.ndarray, public: FeatureSet, seed: int
) -> dict[str, Any]:
    terms = sampler.facts.get("privacy")
    if terms is None or sampler.design is None:
        raise InputError(f"This generator: {NO_RELEASE}")
    if terms["public"]["fingerprint"] not in public.fingerprints:
        raise InputError(f"The generator's release was made with other public features than {public.folder}")
    if terms.get("mechanism") != MECHANISM:
        raise InputError("The generator's release was made by an earlier version, whose constants are not known here")
    known = Public.of(public.training_part(), terms["sigma"])
    return released(sampler.design, terms, known, features, members, seed)


def check_made_from(artifact: Path, config: dict[str, Any], features: FeatureSet) -> None:
    """Raise InputError where the artifact says that it was made from other features than these."""
    check_origin(str(artifact), config, features)
    source = config.get("source", {}).get("fingerprint")
    if source is not None and source not in features.fingerprints:
        raise InputError(
            f"{artifact} was made from other features than {features.folder}: who was in its training is not known"
        )


def split_people(features: FeatureSet) -> tuple[FeatureSet, np.ndarray]:
    """The utterances of the train part and of speakers who are not in it, and which are members [N]: the train part's.

    Other utterances of training speakers are left out. Raises InputError as ``attack`` says.
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
    records: FeatureSet,
    stored: np.ndarray | None,
    features: FeatureSet,
    members: np.ndarray,
    seed: int,
    known: Knowledge = NOTHING,
) -> dict[str, Any]:
    """``membership`` and ``linkage`` by records, of whose classes the means [C, D] may be ``stored`` beside them; where
    genders are known ``attributes`` too. ``features`` have the records' labels in the same order."""
    dims, values, utterances = records.dims, moments(records), moments(features)
    whole, unit = Space.of(values), np.maximum(values[:, :dims].std(0), 1e-9)
    held = Records(whole.points(values), records.targets, np.empty((0, 0)))
    people = People(whole.points(utterances), features.targets, features.index["speaker"].to_numpy(str), members)
    means = [_mean_of(values[:, :dims], records.targets == c) for c in range(len(records.labels))]
    membership = {
        name: judge(score, held, people, seed) for name, score in track(SCORES.items(), "attacking", 2, unit="attacks")
    }
    membership |= attack_means(
        (np.stack(means) if stored is None else stored) / unit,
        replace(people, points=utterances[:, :dims] / unit),
        seed,
    )
    if known.shadows is not None:
        shadows = shadow_gans(known.shadows, features, seed)
        membership["shadow GANs"] = told_of_each([(shadow_ratio(records, shadows, whole, people), people)], seed)
    result = {"membership": membership, "linkage": linkage(held, people, seed), "records": len(records)}
    return result if known.genders is None else result | {"attributes": attributes(held, people, known.genders, seed)}


def attack_means(means: Floats, people: People, seed: int) -> dict[str, Any]:
    """What class means [C, D] tell of ``people``, whose points [N, D] are means over time in the same units."""
    held = Records(people.points[:0], people.targets[:0], means)
    ratios = likelihood_ratio(means, people, seed)
    return {"tracing": judge(tracing, held, people, seed), "likelihood ratio": told_of_each([(ratios, people)], seed)}


def _mean_of(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return values[chosen].mean(0) if chosen.any() else values.mean(0)


def attack_heads(heads: Sequence[Head], features: FeatureSet, members: np.ndarray, seed: int) -> dict[str, Any]:
    """``membership`` by heads: how sure they are of the right class (Yeom et al. 2018), by their mean posterior."""
    tracked = track(heads, "attacking", len(heads), unit="heads")
    mean = np.mean([posteriors(head, features).double().numpy() for head in tracked], axis=0)
    sure = mean[np.arange(len(features)), features.targets]
    speakers = features.index["speaker"].to_numpy(str)
    people = People(np.log(np.maximum(sure, 1e-30))[:, None], features.targets, speakers, members)
    return {"membership": {"confidence": told_of_each([(people.points[:, 0], people)], seed)}}


def linkage(records: Records, people: People, seed: int) -> dict[str, Any] | None:
    """Is the nearest speaker of a record one who trained the artifact, beyond chance? None where none can be asked.

    A speaker of a class is the mean of as many utterances as everybody has. As many members as others are drawn, half
    of the fewer: the ``share`` of records whose nearest speaker is a member is a half by ``chance``, and 95 % of draws
    lie in the ``interval``.
    """
    generator, shares = keyed(seed, 3), list[float]()
    sides = {c: _sides(people, int(c), generator) for c in np.unique(records.targets)}
    for _ in range(DRAWS):
        hits = total = 0
        for c, means in sides.items():
            few = -(-min(map(len, means)) // 2)
            if few == 0:
                continue
            drawn = np.concatenate([side[generator.permutation(len(side))[:few]] for side in means])
            points = records.points[records.targets == c]
            nearest_one = distances(points, drawn).argmin(1)
            hits, total = hits + int((nearest_one < few).sum()), total + len(points)
        if total:
            shares.append(hits / total)
    if not shares:
        return None
    return {"share": float(np.mean(shares)), "chance": 0.5, "interval": np.quantile(shares, [0.025, 0.975]).tolist()}


def _sides(people: People, c: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of members and others the mean points [S, K] of a class, each of as many utterances."""
    of_class = people.rows(people.targets == c)
    names, counts = np.unique(of_class.speakers, return_counts=True)
    means, are_members = [], []
    for name in names:
        rows = generator.permutation(np.flatnonzero(of_class.speakers == name))[: counts.min()]
        means.append(of_class.points[rows].mean(0))
        are_members.append(of_class.members[rows[0]])
    stacked, chosen = np.array(means).reshape(-1, people.points.shape[1]), np.array(are_members, bool)
    return stacked[chosen], stacked[~chosen]


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What ``attack`` found, to read."""
    people = result["speakers"]
    yield f"{people['members']} speakers in training, {people['others']} others; AUC [95 % interval by speaker]"
    for name, scores in result["membership"].items():
        for of, score in scores.items():
            caught = "".join(
                f", {share:.0%} of members at {float(rate):.1%} false" for rate, share in score["tpr"].items()
            )
            yield f"{name}, {of}: {with_interval(score)}{caught}"
    if linked := result.get("linkage"):
        yield f"linkage: {linked['share']:.0%} of records are nearest to a training speaker, where half would be chance"
    if "attributes" in result:
        yield from _attribute_lines(result["attributes"])


def _attribute_lines(told_of: dict[str, Any] | None) -> Iterator[str]:
    if told_of is None:
        yield f"gender: not asked, that takes {ENOUGH_OF_A_GENDER} held-out speakers of each gender"
        return
    for name, scores in told_of["gender"].items():
        low, high = scores["chance"]
        yield (
            f"gender, {name}: {scores['members']:.2f} of speakers in training, {scores['others']:.2f} of others; the "
            f"difference is {scores['advantage']:+.2f}, by chance {low:+.2f} to {high:+.2f}"
        )


def check_card(artifact: Path) -> None:
    """Raise InputError where an artifact's card may not say what an attack found: where it has a guarantee."""
    folder = generator_folder(artifact)
    if guaranteed(artifacts.open_artifact(folder, artifacts.kind_of(folder, "attack", ATTACKED))):
        raise InputError(
            f"{folder} has a guarantee, which would not cover what an attack found: that was computed from the very "
            "speech that is protected, so it stays out of the card"
        )


def write_card(artifact: Path, result: dict[str, Any]) -> None:
    """Write what ``attack`` found into the artifact's card; raises InputError as ``check_card`` does."""
    check_card(artifact)
    folder, features = generator_folder(artifact), result["features"]
    bullets = "".join(f"- {line}\n" for line in lines(result))
    text = f"""By `gandistill attack`, of this artifact (`{result["artifact"]["fingerprint"][:12]}`) with the features
`{features["name"]}` (`{features["fingerprint"][:12]}`). 0.5 tells nothing, 1 everything; low numbers show no privacy,
since other attacks may do better.

{bullets}"""
    artifacts.write_section(folder, result["artifact"]["kind"], ATTACKS, text)
    say(f"{folder / artifacts.CARD} says what was found")


def with_interval(score: dict[str, Any]) -> str:
    """An AUC as ``roc`` gives it, with its interval where it has one."""
    return f"{score['auc']:.2f}" + (" [{:.2f}, {:.2f}]".format(*score["interval"]) if score["interval"] else "")
