"""The report of a manifest, held to clips that are made for it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from gandistill.cli import main
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.health import decibels, health
from gandistill.corpora.manifest import Entry, write_manifest
from tests.commands import run


def clip(folder: Path, name: str, seconds: float, amplitude: float, rate: int, channels: int = 1) -> Entry:
    """A tone, whose first half is silent, in every channel."""
    tone = amplitude * np.sin(2 * np.pi * 100 * np.arange(round(seconds * rate)) / rate + np.pi / 2)
    tone[: len(tone) // 2] = 0
    soundfile.write(folder / name, np.stack([tone] * channels, axis=1), rate, subtype="FLOAT")
    return Entry(Path(name).stem, folder / name, "happy", "s1", split="train")


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    return [
        clip(tmp_path, "a.wav", 1.5, 0.5, SAMPLE_RATE),
        clip(tmp_path, "b.wav", 3.0, 0.1, SAMPLE_RATE, channels=2),
        clip(tmp_path, "c.wav", 40.0, 1.0, SAMPLE_RATE),
    ]


def test_what_a_corpus_sounds_like(entries: list[Entry]):
    facts = dict(line.split(maxsplit=1) for line in str(health(entries)).replace("sample rates", "rates").splitlines())
    assert facts == {
        "clips": "3, 0.01 h; 1.5 to 40.0, median 3.0 s",
        "lengths": "1 to 2 s: 1, 2 to 4 s: 1, over 30 s: 1",
        "rates": "16000: 3 (Hz: clips)",
        "channels": "1: 2, 2: 1",
        "peaks": "-20 to 0, median -6 dBFS; 1 clips reach full scale",
        "silence": "49 to 50, median 50 % of a clip",
    }


def test_other_rates_are_as_found(tmp_path: Path):
    entries = [clip(tmp_path, "a.wav", 1, 0.5, 44_100), clip(tmp_path, "b.wav", 1, 0.5, 8_000)]
    assert "8000: 1, 44100: 1" in str(health(entries))


def test_what_cannot_be_used_is_counted_and_hinders_nothing(
    entries: list[Entry], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    entries[0].path.unlink()
    found = health(entries)
    assert len(found.sounds) == 2
    assert str(found).splitlines()[-1] == f"unusable      1 clips; the first: {entries[0].path}: no such file"
    for entry in entries[1:]:
        entry.path.unlink()
    write_manifest(tmp_path / "manifest.csv", entries)
    with pytest.raises(SystemExit) as end:
        main(["audit", str(tmp_path / "manifest.csv")])
    assert end.value.code == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("unusable      3 clips")
    assert printed[-1].split() == ["train", "3", "3", "1"]


def test_the_command_draws_it(entries: list[Entry], tmp_path: Path):
    write_manifest(tmp_path / "manifest.csv", entries)
    with pytest.raises(SystemExit) as end:
        main(["audit", str(tmp_path / "manifest.csv"), "--figure", str(tmp_path / "a.svg")])
    assert end.value.code == 0
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert all(text in drawn for text in ("length (s)", "peak (dBFS)", "silence (% of a clip)", "happy", "train"))
    assert "Lengths. length (s): 3 clips, 1.5 to 40, median 3." in ElementTree.fromstring(drawn).get("aria-label", "")
    assert len(re.findall(r'<rect class="real"', drawn)) == 3 * 40
    for entry in entries:
        entry.path.unlink()
    done = run("audit", tmp_path / "manifest.csv", "--figure", tmp_path / "b.svg")
    assert (done.code, done.err) == (2, "gandistill: There is no usable clip to draw a figure of\n")


def test_decibels():
    assert [decibels(x) for x in (1.0, 0.1, 1e-9, 0.0)] == pytest.approx([0, -20, -100, -100])
