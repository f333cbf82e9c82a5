"""EMOVO: the names, and that of its two microphones one is heard."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gandistill.corpora import emovo
from gandistill.corpora.audio import load
from gandistill.corpora.faults import AudioError
from gandistill.corpora.manifest import read_manifest
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from tests.corpora.fabricate import fabricate_emovo


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    root = fabricate_emovo(tmp_path / "EMOVO", limit=1, seconds=0.3)
    prepare("emovo", root, tmp_path / "manifest.csv", protocol="speaker-independent")
    return tmp_path / "manifest.csv"


def test_the_fabricated_corpus(tmp_path: Path) -> None:
    entries = emovo.read(fabricate_emovo(tmp_path, seconds=0.03))
    assert len({entry.id for entry in entries}) == len(entries) == 588
    counts = Counter(entry.emotion for entry in entries)
    assert counts == dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 84)
    assert len({entry.speaker for entry in entries}) == 6


def test_one_microphone_keeps_its_level(prepared: Path) -> None:
    """The fabricated channels cancel: whoever averages them hears nothing."""
    entries = read_manifest(prepared)
    assert Counter(entry.split for entry in entries) == {"train": 21, "dev": 14, "test": 7}
    assert prepared.read_text(encoding="utf-8").splitlines()[0].endswith(",split,channel,checked")
    for entry in entries:
        samples, rate = soundfile.read(entry.path)
        assert (samples.shape[1], rate) == (2, 48_000)
        with pytest.raises(AudioError, match="channels that cancel each other"):
            load(entry.path)
        # 0.1 / sqrt(2) of tone, and of the noise the 0.03 / sqrt(3) that lies below 8 kHz
        assert load(entry.path, entry.channel).std() == pytest.approx(np.hypot(0.1 / 2**0.5, 0.03 / 3**0.5), rel=0.02)


def test_features_are_those_of_the_first_microphone_alone(prepared: Path, tmp_path: Path) -> None:
    extract(prepared, ExtractConfig(), tmp_path / "stereo")
    for entry in read_manifest(prepared):
        samples, rate = soundfile.read(entry.path, dtype="int16")
        soundfile.write(entry.path, samples[:, 0], rate)
    extract(prepared, ExtractConfig(), tmp_path / "mono")
    stereo, alone = FeatureSet.open(tmp_path / "stereo"), FeatureSet.open(tmp_path / "mono")
    assert len(stereo) == len(alone) == 42
    for row in range(len(stereo)):
        np.testing.assert_array_equal(stereo.frames(row), alone.frames(row))


def test_another_channel_is_another_feature_set(prepared: Path, tmp_path: Path) -> None:
    extract(prepared, ExtractConfig(), tmp_path / "features")
    text = re.sub(r",1(,\w+)$", r",2\1", prepared.read_text(encoding="utf-8"), flags=re.MULTILINE)
    prepared.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"was made from something else: .* is 'channel 1' there and 'channel 2' here"):
        extract(prepared, ExtractConfig(), tmp_path / "features")
