"""nEMO: acted speech in Polish, 9 actors, six emotions, 4,481 utterances of 90 sentences (about 3 hours).

Source: I. Christop, "nEMO: Dataset of Emotional Speech in Polish", LREC-COLING 2024. Licence: CC BY-NC-SA 4.0. Get it
from https://huggingface.co/datasets/amu-cai/nEMO. On disk:

    ROOT/data.tsv                                   file_id, emotion, ..., speaker_id, gender, ...
    ROOT/samples/SPEAKER_emotion_sentence.wav       (or .flac)
"""

from pathlib import Path

from gandistill.console import say
from gandistill.corpora.manifest import Entry, Row, read_table
from gandistill.corpora.tree import find_files, without_copies
from gandistill.errors import InputError, choices

NAME = "nEMO"
LICENCE = "CC BY-NC-SA 4.0"
EMOTIONS = {
    "anger": "anger",
    "fear": "fear",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprised": "surprise",
}
COLUMNS = ("file_id", "emotion", "speaker_id", "gender")


def read(root: Path) -> list[Entry]:
    """The recordings that are both on disk and in ``data.tsv``, by path. Text is the number of the sentence.

    Files in only one of the two places are left out, which is said: part of the corpus is a corpus too.

    Raises InputError if either place is missing, nothing is in both, or ``data.tsv`` contradicts a file's name.
    """
    samples, table = root / "samples", root / "data.tsv"
    if not samples.is_dir() or not table.is_file():
        raise InputError(f"{root}: no nEMO found, expected the folder samples/ and the file data.tsv in it")
    listed = {Path(row.cells["file_id"]).stem: row for row in read_table(table, COLUMNS)}
    files = without_copies(find_files(samples), lambda file: file.stem)
    entries = [_entry(file, listed[file.stem], table) for file in files if file.stem in listed]
    if not entries:
        raise InputError(f"{samples}: holds no file of data.tsv, expected files such as {next(iter(listed))}.wav")
    if unlisted := [file for file in files if file.stem not in listed]:
        say(f"{NAME}: left out {len(unlisted)} files that data.tsv does not list, the first is {unlisted[0]}")
    if absent := len(listed) - len(entries):
        say(f"{NAME}: {absent} of the {len(listed)} files that data.tsv lists are not in {samples}")
    return entries


def _entry(file: Path, row: Row, table: Path) -> Entry:
    # Some speaker ids carry spaces.
    emotion, speaker, gender = (row.cells[column].strip() for column in COLUMNS[1:])
    prefix, sentence = file.stem.rpartition("_")[::2]
    if emotion not in EMOTIONS:
        raise InputError(f"{table}, line {row.line}: {choices('emotion', emotion, list(EMOTIONS))}")
    if prefix != f"{speaker}_{emotion}":
        raise InputError(f"{table}, line {row.line}: says {speaker} {emotion} of {file.name}, whose name differs")
    return Entry(id=file.stem, path=file, emotion=EMOTIONS[emotion], speaker=speaker, gender=gender, text=sentence)
