import math
import re
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from gandistill.corpora import audio
from gandistill.corpora.audio import SAMPLE_RATE, load, load_utterance, promised_seconds, stream, stream_utterance
from gandistill.corpora.containers import OFF
from gandistill.corpora.faults import AudioError, Note, Reason
from gandistill.corpora.manifest import Entry
from gandistill.corpora.verdicts import scan
from tests.corpora.recordings import BAD, FLAC, WAV, file, tone


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(["a.wav", "a.flac"]), st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_never_read_as_a_shorter_one(
    tmp_path_factory: pytest.TempPathFactory, name: str, share: float
) -> None:
    whole = WAV if name == "a.wav" else FLAC
    size = int(share * len(whole))
    assume(name != "a.wav" or len(whole) - size not in OFF)  # what a writer's own header explains
    cut = file(tmp_path_factory.mktemp("cut"), name, whole[:size])
    with pytest.raises(AudioError):
        load(cut)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt ", b"fLaC", b"RIFF"]))
def test_no_bytes_whatever_give_another_error(
    tmp_path_factory: pytest.TempPathFactory, rest: bytes, start: bytes
) -> None:
    path = file(tmp_path_factory.mktemp("junk"), "junk.wav", start + rest)
    with pytest.raises(AudioError):
        load(path)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000])
def test_a_wav_written_to_a_pipe_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    piped = file(tmp_path, "piped.wav", WAV[:40] + struct.pack("<I", size) + WAV[44:])
    np.testing.assert_array_equal(load(piped), load(file(tmp_path, "whole.wav", WAV)))


def test_chunks_before_the_data_are_passed_over(tmp_path: Path) -> None:
    odd = b"LIST" + struct.pack("<I", 5) + b"hello\0"
    chunks = file(tmp_path, "chunks.wav", WAV[:36] + odd + WAV[36:])
    np.testing.assert_array_equal(load(chunks), load(file(tmp_path, "whole.wav", WAV)))


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_16_khz_mono_is_passed_through(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, tone(), SAMPLE_RATE)
    samples = load(path)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, soundfile.read(path, dtype="float32")[0])


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), np.zeros(8000)], axis=1), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(load(tmp_path / "a.wav"), tone() / 2, atol=1e-7)


def test_one_channel_can_be_asked_for(tmp_path: Path) -> None:
    left, right = tone(), tone()[::-1] / 2
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_array_equal(load(tmp_path / "a.wav", 1), left.astype(np.float32))
    np.testing.assert_array_equal(load(tmp_path / "a.wav", 2), right.astype(np.float32))


def test_channels_that_cancel_keep_their_level_apart(tmp_path: Path) -> None:
    """48 kHz, as two microphones apart would hear a voice in opposite phase."""
    loud = tone(1, 48_000)
    soundfile.write(tmp_path / "a.wav", np.stack([loud, -loud], axis=1), 48_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="channels that cancel each other"):
        load(tmp_path / "a.wav")
    for channel in (1, 2):
        assert load(tmp_path / "a.wav", channel).std() == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 48_000])
def test_the_first_channel_of_a_mono_file_is_the_file(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.flac", tone(0.5, rate), rate)
    np.testing.assert_array_equal(load(tmp_path / "a.flac", 1), load(tmp_path / "a.flac"))


@pytest.mark.parametrize("channel", [-1, 0, 3])
def test_a_channel_that_is_not_there(tmp_path: Path, channel: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), tone()], axis=1), SAMPLE_RATE)
    with pytest.raises(AudioError, match=rf"no such channel \(channel {channel} is asked for, the file has 2\)$"):
        load(tmp_path / "a.wav", channel)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_other_rates_become_16_khz(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1, rate), rate, subtype="FLOAT")
    samples = load(tmp_path / "a.wav")
    assert samples.dtype == np.float32
    assert len(samples) == SAMPLE_RATE
    inner = slice(1000, -1000)
    np.testing.assert_allclose(samples[inner], tone(1)[inner], atol=2e-3)


def test_25_ms_is_enough_at_any_rate(tmp_path: Path) -> None:
    for rate in (8_000, 16_000, 48_000):
        soundfile.write(tmp_path / "a.wav", tone(0.025, rate), rate)
        assert len(load(tmp_path / "a.wav")) == 400


def test_long_files_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "BLOCK_FRAMES", 1000)
    soundfile.write(tmp_path / "a.flac", tone(0.7), SAMPLE_RATE)
    np.testing.assert_array_equal(load(tmp_path / "a.flac"), soundfile.read(tmp_path / "a.flac", dtype="float32")[0])
    assert [len(block) for block in stream(tmp_path / "a.flac")] == [1000] * 11 + [200]


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([1_000, 8_000, 11_025, 12_345, 22_050, 32_000, 44_100, 48_000, 96_000]),
    st.integers(1, 20_000),
    st.integers(1, 5_000),
)
def test_resampling_in_blocks_gives_the_bits_of_resampling_at_once(rate: int, samples: int, block: int) -> None:
    whole = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    common = math.gcd(SAMPLE_RATE, rate)
    blocks = (whole[start : start + block] for start in range(0, samples, block))
    found = np.concatenate([*audio._resampled(blocks, rate)])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, resample_poly(whole, SAMPLE_RATE // common, rate // common))


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 44_100])
def test_a_stream_takes_little_memory_however_long_the_file(tmp_path: Path, rate: int) -> None:
    with soundfile.SoundFile(tmp_path / "long.wav", "w", rate, 1) as file:
        for _ in range(200):
            file.write(tone(1, rate))
    list(stream(tmp_path / "long.wav"))  # what is imported once does not count
    tracemalloc.start()
    samples = sum(map(len, stream(tmp_path / "long.wav")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == 200 * SAMPLE_RATE
    assert peak < 200 * SAMPLE_RATE * 4 / 2


def test_a_header_promises_seconds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.7, 8_000), 8_000)
    assert promised_seconds(tmp_path / "a.wav") == 0.7
    assert promised_seconds(tmp_path / "absent.wav") == 0
    for name in ("empty.wav", "poem.wav", "rate-zero.wav", "zero-channels.wav", "header-only.flac"):
        assert promised_seconds(file(tmp_path, name, BAD[name][0])) == 0


def test_a_dead_channel_takes_no_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voice = tone()
    soundfile.write(tmp_path / "a.wav", np.stack([voice, np.full(8000, 0.3)], axis=1), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(load(tmp_path / "a.wav"), voice, atol=1e-7)
    scan([Entry("a", tmp_path / "a.wav", "happy", "s1")])
    assert capsys.readouterr().err == f"1 of 1 files {Note.DEAD}; the first is {tmp_path / 'a.wav'}\n"


@pytest.mark.parametrize(("share", "said"), [(1.0, False), (0.8, False), (0.3, True), (0.0, True)])
def test_channels_that_differ_much_are_not_averaged_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float, said: bool
) -> None:
    draws = np.random.default_rng(0).normal(0, 0.1, (3, SAMPLE_RATE))
    voice, *others = draws * [[share**0.5], [(1 - share) ** 0.5], [(1 - share) ** 0.5]]
    soundfile.write(tmp_path / "a.wav", np.stack([voice + other for other in others], axis=1), SAMPLE_RATE)
    entry = Entry("a", tmp_path / "a.wav", "happy", "s1")
    scan([entry, replace(entry, id="b", channel=1)])
    assert capsys.readouterr().err == (f"1 of 2 files {Note.APART}; the first is {entry.path}\n" if said else "")


@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15)])
def test_silence_that_toggles_by_one_step_is_no_sound(tmp_path: Path, subtype: str, step: float) -> None:
    toggling = step * np.random.default_rng(0).integers(0, 2, SAMPLE_RATE)
    soundfile.write(tmp_path / "a.wav", toggling, SAMPLE_RATE, subtype=subtype)
    with pytest.raises(AudioError, match="no sound"):
        load(tmp_path / "a.wav")
    soundfile.write(tmp_path / "b.wav", 3 * toggling, SAMPLE_RATE, subtype=subtype)
    assert load(tmp_path / "b.wav").max() == pytest.approx(3 * step)


def test_float_samples_may_overshoot(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 4 * tone(), SAMPLE_RATE, subtype="FLOAT")
    assert load(tmp_path / "a.wav").max() == pytest.approx(2.0)


@pytest.mark.parametrize(("start", "end"), [(None, 1.0), (0.37, 1.21), (1.0, None), (1.5, 2.04)])
@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_segment_is_heard_as_if_it_were_a_file(
    tmp_path: Path, suffix: str, rate: int, start: float | None, end: float | None
):
    samples = np.random.default_rng(0).normal(0, 0.1, (2 * rate, 2))
    soundfile.write(tmp_path / f"whole{suffix}", samples, rate)
    decoded, _ = soundfile.read(tmp_path / f"whole{suffix}", dtype="float32")
    cut = decoded[round((start or 0) * rate) : None if end is None else round(end * rate)]
    soundfile.write(tmp_path / "cut.wav", cut, rate, subtype="FLOAT")
    for channel in (None, 2):
        segment = Entry("a", tmp_path / f"whole{suffix}", "sad", "s", channel=channel, start=start, end=end)
        np.testing.assert_allclose(load_utterance(segment), load(tmp_path / "cut.wav", channel), atol=1e-4)
        assert np.array_equal(np.concatenate([*stream_utterance(segment)]), load_utterance(segment))


@pytest.mark.parametrize(
    ("start", "end", "numbers"),
    [
        (2.0, None, "it starts at 2.000 s, the file ends at 2.000 s"),
        (1.0, 2.06, "it starts at 1.000 s and ends at 2.060 s, the file ends at 2.000 s"),
        (7.0, 9.0, "it starts at 7.000 s and ends at 9.000 s, the file ends at 2.000 s"),
    ],
)
def test_a_segment_outside_the_file_is_refused_with_both_numbers(
    tmp_path: Path, start: float, end: float | None, numbers: str
):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    outside = Entry("u7", tmp_path / "a.wav", "sad", "s", start=start, end=end)
    with pytest.raises(AudioError, match=re.escape(f"segment outside the file ({numbers}, of 'u7', seconds {start}")):
        load_utterance(outside)
    good, errors = scan([outside, replace(outside, id="u8", start=0.5, end=1.0)])
    assert [(entry.id, entry.duration) for entry in good] == [("u8", 0.5)]
    assert [error.reason for error in errors] == [Reason.SEGMENT]


def test_what_is_wrong_with_a_segment_says_which(tmp_path: Path):
    samples = np.random.default_rng(0).normal(0, 0.1, 32_000)
    samples[16_000:] = 0
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    with pytest.raises(AudioError, match=r"a\.wav: all samples are zero \(of 'u7', seconds 1\.2 to the end\)$"):
        load_utterance(Entry("u7", tmp_path / "a.wav", "sad", "s", start=1.2))


def test_a_wav_in_which_nothing_can_be_sought_is_read(tmp_path: Path) -> None:
    """As telephones record."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), SAMPLE_RATE, subtype="GSM610")
    whole = load(tmp_path / "a.wav")
    assert len(whole) == pytest.approx(32_000, abs=320)
    segment = Entry("a", tmp_path / "a.wav", "sad", "s", start=0.5, end=1.0)
    np.testing.assert_array_equal(load_utterance(segment), whole[8_000:16_000])
    good, bad = scan([segment, replace(segment, id="b", start=1.0, end=1.5)])
    assert [len(good), bad] == [2, []]


@pytest.mark.parametrize("start", [b"\0\0\0\x20ftypM4A ", b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR", b"\xff\xf1\x50"])
def test_audio_of_another_kind_is_named_as_such(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(start + b"x" * 500)
    with pytest.raises(AudioError, match=r"audio of a kind that is not read \(convert it to WAV or FLAC\)$"):
        load(tmp_path / "a.wav")


@pytest.mark.parametrize(("name", "words"), [("a.ogg", {}), ("a.opus", {"format": "OGG", "subtype": "OPUS"})])
def test_half_an_ogg_is_damaged_and_no_other_thing(tmp_path: Path, name: str, words: dict[str, str]) -> None:
    soundfile.write(tmp_path / name, np.random.default_rng(0).normal(0, 0.1, 32_000), SAMPLE_RATE, **words)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError) as error:
        load(tmp_path / name)
    assert error.value.reason == Reason.TRUNCATED
