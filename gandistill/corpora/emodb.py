"""EMO-DB: acted speech in German, 10 actors, seven emotions, 535 utterances of ten sentences (25 min).

Source: F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier and B. Weiss, "A database of German emotional speech",
Interspeech 2005, https://doi.org/10.21437/Interspeech.2005-446. Licence: CC0 1.0, as its publication with audb says.
Get it from http://emodb.bilderbar.info or with ``audb.load("emodb")``. On disk, anywhere below ROOT:

    wav/03a01Fa.wav         (or .flac; speaker, text, emotion, version)

The 535 are those of about 800 recordings that over 80 % of the listeners recognised and over 60 % found natural.
Version 2 in audb has the others too, which are read as well where they are named so, and laryngograms, named alike.
"""

import re
from pathlib import Path

from gandistill.corpora.manifest import Entry
from gandistill.corpora.tree import read_names

NAME = "EMO-DB"
LICENCE = "CC0 1.0 as its publication with audb says"
EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}
"""The initials of the German words: Wut, Langeweile, Ekel, Angst, Freude, neutral, Trauer."""
GENDERS = {
    "03": "male",
    "08": "female",
    "09": "female",
    "10": "male",
    "11": "male",
    "12": "male",
    "13": "female",
    "14": "female",
    "15": "male",
    "16": "female",
}
LARYNGOGRAMS = "laryn"
"""In the names of their folders: ``laryngo``, ``wav_laryngo``, ``wav_laryng``."""
NAMES = re.compile(rf"(?P<speaker>{'|'.join(GENDERS)})(?P<text>[ab][0-9][0-9])(?P<emotion>[{''.join(EMOTIONS)}])[a-z]")


def read(root: Path) -> list[Entry]:
    """The recordings, by path. Text is the code of the sentence, such as ``a01``.

    Laryngograms (files in a folder named so) are left out, which is said. Raises InputError as ``read_names`` does.
    """
    return read_names(root, NAME, NAMES, EMOTIONS, lambda name: GENDERS[name["speaker"]], "wav/03a01Fa.wav", _other)


def _other(file: Path) -> str | None:
    return "laryngograms" if LARYNGOGRAMS in file.parent.name.lower() else None
