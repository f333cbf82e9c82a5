"""The same features under another split: folds of a protocol share one extraction."""

import os
import shutil
from pathlib import Path

from gandistill import artifacts
from gandistill.corpora.manifest import read_manifest, read_origin
from gandistill.errors import InputError
from gandistill.features.featureset import KIND, FeatureSet, finish
from gandistill.files import read_text

SPLITTING = ("protocol", "fold", "dev")


def resplit(features: FeatureSet, manifest: Path, out: Path) -> FeatureSet:
    """Write a feature set with the frames of ``features`` and the labels, speakers, sessions and splits of a manifest.

    Frames are hard links where the file system has them, else copies. Utterances that the manifest lacks are left out.
    Raises InputError if the manifest names an utterance that has no features, or ``out`` is where ``features`` lie or
    holds something else.
    """
    if out.resolve() == features.folder.resolve():
        raise InputError(f"{out} is the feature set itself: choose another folder")
    entries = {entry.id: entry for entry in read_manifest(manifest)}
    index = features.index[features.index["id"].isin(list(entries))].reset_index(drop=True)
    missing = sorted(entries.keys() - set(index["id"]))
    if missing:
        raise InputError(f"{features.folder} has no features of {missing[0]!r}, which {manifest} names: extract anew")
    chosen = [entries[name] for name in index["id"]]
    index["label"] = [entry.emotion for entry in chosen]
    for column in ("speaker", "session", "split"):
        index[column] = [getattr(entry, column) for entry in chosen]
    kept = {key: value for key, value in features.config.items() if key not in ("fingerprint", *SPLITTING)}
    split = {key: value for key, value in read_origin(manifest).items() if key in SPLITTING}
    facts = kept | split | {"labels": sorted(set(index["label"])), "resplit_of": features.fingerprint}
    with artifacts.new_artifact(out, KIND) as folder:
        for shard in sorted(set(index["shard"])):
            _share(features.folder / shard, folder / shard)
        rows = [dict(zip(index.columns, row, strict=True)) for row in index.itertuples(index=False)]
        finish(folder, rows, facts, read_text(features.folder / artifacts.CARD))
    return FeatureSet.open(out)


def _share(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
