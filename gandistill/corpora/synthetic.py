"""A small corpus that is synthesised: voiced source-filter speech of ten speakers in four emotions.

Source: made by this module, nothing recorded. Licence: CC0. It lets every command run with no download; results on it
say nothing about human speech. On disk, as ``synthesise`` writes it:

    config.json                         (seed and size)
    sessionN/SNNF_<emotion>_NN.wav      (16 kHz, 16 bits; session, F or M, emotion, number)

A clip is a sentence of syllables (Fant's source-filter model): a glottal source with the pitch contour, jitter,
shimmer and breath of the emotion, noise for fricatives and bursts, both shaped by moving formants, then room noise.
Emotions act on pitch, energy, rate and spectral tilt, but every speaker has a voice of their own and expresses each
emotion in their own way and strength, so that what one speaker teaches holds only in part for the next.
"""

import io
import re
from dataclasses import dataclass, fields
from itertools import product
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from gandistill import artifacts
from gandistill.console import track
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.manifest import GENDERS, Entry
from gandistill.corpora.tree import find_files
from gandistill.errors import InputError

NAME = "synthetic speech"
LICENCE = "CC0-1.0"
KIND = "synthetic corpus"
FILE = re.compile(r"S(\d\d)([FM])_([a-z]+)_(\d\d)")
SENTENCES = (
    "ma.sa.ti.lo|no.fe.ka.su",
    "lo.ne.ka|si.mu.ta.le.no",
    "fa.mi.le.so|ta.nu.li",
    "ki.sa.mo.ne.ta|le.fi.na",
    "tu.le.na.se.mi.fo.ka",
    "no.mi|ka.fo.la.te.su.ne",
)
"""Syllables, a consonant and a vowel each; ``|`` is a pause."""

FRAME, HOP = 512, 128  # samples
AMPLITUDE = 0.02
"""Sets the loudest clips just below full scale."""
PACE = 1.15
"""Factor on the phones' seconds, for clips of about 1.5 to 3.5 s."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Manner:
    """How something is said, as changes to a speaker's plain way of saying it; manners add up."""

    pitch: float = 0.0  # semitones
    span: float = 0.0  # natural log of the factor on the pitch excursions
    slope: float = 0.0  # semitones by which the end lies above the middle
    accent: float = 0.0  # dB by which a stressed syllable stands out
    level: float = 0.0  # dB
    rate: float = 0.0  # natural log of the factor on the speaking rate
    tilt: float = 0.0  # dB per octave above 500 Hz
    breath: float = 0.0  # dB of the breath noise
    rough: float = 0.0  # natural log of the factor on jitter and shimmer
    open: float = 0.0  # natural log of the factor on the first formant

    def __add__(self, other: "Manner") -> "Manner":
        return Manner(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def scaled(self, factors: Array) -> "Manner":
        """Every change times its own factor [10], in the order of the fields."""
        return Manner(*(getattr(self, f.name) * factor for f, factor in zip(fields(self), factors, strict=True)))


EMOTIONS = {
    "neutral": Manner(),
    "happy": Manner(pitch=4.5, span=0.6, slope=3.0, accent=1.0, level=3.0, rate=0.10, tilt=1.0, breath=1.0, open=0.04),
    "sad": Manner(
        pitch=-1.5, span=-0.6, slope=-1.0, accent=-2.0, level=-4.0, rate=-0.16, tilt=-2.0, breath=4.0, rough=0.3
    ),
    "angry": Manner(pitch=2.0, span=0.3, slope=-3.0, accent=4.0, level=5.0, rate=0.12, tilt=2.5, rough=0.7, open=0.08),
}
OWN_WAY = Manner(
    pitch=1.0, span=0.2, slope=1.0, accent=1.0, level=1.5, rate=0.06, tilt=0.7, breath=1.5, rough=0.2, open=0.02
)
"""Standard deviation of what a speaker does in an emotion beside what everybody does."""
MOMENT = Manner(
    pitch=0.8, span=0.25, slope=1.2, accent=1.2, level=2.0, rate=0.07, tilt=0.7, breath=2.0, rough=0.3, open=0.03
)
"""Standard deviation of what changes from one utterance to the next."""
VOICE = Manner(
    pitch=1.2, span=0.2, slope=0.7, accent=1.0, level=2.0, rate=0.07, tilt=1.0, breath=3.0, rough=0.3, open=0.03
)
"""Standard deviation of speakers' plain ways of speaking."""
STRENGTH = (0.6, 1.4)
"""The range of the factors by which speakers exaggerate or hide what everybody does."""

PITCH = {"F": 205.0, "M": 115.0}  # Hz
LIPS = 1.5  # dB per octave, what radiation adds to the spectrum of the source
ROOM = (-71.0, -57.0)  # dB, by session
TRACT = {"F": 1.16, "M": 1.0}  # factor on all formants
BANDWIDTHS = np.array([70.0, 90.0, 130.0, 200.0, 250.0])  # Hz
UPPER_FORMANTS = (3500.0, 4500.0)  # Hz


@dataclass(frozen=True)
class Phone:
    """A speech sound: seconds at rate 1, formants in Hz, voicing 0..1, noise 0..1 around a frequency in Hz."""

    seconds: float
    formants: tuple[float, float, float]
    voice: float = 0.0
    noise: float = 0.0
    centre: float = 4000.0


PHONES = {
    "a": Phone(0.15, (760, 1250, 2550), voice=1.0),
    "e": Phone(0.13, (480, 1900, 2550), voice=1.0),
    "i": Phone(0.12, (300, 2250, 2950), voice=0.9),
    "o": Phone(0.14, (500, 880, 2450), voice=1.0),
    "u": Phone(0.12, (320, 800, 2300), voice=0.9),
    "m": Phone(0.08, (260, 1000, 2200), voice=0.35),
    "n": Phone(0.07, (280, 1500, 2500), voice=0.35),
    "l": Phone(0.06, (360, 1300, 2700), voice=0.5),
    "s": Phone(0.11, (320, 1700, 2600), noise=0.5, centre=5500),
    "f": Phone(0.10, (340, 1100, 2300), noise=0.2, centre=3500),
    "t": Phone(0.03, (350, 1800, 2700), noise=0.7, centre=4200),
    "k": Phone(0.04, (320, 1900, 2300), noise=0.6, centre=2200),
    "_": Phone(0.06, (400, 1500, 2500)),
    "|": Phone(0.20, (450, 1500, 2500)),
}
CLOSED = "tk"


def read(root: Path) -> list[Entry]:
    """The clips by path; sessions 1.., two speakers each, a woman and a man; text is the sentence's number.

    Raises InputError if ``root`` is not what ``synthesise`` writes.
    """
    promised = artifacts.open_artifact(root, KIND, verify=False).get("utterances")
    entries = [_entry(file) for file in find_files(root)]
    if len(entries) != promised:
        raise InputError(
            f"{root}: holds {len(entries)} clips, its {artifacts.CONFIG} says {promised}: synthesise it anew"
        )
    return entries


def _entry(file: Path) -> Entry:
    name = FILE.fullmatch(file.stem)
    if name is None:
        raise InputError(f"{file}: not a clip of a {KIND}, expected a name such as S01F_angry_03.wav")
    session, sex, emotion, number = name.groups()
    return Entry(
        id=file.stem,
        path=file,
        emotion=emotion,
        speaker=f"S{session}{sex}",
        gender=GENDERS[sex.lower()],
        session=str(int(session)),
        text=str(int(number) % len(SENTENCES)),
    )


def synthesise(root: Path, sessions: int = 5, per_class: int = 14, seed: int = 0) -> Path:
    """Write the corpus: ``sessions`` of two speakers, each with ``per_class`` clips of every emotion; returns ``root``.

    The same arguments give the same files, however many threads work. Raises InputError if ``root`` holds anything
    but an earlier synthetic corpus, which is replaced.
    """
    voices = [(session, sex) for session in range(1, sessions + 1) for sex in "FM"]
    clips = [(*clip, seed) for clip in product(voices, EMOTIONS, range(per_class))]
    with artifacts.new_artifact(root, KIND) as folder, ThreadPool() as pool:
        for session in range(1, sessions + 1):
            (folder / f"session{session}").mkdir()
        for name, sound in track(pool.imap(_render, clips), "synthesise speech", len(clips), unit="clips"):
            (folder / name).write_bytes(sound)
        settings = {"seed": seed, "sessions": sessions, "per_class": per_class}
        artifacts.write_json(
            folder / artifacts.CONFIG, artifacts.describe(KIND, settings, utterances=len(clips), licence=LICENCE)
        )
        artifacts.write_text(folder / artifacts.CARD, CARD)
    return root


CARD = """# Synthetic speech

Source-filter speech made by gandistill (`gandistill.corpora.synthetic`), nothing recorded. Licence: CC0-1.0.
It serves to try the commands; results on it say nothing about human speech.
"""


def _render(clip: tuple[tuple[int, str], str, int, int]) -> tuple[str, bytes]:
    """File name and WAV bytes of one clip, which depend on nothing but the clip."""
    (session, sex), emotion, number, seed = clip
    speaker = Speaker.draw(session, sex, seed)
    rng = default_rng([seed, session, ord(sex), 1 + list(EMOTIONS).index(emotion), number])
    samples = speak(SENTENCES[number % len(SENTENCES)], speaker, emotion, rng)
    sound = io.BytesIO()  # given a path, libsndfile writes in many small steps: fifty times slower
    soundfile.write(sound, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return f"session{session}/S{session:02d}{sex}_{emotion}_{number:02d}.wav", sound.getvalue()


@dataclass(frozen=True)
class Speaker:
    """A voice, and its own way with each emotion. ``room`` is the level of the session's noise in dB."""

    pitch: float
    tract: float
    room: float
    manners: dict[str, Manner]

    @classmethod
    def draw(cls, session: int, sex: str, seed: int) -> "Speaker":
        """The speaker of a session (1, 2, ...) and sex (F or M): the same for the same seed."""
        rng = default_rng([seed, session, ord(sex)])
        voice = _drawn(VOICE, rng)
        manners = {
            emotion: voice + manner.scaled(rng.uniform(*STRENGTH, len(fields(Manner)))) + _drawn(OWN_WAY, rng)
            for emotion, manner in EMOTIONS.items()
        }
        tract = TRACT[sex] * np.exp(0.04 * rng.standard_normal())
        return cls(PITCH[sex], tract, default_rng([seed, session]).uniform(*ROOM), manners)


def _drawn(spread: Manner, rng: Generator) -> Manner:
    return spread.scaled(rng.standard_normal(len(fields(Manner))))


def speak(sentence: str, speaker: Speaker, emotion: str, rng: Generator) -> Array:
    """Samples [S] at 16 kHz, within -1..1, of one sentence said in an emotion."""
    manner = speaker.manners[emotion] + _drawn(MOMENT, rng)
    phones, stress = _phones(sentence)
    seconds = np.array([phone.seconds for phone in phones]) * np.exp(0.12 * rng.standard_normal(len(phones)))
    seconds *= np.exp(-manner.rate) * PACE
    ends = np.cumsum(seconds)
    middles = ends - seconds / 2
    time = np.arange(round(ends[-1] * SAMPLE_RATE)) / SAMPLE_RATE
    progress = time / ends[-1]

    def contour(targets: Array | list[float], at: Array) -> Array:
        """What each phone aims at, joined by straight lines from the middle of one to the middle of the next."""
        return np.interp(at, middles, targets)

    stressed = contour(stress - stress.mean(), time)
    wander = np.interp(progress, np.linspace(0, 1, 7), rng.standard_normal(7))
    excursion = np.exp(manner.span) * (2.5 * stressed + 0.6 * wander - 2.5 * (progress - 0.5))
    semitones = manner.pitch + excursion + manner.slope * (progress - 0.5) * 2
    source = _glottis(speaker.pitch * 2 ** (semitones / 12), np.exp(manner.rough), rng)

    loudness = _amplitude(manner.level + (4 + manner.accent) * stressed - 3 * progress)
    voiced = contour([phone.voice for phone in phones], time)
    breath = _amplitude(manner.breath - 28) * rng.standard_normal(len(time))
    hiss = contour([phone.noise for phone in phones], time) * rng.standard_normal(len(time)) * 0.25
    frames = np.arange(0, len(time), HOP) / SAMPLE_RATE
    formants = np.stack([contour([phone.formants[i] for phone in phones], frames) for i in range(3)], axis=1)
    formants[:, 0] *= np.exp(manner.open)
    upper = np.broadcast_to(UPPER_FORMANTS, (len(frames), 2))
    tract = _resonances(np.concatenate([formants, upper], axis=1) * speaker.tract)
    centre = contour([phone.centre for phone in phones], frames) * speaker.tract
    tilt = _tilt(manner.tilt + LIPS)
    voice = _filtered(loudness * voiced * (source + breath), tract * tilt)
    noise = _filtered(loudness * hiss, _band(centre))
    room = _amplitude(speaker.room + 3 * rng.standard_normal()) * rng.standard_normal(len(time))
    return np.tanh(AMPLITUDE * (voice + noise) + room)


def _phones(sentence: str) -> tuple[list[Phone], Array]:
    """The sounds of a sentence with silence around it, and which of them are stressed (every other syllable)."""
    letters, stress, syllable = "_", [0.0], 0
    for letter in sentence:
        if letter == ".":
            continue
        sounds = "_" + letter if letter in CLOSED else letter
        letters += sounds
        stress += [float(syllable % 2 == 0 and letter != "|")] * len(sounds)
        syllable += letter in "aeiou"
    return [PHONES[letter] for letter in letters + "_"], np.array([*stress, 0.0])


def _glottis(pitch: Array, roughness: float, rng: Generator) -> Array:
    """The derivative of a Rosenberg glottal flow [S] for a pitch [S] in Hz, with jitter and shimmer by cycle."""
    cycles = np.cumsum(pitch) / SAMPLE_RATE
    count = int(cycles[-1]) + 2
    jitter = np.cumsum(0.012 * roughness * rng.standard_normal(count))
    shimmer = np.exp(0.06 * roughness * rng.standard_normal(count))
    cycles = cycles + np.interp(cycles, np.arange(count), jitter - np.linspace(0, jitter[-1], count))
    phase = cycles % 1.0
    opening, closing = 0.4, 0.16
    rise = np.sin(np.pi * phase / opening) * (phase < opening)
    fall = np.sin(np.pi * (phase - opening) / (2 * closing)) * (opening / closing)
    flow = rise - fall * ((phase >= opening) & (phase < opening + closing))
    return flow * shimmer[np.clip(cycles.astype(int), 0, count - 1)]


FREQUENCIES = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)
WINDOW = np.sqrt(np.hanning(FRAME + 1)[:-1])


def _resonances(formants: Array) -> Array:
    """Magnitude response [T, F] of formants [T, 5] in cascade, 1 at 0 Hz (Klatt's resonators, analogue)."""
    f, b = formants[:, :, None], BANDWIDTHS[None, :, None] / 2
    square = FREQUENCIES**2
    gain = (f**2 + b**2) / np.sqrt(((f**2 + b**2) - square) ** 2 + (2 * b) ** 2 * square)
    return gain.prod(axis=1)


def _tilt(decibels: float) -> Array:
    """Magnitude response [F] that changes by so many dB per octave above 500 Hz."""
    return _amplitude(decibels * np.log2(np.maximum(FREQUENCIES, 500) / 500))


def _band(centre: Array) -> Array:
    """Magnitude response [T, F] of noise around a centre [T] in Hz."""
    return np.exp(-0.5 * ((FREQUENCIES - centre[:, None]) / 1200) ** 2)


def _filtered(samples: Array, response: Array) -> Array:
    """Samples [S] through a magnitude response [T, F] that changes every HOP samples (overlap and add)."""
    padded = np.pad(samples, (FRAME // 2, FRAME))
    windows = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][: len(response)]
    shaped = np.fft.irfft(np.fft.rfft(windows * WINDOW) * response, FRAME) * WINDOW
    out = np.zeros(len(response) * HOP + FRAME)
    for part in range(FRAME // HOP):  # frames that do not overlap each other, laid end to end
        strip = shaped[part :: FRAME // HOP].reshape(-1)
        out[part * HOP : part * HOP + len(strip)] += strip
    return out[FRAME // 2 : FRAME // 2 + len(samples)] * (2 * HOP / FRAME)


def _amplitude(decibels: float | Array) -> Array:
    return 10.0 ** (np.asarray(decibels) / 20)
