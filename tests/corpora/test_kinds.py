"""What a corpus is, told by its files: every reader's own layout is, anything else is asked about."""

import re
from functools import partial
from pathlib import Path

import pytest

from gandistill.corpora import kinds, splits
from gandistill.corpora.prepare import READERS, prepare
from gandistill.corpora.synthetic import synthesise
from gandistill.errors import InputError
from tests.corpora.fabricate import (
    fabricate_cremad,
    fabricate_demos,
    fabricate_emodb,
    fabricate_emovo,
    fabricate_iemocap,
    fabricate_nemo,
    fabricate_ravdess,
    fabricate_voxceleb1,
    write_names,
)

FABRICATED = {
    "ravdess": partial(fabricate_ravdess, actors=2, limit=1),
    "nemo": partial(fabricate_nemo, sentences=1),
    "iemocap": partial(fabricate_iemocap, limit=1),
    "demos": partial(fabricate_demos, limit=1),
    "emodb": partial(fabricate_emodb, limit=1),
    "emovo": partial(fabricate_emovo, limit=1),
    "cremad": partial(fabricate_cremad, actors=2, limit=1),
    "voxceleb1": partial(fabricate_voxceleb1, speakers=2),
    "synthetic": partial(synthesise, sessions=1, per_class=1),
    "tabular": lambda root: write_names(root, "my.csv") / "my.csv",
}


@pytest.mark.parametrize("kind", sorted({*READERS} - {"audformat"}))  # which asks for a table and a column
def test_every_reader_s_corpus_is_told(tmp_path: Path, kind: str):
    root = FABRICATED[kind](tmp_path / "corpus")
    assert kinds.kind_of(root) == kind
    if kind == "iemocap":
        assert kinds.kind_of(root.parent) == kind


def test_the_real_corpora_are_told(ravdess_root: Path, nemo_root: Path):
    assert (kinds.kind_of(ravdess_root), kinds.kind_of(nemo_root)) == ("ravdess", "nemo")


def test_other_files_beside_a_corpus_do_not_hide_it(tmp_path: Path):
    write_names(fabricate_emovo(tmp_path, limit=1), "noise.wav", "README.md", "samples/EB0_bored_1.wav")
    assert kinds.kind_of(tmp_path) == "emovo"


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["clips/anna.wav"], "is no corpus known by its files' names"),
        (["wav/03a01Fa.wav", "f1/dis-f1-b1.wav"], "holds files named as those of emodb and emovo"),
    ],
    ids=["unknown", "two"],
)
def test_what_cannot_be_told_is_asked_for_in_one_line(tmp_path: Path, names: list[str], what: str):
    write_names(tmp_path, *names)
    asked = f"{tmp_path} {what}: say --corpus-kind, one of [{', '.join(READERS)}]"
    with pytest.raises(InputError, match=f"^{re.escape(asked)}$"):
        kinds.kind_of(tmp_path)


def test_a_corpus_that_is_nowhere(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        kinds.kind_of(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", READERS)
def test_usual_protocols_are_valid_for_their_corpora(kind: str):
    protocol = splits.PROTOCOLS[kinds.usual_protocol(kind)]
    assert not protocol.corpora or kind in protocol.corpora


@pytest.mark.parametrize("kind", ["ravdess", "nemo", "emovo", "synthetic"])
def test_the_usual_protocol_fills_all_parts(tmp_path: Path, kind: str):
    whole = {"ravdess": partial(fabricate_ravdess, limit=1), "synthetic": partial(synthesise, sessions=3, per_class=1)}
    root = (FABRICATED | whole)[kind](tmp_path / "corpus")
    entries = prepare(kind, root, tmp_path / "manifest.csv", protocol=kinds.usual_protocol(kind))
    assert {entry.split for entry in entries} == {"train", "dev", "test"}
