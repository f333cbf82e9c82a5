"""A guarantee goes with what is computed from a release, and with nothing else."""

from dataclasses import replace
from pathlib import Path

from gandistill import artifacts
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler
from gandistill.guarantee import guarantee_said, guaranteed
from gandistill.heads.recogniser import Recogniser, train_recogniser
from tests.commands import run
from tests.privacy.conftest import train_private, write_speakers


def test_it_is_handed_on_as_it_is_and_said():
    """Of everything that is known of a private generator it is the one thing that its samples have too."""
    terms = {"epsilon": 2.50, "delta": 0.01, "speakers": 10}
    facts = {"corpus": "ours", "privacy": terms, "labels": ["sad"]}
    assert guaranteed(facts) == {"privacy": terms}
    assert guaranteed(guaranteed(facts)) == guaranteed(facts)
    assert guarantee_said(facts) == " The generator's guarantee, epsilon 2.5, covers it too."


def test_of_what_has_none_nothing_is_said():
    assert guaranteed({"corpus": "ours"}) == {}
    assert guarantee_said({"corpus": "ours"}) == ""


def test_what_learns_from_a_private_generators_samples_alone_has_its_guarantee(tmp_path: Path):
    """Heads and banks; not a head that the dev part of real features has chosen, nor one of real features."""
    speakers, private = write_speakers(tmp_path / "features"), tmp_path / "private"
    public = write_speakers(tmp_path / "public", seed=1, corpus="theirs")
    train_private(speakers, public, private)
    assert run("sample", private, "--ppc", "6", "--out", tmp_path / "set").code == 0
    quick = ("--set", "updates=2", "--set", "batch=4")
    assert run("train-head", tmp_path / "set", *quick, "--out", tmp_path / "head").code == 0
    small = ("--set", "seeds=1", "--set", "half_trained=1", "--set", "heads=[superb]")
    assert run("bank", tmp_path / "set", *quick, *small, "--out", tmp_path / "bank").code == 0
    Recogniser.load(tmp_path / "head").save(tmp_path / "again")
    for name in ("head", "bank", "again"):
        config = artifacts.read_json(tmp_path / name / "config.json")
        assert config["privacy"] == Sampler.open(private).facts["privacy"]
        assert "The generator's guarantee, epsilon 100, covers it too." in (tmp_path / name / "README.md").read_text()
        done = run("attack", tmp_path / name, speakers.folder, "--card")
        assert "has a guarantee, which would not cover what an attack found" in done.err
    judged = write_speakers(tmp_path / "judged", train=4, test=4)
    chosen = replace(judged, index=judged.index.assign(split="dev"))
    for heard, dev in ((FeatureSet.open(tmp_path / "set"), chosen), (speakers, None)):
        head = train_recogniser(heard, dev=dev, settings=("updates=2", "batch=4"))
        head.save(tmp_path / "other")
        assert "privacy" not in artifacts.read_json(tmp_path / "other" / "config.json")
        assert "guarantee" not in (tmp_path / "other" / "README.md").read_text()
