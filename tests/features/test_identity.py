"""What a feature set is: its content and what decides that, never who made it, when, or with which versions."""

import datetime
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from gandistill import artifacts
from gandistill.config import Config
from gandistill.errors import InputError
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.features.resplit import resplit
from gandistill.run import Run

SECONDS = (0.4, 0.3, 1.1, 0.7)


@pytest.fixture
def made(corpus, tmp_path: Path) -> Callable[..., FeatureSet]:
    """The features of one corpus by some settings, in a folder of this name."""
    manifest = corpus(SECONDS)

    def make(name: str, *settings: str) -> FeatureSet:
        extract(manifest, ExtractConfig.load(overrides=list(settings)), tmp_path / name)
        return FeatureSet.open(tmp_path / name)

    return make


def test_who_made_it_is_no_part_of_it(made, monkeypatch: pytest.MonkeyPatch):
    first = made("first")
    monkeypatch.setattr(artifacts, "_source", lambda: "a comment was added")
    monkeypatch.setattr(platform, "python_version", lambda: "3.11.99")
    monkeypatch.setattr(artifacts, "__version__", "99.0")
    second = made("second")
    assert first.config["made_by"] != second.config["made_by"]
    assert first.fingerprint == second.fingerprint


def test_the_date_is_no_part_of_it(made, monkeypatch: pytest.MonkeyPatch):
    first = made("first")
    described = artifacts.describe

    def dated(kind: str, made_by: dict, **facts: object) -> dict:
        return described(kind, made_by | {"date": str(datetime.date(2031, 1, 1))}, **facts)

    monkeypatch.setattr(artifacts, "describe", dated)
    assert made("second").fingerprint == first.fingerprint


def test_the_card_is_no_part_of_it(made):
    first, second = made("first"), made("second")
    artifacts.write_text(second.folder / artifacts.CARD, "# In other words\n")
    artifacts.write_sums(second.folder)
    assert FeatureSet.open(second.folder).fingerprint == first.fingerprint


def test_what_decides_the_content_is(made, corpus, tmp_path: Path):
    plain = made("plain")
    others = [made("bands", "logmel.bands=32"), made("hop", "logmel.hop=256"), made("clip", "clip=8000")]
    manifest = corpus(SECONDS, name="moved")
    manifest.write_text(manifest.read_text().replace(",test", ",dev"))
    others.append(resplit(plain, manifest, tmp_path / "resplit"))
    audio, rate = soundfile.read(manifest.with_name("u2.wav"), dtype="int16")
    audio[1000] += 1000
    manifest = corpus(SECONDS, name="changed")
    soundfile.write(manifest.with_name("u2.wav"), audio, rate, subtype="PCM_16")
    extract(manifest, ExtractConfig(), tmp_path / "one-sample")
    others.append(FeatureSet.open(tmp_path / "one-sample"))
    assert len({plain.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_a_config_that_was_edited_has_no_identity(made):
    features = made("features")
    config = features.folder / artifacts.CONFIG
    config.write_text(config.read_text().replace('"logmel"', '"logmal"'))
    with pytest.raises(InputError, match=r"config\.json has changed since it was written"):
        artifacts.fingerprint(features.folder)


def test_a_run_that_recorded_the_hash_of_the_sums_goes_on(made, tmp_path: Path):
    """As runs and banks did before the identity left out who made an artifact."""
    features = made("features")
    now, before = features.fingerprints
    assert before == artifacts.sha256(features.folder / artifacts.SUMS) != now == features.fingerprint
    with Run(tmp_path / "run", Config(), False, features=before):
        pass
    with Run(tmp_path / "run", Config(), True, features=features.fingerprints):
        pass
    with pytest.raises(InputError, match=r"was started with other content of \[features\]"):
        Run(tmp_path / "run", Config(), True, features=made("other", "clip=8000").fingerprints)
