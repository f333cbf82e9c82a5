"""Fabricated corpora have the real ones' names; the readers' own tests use the others."""

from pathlib import Path

import numpy as np

from gandistill.corpora.audio import load
from tests.corpora.fabricate import (
    fabricate_cremad,
    fabricate_demos,
    fabricate_emodb,
    fabricate_emovo,
    fabricate_iemocap,
    fabricate_nemo,
    fabricate_ravdess,
)


def names(root: Path) -> set[str]:
    return {file.relative_to(root).with_suffix("").as_posix() for file in root.rglob("*.[wf][al][va]*")}


def test_ravdess_has_the_real_names(tmp_path: Path, ravdess_root: Path) -> None:
    assert names(fabricate_ravdess(tmp_path)) == names(ravdess_root)


def test_nemo_has_names_of_the_real_corpus(tmp_path: Path, nemo_root: Path) -> None:
    fabricated = names(fabricate_nemo(tmp_path, sentences=1))
    assert len(fabricated) == 9 * 6 - 1
    sparse = {name for name in fabricated if "MP0" in name}
    assert fabricated - sparse <= names(nemo_root)
    assert (tmp_path / "data.tsv").read_text().count("\n") == 1 + len(fabricated)
    header = (nemo_root / "data.tsv").read_text(encoding="utf-8").splitlines()[0]
    assert (tmp_path / "data.tsv").read_text().splitlines()[0] == header


def test_sounds_are_valid_and_differ(tmp_path: Path) -> None:
    root = fabricate_ravdess(tmp_path, actors=2, limit=1, seconds=0.5)
    sounds = [load(file) for file in sorted(root.rglob("*.wav"))]
    assert len(sounds) == 2 * 8
    assert all(len(sound) == 8000 and 0.01 < sound.std() < 0.5 for sound in sounds)
    assert len({sound.tobytes() for sound in sounds}) == len(sounds)
    assert np.isfinite(np.stack(sounds)).all()


def test_limits_keep_trees_small(tmp_path: Path) -> None:
    release = fabricate_iemocap(tmp_path / "iemocap", limit=2)
    listed = [line for file in release.rglob("dialog/EmoEvaluation/Ses*.txt") for line in file.read_text().splitlines()]
    kept = [
        line for line in listed if line.startswith("[") and line.split("\t")[2] in ("neu", "hap", "exc", "ang", "sad")
    ]
    assert len(kept) == 10 * 4 * 2
    assert len(names(fabricate_demos(tmp_path / "demos", limit=2))) == 6 * 8 * 2
    assert len(names(fabricate_emodb(tmp_path / "emodb", limit=2))) == 10 * 7 * 2
    assert len(names(fabricate_emovo(tmp_path / "emovo", limit=2))) == 6 * 7 * 2
    assert len(names(fabricate_cremad(tmp_path / "cremad", actors=3, limit=2))) == 3 * 6 * 2
