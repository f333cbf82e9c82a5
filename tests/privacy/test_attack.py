"""Whole attacks on artifacts on disk, by the command."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from gandistill import Bank, Generator, Recogniser, artifacts
from gandistill.controls.select import select
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.gan.compression import compress
from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from gandistill.gan.shipped import shipped
from gandistill.gan.training import train
from gandistill.heads.bank import BankConfig, build_bank
from gandistill.heads.recogniser import train_recogniser
from gandistill.hub import ATTACKS
from gandistill.privacy.attack import (
    NO_RELEASE,
    attack,
    attack_heads,
    attack_records,
    attack_release,
    linkage,
    split_people,
)
from gandistill.privacy.membership import People, Records
from gandistill.trajectory.distillation import distil
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.teachers import teach
from tests.commands import run
from tests.privacy.conftest import genders_of, write_speakers


@pytest.fixture(scope="module")
def gaussian(speakers: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("attack") / "run"
    architecture = {"kind": "class-gaussian", "frames": 6, "noise": 4}
    train(GanConfig(features=speakers.folder, architecture=architecture), out)
    return out


def test_a_generator_that_was_planted_is_caught(speakers: FeatureSet):
    """It gives its training part away as its samples."""
    people, members = split_people(speakers)
    found = attack_records(speakers.part("train"), None, people, members, 0)
    for of in ("utterance", "speaker"):
        assert found["membership"]["nearest"][of]["auc"] > 0.95
        assert found["membership"]["density"][of]["auc"] > 0.7
    assert found["linkage"]["share"] > 0.7


def test_of_strangers_nothing_is_told(tmp_path: Path):
    """Records of a third group: neither side was in them."""
    folk = write_speakers(tmp_path / "features", train=12, test=12)
    records = write_speakers(tmp_path / "records", train=12, test=0, seed=5)
    people, members = split_people(folk)
    found = attack_records(records, None, people, members, 0)
    intervals = [each[of]["interval"] for each in found["membership"].values() for of in ("utterance", "speaker")]
    assert sum(low <= 0.5 <= high for low, high in intervals) >= len(intervals) - 1  # each misses once in twenty


def test_the_command_attacks_a_generator(gaussian: Path, speakers: FeatureSet):
    found = run("attack", gaussian, speakers.folder, "--json").json
    assert found["speakers"] == {"members": 8, "others": 8}
    assert found["membership"].keys() == {"nearest", "density", "tracing", "likelihood ratio"}
    assert found["records"] == 8 * 4 * 3
    assert found["artifact"]["fingerprint"] == artifacts.fingerprint(gaussian / "generator")
    assert found["membership"]["likelihood ratio"]["speaker"]["auc"] > 0.8, "class means of eight speakers name them"
    shown = run("attack", gaussian, speakers.folder)
    assert shown.code == 0
    assert shown.out.startswith("8 speakers in training, 8 others")
    assert shown.out.count("\n") == 1 + 8 + 1


def test_the_same_seed_finds_the_same(gaussian: Path, speakers: FeatureSet):
    assert attack(gaussian, speakers, 3) == attack(gaussian, speakers, 3)


def test_sets_and_heads_are_attacked_too(speakers: FeatureSet, tmp_path: Path):
    select(speakers, "random", dict.fromkeys(speakers.labels, 8), 0, tmp_path / "random")
    found = attack(tmp_path / "random", speakers)
    assert found["membership"]["nearest"]["utterance"]["auc"] > 0.5
    train_recogniser(speakers, settings=("updates=5", "batch=8")).save(tmp_path / "head")
    found = attack(tmp_path / "head", speakers)
    assert found["membership"].keys() == {"confidence"}
    assert "linkage" not in found


def test_a_set_matched_to_trajectories_is_attacked_too(speakers: FeatureSet, tmp_path: Path):
    """Before its first step its clips are real ones, which are caught; its card says what was found."""
    values = {
        "features": str(speakers.folder),
        "teachers": [str(tmp_path / "cnn")],
        "teach": {"head": "cnn", "epochs": 3, "trajectories": 1, "batch": 8},
        "distil": {"ppc": 12, "steps": 2, "updates": 2, "ahead": 1, "latest_start": 1, "keep_every": 2},
        "evaluate": {"students": ["cnn"], "seeds": 1, "epochs": 1},
    }
    config = TrajectoryConfig.build(values, "test")
    teach(config.teaching(), tmp_path / "cnn")
    distil(config, tmp_path / "run")
    for folder in (tmp_path / "run" / "distilled-0000", tmp_path / "run" / "distilled"):
        found = run("attack", folder, speakers.folder, "--card", "--json").json
        assert found["records"] == 36
        assert found["membership"].keys() == {"nearest", "density", "tracing", "likelihood ratio"}
        assert artifacts.has_section(folder, ATTACKS)
        assert found["membership"]["nearest"]["utterance"]["auc"] > 0.6
        assert found["linkage"]["share"] > 0.5


def test_a_head_that_learnt_by_heart_is_caught(tmp_path: Path):
    """Labels that mean nothing can only be learnt by heart."""
    speakers = write_speakers(tmp_path / "features", train=6, test=6, spread=3.0, each=2)
    shuffled = np.random.default_rng(0).permutation(speakers.index["label"].to_numpy(str))
    known = FeatureSet(speakers.folder, speakers.config, speakers.index.assign(label=shuffled))
    head = train_recogniser(known, "cnn-attention", settings=("updates=150", "window=6", "weight_decay=0")).head
    people, members = split_people(known)
    assert attack_heads([head], people, members, 0)["membership"]["confidence"]["utterance"]["auc"] > 0.7


def test_linkage_is_a_half_for_strangers_whatever_they_say():
    """Others say a class once and leave one out; members say all of them four times."""
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        every = [(s, c, i) for s in range(20) for c in range(3) for i in range(4)]
        cells = [(s, c, i) for s, c, i in every if s < 12 or (i == 0 and c != s % 3)]
        offsets = rng.normal(size=(20, 3))
        points = np.stack([offsets[s] + 0.5 * rng.normal(size=3) for s, _, _ in cells])
        speakers, targets = np.array([f"s{s}" for s, _, _ in cells]), np.array([c for _, c, _ in cells])
        folk = People(points, targets, speakers, np.array([s < 12 for s, _, _ in cells]))
        found = linkage(Records(rng.normal(size=(90, 3)), np.arange(90) % 3, np.zeros((3, 3))), folk, seed)
        assert found is not None
        assert found["interval"][0] < found["interval"][1]
        shares.append(found["share"])
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)


def test_the_command_attacks_genders_too(gaussian: Path, speakers: FeatureSet, tmp_path: Path):
    manifest = tmp_path / "manifest.csv"
    rows = "".join(f"{speaker},{gender}\n" for speaker, gender in genders_of(speakers).items())
    manifest.write_text(f"speaker,gender\n{rows}")
    shown = run("attack", gaussian, speakers.folder, "--manifest", manifest)
    assert shown.out.count("\ngender, ") == 2
    manifest.write_text("speaker,gender\nours0,male\nours1,female\n")
    shown = run("attack", gaussian, speakers.folder, "--manifest", manifest)
    assert "gender: not asked, that takes 4 held-out speakers of each gender\n" in shown.out


def test_a_generators_bank_is_attacked_too(tmp_path: Path):
    """Heads that learnt by heart tell on their training, whatever the samples do."""
    speakers = write_speakers(tmp_path / "features", train=6, test=6, spread=3.0, each=2)
    config = BankConfig(heads=("cnn-attention",), seeds=1, updates=150, half_trained=2, window=6, weight_decay=0)
    build_bank(speakers, config, tmp_path / "bank", {"command": "test"})
    architecture = {"kind": "class-gaussian", "frames": 6, "noise": 4}
    settings = {"features": speakers.folder, "bank": tmp_path / "bank", "architecture": architecture}
    train(GanConfig.model_validate(settings), tmp_path / "run")
    found = [attack(tmp_path / name, speakers)["membership"] for name in ("run", "bank")]
    assert found[0]["bank's confidence"] == found[1]["confidence"]
    assert found[1]["confidence"]["utterance"]["auc"] > 0.6


def test_a_card_says_what_was_found(gaussian: Path, speakers: FeatureSet, tmp_path: Path):
    shutil.copytree(gaussian / "generator", tmp_path / "generator")
    before = artifacts.fingerprint(tmp_path / "generator")
    for _ in range(2):  # a second attack takes the first one's place
        assert run("attack", tmp_path / "generator", speakers.folder, "--card").code == 0
    card = (tmp_path / "generator" / "README.md").read_text()
    assert card.count("## What attacks found") == 1
    assert "- 8 speakers in training, 8 others" in card
    assert "- likelihood ratio, speaker: " in card
    assert artifacts.fingerprint(tmp_path / "generator") == before
    assert Sampler.open(tmp_path / "generator").facts == Sampler.open(gaussian).facts
    assert [path.name for path in tmp_path.iterdir()] == ["generator"], "nothing is left beside it"


def test_what_was_found_goes_with_what_is_the_same(gaussian: Path, speakers: FeatureSet, tmp_path: Path):
    """Saved from Python; but not with what was changed, nor with a compressed one."""
    shutil.copytree(gaussian / "generator", tmp_path / "generator")
    train_recogniser(speakers, settings=("updates=5", "batch=8")).save(tmp_path / "head")
    config = BankConfig(heads=("superb",), seeds=1, updates=4, half_trained=2, batch=8)
    build_bank(speakers, config, tmp_path / "bank", {"command": "test"})
    for cls, name in ((Generator, "generator"), (Recogniser, "head"), (Bank, "bank")):
        assert run("attack", tmp_path / name, speakers.folder, "--card").code == 0
        cls.load(tmp_path / name).save(tmp_path / "again" / name)
        cards = [(folder / name / "README.md").read_text() for folder in (tmp_path, tmp_path / "again")]
        assert "## What attacks found" in cards[0]
        assert cards[0] == cards[1]
        artifacts.open_artifact(tmp_path / "again" / name, name)
    changed = Generator.load(tmp_path / "generator")
    changed.sampler.mean.add_(1)
    changed.save(tmp_path / "changed")
    compress(tmp_path / "generator", "float16", tmp_path / "small")
    for name in ("changed", "small"):
        assert not artifacts.has_section(tmp_path / name, ATTACKS)


def test_a_shipped_generator_keeps_what_was_measured_of_it(tmp_path: Path):
    """Its weights are stored in int8, which are the same again."""
    Generator.load("ravdess-whisper").save(tmp_path / "generator")
    for name in (artifacts.CARD, artifacts.SCORES):
        assert (tmp_path / "generator" / name).read_bytes() == (shipped("ravdess-whisper") / name).read_bytes()


def test_what_cannot_be_attacked(gaussian: Path, speakers: FeatureSet, public: FeatureSet, tmp_path: Path):
    alone = write_speakers(tmp_path / "alone", test=3)
    cases = {
        (gaussian, alone.folder): "has 3 speakers who are not in its train part, an attack needs at least 4",
        (gaussian, public.folder): "was made from other features than",
        (tmp_path, speakers.folder): "is no artifact of gandistill",
        (
            gaussian,
            speakers.folder,
            "--public",
            public.folder,
        ): NO_RELEASE,
        (gaussian, speakers.folder, "--manifest", tmp_path / "none.csv"): "none.csv: no such file",
    }
    train(GanConfig(features=alone.folder, architecture={"kind": "class-gaussian", "frames": 6}), tmp_path / "run")
    cases[tmp_path / "run", alone.folder] = cases.pop((gaussian, alone.folder))
    for given, words in cases.items():
        done = run("attack", *given)
        assert done.code == 2
        assert words in done.err


def test_who_knows_how_it_was_made_attacks_the_release(
    private: Path, speakers: FeatureSet, public: FeatureSet, tmp_path: Path
):
    """With next to no noise; the less there is, the more it tells."""
    words = ("attack", private, speakers.folder, "--json")
    found = run(*words, "--public", public.folder).json["membership"]["release"]
    assert found["speaker"]["auc"] > 0.7
    assert "release" not in run(*words).json["membership"]
    other = write_speakers(tmp_path / "other", seed=5, corpus="theirs")
    done = run(*words, "--public", other.folder)
    assert done.code == 2
    assert "was made with other public features than" in done.err
    older = Sampler.open(private)
    older.facts["privacy"]["mechanism"] = 1
    with pytest.raises(InputError, match="was made by an earlier version"):
        attack_release(older, *split_people(speakers), public, 0)


def test_what_an_attack_found_stays_out_of_a_card_with_a_guarantee(private: Path, speakers: FeatureSet, tmp_path: Path):
    """It was computed from the speech that is protected. Sets that are drawn have the guarantee too."""
    assert run("sample", private, "--ppc", "4", "--out", tmp_path / "set").code == 0
    for artifact in (private, tmp_path / "set"):
        done = run("attack", artifact, speakers.folder, "--card")
        assert done.code == 2
        assert "has a guarantee, which would not cover what an attack found" in done.err
    assert "The generator's guarantee, epsilon 100, covers it too." in (tmp_path / "set" / "README.md").read_text()
