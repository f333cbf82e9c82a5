"""The class-Gaussian as an artifact: fitted by the train command, drawn from as the control of the same name is."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gandistill import artifacts
from gandistill.cli import main
from gandistill.controls.select import select
from gandistill.errors import InputError
from gandistill.experiments.inputs import Inputs
from gandistill.features.featureset import FeatureSet
from gandistill.gan.compression import compress
from gandistill.gan.generator import Architecture
from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train, untrained
from gandistill.heads.bank import Bank, BankConfig
from gandistill.precision import REDUCED

KIND = {"kind": "class-gaussian"}


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return int(str(stopped.value.code))


def told(captured: pytest.CaptureFixture[str]) -> str:
    """The one line that was said."""
    (line,) = captured.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def with_bank(configured: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("banked") / "run"
    train(configured(architecture=KIND), out)
    return out


@pytest.mark.parametrize("banked", [False, True])
def test_the_train_command_makes_it(
    banked: bool, features: FeatureSet, bank: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    named = [f"features={features.folder}", *([f"bank={bank}"] if banked else [])]
    settings = [word for setting in ("architecture.kind=class-gaussian", *named) for word in ("--set", setting)]
    assert run("train", *settings, "--set", "architecture.frames=12", "--out", tmp_path / "run") == 0
    assert told(capfd) == f"Generator: {tmp_path / 'run' / 'generator'}"
    files = {path.name for path in (tmp_path / "run" / "generator").iterdir()}
    made = {"README.md", "SHA256SUMS", "config.json", "draws.safetensors", "generator.safetensors"}
    assert files == (made | {"bank.safetensors"} if banked else made)
    sampler = Sampler.open(tmp_path / "run")
    assert sampler.facts["architecture"]["kind"] == "class-gaussian"
    assert sampler.facts["class_counts"] == features.part("train").class_counts
    assert (sampler.facts["corpus"], sampler.facts["licence"]) == ("test corpus", "CC0-1.0")
    assert sampler.facts["trained"]["updates"] == 0
    assert run("sample", tmp_path / "run", "--ppc", 3, "--out", tmp_path / "drawn") == 0
    assert capfd.readouterr().err == f"{tmp_path / 'drawn'}: 9 samples\n"
    assert FeatureSet.open(tmp_path / "drawn").class_counts == {"neutral": 3, "happy": 3, "sad": 3}


@pytest.mark.parametrize("draws", ["designed", "independent"])
@pytest.mark.parametrize("noise", [3, 64])
def test_its_samples_are_those_of_the_control(
    draws: str, noise: int, configured: Any, features: FeatureSet, tmp_path: Path
):
    """But for rounding, where lengths, components and seed agree; 19 clips of 3 classes have 16 components."""
    frames = int(np.median(features.part("train").lengths))
    train(
        configured(bank=None, architecture=KIND | {"frames": frames, "noise": noise}, training={"seed": 4}),
        tmp_path / "run",
    )
    sampler = Sampler.open(tmp_path / "run").drawing(draws)
    counts = {"neutral": 11, "happy": 7, "sad": 20}
    control = select(features, "class-gaussian", counts, 4, tmp_path / "control", draws=draws, components=noise)
    assert control.config["made_by"]["components"] == min(noise, 16)
    samples = list(sampler.utterances(counts, 4, soft=False))
    assert [sample.id for sample in samples] == control.index["id"].tolist()
    for row, sample in enumerate(samples):
        torch.testing.assert_close(sample.frames, control.frames(row), rtol=2.0**-10, atol=2.0**-12)


def test_its_card_says_what_it_is(closed_form: Path, with_bank: Path):
    for folder in (closed_form, with_bank):
        card = (folder / "generator" / artifacts.CARD).read_text()
        assert "\n# Generator `class-gaussian`\n\nA Gaussian for each class over whole clips, fitted in" in card
        assert "heads trained on its samples alone: not measured." in card
        assert "share of 0.25" in card
        assert "| happy | 4 |" in card


def test_soft_labels_are_the_banks_or_refused_in_one_line(
    closed_form: Path, with_bank: Path, bank: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    asked: tuple[Any, ...] = ("--ppc", 2, "--labels", "soft", "--out", tmp_path / "soft")
    assert run("sample", closed_form, *asked) == 2
    expected = "gandistill: The generator has no bank, whose heads give soft labels: train it with --set bank=DIR"
    assert told(capfd) == expected
    assert not list(tmp_path.iterdir())
    assert run("sample", with_bank, *asked) == 0
    soft, heads = FeatureSet.open(tmp_path / "soft"), Bank(Bank.open(bank).converged())
    assert soft.soft is not None
    for row in range(len(soft)):
        frames = soft.frames(row)
        posterior = heads.mean_posterior(frames[None], torch.tensor([len(frames)]))[0]
        np.testing.assert_allclose(soft.soft[row], posterior, atol=1e-6)


def test_a_bank_changes_no_sample(closed_form: Path, with_bank: Path):
    one, other = (Sampler.open(folder).samples(2, 5, 0) for folder in (closed_form, with_bank))
    assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("precision", REDUCED)
def test_without_a_bank_it_can_be_compressed(precision: str, closed_form: Path, tmp_path: Path):
    compress(closed_form, precision, tmp_path / "small")
    small, whole = Sampler.open(tmp_path / "small"), Sampler.open(closed_form)
    assert small.bank is None
    for one, other in zip(small.samples(0, 4, 0), whole.samples(0, 4, 0), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol={"float16": 0.02, "int8": 0.15}[precision])


def test_before_its_training_it_is_itself(configured: Any, closed_form: Path):
    sampler = untrained(configured(bank=None, architecture=KIND))
    assert all(map(torch.equal, sampler.samples(1, 3, 0), Sampler.open(closed_form).samples(1, 3, 0)))


def test_resumed_it_is_made_again(configured: Any, closed_form: Path, tmp_path: Path):
    config = configured(bank=None, architecture=KIND)
    train(config, tmp_path / "run")
    made = artifacts.fingerprint(tmp_path / "run" / "generator")
    assert made == artifacts.fingerprint(closed_form / "generator")
    with pytest.raises(InputError, match="--resume"):
        train(config, tmp_path / "run")
    for gone in (False, True):
        if gone:
            shutil.rmtree(tmp_path / "run" / "generator")
        train(config, tmp_path / "run", resume=True)
        assert artifacts.fingerprint(tmp_path / "run" / "generator") == made
    with pytest.raises(InputError, match=r"was started with other values of \[training\.seed\]"):
        train(configured(bank=None, architecture=KIND, training={"seed": 1}), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match=r"was started with other content of \[bank\]"):
        train(configured(architecture=KIND), tmp_path / "run", resume=True)


def test_bad_input_is_refused_before_a_run_folder_is_made(
    configured: Any, make_features: Any, bank: Path, tmp_path: Path
):
    lopsided = make_features(tmp_path / "lopsided", counts={"neutral": 3, "happy": 0, "sad": 2})
    wide = make_features(tmp_path / "wide", dims=7)
    for changes, message in (
        ({"features": None}, "Training needs a feature set: --set features=DIR"),
        ({"features": str(tmp_path / "nowhere"), "bank": None}, "nowhere: no such folder"),
        ({"features": str(lopsided.folder), "bank": None}, "no utterance of 'happy' to fit a Gaussian to"),
        ({"features": str(wide.folder)}, "wide has 7 dims, but the bank expects 6"),
        ({"bank": str(tmp_path / "nowhere")}, "nowhere: no such folder"),
    ):
        with pytest.raises(InputError, match=message):
            train(configured(**{"architecture": KIND} | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_features_it_is_fitted_to_the_synthetic_corpus(
    features: FeatureSet, bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = list[tuple[Path, BankConfig | None]]()

    def synthetic(work: Path, banking: BankConfig | None) -> Inputs:
        asked.append((work, banking))
        return Inputs(features.folder, None, banking)

    monkeypatch.setattr("gandistill.demo.synthetic_inputs", synthetic)
    assert run("train", "--out", tmp_path / "run") == 0
    assert asked == [(tmp_path / "synthetic", None)]
    made = Sampler.open(tmp_path / "run")
    assert made.generator.architecture.kind == "class-gaussian"
    assert made.bank is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["training.updates=9", "losses.diversity=0"],
            "training.updates, losses.diversity: of no effect, a class",
        ),
        (["training.seed=1", "architecture.noise=3"], None),
    ],
)
def test_what_asks_for_a_training_is_said(
    features: FeatureSet, tmp_path: Path, capfd: pytest.CaptureFixture[str], settings: list[str], said: str | None
):
    words = [word for setting in [f"features={features.folder}", *settings] for word in ("--set", setting)]
    assert run("train", *words, "--out", tmp_path / "run") == 0
    err = capfd.readouterr().err
    assert ("of no effect" in err) == (said is not None)
    assert (said or "") in err


def test_a_config_may_not_name_heads_that_are_not_there(closed_form: Path, with_bank: Path, tmp_path: Path):
    sampler = Sampler.open(closed_form)
    sampler.save(tmp_path / "forged", {}, "# Card\n")
    config = artifacts.read_json(tmp_path / "forged" / artifacts.CONFIG)
    config["heads"] = artifacts.read_json(with_bank / "generator" / artifacts.CONFIG)["heads"]
    (tmp_path / "forged" / artifacts.CONFIG).write_text(json.dumps(config))
    artifacts.write_sums(tmp_path / "forged")
    with pytest.raises(InputError, match=r"bank\.safetensors"):
        Sampler.open(tmp_path / "forged")


def test_a_gan_still_needs_a_bank(features: FeatureSet, tmp_path: Path):
    with pytest.raises(InputError, match="Training needs a feature set and a bank"):
        train(GanConfig(features=features.folder, architecture=Architecture(kind="gan-att")), tmp_path / "run")
