"""Which corpus lies in a folder, told by how its files are named, and the protocol that is usual for it."""

import re
from pathlib import Path

from gandistill.corpora import cremad, demos, emodb, emovo, iemocap, nemo, ravdess, synthetic, voxceleb1
from gandistill.corpora.prepare import READERS
from gandistill.corpora.tree import find_files
from gandistill.errors import InputError

TABULAR = "tabular"
NAMES = {
    "ravdess": ravdess.NAMES.pattern,
    "nemo": rf"[A-Z]{{2}}\d_(?:{'|'.join(nemo.EMOTIONS)})_\d+",
    "iemocap": iemocap.UTTERANCE.pattern,
    "demos": demos.NAMES.pattern,
    "emodb": emodb.NAMES.pattern,
    "emovo": emovo.NAMES.pattern,
    "cremad": cremad.NAMES.pattern,
    "voxceleb1": voxceleb1.UTTERANCE.pattern,
    "synthetic": synthetic.FILE.pattern,
}
"""What a corpus's audio files are named, without suffix; where two folders above count, they are named too."""
USUAL = {"ravdess": "ravdess-dyads", "nemo": "speaker-trios", "iemocap": "superb", "demos": "mtt-table1"}
"""The protocol of the corpora that have one of their own, to recognise emotions."""


def kind_of(root: Path) -> str:
    """The corpus at ``root``, one of ``READERS``: a file is a table, a folder is told by the names of audio below it.

    Raises InputError if there is nothing, or the files are those of no corpus known, or of several.
    """
    if root.is_file():
        return TABULAR
    files = {"/".join((*file.parts[-3:-1], file.stem)) for file in find_files(root)}
    named = {kind: re.compile(f"(?:.*/)?(?:{names})") for kind, names in NAMES.items()}
    kinds = [kind for kind, pattern in named.items() if any(map(pattern.fullmatch, files))]
    if len(kinds) == 1:
        return kinds[0]
    what = f"holds files named as those of {' and '.join(kinds)}" if kinds else "is no corpus known by its files' names"
    raise InputError(f"{root} {what}: say --corpus-kind, one of [{', '.join(READERS)}]")


def usual_protocol(kind: str) -> str:
    """The protocol to split a corpus by where none is asked for."""
    return USUAL.get(kind, "speaker-independent")
