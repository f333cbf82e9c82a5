"""The main job on a corpus of a few clips, and what it prints."""

import json
from functools import partial
from pathlib import Path

import pytest

from gandistill import demo
from gandistill.corpora.synthetic import synthesise
from gandistill.errors import InputError
from gandistill.gan.sampling import Sampler
from gandistill.gan.training import GanConfig, Training
from gandistill.heads.bank import BankConfig
from gandistill.heads.training import HeadConfig

ROWS = [
    "real, all of it",
    "real, random",
    "class-Gaussian",
    "generator, untrained",
    "generator, its start",
    "generator",
    "real, random, soft labels",
    "generator, soft labels",
]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same job, in seconds: few clips, heads, seeds and updates."""
    bank = BankConfig(heads=("superb", "attentive"), seeds=1, updates=4, half_trained=2, window=16, batch=4)
    monkeypatch.setattr(demo, "synthesise", partial(synthesise, sessions=3, per_class=2))
    monkeypatch.setattr(demo, "BankConfig", lambda: bank)
    training = Training(updates=1, batch=4, evaluate_heads=("superb",), evaluate_ppc=2)
    monkeypatch.setattr(demo, "TRAINING", training)
    monkeypatch.setattr(demo, "SEEDS", (0, 1))
    monkeypatch.setattr(demo, "PPC", 3)
    monkeypatch.setattr("gandistill.experiments.utility.HeadConfig", partial(HeadConfig, updates=3, batch=4, window=16))


def test_the_demo_prints_its_result_as_table_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    demo.demo(None, tmp_path / "work", as_json=False)
    printed = capsys.readouterr().out
    assert "16 real test utterances of 2 speakers" in printed
    assert "Chance: 25.0" in printed
    lines = [line for line in printed.splitlines() if line.startswith(tuple(ROWS))]
    assert [line.split("  ")[0] for line in lines] == ROWS
    assert not any(line != line.rstrip() for line in printed.splitlines())
    stamp = (tmp_path / "work" / "bank" / "SHA256SUMS").stat().st_mtime_ns

    demo.demo(None, tmp_path / "work", as_json=True)
    assert (tmp_path / "work" / "bank" / "SHA256SUMS").stat().st_mtime_ns == stamp, "what is there is not redone"
    result = json.loads(capsys.readouterr().out)
    assert result["corpus"] == "synthetic speech"
    generator = Path(result["generator"])
    assert result["generator_bytes"] == sum(file.stat().st_size for file in generator.iterdir())
    assert [(row["row"], row["head"]) for row in result["rows"]] == [(row, head) for row in ROWS for head in demo.HEADS]
    for row in result["rows"]:
        assert row["points"] == (16 if row["ppc"] is None else 12)
        assert row["uar"] == pytest.approx(sum(row["uars"]) / 2)
        assert row["low"] <= row["uar"] <= row["high"]
        assert all(0 <= uar <= 1 for uar in row["uars"])
    assert Sampler.open(generator).facts["licence"] == "CC0-1.0"


def test_a_training_without_inputs_gets_the_synthetic_ones(tmp_path: Path):
    config = demo.with_inputs(GanConfig(), tmp_path / "gan")
    assert config == GanConfig(features=tmp_path / "synthetic" / "features", bank=tmp_path / "synthetic" / "bank")
    assert demo.with_inputs(GanConfig(), tmp_path / "other") == config


def test_inputs_that_are_given_stay(tmp_path: Path):
    for given in (GanConfig(features=tmp_path), GanConfig(bank=tmp_path), GanConfig(features=tmp_path, bank=tmp_path)):
        assert demo.with_inputs(given, tmp_path / "gan") == given
    assert not any(tmp_path.iterdir())


def test_a_corpus_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere"):
        demo.demo(tmp_path / "nowhere", tmp_path / "work", as_json=False)
