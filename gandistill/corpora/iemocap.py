"""IEMOCAP: acted dyads in English, five sessions of a woman and a man, scripted and improvised (about 12 hours).

Source: C. Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", Language Resources and
Evaluation 42, 2008. Licence: research use after signing the release form of the University of Southern California, no
redistribution. Get it from https://sail.usc.edu/iemocap/. On disk, under ROOT or ROOT/IEMOCAP_full_release:

    SessionN/sentences/wav/<dialog>/<utterance>.wav     (or .flac)
    SessionN/dialog/EmoEvaluation/<dialog>.txt

with label lines ``[6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]`` among others.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from gandistill.console import say
from gandistill.corpora.audio import SUFFIXES
from gandistill.corpora.manifest import GENDERS, Entry
from gandistill.errors import InputError

NAME = "IEMOCAP"
LICENCE = "IEMOCAP release form (University of Southern California): research use, no redistribution"
RELEASE = "IEMOCAP_full_release"
EMOTIONS = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
"""SUPERB's four classes: excited counts as happy, every other label is left out."""
SUPERB_LIST = Path(__file__).with_name("data") / "iemocap_superb.csv"
SUPERB_TRAIN = 0.8
SUPERB_SEED = 0
LABEL = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\t(\S+)\t(\w+)\t\[")
UTTERANCE = re.compile(r"Ses0([1-5])[FM]_\w+_([FM])\d+[a-z]?")


def read(root: Path) -> list[Entry]:
    """The utterances of SUPERB's four classes (neu, hap with exc, ang, sad), by session, dialog and time.

    The speaker is who speaks, session and gender: in ``Ses01F_impro01_M003``, where Session 1's woman wears the
    sensors, it is Session 1's man, ``Ses01M``. (s3prl takes ``Ses01F`` as the speaker.) The text is the dialog's name.
    An utterance whose audio is missing stays listed, so that the scan of the audio reports it.

    Raises InputError if there are no labels under ``root``, or a label line cannot be read.
    """
    release = root / RELEASE if (root / RELEASE).is_dir() else root
    sessions = sorted(release.glob("Session[1-5]"))
    entries, others = [], Counter[str]()
    for session in sessions:
        for name, label in _labels(session):
            if label in EMOTIONS:
                entries.append(_entry(session, name, EMOTIONS[label]))
            else:
                others[label] += 1
    if not entries:
        raise InputError(f"{root}: no IEMOCAP labels found, expected Session1/dialog/EmoEvaluation/*.txt in it")
    if others:
        counts = ", ".join(f"{label} {count}" for label, count in sorted(others.items()))
        say(f"{NAME}: left out {others.total()} utterances of other labels than neu, hap, exc, ang, sad: {counts}")
    return entries


def _labels(session: Path) -> Iterator[tuple[str, str]]:
    """Utterance names and labels as annotated. Only the lines that begin with a time span hold the agreed label."""
    for file in sorted((session / "dialog" / "EmoEvaluation").glob("*.txt")):
        if file.name.startswith("."):  # the release was packed on a Mac, which adds "._" files
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if line.startswith("["):
                label = LABEL.match(line)
                if label is None:
                    raise InputError(f"{file}, line {number}: expected '[start - end]<TAB>utterance<TAB>label<TAB>['")
                yield label[1], label[2]


def _entry(session: Path, name: str, emotion: str) -> Entry:
    parts = UTTERANCE.fullmatch(name)
    if parts is None or parts[1] != session.name[-1]:
        raise InputError(f"{session}: utterance {name!r} is not named as {session.name} names them")
    dialog = name.rpartition("_")[0]
    wav = session / "sentences" / "wav" / dialog / f"{name}.wav"
    files = (wav.with_suffix(suffix) for suffix in SUFFIXES)
    return Entry(
        id=name,
        path=next((file for file in files if file.exists()), wav),
        emotion=emotion,
        speaker=f"Ses0{parts[1]}{parts[2]}",
        gender=GENDERS[parts[2].lower()],
        session=parts[1],
        text=dialog,
    )


def superb_list() -> dict[str, str]:
    """Name and label of the 5,531 four-class utterances in the order s3prl found them, Session 1 to 5."""
    with SUPERB_LIST.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["emotion"] for row in csv.DictReader(file)}


def superb(entries: list[Entry], fold: int, seed: int) -> list[Entry]:
    """SUPERB's fold: Session ``fold`` is the test part, a seeded 80/20 split of the other sessions train and dev.

    The members are those of s3prl 0.4 (``downstream/emotion``): its list order is shipped, because s3prl takes it from
    the file system, and its split's seed is fixed at 0, whatever ``seed`` is. Fold 1 has 3,556 / 890 / 1,085. The
    split is by utterance, so all speakers of train are in dev as well, and a head chosen on dev is chosen on speakers
    it knows; ``speaker-independent`` is the protocol with other speakers in dev.

    Raises InputError if an utterance of the list is missing, or a label differs from the list.
    """
    listed = superb_list()
    known = {entry.id: entry for entry in entries}
    if missing := [name for name in listed if name not in known]:
        raise InputError(
            f"Protocol superb needs the {len(listed)} utterances of its list, {len(missing)} are missing, "
            f"the first is {missing[0]}: is this the full release of IEMOCAP?"
        )
    if differing := [name for name, emotion in listed.items() if known[name].emotion != emotion]:
        first = differing[0]
        raise InputError(
            f"Protocol superb: {len(differing)} labels differ from its list, "
            f"the first is {first}: {known[first].emotion!r}, expected {listed[first]!r}"
        )
    if added := len(known) - len(listed):
        say(f"Protocol superb: left out {added} utterances that are not in its list")

    rest = [name for name in listed if known[name].session != str(fold)]
    order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(SUPERB_SEED)).tolist()
    train = {rest[i] for i in order[: int(SUPERB_TRAIN * len(rest))]}
    parts = {name: "train" if name in train else "dev" for name in rest}
    return [replace(known[name], split=parts.get(name, "test")) for name in listed]
