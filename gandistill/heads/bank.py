"""The bank: frozen heads of several kinds, seeds and stages of training, one drawn anew at every update of a GAN.

Shapes: B batch, T frames, D feature dims, C classes.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from gandistill import artifacts, console, files, hub, precision
from gandistill.errors import InputError, RunError, choices
from gandistill.features.featureset import FeatureSet
from gandistill.features.origin import made_from
from gandistill.guarantee import guarantee_said, guaranteed
from gandistill.heads.head import PROJECTING, Head, build_head, check_deviation, check_match
from gandistill.heads.training import Schedule, descend, score, untrained
from gandistill.numerics import keyed, no_tf32, seeded

KIND = "bank"
TENSORS = "bank.safetensors"
WORK = ".work"
UNTRAINED, HALF_TRAINED, CONVERGED = "untrained", "half-trained", "converged"
STAGES = (UNTRAINED, HALF_TRAINED, CONVERGED)
DESCRIBED = ("kind", "format", "made_by", "labels", "dims", "heads")
"""What is written into a bank's config anew; all else there are facts about its training."""
SCORED = 64
"""Utterances of each class that a head of the bank is scored on, at the most."""


class BankConfig(Schedule):
    """Which heads a bank holds: every kind, by every seed, at every stage. The default makes 27."""

    heads: tuple[str, ...] = PROJECTING
    """Kinds of head. All others stay out, for judging."""
    seeds: int = Field(default=3, ge=1)
    """Trainings of each kind."""
    seed: int = Field(default=1000, ge=0, lt=2**62)
    """The first of the consecutive seeds. Far from those of heads that judge: a judge with the weights of a head that
    guided the generator would flatter it."""
    half_trained: int = Field(default=20, ge=1)
    """Updates after which a head counts as half-trained: it knows much, and clearly less than a converged one."""

    @field_validator("heads")
    @classmethod
    def _may_be_in_a_bank(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        if not heads or not set(heads) <= {*PROJECTING} or len(set(heads)) < len(heads):
            raise ValueError(f"expected different ones of [{', '.join(PROJECTING)}]")
        return heads

    @model_validator(mode="after")
    def _half_comes_before_the_end(self) -> "BankConfig":
        if self.half_trained >= self.updates:
            raise ValueError(f"half_trained={self.half_trained} must be less than updates={self.updates}")
        return self


@dataclass(frozen=True)
class Bank(hub.Shared):
    """Frozen heads for the same features and labels; ``trained`` of each holds its seed, stage and train UAR.

    ``facts`` are what its folder says of the training set, and of how it was trained, ``measured`` what it says was
    measured of it.
    """

    heads: list[Head]
    facts: dict[str, Any] = field(default_factory=dict)
    measured: artifacts.Measured | None = None

    @classmethod
    def open(cls, folder: Path) -> "Bank":
        """Read a bank. Raises InputError naming what is missing, altered or unknown."""
        config = artifacts.open_artifact(folder, KIND, verify=(artifacts.CONFIG, artifacts.CARD))
        heads = load_heads(folder / TENSORS, config)
        facts = {key: value for key, value in config.items() if key not in DESCRIBED}
        return cls(heads, facts, artifacts.Measured.of(folder))

    @classmethod
    def load(cls, source: Path | str, licences: Collection[str] | None = None) -> "Bank":
        """Read a bank's folder, or where there is none here, a repository of the Hugging Face Hub, OWNER/NAME.

        ``licences`` are those that will do, such as ``cc-by-4.0``; None: any. Raises InputError as ``open`` does.
        """
        return cls.open(hub.local_or_pulled(source, KIND, licences))

    def save(self, folder: Path | str) -> None:
        """Write it as an artifact; one that was loaded keeps its card. Raises InputError if ``folder`` holds something
        else."""
        _write(Path(folder), self.heads, self.facts, {"command": "bank"})
        if self.measured is not None:
            self.measured.keep(Path(folder), KIND)

    @property
    def labels(self) -> list[str]:
        """Class names, in the order of the heads' logits."""
        return self.heads[0].labels

    @property
    def dims(self) -> int:
        """D of the features that the heads take."""
        return self.heads[0].dims

    def check_match(self, features: FeatureSet) -> None:
        """Raise InputError unless the features have the bank's labels and dims, and no other upstream or fold."""
        check_match("the bank", self.labels, self.dims, self.heads[0].origin, features)

    def draw(self, generator: torch.Generator) -> Head:
        """One of the heads, each as likely as another."""
        return self.heads[int(torch.randint(len(self.heads), (1,), generator=generator))]

    def converged(self) -> list[Head]:
        """The heads at the end of their training, which make soft labels."""
        return [head for head in self.heads if head.trained["stage"] == CONVERGED]

    def mean_posterior(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Class probabilities [B, C] of frames [B, T, D] with lengths [B], averaged over the converged heads.

        Raises RunError if a head gives NaN.
        """
        mean = torch.stack([head(frames, lengths).softmax(-1) for head in self.converged()]).mean(0)
        if not mean.isfinite().all():
            raise RunError("A head of the bank gives NaN, so there are no soft labels: its weights are useless")
        return mean

    def to(self, device: torch.device | str) -> "Bank":
        """Move every head, in place."""
        for head in self.heads:
            head.to(device)
        return self


def build_bank(
    features: FeatureSet, config: BankConfig, out: Path, made_by: dict[str, Any], device: torch.device | str = "cpu"
) -> Bank:
    """Train a bank on the training part of a feature set, as ``train_head`` does, and write it.

    Each training is kept in ``OUT.work`` until all are done: a bank that was stopped goes on from there. Raises
    InputError as ``train_head`` does.
    """
    artifacts.check_free(out, KIND)
    training, work = features.training_part().held(), out.with_name(out.name + WORK)
    facts = {"config": config.to_dict()} | made_from(features) | guaranteed(features.config)
    runs = [(kind, seed) for kind in config.heads for seed in range(config.seed, config.seed + config.seeds)]
    some, heads = scored(training, config.seed), list[Head]()
    for kind, seed in console.track(runs, "training the bank", len(runs), unit="heads"):
        folder = work / f"{kind}-{seed}"
        trained = _kept(folder, facts)
        if trained is None:
            trained = stages(training, some, kind, config, seed, device)
            _write(folder, trained, facts, made_by)
        heads += trained
    _write(out, heads, facts, made_by)
    for kind, seed in runs:
        files.remove(work / f"{kind}-{seed}")
    with suppress(OSError):  # what else lies there is not ours
        work.rmdir()
    return Bank(heads, facts)


def train_bank(features: FeatureSet, *, settings: Sequence[str] = (), device: torch.device | str = "cpu") -> Bank:
    """Train a bank on the training part of a feature set, as ``gandistill bank`` does, in memory.

    ``settings`` are what ``--set`` takes, such as ``seeds=1``. Raises InputError as ``train_head`` does.
    """
    with TemporaryDirectory() as folder:
        made_by = {"command": "bank"}
        return build_bank(features, BankConfig.load(None, [*settings]), Path(folder) / "bank", made_by, device)


def _write(out: Path, heads: Sequence[Head], facts: dict[str, Any], made_by: dict[str, Any]) -> None:
    with artifacts.new_artifact(out, KIND) as folder:
        save_heads(folder / TENSORS, heads)
        artifacts.write_json(
            folder / artifacts.CONFIG, artifacts.describe(KIND, made_by, **heads_config(heads), **facts)
        )
        artifacts.write_text(folder / artifacts.CARD, _card(heads, facts))


def _kept(folder: Path, facts: dict[str, Any]) -> list[Head] | None:
    """The heads of one training, if an earlier command has kept them, of the same features, settings and code."""
    try:
        config = artifacts.open_artifact(folder, KIND)
        same = facts.items() <= config.items() and config["made_by"].get("versions") == artifacts.versions()
        return load_heads(folder / TENSORS, config) if same else None
    except InputError:  # it was never there, or is damaged
        return None


def stages(
    training: FeatureSet,
    some: FeatureSet,
    kind: str,
    config: BankConfig,
    seed: int,
    device: torch.device | str = "cpu",
) -> list[Head]:
    """One training seen three times: before it, after ``half_trained`` updates, and at its end, scored on ``some``."""
    names = {0: UNTRAINED, config.half_trained: HALF_TRAINED, config.updates: CONVERGED}
    with seeded(seed), no_tf32():
        head = untrained(training, kind, config).to(device)
        heads = [deepcopy(head)]
        heads += [deepcopy(head) for update in descend(head, training, config, seed) if update in names]
        for (update, stage), snapshot in zip(names.items(), heads, strict=True):
            uar = score(snapshot, some)["uar"]
            snapshot.trained = {"seed": seed, "stage": stage, "updates": update, "train_uar": uar}
            frozen(snapshot.cpu())
    return heads


def scored(training: FeatureSet, seed: int) -> FeatureSet:
    """What tells the heads' UAR on the set they are trained on: up to ``SCORED`` utterances of each class, drawn.

    A bank has so many snapshots that scoring them on all of a large corpus takes longer than training.
    """
    draws = keyed(seed, 0)
    rows = (np.flatnonzero(training.targets == c) for c in range(len(training.labels)))
    return training.rows(np.sort(np.concatenate([draws.permutation(of_class)[:SCORED] for of_class in rows])))


def frozen(head: Head) -> Head:
    """In evaluation mode, its weights without gradients; gradients still flow to its input."""
    return head.eval().requires_grad_(False)


def heads_config(heads: Sequence[Head]) -> dict[str, Any]:
    """What a config must hold for ``load_heads``: labels, dims, and each head's kind and training."""
    entries = [{"kind": head.kind} | head.trained for head in heads]
    return {"labels": heads[0].labels, "dims": heads[0].dims, "heads": entries}


def save_heads(path: Path, heads: Sequence[Head], stored_in: str = precision.FULL) -> None:
    """Write heads as one safetensors file, names prefixed by each head's place, kind, seed and stage."""
    names = (_name(place, entry) for place, entry in enumerate(heads_config(heads)["heads"]))
    precision.save_weights(path, nn.ModuleDict(dict(zip(names, heads, strict=True))).state_dict(), stored_in)


def load_heads(path: Path, config: dict[str, Any], stored_in: str = precision.FULL) -> list[Head]:
    """Read what ``save_heads`` wrote, frozen; ``config`` holds what ``heads_config`` gave. Raises InputError."""
    where = path.parent / artifacts.CONFIG
    entries = config.get("heads")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{where}: 'heads' is missing or empty")
    if len(entries) > len(artifacts.header(path)):
        raise InputError(f"{where}: names {len(entries)} heads, more than {path.name} has tensors")
    heads: dict[str, Head] = {}
    for place, entry in enumerate(entries):
        _check_entry(entry, f"{where}: head {place}")
        trained = {key: value for key, value in entry.items() if key != "kind"}
        heads[_name(place, entry)] = build_head(entry["kind"], config, trained, where)
    if not any(head.trained["stage"] == CONVERGED for head in heads.values()):
        raise InputError(f"{where}: none of its heads is {CONVERGED}")
    together = nn.ModuleDict(heads)
    artifacts.load_module(together, precision.load_weights(path, together.state_dict(), stored_in), path)
    for head in heads.values():
        check_deviation(head, path)
    return [frozen(head) for head in heads.values()]


def _check_entry(entry: Any, where: str) -> None:
    if not isinstance(entry, dict) or not entry.keys() >= {"kind", "seed", "stage"}:
        raise InputError(f"{where} lacks its kind, seed or stage")
    if entry["stage"] not in STAGES:
        raise choices(f"stage of {where}:", entry["stage"], STAGES)
    if type(entry["seed"]) is not int or entry["seed"] < 0:
        raise InputError(f"{where} has the seed {entry['seed']!r}, expected a whole number")


def _name(place: int, entry: dict[str, Any]) -> str:
    return f"{place:02d}-{entry['kind']}-{entry['seed']}-{entry['stage']}"


def _card(heads: Sequence[Head], facts: dict[str, Any]) -> str:
    rows = [f"| {h.kind} | {h.trained['seed']} | {h.trained['stage']} | {h.trained['train_uar']:.1%} |" for h in heads]
    return (
        f"# Bank of {len(heads)} frozen heads\n\nFor {heads[0].dims} feature dims and the classes "
        f"{', '.join(heads[0].labels)}. A GAN draws one of them at every update; the mean posterior of the converged "
        f"ones makes soft labels. UAR is on the training part, which is all they have seen: up to {SCORED} utterances "
        f"of each class.{guarantee_said(facts)}\n\n"
        f"| head | seed | stage | train UAR |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
