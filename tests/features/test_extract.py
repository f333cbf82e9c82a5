import csv
import errno
import fcntl
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from gandistill import artifacts
from gandistill.corpora import audio
from gandistill.corpora.manifest import write_manifest
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.features import extract as extraction
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.features.logmel import LogMel, LogMelConfig
from gandistill.features.origin import check_origin

SECONDS = (0.4, 0.03, 1.1, 0.7, 0.2, 0.9, 0.5)
SECONDS_POOLED = (0.4, 1.13, 0.7)
LOGMEL = ExtractConfig(shard=3)
RECIPES = Path(__file__).parents[2] / "recipes"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def by_id(folder: Path) -> dict[str, torch.Tensor]:
    features = FeatureSet.open(folder)
    return {id: features.frames(row) for row, id in enumerate(features.index["id"])}


def units_in_last_place(a: torch.Tensor, b: torch.Tensor) -> int:
    """Greatest distance of half floats of equal sign, in representable numbers."""
    bits = [x.half().view(torch.int16).int() for x in (a, b)]
    return int((bits[0] - bits[1]).abs().max())


def edit(manifest: Path, row: int, **cells: str) -> None:
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[row] |= cells
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_segments_of_a_file_are_utterances_of_their_own(tmp_path: Path):
    """Their features are those of files that hold them alone, and other segments are another extraction."""
    samples = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", samples, 16_000, subtype="FLOAT")
    rows = ["file,start,end,emotion,speaker,split"]
    for number, (start, end) in enumerate(((0, 1), (1, 2.5), (2.5, 3))):
        soundfile.write(
            tmp_path / f"cut{number}.wav", samples[int(16_000 * start) : int(16_000 * end)], 16_000, subtype="FLOAT"
        )
        rows.append(f"long.wav,{start},{end if number < 2 else ''},{'sad' if number else 'happy'},s{number},train")
    (tmp_path / "mine.csv").write_text("\n".join(rows), encoding="utf-8")
    manifest = tmp_path / "m.csv"
    entries = prepare("tabular", tmp_path / "mine.csv", manifest, protocol="custom")
    assert [(entry.id, entry.duration) for entry in entries] == [("long", 1), ("long@1.0", 1.5), ("long@2.5", 0.5)]
    extract(manifest, LOGMEL, tmp_path / "out")
    for number, frames in enumerate(by_id(tmp_path / "out").values()):
        expected = LogMel(LogMelConfig())(torch.from_numpy(audio.load(tmp_path / f"cut{number}.wav")))
        assert units_in_last_place(frames, expected) <= 1
    write_manifest(manifest, [replace(entry, end=0.9) if entry.id == "long" else entry for entry in entries])
    with pytest.raises(InputError, match="wrong duration in the manifest"):
        extract(manifest, LOGMEL, tmp_path / "out")
    shorter = [replace(e, end=0.9, duration=None) if e.id == "long" else e for e in entries]
    write_manifest(manifest, shorter)
    with pytest.raises(InputError, match=r"seconds 0\.0 to 1\.0' there and 'seconds 0\.0 to 0\.9' here"):
        extract(manifest, LOGMEL, tmp_path / "out")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """The manifest of three stereo files of a second that ``prepare`` has heard, channel 1 of each."""
    rows = ["path,emotion,speaker,split"]
    for number in range(3):
        noise = np.random.default_rng(number).normal(0, 0.1, (16_000, 2))
        soundfile.write(tmp_path / f"{number}.wav", noise, 16_000)
        rows.append(f"{number}.wav,{'sad' if number % 2 else 'happy'},s{number},train")
    (tmp_path / "mine.csv").write_text("\n".join(rows), encoding="utf-8")
    prepare("tabular", tmp_path / "mine.csv", tmp_path / "m.csv", protocol="custom", channel=1)
    return tmp_path / "m.csv"


def test_what_prepare_has_heard_is_decoded_for_its_features_alone(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And checked again where its file or its row has changed since."""
    opened, sound_file = list[str](), soundfile.SoundFile

    def counted(file: Any, *given: Any, **named: Any) -> soundfile.SoundFile:
        opened.append(Path(file).name)
        return sound_file(file, *given, **named)

    def decoded(out: str) -> list[str]:
        opened.clear()
        extract(prepared, LOGMEL, tmp_path / out)
        return sorted(opened)

    monkeypatch.setattr(soundfile, "SoundFile", counted)
    assert decoded("out") == ["0.wav", "1.wav", "2.wav"]
    soundfile.write(tmp_path / "1.wav", np.random.default_rng(9).normal(0, 0.1, (16_000, 2)), 16_000)
    assert decoded("changed") == ["0.wav", "1.wav", "1.wav", "2.wav"]
    edit(prepared, 0, channel="2")
    assert decoded("edited") == ["0.wav", "0.wav", "1.wav", "1.wav", "2.wav"]
    edit(prepared, 2, checked="")
    assert decoded("unheard") == ["0.wav", "0.wav", "1.wav", "1.wav", "2.wav", "2.wav"]


def test_what_became_bad_since_prepare_is_found_before_anything_is_written(prepared: Path, tmp_path: Path):
    second, out = tmp_path / "1.wav", tmp_path / "out"
    whole = second.read_bytes()
    second.write_bytes(whole[:10_000])
    with pytest.raises(InputError, match=r"1\.wav: truncated"):
        extract(prepared, LOGMEL, out)
    second.unlink()
    with pytest.raises(InputError, match=r"1\.wav: no such file"):
        extract(prepared, LOGMEL, out)
    second.write_bytes(whole)
    edit(prepared, 1, duration="2.000")
    with pytest.raises(InputError, match=r"the manifest says 2\.000 s"):
        extract(prepared, LOGMEL, out)
    edit(prepared, 1, duration="1.000")
    with pytest.raises(InputError, match="3 of 3 files cannot be used") as error:
        extract(prepared, ExtractConfig(pool=31), out)
    assert "16000 samples at 16 kHz, it takes at least 16384" in str(error.value)
    assert not out.exists()


def test_feature_set_holds_what_the_upstream_gives(corpus, tmp_path: Path):
    manifest = corpus(SECONDS)
    artifacts.write_json(
        manifest.with_suffix(".json"), {"corpus": "bursts", "licence": "CC0", "protocol": "custom", "seed": 1}
    )
    extract(manifest, LOGMEL, tmp_path / "out")
    features = FeatureSet.open(tmp_path / "out")
    assert features.index["id"].tolist() == [f"u{i}" for i in range(7)]
    assert features.index["shard"].tolist() == [f"frames-0000{i // 3}.safetensors" for i in range(7)]
    assert features.index["speaker"].tolist()[:2] == ["speaker0", "speaker1"]
    assert features.index["split"].tolist()[:2] == ["test", "train"]
    assert features.labels == ["angry", "happy", "sad"]
    assert features.config["upstream"]["window"] == 1024
    assert {key: features.config.get(key) for key in ("corpus", "licence", "protocol", "seed")} == {
        "corpus": "bursts",
        "licence": "CC0",
        "protocol": "custom",
        "seed": None,
    }
    assert features.config["frame_rate"] == 31.25
    for row in range(7):
        expected = LogMel(LogMelConfig())(torch.from_numpy(audio.load(manifest.with_name(f"u{row}.wav"))))
        assert units_in_last_place(features.frames(row), expected) <= 1
    artifacts.open_artifact(tmp_path / "out", "feature set", verify=True)
    assert "bursts" in (tmp_path / "out" / "README.md").read_text()
    assert len(features.fingerprint) == 64


def test_same_inputs_give_the_same_bytes(corpus, tmp_path: Path):
    for name in ("a", "b"):
        extract(corpus(SECONDS, name=name), LOGMEL, tmp_path / f"out-{name}")
    assert contents(tmp_path / "out-a") == contents(tmp_path / "out-b")


@pytest.mark.parametrize("upstream", ["logmel", "hubert", "whisper"])
def test_features_do_not_depend_on_neighbours(
    corpus, tmp_path: Path, tiny_hubert: Path, tiny_whisper: Path, upstream: str
):
    models = [f"hubert.model={tiny_hubert}", f"whisper.model={tiny_whisper}"]
    config = ExtractConfig.load(overrides=[f"upstream={upstream}", *models])
    everything = tmp_path / "all"
    extract(corpus(SECONDS, name="all-audio"), config, everything)
    together = by_id(everything)
    neighbours = {"reversed": reversed(range(7)), "some": (5, 1, 3), **{f"alone{i}": (i,) for i in range(7)}}
    for name, ids in neighbours.items():
        out = tmp_path / name
        extract(corpus(SECONDS, list(ids), name=f"{name}-audio"), config.model_copy(update={"shard": 2}), out)
        for id, frames in by_id(out).items():
            assert frames.shape == together[id].shape
            assert units_in_last_place(frames, together[id]) <= 1
            assert torch.equal(frames, together[id])


def test_half_floats_are_the_upstream_run_alone(corpus, tmp_path: Path, tiny_hubert: Path):
    config = ExtractConfig.load(overrides=["upstream=hubert", f"hubert.model={tiny_hubert}", "hubert.layer=1"])
    manifest = corpus(SECONDS)
    extract(manifest, config, tmp_path / "out")
    upstream = extraction.load_upstream(config)
    for id, frames in by_id(tmp_path / "out").items():
        alone = upstream(torch.from_numpy(audio.load(manifest.with_name(f"{id}.wav"))))
        assert (alone - frames).abs().max() < 1e-4 + alone.abs().max() * 2**-11


CLIPPED = ["upstream=logmel", "shard=3", "clip=8000"]


def test_clips_of_one_length(corpus, tmp_path: Path):
    manifest = corpus(SECONDS)
    config = ExtractConfig.load(overrides=CLIPPED)
    extract(manifest, config, tmp_path / "out")
    features = FeatureSet.open(tmp_path / "out")
    assert features.lengths.tolist() == [1 + (8000 - 1024) // 512] * 7
    assert features.config["upstream"] == LogMel(LogMelConfig()).describe() | {"clip": 8000}
    assert "- clip: 8000\n" in (tmp_path / "out" / "README.md").read_text()
    assert b'"clip\\":8000' in (tmp_path / "out" / "frames-00000.safetensors").read_bytes()
    for row in range(7):
        samples = np.resize(audio.load(manifest.with_name(f"u{row}.wav")), 8000)  # numpy repeats and cuts likewise
        assert units_in_last_place(features.frames(row), LogMel(LogMelConfig())(torch.from_numpy(samples))) <= 1
    before = contents(tmp_path / "out")
    extract(manifest, config, tmp_path / "out")
    (tmp_path / "out" / "frames-00001.safetensors").unlink()
    extract(manifest, config, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_other_clips_are_other_features(corpus, tmp_path: Path):
    manifest, fingerprints = corpus(SECONDS), set()
    for clip in (0, 8000, 8001):
        out = tmp_path / str(clip)
        extract(manifest, ExtractConfig.load(overrides=[*CLIPPED, f"clip={clip}"]), out)
        fingerprints.add(FeatureSet.open(out).fingerprint)
    assert len(fingerprints) == 3
    for there, here in ((0, 8000), (8000, 0), (8000, 8001)):
        words = rf"upstream\.clip is {there or None} there and {here or None} here; choose another --out"
        with pytest.raises(InputError, match=words):
            extract(manifest, ExtractConfig.load(overrides=[*CLIPPED, f"clip={here}"]), tmp_path / str(there))


@pytest.mark.parametrize(("setting", "value", "bad"), [("clip", 8000, -1), ("pool", 2, 0)])
def test_without_clips_or_pooling_nothing_says_so(corpus, tmp_path: Path, setting: str, value: int, bad: int):
    extract(corpus(SECONDS), LOGMEL, tmp_path / "out")
    assert not any(setting.encode() in content for content in contents(tmp_path / "out").values())
    assert setting not in LOGMEL.to_dict()
    assert ExtractConfig.load(overrides=[f"{setting}={value}"]).to_dict()[setting] == value
    assert ExtractConfig.build(LOGMEL.to_dict(), "test") == LOGMEL
    assert isinstance(extraction.load_upstream(LOGMEL), LogMel)
    with pytest.raises(InputError, match=f"'{setting}'"):
        ExtractConfig.load(overrides=[f"{setting}={bad}"])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing_and_are_given_back(corpus, tmp_path: Path, threads: int):
    before = torch.get_num_threads()
    extract(corpus(SECONDS), LOGMEL, tmp_path / "out")
    assert torch.get_num_threads() == before
    try:
        torch.set_num_threads(threads)
        extract(corpus(SECONDS), LOGMEL, tmp_path / "again")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert contents(tmp_path / "out") == contents(tmp_path / "again")


POOLED = ["upstream=logmel", "shard=3", "pool=2"]


def test_pooled_frames(corpus, tmp_path: Path):
    manifest = corpus(SECONDS_POOLED)
    extract(manifest, ExtractConfig.load(overrides=POOLED), tmp_path / "out")
    features = FeatureSet.open(tmp_path / "out")
    assert features.config["upstream"] == LogMel(LogMelConfig()).describe() | {"pool": 2}
    assert features.config["frame_rate"] == 31.25 / 2
    assert "- pool: 2\n" in (tmp_path / "out" / "README.md").read_text()
    for row, seconds in enumerate(SECONDS_POOLED):
        single = LogMel(LogMelConfig())(torch.from_numpy(audio.load(manifest.with_name(f"u{row}.wav"))))
        assert features.lengths[row] == (1 + (int(seconds * 16_000) - 1024) // 512) // 2
        pairs = torch.stack([single[i : i + 2].mean(0) for i in range(0, len(single) - 1, 2)])
        assert units_in_last_place(features.frames(row), pairs) <= 1


def test_pooled_clips(corpus, tmp_path: Path):
    """A clip is brought to its length first."""
    extract(corpus(SECONDS), ExtractConfig.load(overrides=[*POOLED, "clip=8000", "pool=3"]), tmp_path / "out")
    features = FeatureSet.open(tmp_path / "out")
    assert features.lengths.tolist() == [(1 + (8000 - 1024) // 512) // 3] * 7
    assert features.config["upstream"] == LogMel(LogMelConfig()).describe() | {"clip": 8000, "pool": 3}


def test_pooled_frames_are_other_features(corpus, tmp_path: Path):
    manifest = corpus(SECONDS_POOLED)
    extract(manifest, LOGMEL, tmp_path / "out")
    with pytest.raises(InputError, match=r"upstream\.pool is None there and 2 here; choose another --out"):
        extract(manifest, ExtractConfig.load(overrides=POOLED), tmp_path / "out")
    extract(manifest, ExtractConfig.load(overrides=POOLED), tmp_path / "pooled")
    single, pairs = FeatureSet.open(tmp_path / "out"), FeatureSet.open(tmp_path / "pooled")
    for one, other in ((single, pairs), (pairs, single)):
        with pytest.raises(InputError, match="comes from another upstream than the bank: pool is"):
            check_origin("the bank", one.config, other)
        check_origin("the bank", one.config, one)


def test_clips_too_short_are_named_before_any_work(corpus, tmp_path: Path, tiny_hubert: Path, capsys):
    """410 samples are the first frame of the tiny model, 730 the second; 25 ms, the least of any clip, are 400."""
    manifest, out = corpus((0.5, 0.0255, 0.7, 0.03, 0.4), name="short"), tmp_path / "out"
    config = ExtractConfig.load(overrides=["upstream=hubert", f"hubert.model={tiny_hubert}", "pool=2"])
    with pytest.raises(InputError) as error:
        extract(manifest, config, out)
    summary, *files = str(error.value).splitlines()
    assert summary == "2 of 5 files cannot be used (--skip-bad leaves them out):"
    why = "too short for the upstream ({} samples at 16 kHz, it takes at least 730)"
    assert files == [f"{manifest.with_name(f'u{i}.wav')}: {why.format(n)}" for i, n in ((1, 408), (3, 480))]
    assert not out.exists()
    extract(manifest, config, out, skip_bad=True)
    assert "2 too short for the upstream" in capsys.readouterr().err
    quarantine = manifest.with_name("quarantine.csv").read_text()
    assert [line.split(",")[0] for line in quarantine.splitlines()] == ["id", "u1", "u3"]
    assert FeatureSet.open(out).index["id"].tolist() == ["u0", "u2", "u4"]
    extract(manifest, config.model_copy(update={"pool": 1}), tmp_path / "single", skip_bad=True)
    assert FeatureSet.open(tmp_path / "single").index["id"].tolist() == ["u0", "u2", "u3", "u4"]


def test_a_clip_setting_too_short_for_a_frame(corpus, tmp_path: Path, tiny_hubert: Path):
    config = ExtractConfig.load(overrides=["upstream=hubert", f"hubert.model={tiny_hubert}", "pool=2", "clip=729"])
    with pytest.raises(InputError, match=r"^Bad clip 729: for a frame hubert \S+ takes at least 730 samples$"):
        extract(corpus(SECONDS), config, tmp_path / "out")
    extract(corpus(SECONDS), config.model_copy(update={"clip": 730}), tmp_path / "out")
    assert FeatureSet.open(tmp_path / "out").lengths.tolist() == [1] * 7


class Interrupting:
    """A log-Mel upstream that is stopped from outside after some files."""

    def __init__(self, files: int) -> None:
        self.files, self.calls = files, 0
        self.real = LogMel(LogMelConfig())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > self.files:
            raise KeyboardInterrupt
        return self.real(audio)


def test_resumes_where_it_stopped(
    corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    manifest, out = corpus(SECONDS), tmp_path / "out"
    extract(manifest, LOGMEL, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(extraction, "load_upstream", lambda *_: Interrupting(4))
        with pytest.raises(KeyboardInterrupt):
            extract(manifest, LOGMEL, out)
    assert [path.name for path in out.iterdir() if path.suffix != ".lock"] == ["frames-00000.safetensors"]
    with pytest.raises(InputError, match=r"has no config\.json"):
        FeatureSet.open(out)
    (out / ".frames-00001.safetensors.123.part").write_bytes(b"half a shard, left by a kill")
    first = (out / "frames-00000.safetensors").stat().st_mtime_ns
    counting = Interrupting(100)
    monkeypatch.setattr(extraction, "load_upstream", lambda *_: counting)
    extract(manifest, LOGMEL, out)
    assert counting.calls == 4
    assert "1 of 3 shards are there" in capsys.readouterr().err
    assert (out / "frames-00000.safetensors").stat().st_mtime_ns == first
    assert contents(out) == contents(tmp_path / "whole")
    extract(manifest, LOGMEL, out)
    assert counting.calls == 4
    assert "complete already: 7 utterances" in capsys.readouterr().err


def test_a_complete_set_is_left_as_it_is(corpus, tmp_path: Path):
    manifest, out = corpus(SECONDS), tmp_path / "out"
    extract(manifest, LOGMEL, out)
    files = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.iterdir()}
    (out / ".frames-00001.safetensors.lock").touch()  # left by a worker killed in the very end
    extract(manifest, LOGMEL, out)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.iterdir()} == files


def test_a_set_that_loses_a_shard_is_not_complete(corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    manifest, out = corpus(SECONDS), tmp_path / "out"
    extract(manifest, LOGMEL, out)
    (out / "frames-00001.safetensors").unlink()
    monkeypatch.setattr(extraction, "load_upstream", lambda *_: Interrupting(0))
    with pytest.raises(KeyboardInterrupt):
        extract(manifest, LOGMEL, out)
    with pytest.raises(InputError, match="SHA256SUMS is missing or unreadable, the artifact is incomplete"):
        artifacts.fingerprint(out)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks(corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int):
    def flock(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match=rf"out: no file can be locked there \({os.strerror(code)}\)"):
        extract(corpus(SECONDS), LOGMEL, tmp_path / "out")


@pytest.mark.parametrize(
    "lost", ["config.json", "index.csv", "README.md", "SHA256SUMS", "frames-00001.safetensors", "config.json index.csv"]
)
def test_what_is_lost_is_made_again(corpus, tmp_path: Path, lost: str):
    manifest, out = corpus(SECONDS), tmp_path / "out"
    extract(manifest, LOGMEL, out)
    before = contents(out)
    for name in lost.split():
        (out / name).unlink()
    extract(manifest, LOGMEL, out)
    assert contents(out) == before


def test_a_damaged_shard_is_extracted_again(corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    manifest, out = corpus(SECONDS), tmp_path / "out"
    extract(manifest, LOGMEL, out)
    before = contents(out)
    shard = out / "frames-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-5])
    extract(manifest, LOGMEL, out)
    assert "frames-00001.safetensors is damaged: it is extracted again" in capsys.readouterr().err
    assert contents(out) == before


def changed_audio(manifest: Path) -> None:
    soundfile.write(manifest.with_name("u4.wav"), np.linspace(-0.1, 0.1, 4000), 16_000)


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "partial"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: ["logmel.window=512"], "upstream.window is 1024 there and 512 here"),
        (lambda manifest: ["shard=2"], "was made from something else: utterances"),
        (changed_audio, r"utterances\.1\.1 is '[0-9a-f]{64}' there and '[0-9a-f]{64}' here"),
        (lambda manifest: edit(manifest, 3, id="other"), r"utterances\.0\.0 is 'u3' there and 'other' here"),
    ],
    ids=["upstream", "shard", "audio", "id"],
)
def test_other_features_are_refused(corpus, tmp_path: Path, change, words: str, finished: bool):
    manifest, out = corpus(SECONDS), tmp_path / "out"
    extract(manifest, LOGMEL, out)
    if not finished:
        (out / "config.json").unlink()
    before = contents(out)
    overrides = change(manifest) or []
    with pytest.raises(InputError, match=words) as error:
        extract(manifest, ExtractConfig.load(overrides=["shard=3", *overrides]), out)
    assert str(error.value).endswith("choose another --out or remove it")
    assert contents(out) == before


def test_other_labels_of_the_same_audio(corpus, tmp_path: Path):
    manifest, out = corpus(SECONDS), tmp_path / "out"
    extract(manifest, LOGMEL, out)
    for change, words in (
        ({"split": "dev"}, "other labels, speakers, sessions or splits"),
        ({"emotion": "x"}, "labels"),
    ):
        edit(manifest, 3, **change)
        with pytest.raises(InputError, match=words):
            extract(manifest, LOGMEL, out)
    (out / "config.json").unlink()  # unfinished: the frames are right, the index is still to be written
    extract(manifest, LOGMEL, out)
    assert FeatureSet.open(out).index["label"].tolist()[3] == "x"


def test_a_shorter_manifest_leaves_no_stray_shard(corpus, tmp_path: Path):
    extract(corpus(SECONDS), LOGMEL, tmp_path / "out")
    (tmp_path / "out" / "config.json").unlink()
    with pytest.raises(InputError, match=r"holds frames-00002\.safetensors of a larger extraction"):
        extract(corpus(SECONDS, range(6)), LOGMEL, tmp_path / "out")


@pytest.mark.parametrize("name", ["holiday.jpg", "README.md", "index.csv"])
def test_never_writes_over_what_is_not_its_own(corpus, tmp_path: Path, name: str):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(InputError, match="exists and is not a gandistill feature set"):
        extract(corpus(SECONDS), LOGMEL, out)
    assert (out / name).read_text() == "mine"


def test_bad_audio_stops_before_anything_is_written(corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    manifest, out = corpus(SECONDS), tmp_path / "out"
    manifest.with_name("u2.wav").write_bytes(b"")
    manifest.with_name("u5.wav").unlink()
    with pytest.raises(InputError, match=r"u2\.wav[^\n]*\n[^\n]*u5\.wav"):
        extract(manifest, LOGMEL, out)
    assert not out.exists()
    extract(manifest, LOGMEL, out, skip_bad=True)
    assert "quarantine.csv" in capsys.readouterr().err
    assert manifest.with_name("quarantine.csv").read_text().count("\n") == 3
    assert FeatureSet.open(out).index["id"].tolist() == ["u0", "u1", "u3", "u4", "u6"]


@pytest.mark.parametrize(
    ("value", "words"),
    [(float("nan"), r"u0\.wav: logmel gives NaN"), (1e5, "beyond half floats"), (None, "too short for logmel")],
)
def test_unusable_features_name_the_file(corpus, tmp_path: Path, monkeypatch, value: float | None, words: str):
    frames = torch.zeros(0, 64) if value is None else torch.full((2, 64), value)
    monkeypatch.setattr(LogMel, "__call__", lambda self, audio: frames)
    with pytest.raises(InputError, match=words):
        extract(corpus(SECONDS), LOGMEL, tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("name", ["logml", "s3prl:", "s3prl", ""])
def test_unknown_upstream(name: str):
    with pytest.raises(InputError, match=r"Bad upstream '.*', expected one of \[logmel, hubert, whisper, s3prl:NAME\]"):
        ExtractConfig.load(overrides=[f"upstream='{name}'"])


def test_config_as_on_the_command_line():
    config = ExtractConfig.load(overrides=["upstream=s3prl:fbank", "hubert.layer=9", "s3prl.layer=0"])
    assert (config.upstream, config.hubert.layer, config.s3prl.layer) == ("s3prl:fbank", 9, 0)
    assert "whisper" not in config.to_dict()
    heard = ExtractConfig.load(overrides=["upstream=whisper", "whisper.layer=4", "whisper.context=30s"])
    assert heard.to_dict()["whisper"] == {
        "layer": 4,
        "weights": None,
        "model": "openai/whisper-base",
        "context": "30s",
    }
    assert ExtractConfig.build(heard.to_dict(), "test") == heard
    with pytest.raises(InputError, match=r"unknown key 'logmel.windw', expected one of \[bands, window"):
        ExtractConfig.load(overrides=["logmel.windw=3"])


@pytest.mark.parametrize(
    ("recipe", "window", "hop"),
    [("ravdess/logmel", 1024, 512), ("nemo/logmel", 512, 256), ("demos/logmel", 512, 256)],
)
def test_logmel_recipes(corpus, tmp_path: Path, recipe: str, window: int, hop: int):
    config = ExtractConfig.load(RECIPES / f"{recipe}.yaml")
    assert (config.logmel.window, config.logmel.hop, config.logmel.bands) == (window, hop, 64)
    extract(corpus((0.5, 5.984)), config, tmp_path / "out")
    assert FeatureSet.open(tmp_path / "out").lengths[1] == 1 + (95_744 - window) // hop


@pytest.mark.parametrize(
    ("recipe", "window", "frames"), [("demos", 512, 373), ("nemo", 1024, 112), ("ravdess", 1024, 112)]
)
def test_recipes_for_trajectory_matching(corpus, tmp_path: Path, recipe: str, window: int, frames: int):
    config = ExtractConfig.load(RECIPES / recipe / "mtt_logmel.yaml")
    assert config.logmel == LogMelConfig(window=window, hop=window // 2, bands=64)
    assert config.clip == window + (frames - 1) * window // 2  # no sample is left over
    extract(corpus((0.5, 5.984, 7.0)), config, tmp_path / "out")
    features = FeatureSet.open(tmp_path / "out")
    assert features.lengths.tolist() == [frames] * 3
    assert features.dims == 64


def test_iemocap_recipe(corpus, tmp_path: Path, tiny_hubert: Path):
    config = ExtractConfig.load(RECIPES / "iemocap/hubert.yaml", [f"hubert.model={tiny_hubert}"])
    assert config.upstream == "hubert"
    assert ExtractConfig.load(RECIPES / "iemocap/hubert.yaml").hubert.model == "facebook/hubert-base-ls960"
    extract(corpus((0.5, 1.0)), config, tmp_path / "out")
    features = FeatureSet.open(tmp_path / "out")
    assert (features.dims, features.config["frame_rate"]) == (16, 50.0)


def test_real_speech(ravdess_root: Path, tmp_path: Path):
    files = sorted(ravdess_root.glob("Actor_0[12]/*.flac"))[:6]
    rows = [f"{file.stem},{file},happy,actor,,,,,\n" for file in files]
    (tmp_path / "manifest.csv").write_text(
        "id,path,emotion,speaker,gender,session,text,duration,split\n" + "".join(rows)
    )
    extract(tmp_path / "manifest.csv", ExtractConfig(), tmp_path / "out")
    features = FeatureSet.open(tmp_path / "out")
    assert features.lengths.tolist() == [1 + (soundfile.info(file).frames - 1024) // 512 for file in files]
    mean, deviation = features.moments()
    assert -20 < mean.min() < mean.max() < 0
    assert 1 < deviation.min() < deviation.max() < 10
