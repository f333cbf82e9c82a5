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
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.audio import find_files, find_speech, without_copies
from gandistill.corpora.manifest import Entry, read_table
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
GENDERS = ("female", "male")
DEMOGRAPHICS = "VideoDemographics.csv"
NAMES = re.compile(
    rf"(10(?:0[1-9]|[1-8][0-9]|9[01]))_({'|'.join(SENTENCES)})_({'|'.join(EMOTIONS)})_(?:{'|'.join(LEVELS)})"
)


def read(root: Path) -> list[Entry]:
    """The recordings, by path. Speaker is the actor, text the code of the sentence; all levels are read.

    Genders are those of ``VideoDemographics.csv``, or empty without it or for an actor it does not list, which is said.
    Files that are not named as CREMA-D names them are left out, which is said. A second copy of the same tree is read
    once.

    Raises InputError if there is nothing of CREMA-D below ``root``, two files of one name differ, or the table of
    actors cannot be read.
    """
    speech = find_speech(root, NAME, NAMES, "AudioWAV/1001_DFA_ANG_XX.wav")
    genders = _genders(root)
    entries = [_entry(file, name, genders) for file, name in speech.items()]
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
            if gender not in GENDERS:
                raise InputError(f"{table}, line {row.line}: {choices('sex', row.cells['Sex'], ('Female', 'Male'))}")
            if actor in genders:
                raise InputError(f"{table}, line {row.line}: lists actor {actor} again, expected one line for each")
            genders[actor] = gender
    return genders


def _entry(file: Path, name: re.Match[str], genders: dict[str, str]) -> Entry:
    actor, sentence, emotion = name.groups()
    return Entry(
        id=file.stem,
        path=file,
        emotion=EMOTIONS[emotion],
        speaker=actor,
        gender=genders.get(actor, ""),
        text=sentence,
    )
