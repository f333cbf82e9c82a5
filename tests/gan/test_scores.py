"""What a generator teaches is measured by heads that its bank does not know, and said by its card."""

import json
from pathlib import Path

import pytest
import yaml

from gandistill import FeatureSet, Generator, artifacts, train_bank
from gandistill.evaluate.markdown import percent
from gandistill.gan import scores
from gandistill.gan.compression import compress
from gandistill.heads.training import HeadConfig, score, train_head
from tests.commands import run
from tests.gan.conftest import write_features

LABELS = ["angry", "sad"]
SMALL = ("heads=[superb]", "seeds=2", f"seed={scores.FIRST_SEED + 1}", "updates=4", "half_trained=2", "batch=4")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    counts = dict.fromkeys(LABELS, 6)
    return write_features(tmp_path_factory.mktemp("scores") / "features", LABELS, counts, ("train", "dev", "test"))


@pytest.fixture
def generator(features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scores, "HeadConfig", quick)
    monkeypatch.setattr(scores, "PPC", 4)
    Generator.fit(features, train_bank(features, settings=SMALL)).save(tmp_path / "generator")
    return tmp_path / "generator"


def quick(head: str, seed: int) -> HeadConfig:
    """In the place of ``HeadConfig``: heads that are trained in no time."""
    return HeadConfig(head=head, seed=seed, updates=4, batch=4)


def test_it_is_measured_and_the_card_says_it(generator: Path, features: FeatureSet):
    before, drawn = artifacts.fingerprint(generator), Generator.load(generator).sample(4, seed=scores.FIRST_SEED)
    found = run("evaluate", generator, features.folder, "--json").json
    assert artifacts.read_json(generator / artifacts.SCORES) == found
    assert artifacts.fingerprint(generator) == found["generator"]["fingerprint"] == before
    first = scores.FIRST_SEED
    assert found["seeds"] == [first, first + 3, first + 4, first + 5, first + 6], "without the bank's"
    part = features.part("test")
    for kind, of in found["heads"].items():
        for name, training in ((scores.SAMPLES, drawn), (scores.REAL, features.training_part())):
            assert of[name]["uars"][0] == score(train_head(training, quick(kind, first)), part)["uar"]
    _, header, text = (generator / artifacts.CARD).read_text().split("---\n", 2)
    (index,) = yaml.safe_load(header)["model-index"]
    (result,) = index["results"]
    assert result["dataset"] == {"name": "test corpus", "type": "test-corpus", "split": "test"}
    assert [metric["value"] for metric in result["metrics"]] == [
        of[scores.SAMPLES]["uar"] for of in found["heads"].values()
    ]
    assert all(percent(s["uar"], s["low"], s["high"]) in text for of in found["heads"].values() for s in of.values())


def test_twice_is_said_once_and_another_generator_does_not_inherit_it(
    generator: Path, features: FeatureSet, tmp_path: Path
):
    told = [run("evaluate", generator, features.folder, "--split", split).out for split in ("dev", "test")]
    artifacts.write_section(generator, "generator", "What attacks found", "Nothing.")
    assert run("evaluate", generator, features.folder, "--split", "test").code == 0
    assert artifacts.has_section(generator, "What attacks found"), "which stays"
    assert "(the dev part)" in told[0]
    text = (generator / artifacts.CARD).read_text()
    assert text.count(scores.HEADING) == 1
    assert "(the test part)" in text
    assert Generator.load(generator).sample(2).class_counts == dict.fromkeys(LABELS, 2), "its sums are renewed"
    compress(generator, "int8", tmp_path / "small")
    small = (tmp_path / "small" / artifacts.CARD).read_text()
    assert scores.HEADING not in small
    assert "model-index" not in small
    assert not (tmp_path / "small" / artifacts.SCORES).exists()


def test_what_cannot_be_judged(generator: Path, features: FeatureSet, tmp_path: Path):
    others = write_features(tmp_path / "others", ["happy", "sad"], {"happy": 2, "sad": 2}, ("train", "test"))
    for words, said in (
        ((features.folder, "--split", "all"), "Bad split 'all', expected one of [train, dev, test]"),
        ((others.folder,), "but the generator expects [angry, sad]"),
        ((others.folder.with_name("none"),), "No feature set at"),
    ):
        done = run("evaluate", generator, *words)
        assert (done.code, said in done.err, done.err.count("\n")) == (2, True, 1), done.err
    assert not (generator / artifacts.SCORES).exists()


@pytest.mark.parametrize("name", ["ravdess-logmel", "ravdess-whisper"])
def test_those_that_ship_say_what_they_teach(name: str):
    """In their card's header, as the file beside it has it, by heads whose seeds their bank lacks; under 16 MB."""
    from gandistill.gan.shipped import shipped

    folder = shipped(name)
    found = json.loads((folder / artifacts.SCORES).read_text())
    _, header, _ = (folder / artifacts.CARD).read_text().split("---\n", 2)
    facts = yaml.safe_load(header)
    assert (facts["license"], facts["datasets"]) == ("cc-by-nc-sa-4.0", ["ravdess"])
    assert facts["model-index"] == [scores.model_index(artifacts.read_json(folder / artifacts.CONFIG), found)]
    assert found["generator"] == {"name": name, "fingerprint": artifacts.fingerprint(folder)}
    bank = Generator.load(name).sampler.bank
    assert bank is not None
    assert not {head.trained["seed"] for head in bank.heads} & {*found["seeds"]}
    assert artifacts.bytes_on_disk(folder) < 16e6
