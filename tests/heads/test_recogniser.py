"""A recogniser hears a file as its head knows the extracted set, whatever made the features and however long it is."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gandistill import artifacts
from gandistill.corpora import windows
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.manifest import COLUMNS
from gandistill.errors import InputError, RunError
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.heads import recogniser
from gandistill.heads.head import posteriors
from gandistill.heads.recogniser import Recogniser, train_recogniser
from tests.commands import run

QUICK = ("updates=4", "batch=4", "window=8")
SECONDS = (1.3, 0.9, 1.7, 1.1)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of noise of two emotions."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [COLUMNS]
    for i, seconds in enumerate(SECONDS):
        noise = np.random.default_rng(i).normal(0, 0.05, int(seconds * SAMPLE_RATE))
        soundfile.write(folder / f"u{i}.wav", noise, SAMPLE_RATE)
        emotion = ("sad", "angry")[i % 2]
        rows.append((f"u{i}", f"u{i}.wav", emotion, f"s{i}", "", "1", "", "", "test" if i > 1 else "train"))
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "manifest.csv"


def extracted(manifest: Path, out: Path, *settings: str) -> FeatureSet:
    extract(manifest, ExtractConfig.load(None, settings), out)
    return FeatureSet.open(out)


@pytest.fixture(scope="module")
def logmel(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return extracted(manifest, tmp_path_factory.mktemp("features") / "logmel", "logmel.bands=20", "logmel.hop=400")


@pytest.mark.parametrize("head", ["superb", "attentive"])
@pytest.mark.parametrize(
    "settings",
    [
        ("logmel.bands=20", "logmel.hop=400", "pool=2"),
        ("clip=30000",),
        ("upstream=whisper", "whisper.model=WHISPER", "whisper.layer=2", "pool=2"),
        ("upstream=whisper", "whisper.model=WHISPER", "whisper.weights=[1,2,3,4,5]", "whisper.context=30s"),
        ("upstream=hubert", "hubert.model=HUBERT", "hubert.layer=1"),
    ],
    ids=" ".join,
)
def test_a_file_is_heard_as_its_features(
    settings: tuple[str, ...], head: str, manifest: Path, tiny_whisper: Path, tiny_hubert: Path, tmp_path: Path
):
    here = [each.replace("WHISPER", str(tiny_whisper)).replace("HUBERT", str(tiny_hubert)) for each in settings]
    features = extracted(manifest, tmp_path / "features", *here)
    train_recogniser(features, head, settings=QUICK).save(tmp_path / "head")
    loaded = Recogniser.load(tmp_path / "head", [each for each in here if ".model=" in each])
    expected = posteriors(loaded.head, features)
    for row, name in enumerate(features.index["id"]):
        heard = loaded.predict(manifest.with_name(f"{name}.wav"))
        assert list(heard["probabilities"].values()) == pytest.approx(expected[row].tolist(), abs=1e-6)
        assert heard["label"] == features.labels[int(expected[row].argmax())]
        assert heard["seconds"] == pytest.approx(SECONDS[row], abs=1e-4)


def test_samples_are_heard_as_a_file_is(logmel: FeatureSet, manifest: Path):
    recogniser = train_recogniser(logmel, settings=QUICK)
    path = manifest.with_name("u0.wav")
    samples, _ = soundfile.read(path, dtype="float32")
    for given in (samples, torch.from_numpy(samples), samples.astype(np.float64)):
        assert {"path": str(path)} | recogniser.predict(given) == recogniser.predict(str(path))


@pytest.mark.parametrize("given", [np.zeros((2, 900)), np.full(900, np.nan), np.zeros(0)], ids=["2-D", "NaN", "none"])
def test_samples_that_are_none_are_refused(given: np.ndarray, logmel: FeatureSet):
    with pytest.raises(InputError, match=r"Bad audio of shape|there are no samples"):
        train_recogniser(logmel, settings=QUICK).predict(given)


def test_long_audio_is_heard_in_windows(logmel: FeatureSet, manifest: Path, monkeypatch: pytest.MonkeyPatch):
    """Of 1.7 s the first window has 1 s: probabilities are means by length."""
    monkeypatch.setattr(recogniser, "WINDOW", SAMPLE_RATE)
    recogniser_ = train_recogniser(logmel, settings=QUICK)
    samples = torch.from_numpy(soundfile.read(manifest.with_name("u2.wav"), dtype="float32")[0])
    parts = samples.split(SAMPLE_RATE)
    expected = sum(len(part) * recogniser_.posterior(part) for part in parts) / len(samples)
    heard = recogniser_.predict(manifest.with_name("u2.wav"))
    assert list(heard["probabilities"].values()) == pytest.approx(expected.tolist())
    assert len(parts) == 2
    assert windows.WINDOW == 30 * SAMPLE_RATE


def test_clips_of_one_length_are_windows_of_it(manifest: Path, tmp_path: Path):
    """Training saw the first 0.875 s of each clip; a longer file is heard to its end."""
    heard = train_recogniser(extracted(manifest, tmp_path / "features", "clip=14000"), settings=QUICK)
    assert heard.window == 14_000
    samples = torch.from_numpy(soundfile.read(manifest.with_name("u0.wav"), dtype="float32")[0])
    first, rest = heard.posterior(samples[:14_000]), heard.posterior(samples[14_000:])
    expected = (14_000 * first + (len(samples) - 14_000) * rest) / len(samples)
    assert list(heard.predict(samples)["probabilities"].values()) == pytest.approx(expected.tolist())


def test_saved_and_loaded_it_says_the_same(logmel: FeatureSet, manifest: Path, tmp_path: Path):
    trained = train_recogniser(logmel, dev=logmel.part("test"), seed=3, settings=QUICK)
    trained.save(tmp_path / "head")
    loaded = Recogniser.load(str(tmp_path / "head"))
    path = manifest.with_name("u3.wav")
    assert loaded.predict(path) == trained.predict(path)
    assert loaded.evaluate(logmel) == trained.evaluate(logmel)
    loaded.save(tmp_path / "again")
    assert artifacts.fingerprint(tmp_path / "again") == artifacts.fingerprint(tmp_path / "head")
    config = artifacts.open_artifact(tmp_path / "again", "head")
    assert config["source"]["fingerprint"] == config["dev_features"]["fingerprint"] == logmel.fingerprint
    assert config["trained"]["config"]["seed"] == 3
    assert repr(loaded) == "<Recogniser superb: angry, sad>"


def test_useless_weights_are_said(logmel: FeatureSet, manifest: Path):
    broken = train_recogniser(logmel, settings=QUICK)
    broken.head.mean.fill_(float("nan"))
    with pytest.raises(RunError, match="this recogniser gives NaN"):
        broken.predict(manifest.with_name("u0.wav"))


@pytest.fixture(scope="module")
def head(logmel: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "head"
    train_recogniser(logmel, settings=QUICK).save(folder)
    return folder


def test_the_command_answers_on_files_and_folders(head: Path, manifest: Path):
    folder = manifest.parent
    done = run("predict", head, folder / "u1.wav", folder, "--json").json["files"]
    assert [Path(file["path"]).name for file in done] == ["u1.wav", *(f"u{i}.wav" for i in range(4))]
    assert done[0] == Recogniser.load(head).predict(folder / "u1.wav")
    shown = run("predict", head, folder / "u1.wav")
    assert shown.code == 0
    first, *bars = shown.out.splitlines()
    assert first == f"{folder / 'u1.wav'}: {done[0]['label']}, 0.9 s"
    assert [bar.split()[0] for bar in bars] == ["angry", "sad"]


def test_what_cannot_be_heard_is_said_behind_what_can(head: Path, manifest: Path, tmp_path: Path):
    good, missing, silent = manifest.with_name("u1.wav"), tmp_path / "missing.wav", tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(9_000), SAMPLE_RATE)
    done = run("predict", head, missing, good, silent)
    assert done.code == 2
    assert done.out.startswith(f"{good}: ")
    assert done.err == f"gandistill: {missing}: no such file\n{silent}: all samples are zero\n"
    alone = run("predict", head, silent)
    assert (alone.code, alone.out) == (2, "")
    (tmp_path / "empty").mkdir()
    assert run("predict", head, tmp_path / "empty").err.endswith("empty: no audio file is below it\n")


def test_one_channel_can_be_heard(head: Path, tmp_path: Path):
    left, path = np.random.default_rng(0).normal(0, 0.1, 16_000), tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, -left], axis=1), SAMPLE_RATE)
    done = run("predict", head, path)
    assert done.code == 2
    assert "--channel 1" in done.err
    (heard,) = run("predict", head, path, "--channel", 1, "--json").json["files"]
    soundfile.write(tmp_path / "left.wav", left, SAMPLE_RATE)
    assert heard["probabilities"] == Recogniser.load(head).predict(tmp_path / "left.wav")["probabilities"]
    assert Recogniser.load(head).predict(path, channel=1) == heard


def test_audio_too_short_for_the_upstream(manifest: Path, tiny_hubert: Path, tmp_path: Path):
    features = extracted(manifest, tmp_path / "features", "upstream=hubert", f"hubert.model={tiny_hubert}", "pool=9")
    train_recogniser(features, settings=QUICK).save(tmp_path / "head")
    soundfile.write(tmp_path / "short.wav", np.random.default_rng(0).normal(0, 0.1, 800), SAMPLE_RATE)
    done = run("predict", tmp_path / "head", tmp_path / "short.wav", "--set", f"hubert.model={tiny_hubert}")
    assert done.code == 2
    assert "too short for the upstream (800 samples at 16 kHz, it takes at least" in done.err
