"""EMOVO: acted speech in Italian, 6 actors, seven emotions, 588 utterances of 14 sentences (about half an hour).

Source: G. Costantini, I. Iaderola, A. Paoloni and M. Todisco, "EMOVO Corpus: an Italian Emotional Speech Database",
LREC 2014, https://aclanthology.org/L14-1478. Licence: none is known to us; those who pass the corpus on say research
use, or CC BY-NC-SA 4.0. Its home was http://voice.fub.it/activities/corpora/emovo. On disk, anywhere below ROOT:

    f1/dis-f1-b1.wav        (or .flac; emotion, actor, sentence)

The recordings are stereo, 48 kHz, from two microphones that stood apart: the voice reaches them at different times, and
in their average part of it cancels. So the first channel alone is the utterance, and the manifest says so.
"""

import re
from pathlib import Path

from gandistill.corpora.audio import find_speech
from gandistill.corpora.manifest import Entry

NAME = "EMOVO"
LICENCE = "none known; those who pass the corpus on say research use, or CC BY-NC-SA 4.0"
EMOTIONS = {
    "rab": "anger",
    "dis": "disgust",
    "pau": "fear",
    "gio": "happiness",
    "neu": "neutral",
    "tri": "sadness",
    "sor": "surprise",
}
CHANNEL = 1
NAMES = re.compile(rf"({'|'.join(EMOTIONS)})-([fm][1-3])-(b[1-3]|l[1-4]|n[1-5]|d[12])")


def read(root: Path) -> list[Entry]:
    """The recordings, by path, each its file's first channel. Text is the code of the sentence, such as ``b1``.

    Files that are not named as EMOVO names them are left out, which is said. A second copy of the same tree is read
    once.

    Raises InputError if there is nothing of EMOVO below ``root``, or two files of one name differ.
    """
    return [_entry(file, name) for file, name in find_speech(root, NAME, NAMES, "f1/dis-f1-b1.wav").items()]


def _entry(file: Path, name: re.Match[str]) -> Entry:
    emotion, actor, sentence = name.groups()
    return Entry(
        id=file.stem,
        path=file,
        emotion=EMOTIONS[emotion],
        speaker=actor,
        gender={"f": "female", "m": "male"}[actor[0]],
        text=sentence,
        channel=CHANNEL,
    )
