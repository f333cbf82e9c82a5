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

from gandistill.corpora.audio import find_speech
from gandistill.corpora.manifest import Entry

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
LARYNGOGRAMS = "laryngo"
NAMES = re.compile(rf"({'|'.join(GENDERS)})([ab][0-9][0-9])([{''.join(EMOTIONS)}])[a-z]")


def read(root: Path) -> list[Entry]:
    """The recordings, by path. Text is the code of the sentence, such as ``a01``.

    Laryngograms (files in a folder ``laryngo``) and files that are not named as EMO-DB names them are left out, which
    is said. A second copy of the same tree is read once.

    Raises InputError if there is nothing of EMO-DB below ``root``, or two files of one name differ.
    """
    speech = find_speech(root, NAME, NAMES, "wav/03a01Fa.wav", _other)
    return [_entry(file, name) for file, name in speech.items()]


def _other(file: Path) -> str | None:
    return "laryngograms" if file.parent.name == LARYNGOGRAMS else None


def _entry(file: Path, name: re.Match[str]) -> Entry:
    speaker, text, emotion = name.groups()
    return Entry(
        id=file.stem, path=file, emotion=EMOTIONS[emotion], speaker=speaker, gender=GENDERS[speaker], text=text
    )
