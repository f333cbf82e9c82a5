"""Corpora for tests: the folders, names and annotation files of the real ones, with noise instead of speech.

Every file is a valid 16 kHz mono WAV of its own (EMOVO's: 48 kHz, stereo): a tone whose pitch depends on the emotion,
under noise that depends on the name. ``limit`` keeps a tree small: at most so many utterances of each emotion by each
speaker.
"""

import csv
import io
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from gandistill.corpora import cremad, demos, emodb, emovo, iemocap
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.manifest import Entry

SECONDS = 0.05
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
OTHER_LABELS = ("fru", "xxx", "sur", "fea", "oth", "dis")
RAVDESS_EMOTIONS = ("01", "02", "03", "04", "05", "06", "07", "08")
NEMO_SPEAKERS = ("EB0", "IC0", "KD0", "KS0", "MK0", "MP0", "SM0", "TP0", "WR0")
NEMO_MEN = ("KS0", "MP0", "SM0", "TP0", "WR0")
NEMO_EMOTIONS = ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
EMODB_TEXTS = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
EMOVO_ACTORS = ("f1", "f2", "f3", "m1", "m2", "m3")
EMOVO_SENTENCES = ("b1", "b2", "b3", "d1", "d2", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5")
EMOVO_RATE = 48_000


def fabricate_iemocap(root: Path, limit: int | None = None, seconds: float = SECONDS) -> Path:
    """IEMOCAP's ``IEMOCAP_full_release`` under ``root``: the 5,531 four-class utterances, or ``limit`` of each kind.

    With what a reader must cope with: annotators' lines, agreed labels outside the four classes, excited apart from
    happy, folders of single annotators' files, and the ``._`` files of a Mac. Returns the release's folder.
    """
    release = root / iemocap.RELEASE
    dialogs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    kept = Counter[tuple[str, str, str]]()
    for name, emotion in iemocap.superb_list().items():
        dialog, _, turn = name.rpartition("_")
        kind = (name[:5], turn[0], emotion)
        kept[kind] += 1
        if limit is None or kept[kind] <= limit:
            excited = emotion == "hap" and zlib.crc32(name.encode()) % 3 > 0
            dialogs[dialog].append((name, "exc" if excited else emotion))
    for dialog, utterances in dialogs.items():
        session = release / f"Session{dialog[4]}"
        utterances += [(f"{dialog}_F9{i:02d}", label) for i, label in enumerate(OTHER_LABELS)]
        sounds = session / "sentences" / "wav" / dialog
        for name, label in utterances:
            _write(sounds / f"{name}.wav", label, seconds)
        evaluation = session / "dialog" / "EmoEvaluation"
        (evaluation / "Categorical").mkdir(parents=True, exist_ok=True)
        (evaluation / f"{dialog}.txt").write_text(_evaluation(utterances), encoding="utf-8")
        (evaluation / f"._{dialog}.txt").write_bytes(APPLE_DOUBLE)
        lines = "".join(f"{name} :Neutral state; ()\n" for name, _ in utterances)
        (evaluation / "Categorical" / f"{dialog}_e2_cat.txt").write_text(lines, encoding="utf-8")
    return release


def _evaluation(utterances: list[tuple[str, str]]) -> str:
    """An EmoEvaluation file: a line with the agreed label for each utterance, then what each annotator said."""
    text = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    for turn, (name, label) in enumerate(utterances):
        text += f"[{turn * 5 + 0.25:.4f} - {turn * 5 + 4.5:.4f}]\t{name}\t{label}\t[2.5000, 3.0000, 2.5000]\n"
        text += "C-E2:\tNeutral;\t()\nC-E3:\tAnger; Frustration;\t(curious)\nC-F1:\tNeutral;\t()\n"
        text += "A-E3:\tval 3; act 2; dom  2;\t()\nA-E4:\tval 2; act 3; dom  3;\t(mildly aggravated)\n\n"
    return text


def fabricate_demos(root: Path, names: Path | None = None, limit: int | None = None, seconds: float = SECONDS) -> Path:
    """DEMoS' two folders under ``root``; returns ``root``.

    ``names`` is a text file with a name on each line (``DEMOS/NP_f_01_col07b.wav``); without it, six speakers with
    three items of each of the eight emotions.
    """
    listed = names.read_text(encoding="utf-8").split() if names is not None else _demos_names(speakers=6, items=3)
    kept = Counter[tuple[str, str]]()
    for name in listed:
        _, speaker, item = name.removesuffix(".wav").rsplit("_", 2)
        kept[speaker, item[:3]] += 1
        if limit is None or kept[speaker, item[:3]] <= limit:
            _write(root / name, item[:3], seconds)
    return root


def _demos_names(speakers: int, items: int) -> Iterable[str]:
    for speaker in range(1, speakers + 1):
        gender = "fm"[speaker % 2]
        for emotion in demos.EMOTIONS:
            for item in range(items):
                folder = "NEU/" if emotion == "neu" else "DEMOS/NP_" if item else "DEMOS/PR_"
                yield f"{folder}{gender}_{speaker:02d}_{emotion}{item:02d}b.wav"


def fabricate_ravdess(root: Path, actors: int = 24, limit: int | None = None, seconds: float = SECONDS) -> Path:
    """RAVDESS' speech under ``root``: 60 utterances of each actor, 1,440 in all; returns ``root``."""
    for actor in range(1, actors + 1):
        for emotion in RAVDESS_EMOTIONS:
            intensities = ("01",) if emotion == "01" else ("01", "02")  # neutral has no strong intensity
            names = [
                f"03-01-{emotion}-{intensity}-{statement}-{repetition}-{actor:02d}.wav"
                for intensity in intensities
                for statement in ("01", "02")
                for repetition in ("01", "02")
            ]
            for name in names[:limit]:
                _write(root / f"Actor_{actor:02d}" / name, emotion, seconds)
    return root


def fabricate_nemo(root: Path, sentences: int = 3, seconds: float = SECONDS) -> Path:
    """nEMO's ``samples/`` and ``data.tsv`` under ``root``: nine speakers, six emotions; returns ``root``.

    As in the real corpus, MK0 has no "surprised", and speaker ids in the table are padded with blanks.
    """
    rows = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"]
    for speaker in NEMO_SPEAKERS:
        gender = "male" if speaker in NEMO_MEN else "female"
        for emotion in NEMO_EMOTIONS:
            if (speaker, emotion) == ("MK0", "surprised"):
                continue
            for sentence in range(1, sentences + 1):
                name = f"{speaker}_{emotion}_{sentence}.wav"
                _write(root / "samples" / name, emotion, seconds)
                text = f"Zdanie {sentence}.\tzdanie {sentence}"
                rows.append(f"{name}\t{emotion}\t{text}\t        {speaker}\t{gender}\t25\n")
    (root / "data.tsv").write_text("".join(rows), encoding="utf-8")
    return root


def fabricate_emodb(root: Path, limit: int | None = None, seconds: float = SECONDS) -> Path:
    """EMO-DB's ``wav/`` under ``root``; returns ``root``.

    Each of the ten speakers says each of the ten texts in each of the seven emotions: the real corpus has 535 of these
    700, those that listeners recognised.
    """
    for speaker in emodb.GENDERS:
        for emotion in emodb.EMOTIONS:
            for text in EMODB_TEXTS[:limit]:
                _write(root / "wav" / f"{speaker}{text}{emotion}a.wav", emotion, seconds)
    return root


def fabricate_emovo(root: Path, limit: int | None = None, seconds: float = SECONDS) -> Path:
    """EMOVO's six folders under ``root``, 588 utterances in all; returns ``root``.

    Stereo, and worse than the real microphones: each channel is the other's negative, so their average is silence.
    """
    for actor in EMOVO_ACTORS:
        for emotion in emovo.EMOTIONS:
            for sentence in EMOVO_SENTENCES[:limit]:
                path = root / actor / f"{emotion}-{actor}-{sentence}.wav"
                _write(path, emotion, seconds, rate=EMOVO_RATE, channels=(1, -1))
    return root


def fabricate_cremad(root: Path, actors: int = 91, limit: int | None = None, seconds: float = SECONDS) -> Path:
    """CREMA-D's ``AudioWAV/`` and ``VideoDemographics.csv`` under ``root``; returns ``root``.

    Twelve sentences in six emotions of each actor, one of them at three levels where it is not neutral: 82 utterances,
    as most of the real actors have. Every other actor is a woman.
    """
    lines = ['"ActorID","Age","Sex","Race","Ethnicity"\n']
    for actor in range(1001, 1001 + actors):
        for emotion in cremad.EMOTIONS:
            spoken = [
                (sentence, level)
                for sentence in cremad.SENTENCES
                for level in (("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",))
            ]
            for sentence, level in spoken[:limit]:
                mistaken = (actor, sentence, emotion) == (1040, "ITH", "SAD")  # so in the real corpus
                name = f"{actor}_{sentence}_{emotion}_{'X' if mistaken else level}.wav"
                _write(root / "AudioWAV" / name, emotion, seconds)
        lines.append(f'{actor},30,"{"Male" if actor % 2 else "Female"}","Unknown","Not Hispanic"\n')
    (root / cremad.DEMOGRAPHICS).write_text("".join(lines), encoding="utf-8")
    return root


def fabricate_voxceleb1(
    root: Path, speakers: int = 4, utterances: int = 2, merged: bool = False, seconds: float = SECONDS
) -> Path:
    """VoxCeleb1's ``iden_split.txt`` and audio under ``root``; returns ``root``.

    So many utterances of each of four videos of each speaker: two videos train, one dev, one test, as in the real
    split no video is in two parts. The pitch is the speaker's. Every other speaker is one of the verification test,
    below ``test/wav``, the others below ``dev/wav``; all are below ``wav`` if ``merged``.
    """
    lines = []
    for number in range(speakers):
        half, test = divmod(number, 2)
        speaker = f"id{(10270 if test else 10001) + half}"
        folder = root / "wav" if merged else root / ("test" if test else "dev") / "wav"
        for video, part in enumerate("1123"):
            for utterance in range(1, utterances + 1):
                name = f"{speaker}/video-{speaker[3:]}{video}/{utterance:05d}.wav"
                _write(folder / name, speaker, seconds, name)
                lines.append(f"{part} {name}\n")
    (root / "iden_split.txt").write_text("".join(sorted(lines, key=lambda line: zlib.crc32(line.encode()))))
    return root


def write_names(root: Path, *names: str) -> Path:
    """Files of these names below ``root``, each with another content, none of it audio; returns ``root``."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


Facts = tuple[Path, str, str, str, str, float]
"""File, speaker, gender, emotion, text and seconds of an utterance."""


def expected(root: Path) -> list[Facts]:
    """What a correct reader finds in a real corpus, as the ``expected.csv`` beside it says."""
    with (root / "expected.csv").open(encoding="utf-8", newline="") as file:
        return [
            (root / row["path"], row["speaker"], row["gender"], row["emotion"], row["text"], float(row["seconds"]))
            for row in csv.DictReader(file)
        ]


def described(entry: Entry) -> Facts:
    """What a reader found, to be compared with that."""
    return entry.path, entry.speaker, entry.gender, entry.emotion, entry.text, round(entry.duration or 0, 3)


def _write(
    path: Path,
    emotion: str,
    seconds: float,
    name: str = "",
    rate: int = SAMPLE_RATE,
    channels: tuple[float, ...] = (1,),
) -> None:
    """A WAV file; ``channels`` says what each channel multiplies the sound by."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitch = 150 + zlib.crc32(emotion.encode()) % 1000
    tone = np.sin(2 * np.pi * pitch / rate * np.arange(round(seconds * rate)))
    noise = np.random.default_rng(zlib.crc32((name or path.name).encode())).standard_normal(len(tone))
    samples = np.outer(0.1 * tone + 0.03 * noise, channels)
    sound = io.BytesIO()  # given a path, libsndfile writes in many small steps: fifty times slower
    soundfile.write(sound, samples, rate, format="WAV", subtype="PCM_16")
    path.write_bytes(sound.getvalue())
