"""The speaker probe: how well a head's first layer tells speakers apart, by a linear classifier (Table 4).

It measures what *linear* probing of *one layer's mean* finds, on the speakers of one corpus. That is not privacy: a
stronger attacker, another layer or other data may find more, and a low number promises nothing.

Shapes: N utterances, D feature dims, S speakers, K trials.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.nn.functional import normalize

from gandistill import artifacts, console
from gandistill.config import Config
from gandistill.errors import InputError, choices
from gandistill.evaluate.significance import LEVEL, SPEAKERS_NEEDED, percentiles
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import Head, load_head, pooled
from gandistill.heads.training import HeadConfig, Schedule, descend, untrained
from gandistill.numerics import one_thread, seeded

TARGETS = ("speaker",)
TRIALS = 30_000
"""Most verification trials of each kind, with one speaker and with two; more are drawn from at random."""
RESAMPLES = 1_000
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Embeddings = NDArray[np.float32]


class ProbeConfig(Config):
    """How the probe is trained and judged. The default is a quick recipe of ours: seconds on a CPU."""

    updates: int = Field(default=2000, ge=1)
    """Optimiser steps (Adam)."""
    batch: int = Field(default=32, ge=1)
    """Utterances in a batch."""
    accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients are averaged into one update."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Learning rate of the first update."""
    decay: Literal["none", "cosine"] = "cosine"
    """How the learning rate falls: not at all, or along half a cosine to zero."""
    clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm."""
    rescale: bool = True
    """Shift the projector and divide it, all dims by one number, so that embeddings begin with mean 0 and deviation 1:
    else one with small weights or a large bias passes for one that hides speakers, only because a classifier learns
    slowly from such numbers. Cosines about the mean stay the same."""
    crop_seconds: float = Field(default=8.0, gt=0)
    """Longer training utterances are cropped to this, at a place drawn once; whole where no frame rate is known."""
    split: Literal["within", "given"] = "within"
    """``within``: hold out a share of each speaker's utterances, whatever the set's own parts, which in an emotion
    corpus share no speaker. ``given``: the set's train and test parts, whose speakers are the same (VoxCeleb1)."""
    held_out: float = Field(default=0.25, gt=0, lt=1)
    """Share of each speaker's utterances that ``within`` keeps for judging, at least one and never all."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """What is held out and cropped, the classifier's initial weights, order of utterances, trials and resamples."""

    @property
    def schedule(self) -> Schedule:
        """The classifier's training, in the words of a head's."""
        shared = ("updates", "batch", "accumulation", "learning_rate", "decay", "clip")
        return Schedule(**{name: getattr(self, name) for name in shared}, weight_decay=0.0)


@dataclass(frozen=True)
class Parts:
    """Utterances labelled by who speaks: to train on, to judge on, and which of the latter are of seen speakers [N]."""

    training: FeatureSet
    test: FeatureSet
    seen: Bools


def probe_head(folder: Path, features: FeatureSet, target: str, config: ProbeConfig) -> dict[str, Any]:
    """What ``gandistill probe`` says: ``probe`` of a head on disk, with its name and fingerprint.

    Raises InputError for a target other than ``speaker`` and as ``probe`` does.
    """
    if target not in TARGETS:
        raise choices("target", target, TARGETS)
    found = probe(load_head(folder), features, config)
    head = {"name": folder.name, "fingerprint": artifacts.fingerprint(folder)}
    return {"target": target, "head": head} | found


def untrained_head(features: FeatureSet, config: HeadConfig) -> Head:
    """A head as it is before training: the control that tells what training did to a projector.

    Where the config standardises, frames are by the training part's moments, as for a head that is trained on it.
    """
    with seeded(config.seed):
        return untrained(features.training_part(), config.head, config)


def probe(head: Head, features: FeatureSet, config: ProbeConfig, train_projector: bool = False) -> dict[str, Any]:
    """Identify and verify speakers from what a head's projector makes of utterances, averaged over time [N, 256].

    SUPERB's speaker identification head, Linear(D, 256), mean, Linear(256, S), takes over the head's standardisation
    and projector. The last layer is trained on speakers; the projector stays as it is, or, with ``train_projector``,
    is trained with it from there: with ``untrained_head``, the SID model of Table 4. ``head`` itself is not changed.

    Returns JSON-ready groups ``all``, ``seen`` (speakers who occur in the features' train part, which a generator or
    head made from it has met; nobody where the head comes from another corpus) and ``unseen`` (the others); None for a
    group without test utterances. Each has

    - ``accuracy``: share of the group's test utterances whose speaker is named rightly among all S;
    - ``equal_error_rate``: over pairs of the group's test utterances, accepted as one speaker where the cosine of
      their embeddings, the training utterances' mean removed, reaches a threshold: the error rate at the threshold
      where as many pairs of one speaker are refused as pairs of two are accepted. No classifier takes part. None if
      no two utterances share a speaker, or all do;
    - ``accuracy_interval``, ``equal_error_rate_interval``: 95 % percentile bootstrap [low, high] over ``bootstrap``,
      whole speakers if there are at least six, else utterances; the trained weights stay as they are;
    - ``speakers``, ``utterances``, ``target_trials`` and ``other_trials`` (pairs of one speaker, pairs of two).

    Beside them: ``chance`` (``accuracy`` of always naming the speaker with most training utterances,
    ``equal_error_rate`` 0.5), ``speakers`` S, ``utterances`` of training and test, ``projector`` (``weights`` frozen
    or trained, ``dims`` D, ``rank`` of the head's), ``split``, ``seed``, ``config`` and the ``features``.

    Where the rank is D, as for any feature set of at most 256 dims, a projector loses nothing, and accuracies differ
    only by how easily this many updates find what is there. Utterances held out ``within`` a speaker share sessions
    and texts with those trained on, which makes speakers easier to tell than they would be elsewhere.

    Paper (SUPERB): a new crop at each draw, the update with the best dev accuracy. Here: one crop of each utterance,
    the last update. Why: means are then read once, and a corpus without a dev part is judged by the same rule.

    Raises InputError if the head has no projector or other dims, or fewer than two speakers remain. What has no speaker
    or too few utterances is left out and said.

    Source: section 5 and Table 4, Ritter-Gutierrez et al. 2024; Yang et al. 2021 (SUPERB).
    """
    if head.dims != features.dims:
        raise InputError(f"{features.folder} has {features.dims} dims, but this {head.kind} head expects {head.dims}")
    rank = int(torch.linalg.matrix_rank(head.projector.weight.detach()))
    parts = split_speakers(features, config)
    with one_thread():  # on any number of cores the same bits
        right, embeddings = judge(fit(head, parts.training, config, train_projector), parts)
    speakers = parts.test.targets
    everyone = np.ones(len(right), np.bool_)
    stranger = head.origin.get("corpus", features.config.get("corpus")) != features.config.get("corpus")
    seen = parts.seen & (train_projector or not stranger)
    groups = {"all": everyone, "seen": seen, "unseen": ~seen}
    commonest = int(np.bincount(parts.training.targets).argmax())
    return {
        **{name: _group(right[of], embeddings[of], speakers[of], config.seed) for name, of in groups.items()},
        "chance": {"accuracy": float((speakers == commonest).mean()), "equal_error_rate": 0.5},
        "speakers": len(parts.training.labels),
        "utterances": {"training": len(parts.training), "test": len(parts.test)},
        "projector": {"weights": "trained" if train_projector else "frozen", "dims": head.dims, "rank": rank},
        "split": config.split,
        "seed": config.seed,
        "config": config.to_dict(),
        "features": {"name": features.folder.name, "fingerprint": features.fingerprint},
    }


def split_speakers(features: FeatureSet, config: ProbeConfig) -> Parts:
    """Training and test utterances, labelled by speaker, with every speaker in training; no utterance is in both.

    Decided by the ids and the seed, not by the order of the set. Raises InputError if fewer than two speakers remain.
    """
    index = features.index
    nameless = index["speaker"].tolist().count("")
    if nameless == len(index):
        raise InputError(f"{features.folder} names no speaker: a speaker probe needs real speech")
    if nameless:
        console.say(f"{nameless} utterances of {features.folder} name no speaker: left out")
    training, test = _within(index, config.held_out, config.seed) if config.split == "within" else _given(features)
    speakers = sorted(index.loc[training, "speaker"].unique())
    if len(speakers) < 2:
        raise InputError(f"{features.folder} has fewer than two speakers that can be told apart")
    known = index["speaker"].isin(speakers).to_numpy()
    strangers = int((test & ~known).sum())
    if strangers:
        console.say(f"{strangers} test utterances of {features.folder} are of speakers not trained on: left out")
    if not (test & known).any():
        raise InputError(f"{features.folder}: no speaker of its test part is in its train part, use split=within")
    labels = features.config | {"labels": speakers}
    labelled = replace(features, config=labels, index=index.assign(label=index["speaker"]))
    seen = index["speaker"].isin(index.loc[index["split"].isin(("train", "")), "speaker"]).to_numpy()
    return Parts(_cropped(labelled.rows(training), config), labelled.rows(test & known), seen[test & known])


def fit(head: Head, training: FeatureSet, config: ProbeConfig, train_projector: bool) -> Head:
    """SUPERB's speaker identification head on top of a head's projector, trained on utterances labelled by speaker."""
    with seeded(config.seed):
        probed = Head("superb", training.labels, head.dims)
    probed.mean.copy_(head.mean)
    probed.deviation.copy_(head.deviation)
    probed.projector.load_state_dict(head.projector.state_dict())
    probed.projector.requires_grad_(train_projector)
    if config.rescale:
        _rescale(probed, training)
    updates = descend(probed, training, config.schedule, config.seed)
    for _ in console.track(updates, "training the speaker probe", config.updates, unit="updates"):
        pass
    return probed.eval()


@torch.no_grad()
def judge(probed: Head, parts: Parts) -> tuple[Bools, Embeddings]:
    """Whether each test utterance's speaker is named rightly [N], and its embedding [N, 256], of length 1.

    From embeddings the mean over training utterances is taken, so that a product of two is a cosine about it.
    """
    frames, lengths = pooled(parts.test)
    right = probed(frames, lengths).argmax(1).numpy() == parts.test.targets
    centre = probed.embed(parts.training.means()).mean(0)
    return right, normalize(probed.embed(frames.squeeze(1)) - centre).numpy()


def trials(speakers: Ints, seed: int) -> tuple[Ints, Ints]:
    """Pairs of different utterances, as two lists of row numbers [K], from the speaker of each [N].

    All there are, but at most ``TRIALS`` of each kind: those of one speaker come first.
    """
    draws, utterances = np.random.default_rng(seed), len(speakers)
    members = (np.flatnonzero(speakers == speaker) for speaker in np.unique(speakers))
    targets = np.concatenate([rows[np.stack(np.triu_indices(len(rows), 1))] for rows in members], axis=1)
    if targets.shape[1] > TRIALS:
        targets = targets[:, draws.choice(targets.shape[1], TRIALS, replace=False)]
    if utterances * (utterances - 1) // 2 <= TRIALS:
        pairs = np.stack(np.triu_indices(utterances, 1))
    else:
        pairs = draws.integers(utterances, size=(2, TRIALS))
    others = pairs[:, speakers[pairs[0]] != speakers[pairs[1]]]
    first, second = np.concatenate([targets, others], axis=1)
    return first, second


def equal_error_rate(scores: Floats, same: Bools, weights: Floats | Ints | None = None) -> float:
    """Equal error rate in 0..1 of trials with scores [K], where ``same`` [K] says which are of one speaker.

    The share of refused pairs of one speaker where it equals the share of accepted pairs of two, on the straight line
    between the two thresholds around it; pairs with equal scores are accepted or refused together. ``weights`` [K]
    say how many times each counts. NaN where either kind is absent.
    """
    order = np.argsort(scores, kind="stable")
    counted = (np.ones(len(scores)) if weights is None else weights)[order]
    runs = np.append(np.diff(scores[order]) > 0, len(scores) > 0)[: len(scores)]  # where a run of equal scores ends
    targets, others = (np.append(0.0, np.cumsum(counted * kind)[runs]) for kind in (same[order], ~same[order]))
    if targets[-1] == 0 or others[-1] == 0:
        return float("nan")
    missed, accepted = targets / targets[-1], 1 - others / others[-1]
    gap = missed - accepted  # from -1, all accepted, to 1, all refused
    after = int(np.searchsorted(gap, 0.0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(missed[after - 1] + share * (missed[after] - missed[after - 1]))


def _group(right: Bools, embeddings: Embeddings, speakers: Ints, seed: int) -> dict[str, Any] | None:
    """What ``probe`` says of one group of test utterances; None if it is empty."""
    if not len(right):
        return None
    many = len(np.unique(speakers))
    by_speaker = many >= SPEAKERS_NEEDED
    cluster = np.unique(speakers, return_inverse=True)[1] if by_speaker else np.arange(len(right))
    first, second = trials(speakers, seed)
    scores = np.einsum("kd,kd->k", embeddings[first], embeddings[second]).astype(np.float64)
    rising = np.argsort(scores, kind="stable")  # once, so that each resample finds them sorted
    first, second, scores = first[rising], second[rising], scores[rising]
    same, together = speakers[first] == speakers[second], cluster[first] == cluster[second]
    draws, clusters = np.random.default_rng(seed), cluster.max() + 1
    accuracies, rates = [], []
    for _ in console.track(range(RESAMPLES), "resampling", RESAMPLES, unit="resamples"):
        times = np.bincount(draws.integers(clusters, size=clusters), minlength=clusters)[cluster]
        accuracies.append(np.average(right, weights=times))
        # A pair within one cluster comes as often as that cluster, any other as often as both of its clusters meet.
        rates.append(equal_error_rate(scores, same, times[first] * np.where(together, 1, times[second])))
    rate = equal_error_rate(scores, same)
    return {
        "accuracy": float(right.mean()),
        "accuracy_interval": percentiles(accuracies, LEVEL),
        "equal_error_rate": None if np.isnan(rate) else rate,
        "equal_error_rate_interval": None if np.isnan(rate) else percentiles(rates, LEVEL),
        "bootstrap": "speaker" if by_speaker else "utterance",
        "speakers": many,
        "utterances": len(right),
        "target_trials": int(same.sum()),
        "other_trials": int((~same).sum()),
    }


def _within(index: pd.DataFrame, held_out: float, seed: int) -> tuple[Bools, Bools]:
    """Training and test rows [N]: a share of each speaker's utterances is for testing, drawn from the seed."""
    draws = np.random.default_rng(seed)
    training, test = np.zeros((2, len(index)), np.bool_)
    alone = []
    for speaker, own in index.sort_values("id").groupby("speaker"):
        if speaker == "" or len(own) < 2:
            alone += [str(speaker)] if speaker else []
            continue
        rows = draws.permutation(own.index.to_numpy())
        kept = min(max(round(held_out * len(rows)), 1), len(rows) - 1)
        test[rows[:kept]], training[rows[kept:]] = True, True
    if alone:
        console.say(f"Speakers with one utterance only, [{', '.join(alone)}]: left out")
    return training, test


def _given(features: FeatureSet) -> tuple[Bools, Bools]:
    """Training and test rows [N]: the set's own parts."""
    named = (features.index["speaker"] != "").to_numpy()
    training, test = ((features.index["split"] == split).to_numpy() & named for split in ("train", "test"))
    if not training.any() or not test.any():
        raise InputError(f"{features.folder} has no train and test parts with speakers: use split=within")
    return training, test


def _cropped(features: FeatureSet, config: ProbeConfig) -> FeatureSet:
    """Utterances no longer than the longest crop, taken at a place drawn for each."""
    rate = features.config.get("frame_rate")
    if not isinstance(rate, int | float) or rate <= 0:
        return features
    longest = max(round(config.crop_seconds * rate), 1)
    frames = features.index["frames"].clip(upper=longest)
    spare = (features.index["frames"] - frames).to_numpy()
    start = np.random.default_rng(config.seed).integers(spare, endpoint=True)
    return replace(features, index=features.index.assign(frames=frames, offset=features.index["offset"] + start))


@torch.no_grad()
def _rescale(probed: Head, training: FeatureSet) -> None:
    """Bring embeddings of training utterances to mean 0 and, all dims together, to deviation 1."""
    embeddings = probed.embed(training.means()).double()  # in float32 the mean of equal numbers is not that number
    mean = embeddings.mean(0)
    deviation = float((embeddings - mean).square().mean().sqrt())
    probed.projector.bias.sub_(mean)
    if deviation > 0:
        probed.projector.weight.div_(deviation)
        probed.projector.bias.div_(deviation)
