"""VoxCeleb1: celebrities interviewed on YouTube, 1,251 speakers, 153,516 utterances (352 hours), no emotion labels.

Source: A. Nagrani, J. S. Chung and A. Zisserman, "VoxCeleb: a large-scale speaker identification dataset", Interspeech
2017. Licence: CC BY 4.0, as its site says; the copyright of the audio remains with the owners of the videos. Get the
audio (``vox1_dev_wav``, ``vox1_test_wav``) and ``iden_split.txt``, the split for identification, from
https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html. On disk, anywhere below ROOT:

    dev/wav/id10001/1zcIwhmdeo4/00001.wav      (or .flac; speaker, video, utterance)
    test/wav/id10270/5r0dWxy17C8/00001.wav     (the 40 speakers of the verification test)
    iden_split.txt                             (or veri_test_class.txt, as s3prl calls the same file)

or one folder ``wav`` that holds both. The split has a line ``1 id10001/1zcIwhmdeo4/00001.wav`` for each utterance: 1 is
train, 2 dev and 3 test, parts that have nothing to do with the folders of these names. ``vox1_meta.csv`` (names,
genders, nationalities) is not read.
"""

import re
from collections import Counter
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.audio import SUFFIXES
from gandistill.corpora.manifest import SPLITS, Entry
from gandistill.corpora.tree import find_files, without_copies
from gandistill.errors import InputError
from gandistill.files import read_text

NAME = "VoxCeleb1"
LICENCE = "CC BY 4.0 as VoxCeleb's site says; the copyright of the audio remains with the owners of the videos"
EMOTION = "unlabelled"
"""What the manifest says for every utterance: nobody judged the emotion."""
SPLIT_FILES = ("iden_split.txt", "veri_test_class.txt")
SPLIT_SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt"
PARTS = dict(zip("123", SPLITS, strict=True))
UTTERANCE = re.compile(r"id1[01]\d{3}/[\w-]{11}/\d{5}", re.ASCII)
"""Speakers are id10001 to id11251; those of VoxCeleb2, which often lies beside it, begin with id0."""
LINE = re.compile(rf"([123])\s+({UTTERANCE.pattern})\.wav", re.ASCII)

SUPERB_SID = {"train": 138_361, "dev": 6_904, "test": 8_251}
"""Utterances of each part of the whole ``iden_split.txt``, which SUPERB's speaker identification uses as it is."""


def read(root: Path) -> list[Entry]:
    """The utterances by speaker, video and number, with the split of ``iden_split.txt`` where there is one.

    The session is the video; the id is s3prl's, ``id10001-1zcIwhmdeo4-00001``. An utterance of the split whose audio is
    missing stays listed, so that the scan of the audio reports it; one that is not in the split has none. How many are
    missing is said, and so are files that are not named as VoxCeleb1 names them, which are left out. A second copy of
    the same tree is read once.

    Raises InputError if there is nothing of VoxCeleb1 below ``root``, a line of the split cannot be read, two files of
    one utterance differ, or two files say different splits.
    """
    speech, lists, others = {}, [], []
    for file in find_files(root, SUFFIXES + SPLIT_FILES):
        name = "/".join((*file.parts[-3:-1], file.stem))
        if file.name in SPLIT_FILES:
            lists.append(file)
        elif UTTERANCE.fullmatch(name):
            speech[file] = name
        else:
            others.append(file)
    if not speech:
        raise InputError(f"{root}: no VoxCeleb1 found, expected files such as dev/wav/id10001/1zcIwhmdeo4/00001.wav")
    if others:
        say(f"{NAME}: left out {len(others)} files not named as {NAME} names them, the first is {others[0]}")
    split = _split(lists)
    files = {speech[file]: file for file in without_copies(speech, speech.__getitem__)}
    if missing := sorted(split.keys() - files.keys()):
        say(f"{NAME}: {len(missing)} of {len(split)} utterances of the split have no audio, the first is {missing[0]}")
    folder = min(file.parents[2] for file in speech)
    files |= {name: folder / f"{name}.wav" for name in missing}
    return [_entry(name, file, split.get(name, "")) for name, file in sorted(files.items())]


def read_split(path: Path) -> dict[str, str]:
    """Train, dev or test for each ``speaker/video/number`` of a file such as ``iden_split.txt``; blank lines are fine.

    Raises InputError, naming the line, for one that cannot be read or names an utterance again; if there is none; or as
    ``files.read_text`` does.
    """
    lines, split = {}, {}
    for number, line in enumerate(read_text(path).removeprefix("\ufeff").split("\n"), 1):
        if not line.strip():
            continue
        words = LINE.fullmatch(line.strip())
        if words is None:
            raise InputError(f"{path}, line {number}: expected 1, 2 or 3 and a name: '1 id10001/1zcIwhmdeo4/00001.wav'")
        part, name = words[1], words[2]
        if name in lines:
            raise InputError(f"{path}, line {number}: {name}.wav is already on line {lines[name]}")
        lines[name], split[name] = number, PARTS[part]
    if not split:
        raise InputError(f"{path}: holds no utterance, get it anew from {SPLIT_SOURCE}")
    return split


def superb_sid(entries: list[Entry], fold: int, seed: int) -> list[Entry]:
    """SUPERB's speaker identification: the utterances of ``iden_split.txt`` in its parts, which share all speakers.

    Nothing is drawn, so ``seed`` does not count, and there is one fold. Utterances that the file does not name are left
    out, which is said; so it is if the parts have not SUPERB's sizes, 138,361 / 6,904 / 8,251.

    Raises InputError if no utterance has a split, because there was no such file.
    """
    listed = [entry for entry in entries if entry.split]
    if not listed:
        raise InputError(f"Protocol superb-sid needs iden_split.txt beside the audio: get it from {SPLIT_SOURCE}")
    if left_out := len(entries) - len(listed):
        say(f"Protocol superb-sid: left out {left_out} utterances that are not in the split")
    sizes = Counter(entry.split for entry in listed)
    if sizes != SUPERB_SID:
        counts, whole = (", ".join(f"{part} {of[part]}" for part in SPLITS) for of in (sizes, SUPERB_SID))
        say(f"Protocol superb-sid: {counts}; SUPERB has {whole}: not comparable with its numbers")
    return listed


def _split(lists: list[Path]) -> dict[str, str]:
    """What the files that say the split agree on; empty where there is none."""
    splits = [read_split(file) for file in lists]
    for file, split in zip(lists, splits, strict=True):
        if split != splits[0]:
            raise InputError(f"{lists[0]} and {file} say different splits: keep one of them")
    return splits[0] if splits else {}


def _entry(name: str, file: Path, split: str) -> Entry:
    speaker, video, _ = name.split("/")
    return Entry(id=name.replace("/", "-"), path=file, emotion=EMOTION, speaker=speaker, session=video, split=split)
