"""The main job on a corpus of a few clips, and what it prints."""

import json
from functools import partial
from pathlib import Path

import pytest

from gandistill import demo
from gandistill.corpora.synthetic import synthesise
from gandistill.errors import InputError
from gandistill.gan.generator import Architecture
from gandistill.gan.sampling import Sampler
from gandistill.gan.training import GanConfig, Training
from gandistill.heads.bank import BankConfig
from gandistill.heads.training import HeadConfig
from tests.corpora.fabricate import fabricate_emovo, fabricate_voxceleb1

QUICK = [
    ("real, all of it", None),
    ("class-Gaussian", 2),
    ("real, random", 2),
    ("real, recentred", 2),
    ("class-Gaussian", 3),
    ("real, random", 3),
    ("real, recentred", 3),
]
FULL = [
    ("generator, untrained", 3),
    ("generator, its start", 3),
    ("generator", 3),
    ("real, random, soft labels", 3),
    ("generator, soft labels", 3),
]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same job, in seconds: few clips, heads, seeds and updates."""
    bank = BankConfig(heads=("superb", "attentive"), seeds=1, updates=4, half_trained=2, window=16, batch=4)
    monkeypatch.setattr(demo, "synthesise", partial(synthesise, sessions=3, per_class=2))
    monkeypatch.setattr(demo, "BankConfig", lambda: bank)
    training = Training(updates=1, batch=4, evaluate_heads=("superb",), evaluate_ppc=2)
    monkeypatch.setattr(demo, "TRAINING", training)
    monkeypatch.setattr(demo, "HEADS", {"superb": (0, 1, 2), "cnn-attention": (0, 1)})
    monkeypatch.setattr(demo, "FEW", 2)
    monkeypatch.setattr(demo, "MANY", 3)
    monkeypatch.setattr("gandistill.experiments.utility.HeadConfig", partial(HeadConfig, updates=3, batch=4, window=16))


def printed_rows(printed: str) -> list[str]:
    return [line.split("  ")[0] for line in printed.splitlines() if line.startswith(("real", "class-", "generator"))]


def test_the_demo_prints_its_result_as_table_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    work = tmp_path / "work"
    demo.demo(None, work, as_json=False)
    printed, said = capsys.readouterr()
    assert "16 test utterances of 2 speakers that nothing" in printed
    assert "Corpus: synthetic speech, made-up voices: these numbers say nothing about human speech" in printed
    assert "over draws and heads of 3 seeds (superb) and 2 seeds (cnn-attention)" in printed
    assert "Chance: 25.0" in printed
    assert printed_rows(printed) == [name for name, _ in QUICK]
    assert not any(line != line.rstrip() for line in printed.splitlines())
    first = said.index("class-Gaussian, 2 of each class: ")
    assert said.index("Fitted a Gaussian to each class") < first < said.index("real, random, 2 of each class: ")
    assert not (work / "bank").exists(), "a bank takes longer than all else"

    monkeypatch.setattr("gandistill.experiments.utility.train_heads", None)
    demo.demo(None, work, as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert result["corpus"] == "synthetic speech"
    generator = Path(result["generator"])
    assert result["generator_bytes"] == sum(file.stat().st_size for file in generator.iterdir())
    assert Sampler.open(generator).facts["licence"] == "CC0-1.0"
    judged = [(row["row"], row["ppc"]) for row in result["rows"] if row["head"] == "superb"]
    assert sorted(judged, key=str) == sorted(QUICK, key=str)
    timed = [(row["row"], row["ppc"]) for row in result["rows"] if row["head"] == "cnn-attention"]
    assert sorted(timed, key=str) == sorted(QUICK[:3], key=str)
    for row in result["rows"]:
        assert row["points"] == 4 * (4 if row["ppc"] is None else row["ppc"])
        assert len(row["uars"]) == len(demo.HEADS[row["head"]])
        assert row["uar"] == pytest.approx(sum(row["uars"]) / len(row["uars"]))
        assert row["low"] <= row["uar"] <= row["high"]
        assert all(0 <= uar <= 1 for uar in row["uars"])


def test_in_full_it_trains_a_gan_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    work = tmp_path / "work"
    demo.demo(None, work, as_json=True, full=True)
    result = json.loads(capsys.readouterr().out)
    assert result["generator"] == str(work / "gan" / "generator")
    for head, expected in (("superb", [*QUICK, *FULL]), ("cnn-attention", [*QUICK[:3], *FULL, QUICK[4], QUICK[5]])):
        judged = [(row["row"], row["ppc"]) for row in result["rows"] if row["head"] == head]
        assert sorted(judged, key=str) == sorted(expected, key=str)


def test_any_corpus_in_a_folder_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    demo.demo(fabricate_emovo(tmp_path / "mine", limit=1, seconds=0.3), None, as_json=True)
    assert json.loads(capsys.readouterr().out)["corpus"] == "EMOVO"
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["demo-emovo"]


def test_a_kind_and_a_protocol_that_are_given_count(tmp_path: Path):
    root = fabricate_emovo(tmp_path / "mine", limit=1)
    assert demo.recognised(root, None, None) == demo.Source("emovo", root, "speaker-independent")
    assert demo.recognised(root, "nemo", None) == demo.Source("nemo", root, "speaker-trios")
    assert demo.recognised(root, None, "custom").protocol == "custom"


def test_a_corpus_without_emotions_is_refused(tmp_path: Path):
    root = fabricate_voxceleb1(tmp_path / "mine")
    with pytest.raises(InputError, match="nobody labelled the emotions of voxceleb1"):
        demo.demo(root, tmp_path / "work", as_json=False)
    assert not (tmp_path / "work").exists()


def test_a_training_without_inputs_gets_the_synthetic_ones(tmp_path: Path):
    """A bank too where it needs one."""
    config = demo.with_inputs(GanConfig(), tmp_path / "fit")
    assert config == GanConfig(features=tmp_path / "synthetic" / "features")
    assert not (tmp_path / "synthetic" / "bank").exists()
    gan = GanConfig(architecture=Architecture(kind="gan-att"))
    made = demo.with_inputs(gan, tmp_path / "gan")
    assert (made.features, made.bank) == (config.features, tmp_path / "synthetic" / "bank")
    assert demo.with_inputs(gan, tmp_path / "other") == made


def test_inputs_that_are_given_stay(tmp_path: Path):
    for given in (GanConfig(features=tmp_path), GanConfig(bank=tmp_path), GanConfig(features=tmp_path, bank=tmp_path)):
        assert demo.with_inputs(given, tmp_path / "gan") == given
    assert not any(tmp_path.iterdir())


def test_a_corpus_that_is_not_there(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere"):
        demo.demo(tmp_path / "nowhere", tmp_path / "work", as_json=False)
