"""CREMA-D: acted speech in American English, 91 actors, six emotions, 7,442 utterances of 12 sentences.

Source: H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova and R. Verma, "CREMA-D: Crowd-sourced Emotional
Multimodal Actors Dataset", IEEE Transactions on Affective Computing 5(4), 2014,
https://doi.org/10.1109/TAFFC.2014.2336244. Licence: ODbL 1.0, its contents DbCL 1.0. Get it from
https://github.com/CheyneyComputerScience/CREMA-D with git-lfs (without it, every file is a note of where the audio
lies, and ``prepare`` says that none is audio). On disk, anywhere below ROOT:

    AudioWAV/1001_DFA_ANG_XX.wav        (or .flac; actor, sentence, emotion, level)
    VideoDemographics.csv               (ActorID, Age, Sex, ...; without it genders are unknown)

One file, ``1076_MTI_SAD_XX.wav``, is silent: ``prepare`` stops there, or leaves it out with ``--skip-bad``.
"""

import re
from dataclasses import replace
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.manifest import GENDERS, Entry, read_table
from gandistill.corpora.tree import find_files, read_names, without_copies
from gandistill.errors import InputError, choices

NAME = "CREMA-D"
LICENCE = "ODbL 1.0, its contents DbCL 1.0"
EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
LEVELS = ("LO", "MD", "HI", "XX", "X")
"""How strongly the emotion is acted; XX: not asked for. One file says X instead, ``1040_ITH_SAD_X.wav``."""
DEMOGRAPHICS = "VideoDemographics.csv"
NAMES = re.compile(
    rf"(?P<speaker>10(?:0[1-9]|[1-8][0-9]|9[01]))_(?P<text>{'|'.join(SENTENCES)})_(?P<emotion>{'|'.join(EMOTIONS)})"
    rf"_(?:{'|'.join(LEVELS)})"
)


def read(root: Path) -> list[Entry]:
    """The recordings, by path. Speaker is the actor, text the code of the sentence; all levels are read.

    Genders are those of ``VideoDemographics.csv``, or empty without it or for an actor it does not list, which is said.
    Raises InputError as ``read_names`` does, or if the table of actors cannot be read.
    """
    speech = read_names(root, NAME, NAMES, EMOTIONS, lambda name: "", "AudioWAV/1001_DFA_ANG_XX.wav")
    genders = _genders(root)
    entries = [replace(entry, gender=genders.get(entry.speaker, "")) for entry in speech]
    if unknown := {entry.speaker for entry in entries if not entry.gender}:
        say(f"{NAME}: the gender of {len(unknown)} actors is unknown, no {DEMOGRAPHICS} lists them")
    return entries


def _genders(root: Path) -> dict[str, str]:
    """Gender of each actor, empty where there is no table of actors."""
    tables = [file for file in find_files(root, (DEMOGRAPHICS.lower(),)) if file.name == DEMOGRAPHICS]
    genders = {}
    for table in without_copies(tables, lambda file: file.name):
        for row in read_table(table, ("ActorID", "Sex")):
            actor, gender = row.cells["ActorID"].strip(), row.cells["Sex"].strip().lower()
            if gender not in GENDERS.values():
                raise InputError(f"{table}, line {row.line}: {choices('sex', row.cells['Sex'], ('Female', 'Male'))}")
            if actor in genders:
                raise InputError(f"{table}, line {row.line}: lists actor {actor} again, expected one line for each")
            genders[actor] = gender
    return genders
