from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gandistill.corpora import audio
from gandistill.corpora.audio import by_file, load, load_segments, load_utterance, loaders
from gandistill.corpora.faults import AudioError, Note, Reason
from gandistill.corpora.forward import Forward
from gandistill.corpora.manifest import Entry
from gandistill.corpora.verdicts import scan

RATE = 44_100
PLACES = [(12.0, 13.5), (0.0, 1.0), (0.5, 2.0), (None, 0.4), (6.0, 6.5), (13.0, None)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames that libsndfile decodes, block by block."""
    read, counts = soundfile.SoundFile.read, list[int]()

    def counted(file: soundfile.SoundFile, *words: Any, **named: Any) -> Any:
        block = read(file, *words, **named)
        counts.append(len(block))
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    return counts


def recording(path: Path, channels: int = 1) -> list[Entry]:
    sound = np.random.default_rng(0).normal(0, 0.1, (15 * RATE, channels))
    soundfile.write(path, sound, RATE)
    return [Entry(f"u{n}", path, "happy", "s", start=start, end=end) for n, (start, end) in enumerate(PLACES)]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_segments_are_what_they_are_alone(tmp_path: Path, suffix: str, channels: int) -> None:
    entries = recording(tmp_path / f"a.{suffix}", channels)
    found = {entry.id: samples for entry, samples, _ in load_segments(entries)}
    for entry in entries:
        np.testing.assert_array_equal(found[entry.id], load_utterance(entry))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_segments_are_parts_of_the_whole(tmp_path: Path, suffix: str) -> None:
    """Which seeking does not promise: some decoders begin with other samples then."""
    sound = np.random.default_rng(0).normal(0, 0.1, 15 * audio.SAMPLE_RATE)
    soundfile.write(tmp_path / f"a.{suffix}", sound, audio.SAMPLE_RATE)
    whole = load(tmp_path / f"a.{suffix}")
    for entry, samples, _ in load_segments(recording_of(tmp_path / f"a.{suffix}")):
        first = round((entry.start or 0.0) * audio.SAMPLE_RATE)
        np.testing.assert_allclose(samples, whole[first : first + len(samples)], atol=1e-6)


def test_a_place_behind_the_end_of_a_cut_file_is_damaged_and_those_before_it_are_read(tmp_path: Path) -> None:
    """A FLAC whose last third is lost: what was read before is kept, though libsndfile cannot seek to the rest."""
    entries = recording(tmp_path / "a.flac")
    whole = entries[0].path.read_bytes()
    entries[0].path.write_bytes(whole[: 2 * len(whole) // 3])
    results = {entry.id: result for entry, result, _ in load_segments(entries)}
    damaged = {name: result for name, result in results.items() if isinstance(result, AudioError)}
    assert {*damaged} == {"u0", "u5"}, "those from 12 and 13 seconds on"
    assert {error.reason for error in damaged.values()} == {Reason.TRUNCATED}


def recording_of(path: Path) -> list[Entry]:
    return [Entry(f"u{n}", path, "happy", "s", start=start, end=end) for n, (start, end) in enumerate(PLACES)]


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_a_file_is_decoded_once_for_all_its_segments(tmp_path: Path, suffix: str, decoded: list[int]) -> None:
    entries = recording(tmp_path / f"a.{suffix}", channels=2)
    for load_one in loaders(entries):
        load_one()
    seconds = sum(decoded) / RATE
    assert seconds == pytest.approx(15 if suffix == "mp3" else 2.0 + 0.5 + 3.0, abs=0.1)


def test_segments_are_together_and_others_alone(tmp_path: Path) -> None:
    whole = Entry("w", tmp_path / "a.wav", "happy", "s")
    first, second = (replace(whole, id=f"u{n}", start=n) for n in (1.0, 2.0))
    other = replace(first, path=tmp_path / "b.wav")
    assert by_file([whole, first, whole, other, second]) == [[0], [1, 4], [2], [3]]


def test_what_is_wrong_with_one_segment_is_its_own(tmp_path: Path) -> None:
    entries = recording(tmp_path / "a.wav")
    silent = np.random.default_rng(0).normal(0, 0.1, 15 * RATE)
    silent[6 * RATE : 7 * RATE] = 0
    soundfile.write(tmp_path / "a.wav", silent, RATE)
    late = replace(entries[0], id="late", start=20.0, end=21.0)
    good, bad = scan([*entries, late])
    assert [entry.id for entry in good] == ["u0", "u1", "u2", "u3", "u5"]
    assert [error.why for error in bad] == [
        "all samples are zero (of 'u4', seconds 6.0 to 6.5)",
        "segment outside the file (it starts at 20.000 s and ends at 21.000 s, the file ends at 15.000 s, of 'late', "
        "seconds 20.0 to 21.0)",
    ]


def test_a_file_that_cannot_be_opened_is_named_by_each_segment(tmp_path: Path) -> None:
    good, bad = scan(recording_of(tmp_path / "gone.wav"))
    assert good == []
    assert str(bad[1]) == f"{tmp_path / 'gone.wav'}: no such file (of 'u1', seconds 0.0 to 1.0)"
    assert len(bad) == len(PLACES)


def test_what_should_be_known_is_known_of_each_segment(tmp_path: Path) -> None:
    entries = recording(tmp_path / "a.wav", channels=2)
    notes = [said for _, _, said in load_segments(entries)]
    assert notes == [[Note.APART]] * len(PLACES)


def test_a_segment_too_short_for_an_upstream_is_named(tmp_path: Path) -> None:
    _, bad = scan(recording(tmp_path / "a.wav")[3:4], least=8000)
    assert bad[0].why == (
        "too short for the upstream (6400 samples at 16 kHz, it takes at least 8000, of 'u3', seconds 0.0 to 0.4)"
    )


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    recording(tmp_path / "a.mp3")
    with soundfile.SoundFile(tmp_path / "a.mp3") as file:
        forward = Forward(file)
        for start in range(0, 14 * RATE, RATE):
            forward.since(start)
            assert len(forward.read(RATE, "float32", True)) == RATE
            assert sum(len(block) for _, block in forward._kept) <= 2 * RATE
