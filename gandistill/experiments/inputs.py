"""What every table starts from, for each fold: features with the fold's splits, and a bank of its train part."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gandistill import artifacts, heads
from gandistill.corpora.manifest import read_manifest, read_origin
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.features.resplit import resplit
from gandistill.gan.settings import GanConfig
from gandistill.heads.bank import BankConfig, build_bank
from gandistill.numerics import one_thread

MANIFEST = "manifest.csv"
BANK_COST = "bank-cost.json"
VERSION = {"version": heads.VERSION}
"""Of the code that builds banks."""


@dataclass(frozen=True)
class Inputs:
    """Features and bank of one fold; a plan that trains no generator, on hard labels, needs no bank."""

    features: Path
    bank: Path | None
    banking: BankConfig | None

    @cached_property
    def fingerprint(self) -> str:
        """Of the features."""
        return artifacts.fingerprint(self.features)

    def fill(self, config: GanConfig) -> GanConfig:
        """The training of a generator with its features and bank named."""
        return config.model_copy(update={"features": self.features, "bank": self.bank})

    @property
    def banked(self) -> dict[str, Any] | None:
        """How the bank is built, as plain values."""
        return None if self.banking is None else self.banking.to_dict() | VERSION

    @property
    def bank_seconds(self) -> float | None:
        """Processor seconds that building the bank took, where that is known: it was built here."""
        cost = self.features.with_name(BANK_COST)
        return artifacts.read_json(cost)["seconds"] if self.bank is not None and cost.is_file() else None


def make_inputs(
    corpus: str,
    root: Path,
    protocol: str,
    fold: int,
    place: Path,
    extracting: ExtractConfig,
    banking: BankConfig | None,
) -> Inputs:
    """Manifest, features and bank of one fold in the folder ``place``; what is there already, from the same, stays."""
    prepare(corpus, root, place / MANIFEST, protocol=protocol, fold=fold)
    return inputs_in(place, extracting, banking)


def inputs_of_folds(
    corpus: str,
    root: Path,
    protocol: str,
    folds: Sequence[int],
    work: Path,
    extracting: ExtractConfig,
    banking: BankConfig | None,
    ppc: Sequence[int] = (),
) -> list[Inputs]:
    """The inputs of each fold, in folders ``fold1`` and so on below ``work``, features extracted once for all.

    Every fold's manifest is written before any long work, so that one that cannot be is refused at once, as is a
    number of points per class in ``ppc`` beyond the train part: one class would outnumber the corpus.
    """
    places = [work / f"fold{fold}" for fold in folds]
    for fold, place in zip(folds, places, strict=True):
        prepare(corpus, root, place / MANIFEST, protocol=protocol, fold=fold)
        entries = read_manifest(place / MANIFEST)
        training = [entry for entry in entries if entry.split == "train"]
        if missing := {entry.emotion for entry in entries} - {entry.emotion for entry in training}:
            names = ", ".join(sorted(missing))
            raise InputError(f"Fold {fold} of {protocol} has no utterance of [{names}] to train on")
        if max(ppc, default=0) > (most := len(training)):
            raise InputError(
                f"Bad ppc {max(ppc)}, expected at most {most}: so many utterances train in fold {fold} of {protocol}"
            )
    first = inputs_in(places[0], extracting, banking)
    whole = FeatureSet.open(first.features)
    return [first, *(inputs_in(place, extracting, banking, whole) for place in places[1:])]


def inputs_in(
    place: Path, extracting: ExtractConfig, banking: BankConfig | None, whole: FeatureSet | None = None
) -> Inputs:
    """Features and bank for the manifest in ``place``; the features are shared with the set ``whole`` of another fold,
    if there is one."""
    manifest, features, bank = place / MANIFEST, place / "features", place / "bank"
    if whole is None:
        extract(manifest, extracting, features)
    elif not _is_split(features, whole, manifest):
        resplit(whole, manifest, features)
    if banking is None:
        return Inputs(features, None, None)
    source = FeatureSet.open(features)
    if not _is_built(bank, source, banking):
        start = time.process_time()
        with one_thread():  # on any number of cores the same bits, so that shards agree
            build_bank(source, banking, bank, {"command": "bank"})
        artifacts.write_json(place / BANK_COST, {"seconds": time.process_time() - start} | VERSION)
    return Inputs(features, bank, banking)


def _is_split(features: Path, whole: FeatureSet, manifest: Path) -> bool:
    config = _config(features)
    same_fold = config.get("fold") == read_origin(manifest).get("fold")
    return same_fold and config.get("resplit_of") in whole.fingerprints


def _is_built(bank: Path, features: FeatureSet, banking: BankConfig) -> bool:
    config, cost = _config(bank), bank.with_name(BANK_COST)
    same_code = not cost.is_file() or VERSION.items() <= artifacts.read_json(cost).items()
    same_source = config.get("source", {}).get("fingerprint") in features.fingerprints
    return same_code and same_source and config.get("config") == banking.to_dict()


def _config(folder: Path) -> dict[str, Any]:
    path = folder / artifacts.CONFIG
    return artifacts.read_json(path) if path.is_file() else {}
