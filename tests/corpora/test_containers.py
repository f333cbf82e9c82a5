"""Every container's promise is held against what is there; sizes that are wrong by a rule are put right."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.corpora.audio import SAMPLE_RATE, load, stream
from gandistill.corpora.containers import CHECKED, OFF, samples_of
from gandistill.corpora.faults import AudioError, Note, Reason
from gandistill.corpora.manifest import Entry
from gandistill.corpora.verdicts import scan

NOISE = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE)
KINDS = [
    *((kind, None) for kind in CHECKED if kind != "SVX"),
    *((kind, "FLOAT") for kind in ("WAV", "AIFF", "AU", "RF64", "W64", "CAF")),
    *((kind, "PCM_24") for kind in ("WAV", "AIFF", "NIST", "FLAC")),
    *((kind, "ULAW") for kind in ("WAV", "AU", "NIST", "W64")),
]


def encoded(kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, NOISE, SAMPLE_RATE, subtype, format=kind)
    return file.getvalue()


def written(folder: Path, content: bytes, name: str = "a.wav") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def sized(content: bytes, size: int) -> bytes:
    """A WAV file that promises so many bytes of samples."""
    return content[:40] + struct.pack("<I", size) + content[44:]


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_half_a_file_is_no_shorter_clip_in_any_container(tmp_path: Path, kind: str, subtype: str | None):
    whole = encoded(kind, subtype)
    suffix = ".mp3" if kind == "MP3" else ".audio"
    notes: list[Note] = []
    found = np.concatenate([*stream(written(tmp_path, whole, f"whole{suffix}"), None, notes)])
    assert notes == []
    assert abs(len(found) - len(NOISE)) <= 1
    with pytest.raises(AudioError) as error:
        load(written(tmp_path, whole[: len(whole) // 2], f"half{suffix}"))
    assert error.value.reason in (Reason.TRUNCATED, Reason.NOT_AUDIO)


@pytest.mark.parametrize("kind", ["AVR", "PVF", "IRCAM", "MAT5", "VOC"])
def test_a_container_whose_length_cannot_be_checked_is_refused(tmp_path: Path, kind: str):
    with pytest.raises(AudioError, match=r"a container whose length cannot be checked \(.*convert it to WAV or FLAC\)"):
        load(written(tmp_path, encoded(kind)))


def test_a_recording_that_was_not_closed_is_read_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole = encoded()
    crashed = written(tmp_path, sized(whole[:4] + bytes(4) + whole[8:], 0), "crashed.wav")
    np.testing.assert_array_equal(load(crashed), load(written(tmp_path, whole)))
    good, errors = scan([Entry("a", crashed, "happy", "s")])
    assert (len(good), errors) == (1, [])
    assert capsys.readouterr().err == f"1 of 1 files {Note.UNCLOSED}; the first is {crashed}\n"


@pytest.mark.parametrize("off", [*OFF, *(-n for n in OFF)])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_size_that_is_off_by_a_header_is_read_to_its_end(tmp_path: Path, off: int, subtype: str):
    whole = encoded(subtype=subtype)
    samples = samples_of(written(tmp_path, whole))
    assert samples is not None
    assert samples.promised is not None
    at, size = samples.field, struct.pack("<I", samples.promised + off)
    notes: list[Note] = []
    wrong = written(tmp_path, whole[:at] + size + whole[at + 4 :], "wrong.wav")
    np.testing.assert_array_equal(
        np.concatenate([*stream(wrong, None, notes)]), load(written(tmp_path, whole, "whole.wav"))
    )
    assert notes == [Note.MISSIZED]


@pytest.mark.parametrize("off", [-16_000, -46, 2, 46, 16_000])
def test_any_other_wrong_size_is_refused_with_both(tmp_path: Path, off: int):
    with pytest.raises(AudioError, match=rf"promises {32_000 + off} bytes of samples, 32000 are there") as error:
        load(written(tmp_path, sized(encoded(), 32_000 + off)))
    assert error.value.reason == (Reason.TRUNCATED if off > 0 else Reason.MORE)


@pytest.mark.parametrize("tail", [b"LIST" + struct.pack("<I", 6) + b"hello!", b"TAG" + bytes(125), bytes(4096), b"\0"])
def test_what_may_follow_samples_is_none_of_them(tmp_path: Path, tail: bytes):
    np.testing.assert_array_equal(
        load(written(tmp_path, encoded() + tail)), load(written(tmp_path, encoded(), "b.wav"))
    )


def test_more_samples_than_promised_are_refused_in_other_containers_too(tmp_path: Path):
    au, aiff = encoded("AU"), encoded("AIFF")
    place = aiff.index(b"SSND") + 4
    for content in (
        au[:8] + struct.pack(">I", 16_000) + au[12:],
        aiff[:place] + struct.pack(">I", 16_008) + aiff[place + 4 :],
    ):
        with pytest.raises(AudioError, match="promises 16000 bytes of samples, 32000 are there"):
            load(written(tmp_path, content))


@pytest.mark.parametrize("off", [44, -44])
def test_a_wide_wav_is_not_put_right(tmp_path: Path, off: int):
    """libsndfile takes the size in its first chunk, whatever four bytes before the samples say."""
    content = encoded("RF64")
    place = content.index(b"ds64") + 16
    wrong = content[:place] + struct.pack("<Q", 32_000 + off) + content[place + 8 :]
    with pytest.raises(AudioError, match=f"promises {32_000 + off} bytes of samples, 32000 are there"):
        load(written(tmp_path, wrong))


def test_an_open_length_is_no_promise(tmp_path: Path):
    au = encoded("AU")
    opened = written(tmp_path, au[:8] + b"\xff" * 4 + au[12:], "open.au")
    np.testing.assert_array_equal(load(opened), load(written(tmp_path, au, "a.au")))


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_that_does_not_count_its_frames_is_read_whole(
    tmp_path: Path, mode: str, capfd: pytest.CaptureFixture[str]
):
    """libsndfile guesses its length by the first frame: many times too long where bit rates vary."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, format="MP3", bitrate_mode=mode, compression_level=0.5) as mp3:
        mp3.write(np.concatenate([np.zeros(5 * SAMPLE_RATE), np.tile(NOISE, 5)]))
    content = file.getvalue()
    bare = content[content.index(content[:2], 4) :]
    assert abs(len(load(written(tmp_path, bare, "bare.mp3"))) - 10 * SAMPLE_RATE) < 4000
    with pytest.raises(AudioError, match="promises"):
        load(written(tmp_path, content[: len(content) // 2], "half.mp3"))
    assert capfd.readouterr().err == "", "mpg123 names no file, so it is kept quiet"


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "NIST"]), st.data())
def test_no_damaged_header_gives_another_error(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
):
    content = bytearray(encoded(kind))
    for place in data.draw(st.lists(st.integers(0, 99), max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    path = written(tmp_path_factory.mktemp("damaged"), bytes(content[: data.draw(st.integers(4, len(content)))]))
    _, errors = scan([Entry("a", path, "happy", "s")])
    assert all("\n" not in str(error) for error in errors)
