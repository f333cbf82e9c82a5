"""RAVDESS: acted speech in North American English, 24 actors, 1,440 utterances of two sentences (1 h 29 min).

Source: S. R. Livingstone and F. A. Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)",
PLoS ONE 13(5), 2018. Licence: CC BY-NC-SA 4.0. Get ``Audio_Speech_Actors_01-24.zip`` from
https://zenodo.org/records/1188976. On disk, anywhere below ROOT:

    Actor_NN/03-01-EE-II-SS-RR-NN.wav       (or .flac; emotion, intensity, statement, repetition, actor)
"""

import re
from pathlib import Path

from gandistill.corpora.audio import SUFFIXES
from gandistill.corpora.manifest import Entry
from gandistill.corpora.tree import read_names

NAME = "RAVDESS"
LICENCE = "CC BY-NC-SA 4.0"
EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
VIDEO = (".mp4",)
NAMES = re.compile(r"0[1-3]-0[12]-(?P<emotion>0[1-8])-0[12]-(?P<text>0[12])-0[12]-(?P<speaker>0[1-9]|1\d|2[0-4])")


def read(root: Path) -> list[Entry]:
    """The speech recordings, by path. Speaker is the actor (odd: male), text the statement, 01 or 02.

    Song and video are left out, which is said. Raises InputError as ``read_names`` does.
    """
    example = "Actor_01/03-01-05-01-02-01-01.wav"
    return read_names(root, NAME, NAMES, EMOTIONS, _gender, example, _other, SUFFIXES + VIDEO)


def _gender(name: re.Match[str]) -> str:
    return "male" if int(name["speaker"]) % 2 else "female"


def _other(file: Path) -> str | None:
    if file.suffix.lower() in VIDEO:
        return "video files"
    return None if file.stem.startswith("03-01") else "song recordings"
