"""The audio of a corpus, read as mono, 16 kHz, float32."""

import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from gandistill.console import track
from gandistill.corpora.containers import CHECKED, Patched, check_rate, mended, says_length
from gandistill.corpora.faults import SHORTEST_SECONDS, AudioError, Note, Reason
from gandistill.corpora.forward import Forward
from gandistill.corpora.manifest import Entry
from gandistill.corpora.mpg123 import quiet

T = TypeVar("T")
File = soundfile.SoundFile | Forward
SAMPLE_RATE = 16_000
SUFFIXES = (".wav", ".flac", ".rf64", ".w64", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".sph", ".ogg", ".oga")
SUFFIXES += (".opus", ".mp3")
"""Of audio that is read, the best first: of one recording in several encodings that is the one."""
OTHER_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".webm", ".ac3", ".ape", ".wv", ".mka")
"""Of audio that is not."""
MALFORMED = 3
"""libsndfile's number for a file of a kind that it reads which is damaged."""
DURATION_TOLERANCE = 0.05
"""Seconds by which a manifest's duration may differ from the file's: it forgives rounding to a tenth."""
FULL_SCALE = 32.0
"""Beyond it float samples are not between -1 and 1 with some overshoot, but whole numbers of another scale."""
CANCELLED, APART = 0.01, 0.75
"""Of the power of a file's channels what their average has at the most where they cancel, and where they differ."""
STEPS = {"PCM_U8": 2.0**-7, "PCM_S8": 2.0**-7, "PCM_16": 2.0**-15}
"""Between two sample values, where silence may toggle: by libsndfile's names of encodings."""
BLOCK_FRAMES = 2**18


def load(path: Path, channel: int | None = None) -> NDArray[np.float32]:
    """Samples [samples] of an audio file, mono, 16 kHz, about -1..1.

    Of several channels the one asked for is taken (1 is the first), or their average: right for channels that carry
    the same sound or different speakers, wrong for microphones that stand apart, whose channels partly cancel, so the
    reader of such a corpus asks for one. Channels that hold one value other than 0 take no part, and those that cancel
    each other are refused. A WAV that promises no samples, or is wrong by a header's length, is read to its end. Other
    sample rates are resampled by a polyphase filter. Raises AudioError.
    """
    return np.concatenate([*stream(path, channel)])


def stream(
    path: Path,
    channel: int | None = None,
    notes: list[Note] | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Iterator[NDArray[np.float32]]:
    """What ``load`` gives, to the bit, in blocks [samples], in memory that does not grow with the file.

    From second ``start`` to second ``end`` where they are given, as if a file held these alone. What should be known of
    the file is added to ``notes``. Raises AudioError, at the end of the file where the file as a whole is bad:
    truncated, too short, silent.
    """
    notes = [] if notes is None else notes
    with opened(path, notes) as file:
        yield from _excerpt(path, file, _place(path, file, start, end), channel, notes)


def load_utterance(entry: Entry) -> NDArray[np.float32]:
    """``load`` of what an entry is of its file: its channel, from its start to its end. Raises AudioError."""
    return np.concatenate([*stream_utterance(entry)])


def stream_utterance(entry: Entry, notes: list[Note] | None = None) -> Iterator[NDArray[np.float32]]:
    """``stream`` of what an entry is of its file. Raises AudioError, which says where in the file."""
    try:
        yield from stream(entry.path, entry.channel, notes, entry.start, entry.end)
    except AudioError as error:
        raise error.of(entry) from None


def load_segments(entries: Iterable[Entry]) -> Iterator[tuple[Entry, NDArray[np.float32] | AudioError, list[Note]]]:
    """``load_utterance`` of segments of one file, by their starts, with what should be known of it.

    The file is decoded once for all of them; in memory is one at a time, and what others have of its seconds.
    """
    segments, notes = sorted(entries, key=lambda entry: entry.start or 0.0), list[Note]()
    try:
        with opened(segments[0].path, notes) as file:
            forward = Forward(file)
            for entry in segments:
                said = [*notes]
                try:
                    place = _place(entry.path, forward, entry.start, entry.end)
                    forward.since(place.start)
                    found = np.concatenate([*_excerpt(entry.path, forward, place, entry.channel, said)])
                except AudioError as error:
                    found = error.of(entry)
                yield entry, found, said
    except AudioError as error:  # of opening it
        yield from ((entry, error.of(entry), []) for entry in segments)


def by_file(entries: Sequence[Entry]) -> list[list[int]]:
    """Numbers of the utterances that are decoded together: segments of one file, each other one alone."""
    groups = defaultdict[Path | int, list[int]](list)
    for number, entry in enumerate(entries):
        groups[number if entry.segment is None else entry.path].append(number)
    return list(groups.values())


def map_by_file(work: Callable[[list[Entry]], Sequence[T]], entries: Sequence[Entry], what: str) -> list[T]:
    """What ``work`` gives of each utterance, in order; it is given those that are decoded together, in threads."""
    groups = by_file(entries)
    with ThreadPool(os.cpu_count()) as pool:
        found = pool.imap(work, ([entries[number] for number in group] for group in groups))
        numbered = chain.from_iterable(map(zip, groups, found))
        given = dict(track(numbered, what, len(entries), unit="files"))
    return [given[number] for number in range(len(entries))]


def loaders(entries: Sequence[Entry]) -> Iterator[Callable[[], NDArray[np.float32]]]:
    """What gives the samples of each utterance, in order; segments are decoded as the first of their file is reached.

    What it gives raises AudioError.
    """
    group_of = {number: group for group in by_file(entries) for number in group}
    held = dict[str, NDArray[np.float32] | AudioError]()
    for number, entry in enumerate(entries):
        if entry.segment is None:
            yield partial(load_utterance, entry)
            continue
        if entry.id not in held:
            held |= {other.id: found for other, found, _ in load_segments(entries[n] for n in group_of[number])}
        yield partial(_given, held.pop(entry.id))


@contextmanager
def opened(path: Path, notes: list[Note]) -> Iterator[soundfile.SoundFile]:
    """A file whose header promises audio, at its first sample; what had to be mended is added to ``notes``."""
    with ExitStack() as stack:
        try:
            source = mended(path, notes)
            if isinstance(source, Patched):
                stack.enter_context(source)
            if path.suffix.lower() == ".mp3":
                stack.enter_context(quiet())
            file = stack.enter_context(soundfile.SoundFile(source))
        except (FileNotFoundError, NotADirectoryError):
            raise AudioError(path, Reason.MISSING) from None
        except PermissionError:
            raise AudioError(path, Reason.PERMISSION) from None
        except OSError as error:
            raise AudioError(path, Reason.UNREADABLE, error.strerror or "") from None
        except ValueError as error:  # a name that no file can have, such as one with a NUL
            raise AudioError(path, Reason.UNREADABLE, str(error)) from None
        except soundfile.LibsndfileError as error:
            reason = Reason.TRUNCATED if error.code == MALFORMED else Reason.NOT_AUDIO
            raise AudioError(path, reason, _plain(error)) from None
        if file.format not in CHECKED:
            raise AudioError(path, Reason.CONTAINER, f"{file.format}: convert it to WAV or FLAC")
        check_rate(path, file.samplerate)
        yield file


def promised_seconds(path: Path) -> float:
    """Seconds of audio that a file's header promises, 0 if it is no audio: for a first idea, since none is decoded."""
    try:
        with opened(path, []) as file:
            return file.frames / file.samplerate
    except AudioError:
        return 0.0


def _given(found: NDArray[np.float32] | AudioError) -> NDArray[np.float32]:
    if isinstance(found, AudioError):
        raise found
    return found


def _excerpt(
    path: Path, file: File, place: range, channel: int | None, notes: list[Note]
) -> Iterator[NDArray[np.float32]]:
    """Frames of an open file as blocks [samples], mono, 16 kHz. Raises AudioError."""
    rate, step = file.samplerate, STEPS.get(file.subtype, 0.0)
    heard = _heard(path, file, place, channel, notes)
    blocks = _checked(path, _decoded(path, file, place, heard), rate, step)
    yield from blocks if rate == SAMPLE_RATE else _resampled(blocks, rate)


def _place(path: Path, file: File, start: float | None, end: float | None) -> range:
    """The frames of a file from second ``start`` to second ``end``; an end that was rounded up is the file's."""
    if start is None and end is None:
        return range(file.frames)
    length = file.frames / file.samplerate
    if max(start or 0.0, (end or 0.0) - DURATION_TOLERANCE) >= length:
        asked = f"it starts at {start or 0.0:.3f} s" + ("" if end is None else f" and ends at {end:.3f} s")
        raise AudioError(path, Reason.SEGMENT, f"{asked}, the file ends at {length:.3f} s")
    first = round((start or 0.0) * file.samplerate)
    last = file.frames if end is None else min(round(end * file.samplerate), file.frames)
    return range(first, last)


def _heard(path: Path, file: File, place: range, channel: int | None, notes: list[Note]) -> list[int]:
    """The channels, from 0, whose average is heard: the one asked for, or all but those that hold one value.

    A channel of zeros stays, so that a voice panned to one side keeps its level. Raises AudioError for a channel that
    is not there, or channels whose average has less than a hundredth of their power.
    """
    if channel is not None:
        if not 1 <= channel <= file.channels:
            raise AudioError(path, Reason.NO_CHANNEL, f"channel {channel} is asked for, the file has {file.channels}")
        return [channel - 1]
    if file.channels == 1:
        return [0]
    lowest, highest = np.full(file.channels, np.inf), np.full(file.channels, -np.inf)
    products, sums, count = np.zeros((file.channels, file.channels)), np.zeros(file.channels), 0
    with np.errstate(invalid="ignore", over="ignore"):  # infinite samples are found afterwards
        for block in _blocks(path, file, place, "float64"):
            lowest, highest = np.minimum(lowest, block.min(0)), np.maximum(highest, block.max(0))
            products, sums, count = products + block.T @ block, sums + block.sum(0), count + len(block)
        covariance = products / max(count, 1) - np.outer(sums, sums) / max(count, 1) ** 2
    live = np.flatnonzero((lowest != highest) | (lowest == 0)).tolist()
    if not live or not np.isfinite(covariance).all():
        return list(range(file.channels))
    if len(live) < file.channels:
        notes.append(Note.DEAD)
    among = covariance[np.ix_(live, live)]
    power, averaged = among.diagonal().mean(), among.mean()
    if averaged < CANCELLED * power:
        raise AudioError(path, Reason.CANCEL, "choose one: a column channel of the table, or --channel 1")
    if averaged < APART * power:
        notes.append(Note.APART)
    return live


def _blocks(path: Path, file: File, place: range, dtype: Literal["float32", "float64"]) -> Iterator[NDArray[Any]]:
    """Blocks [frames, channels] of a place in a file. Raises AudioError where it is damaged."""
    try:
        if not file.seekable():  # GSM 6.10 in WAV, which is mono: never looked at twice
            file.read(place.start, dtype, True)
        elif file.tell() != place.start:
            file.seek(place.start)
        left = len(place) if place.stop < file.frames else sys.maxsize  # a header may promise less than there is
        while left > 0 and len(block := file.read(min(left, BLOCK_FRAMES), dtype=dtype, always_2d=True)):
            left -= len(block)
            yield block
    except soundfile.LibsndfileError as error:
        raise AudioError(path, Reason.TRUNCATED, _plain(error)) from None


def _decoded(path: Path, file: File, place: range, heard: list[int]) -> Iterator[NDArray[np.float32]]:
    """Blocks [samples] of the average of these channels, from 0.

    A header may promise any size, so it is believed only once that many samples were there.
    """
    samples = 0
    for block in _blocks(path, file, place, "float32"):
        samples += len(block)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite samples are found afterwards
            mono = block[:, heard].mean(axis=1)
        yield mono
    if not samples:
        if file.format == "OGG":  # whose length is on its last page
            raise AudioError(path, Reason.TRUNCATED, "its last page is missing")
        raise AudioError(path, Reason.HEADER_ONLY)
    if samples < len(place) and (file.format != "MP3" or says_length(path)):
        raise AudioError(path, Reason.TRUNCATED, f"its header promises {len(place)} samples, {samples} are there")


def _checked(
    path: Path, blocks: Iterable[NDArray[np.float32]], rate: int, step: float
) -> Iterator[NDArray[np.float32]]:
    """Pass blocks on, unless what they hold is no speech; samples that move by one ``step`` alone are silence."""
    samples, lowest, highest = 0, math.inf, -math.inf
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(path, Reason.NOT_FINITE)
        samples, lowest, highest = samples + len(block), min(lowest, block.min()), max(highest, block.max())
        if max(-lowest, highest) > FULL_SCALE:
            detail = f"they reach {max(-lowest, highest):,.0f}, expected -1 to 1: divide by the scale they are of"
            raise AudioError(path, Reason.SCALE, detail)
        yield block
    if samples < SHORTEST_SECONDS * rate:
        raise AudioError(path, Reason.SHORT, f"{1000 * samples / rate:.1f} ms")
    if lowest == highest == 0:
        raise AudioError(path, Reason.SILENT)
    if highest - lowest <= step:
        raise AudioError(path, Reason.CONSTANT)


def _plain(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")


def _resampled(blocks: Iterable[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    """Blocks [samples] at 16 kHz of blocks at another rate, the same bits however those are cut.

    ``down`` samples become ``up``. A block is resampled between the samples before and after it that the filter sees,
    zeros at both ends of the file: scipy's is 20 max(up, down) + 1 long at ``up`` times the rate.
    """
    from scipy.signal import resample_poly

    common = math.gcd(SAMPLE_RATE, rate)
    up, down = SAMPLE_RATE // common, rate // common
    seen = 10 * max(up, down) // up + 1
    margin = -(-seen // down)  # in steps of ``down`` samples, which become ``up`` of the output
    around = np.zeros(margin * down, np.float32)
    held = around

    def resampled(steps: int) -> NDArray[np.float32]:
        samples = resample_poly(held, up, down)
        return samples[margin * up : (margin + steps) * up].astype(np.float32)

    for block in blocks:
        held = np.concatenate([held, block])
        steps = len(held) // down - 2 * margin
        if steps > 0:
            yield resampled(steps)
            held = held[steps * down :]
    left = len(held) - len(around)
    held = np.concatenate([held, around, around])
    yield resampled(-(-left // down))[: -(-left * up // down)]
