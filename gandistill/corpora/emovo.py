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

from gandistill.corpora.manifest import GENDERS, Entry
from gandistill.corpora.tree import read_names

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
NAMES = re.compile(rf"(?P<emotion>{'|'.join(EMOTIONS)})-(?P<speaker>[fm][1-3])-(?P<text>b[1-3]|l[1-4]|n[1-5]|d[12])")


def read(root: Path) -> list[Entry]:
    """The recordings, by path, each its file's first channel. Text is the code of the sentence, such as ``b1``.

    Raises InputError as ``read_names`` does.
    """
    example = "f1/dis-f1-b1.wav"
    return read_names(root, NAME, NAMES, EMOTIONS, lambda name: GENDERS[name["speaker"][0]], example, channel=CHANNEL)
