"""The commands, as a person or a script meets them: results on stdout, all else on stderr, one line for a mistake."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from gandistill import __version__, cli
from gandistill.controls.select import METHODS
from gandistill.corpora.prepare import READERS
from gandistill.corpora.splits import PROTOCOLS
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import MODELS
from tests.commands import run, settings, succeed
from tests.corpora.fabricate import fabricate_ravdess

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "ravdess"
LABELS = ["angry", "happy", "neutral", "sad"]
COMMANDS = {
    "prepare": "--protocol --fold --seed --out --skip-bad --partition --columns --table --column --channel "
    "--labels --drop --name --licence",
    "audit": "manifest",
    "extract": "--upstream --config --set --out --skip-bad --device --dry-run",
    "bank": "--config --set --out --device --dry-run",
    "select": "--method --ppc --total --balanced --as-original --counts --bytes --labels --bank --seed --out",
    "train": "--config --set --out --resume --allow-inexact-resume --dry-run",
    "sample": "--ppc --total --balanced --as-original --counts --labels --seed --out --device",
    "compress": "--precision --out",
    "export": "artifact --out --draws --json",
    "train-head": "--head --dev --labels --seed --config --set --out --device",
    "heads": "--dims --classes --json",
    "evaluate": "--split --json",
    "predict": "head files --set --channel --json --device",
    "compare": "--margin --seed --json",
    "probe": "--target --seed --config --set --json",
    "settings": "command --json",
    "attack": "artifact features --manifest --public --shadows --card --seed --json",
    "push": "artifact repository --private",
    "pull": "repository --out --revision --allow-licence",
    "generators": "--json",
    "recipes": "--json",
    "plans": "--json",
    "tables": "plan corpus --jobs --work --out --table --speakers --set --shard",
    "report": "--out --features --split",
    "demo": "--corpus --corpus-kind --protocol --out --full --json",
    "trajectory": "teach distil evaluate",
    "selfdistill": "make-upstream train evaluate calibrate predict describe export",
}
GROUPED = {
    "trajectory teach": "--out --config --set --jobs --allow-inexact-resume",
    "trajectory distil": "--out --config --set --resume --allow-inexact-resume",
    "trajectory evaluate": "training features --config --set --json",
    "selfdistill make-upstream": "--out --config --set",
    "selfdistill train": "--out --config --set --resume --allow-inexact-resume",
    "selfdistill evaluate": "network manifest --split --json",
    "selfdistill calibrate": "network manifest --uar-loss --json",
    "selfdistill predict": "network files --exit --channel --json",
    "selfdistill describe": "--upstream --exits --block --classes --depth --json",
    "selfdistill export": "network --exit --out --format --precision --json",
}
BANK = settings("heads=[superb, attentive]", "seeds=1", "updates=4", "half_trained=2", "batch=8", "window=8")
NARROW = settings(
    "architecture.kind=gan-att",
    "architecture.channels=[4,4,4,4,4]",
    f"architecture.critic_channels={[4] * 8}",
    "architecture.frames=16",
    "training.batch=8",
    "training.evaluate_heads=[superb]",
    "training.evaluate_ppc=2",
)
HEAD = settings("updates=8", "batch=8", "window=8")


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every command of the main job, one after another, on noise in RAVDESS's layout; none prints on stdout."""
    work = tmp_path_factory.mktemp("cli")
    root = fabricate_ravdess(work / "RAVDESS", limit=1, seconds=0.4)
    manifest, features = work / "manifest.csv", work / "logmel"
    inputs = settings(f"features={features}", f"bank={work / 'bank'}", "training.updates=2")
    recipe = ("--config", RECIPE / "gan_att.yaml")
    commands = [
        ("prepare", "ravdess", root, "--protocol", "ravdess-dyads", "--fold", 1, "--out", manifest),
        ("extract", manifest, "--upstream", "logmel", "--out", features),
        ("bank", features, "--out", work / "bank", *BANK),
        ("select", features, "--method", "random", "--ppc", 5, "--seed", 0, "--out", work / "random"),
        ("train", *recipe, *inputs, *NARROW, "--out", work / "gan"),
        ("sample", work / "gan", "--ppc", 5, "--balanced", "--out", work / "distilled"),
        ("train-head", work / "distilled", "--head", "superb", "--out", work / "head-a", *HEAD),
        ("train-head", work / "random", "--head", "superb", "--dev", features, "--out", work / "head-b", *HEAD),
    ]
    for command in commands:
        assert succeed(*command).out == "", f"{command[0]} has no result to print"
    return work


def test_the_main_job(work: Path):
    judged = {}
    for head in ("head-a", "head-b"):
        judged[head] = succeed("evaluate", work / head, work / "logmel", "--split", "test", "--json").json
        assert judged[head]["labels"] == LABELS
        assert 0 <= judged[head]["uar"] <= 1
        assert sum(map(sum, judged[head]["confusion"])) == judged[head]["utterances"]
    predictions = [work / head / "predictions.csv" for head in judged]
    compared = succeed("compare", *predictions, "--json").json
    assert 0 <= compared["p_value"] <= 1
    assert "equivalence" not in compared
    same = succeed("compare", predictions[0], predictions[0], "--margin", 0.03, "--json").json
    assert same["p_value"] == 1
    assert same["equivalence"] == {"margin": 0.03, "interval": [0, 0], "equivalent": True}
    refused = run("compare", *predictions, "--margin", 1)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "Bad margin 1.0, expected a difference in UAR above 0 and below 1" in refused.err
    plain = succeed("evaluate", work / "head-a", work / "logmel")
    assert plain.out.startswith(f"UAR {100 * judged['head-a']['uar']:.1f} [")
    assert "\nMcNemar        p = 1 (exact)" in succeed("compare", predictions[0], predictions[0]).out


def test_the_speaker_probe(work: Path):
    words = ("probe", work / "head-a", work / "logmel", *settings("updates=2", "held_out=0.5"))
    found = succeed(*words, "--target", "speaker", "--seed", 3, "--json").json
    assert (found["target"], found["seed"], found["head"]["name"]) == ("speaker", 3, "head-a")
    assert found["seen"]["speakers"] + found["unseen"]["speakers"] == found["speakers"] == 24
    assert f"chance: {json.dumps(found['chance'])}" in succeed(*words).out.splitlines()


def test_the_distilled_set_is_balanced(work: Path):
    assert FeatureSet.open(work / "distilled").class_counts == dict.fromkeys(LABELS, 5)
    assert FeatureSet.open(work / "random").class_counts == dict.fromkeys(LABELS, 5)


def test_ways_to_say_how_many(work: Path, tmp_path: Path):
    original = FeatureSet.open(work / "logmel").training_part().class_counts
    for number, (words, expected) in enumerate(
        (
            (["--total", 6], {"angry": 2, "happy": 2, "neutral": 1, "sad": 1}),
            (["--counts", "neutral=3, happy=1"], {"angry": 0, "happy": 1, "neutral": 3, "sad": 0}),
            (["--counts", "neutral=3", "--counts", "happy=1"], {"angry": 0, "happy": 1, "neutral": 3, "sad": 0}),
            (["--as-original"], original),
            (["--as-original", "--total", sum(original.values()) // 2], None),
            (["--ppc", 1, "--labels", "soft", "--seed", 3], dict.fromkeys(LABELS, 1)),
        )
    ):
        succeed("sample", work / "gan", *words, "--out", tmp_path / str(number))
        found = FeatureSet.open(tmp_path / str(number))
        assert expected is None or found.class_counts == expected
        assert (found.soft is not None) == ("soft" in words)


def test_the_generator_inside_a_run_folder_or_by_itself(work: Path, tmp_path: Path):
    for number, folder in enumerate((work / "gan", work / "gan" / "generator")):
        succeed("sample", folder, "--ppc", 2, "--out", tmp_path / str(number))
    assert FeatureSet.open(tmp_path / "0").fingerprint == FeatureSet.open(tmp_path / "1").fingerprint


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_compressed_generators_are_sampled_from_as_any_other(work: Path, tmp_path: Path, precision: str):
    done = succeed("compress", work / "gan", "--precision", precision, "--out", tmp_path / "small")
    assert done.out == ""
    assert f"bytes in {precision}" in done.err
    succeed("sample", tmp_path / "small", "--ppc", 2, "--labels", "soft", "--out", tmp_path / "drawn")
    assert FeatureSet.open(tmp_path / "drawn").config["compressed"]["precision"] == precision


def test_columns_whose_names_hold_commas_and_equals_signs(work: Path, tmp_path: Path):
    clip = next((work / "RAVDESS").rglob("*.wav"))
    (tmp_path / "my.csv").write_text(f'"file, wav","a=b",speaker\n{clip},sad,anna\n', encoding="utf-8")
    for words in (
        ["--columns", "path=file, wav,emotion=a=b"],
        ["--columns", "path=file, wav", "--columns", "emotion=a=b"],
    ):
        said = succeed("prepare", "tabular", tmp_path / "my.csv", *words, "--out", tmp_path / "m.csv").err
        assert "1 utterances in" in said


def test_audit(work: Path):
    assert "train" in succeed("audit", work / "manifest.csv").out


def test_what_ships_is_listed_with_what_it_is_for():
    listed = succeed("recipes").out.splitlines()
    (line,) = [line for line in listed if line.startswith("ravdess/gan_att ")]
    assert line.endswith(" as long as the median clip. (train)")
    (named,) = [each for each in succeed("plans", "--json").json["plans"] if each["name"] == "whisper_quick"]
    assert named["what"] == "As whisper.yaml, one fold and three draws: within half an hour on two cores."
    assert succeed("plans").out.splitlines()[-1].startswith("whisper_time ")


def test_heads():
    listed = succeed("heads", "--dims", 64, "--classes", 7, "--json").json
    assert listed.keys() == {"heads"}
    assert all(entry.keys() == {"name", "sees", "parameters"} for entry in listed["heads"])
    superb = next(entry for entry in listed["heads"] if entry["name"] == "superb")
    assert (superb["sees"], superb["parameters"]) == ("mean", 64 * 256 + 256 + 256 * 7 + 7)
    lines = succeed("heads").out.splitlines()
    assert len(lines) == len(listed["heads"])
    assert any("197,892 parameters" in line for line in lines), "SUPERB's head at its defaults"


def test_class_gaussian(work: Path, tmp_path: Path):
    succeed("select", work / "logmel", "--method", "class-gaussian", "--ppc", 3, "--out", tmp_path / "gaussian")
    assert FeatureSet.open(tmp_path / "gaussian").class_counts == dict.fromkeys(LABELS, 3)


def test_the_same_inputs_give_the_same_bytes(work: Path, tmp_path: Path):
    succeed("sample", work / "gan", "--ppc", 5, "--balanced", "--out", tmp_path / "distilled")
    succeed("train-head", tmp_path / "distilled", "--head", "superb", "--out", tmp_path / "head", *HEAD)
    for name, mine in (("distilled", "distilled"), ("head-a", "head")):
        for file in ("SHA256SUMS", "config.json"):
            assert (work / name / file).read_bytes() == (tmp_path / mine / file).read_bytes()


MISTAKES: dict[str, tuple[list[object], str]] = {
    "no command": ([], "Missing command"),
    "an unknown command": (["trian"], "'train'"),
    "an unknown option": (["train", "--epochs", 3], "--epochs"),
    "a missing argument": (["evaluate"], "'head'"),
    "one argument too many": (["heads", "superb"], "superb"),
    "not a number": (["select", "WORK/logmel", "--ppc", "many"], "--ppc"),
    "a negative seed": (["select", "WORK/logmel", "--seed", -1], "--seed"),
    "a bad corpus": (["prepare", "ravdes", "WORK/RAVDESS"], "expected one of [ravdess, nemo, iemocap"),
    "a bad protocol": (["prepare", "ravdess", "WORK/RAVDESS", "--protocol", "folds"], "ravdess-dyads"),
    "a bad fold": (["prepare", "ravdess", "WORK/RAVDESS", "--protocol", "ravdess-dyads", "--fold", 6], "fold"),
    "a fold of nothing": (["prepare", "ravdess", "WORK/RAVDESS", "--fold", 1], "A fold goes with a protocol"),
    "a missing corpus": (["prepare", "ravdess", "WORK/nothing"], "WORK/nothing"),
    "bad columns": (["prepare", "tabular", "WORK/a.csv", "--columns", "emotion"], "Bad --columns 'emotion'"),
    "a column of no name": (
        ["prepare", "tabular", "WORK/a.csv", "--columns", "id=a,b,path="],
        "Bad --columns 'id=a,b,",
    ),
    "a class to drop": (["prepare", "ravdess", "WORK/RAVDESS", "--drop", "joy"], "one of [anger, calm, disgust"),
    "channel 0": (["prepare", "ravdess", "WORK/RAVDESS", "--channel", 0], "--channel"),
    "a column twice": (["prepare", "tabular", "WORK/a.csv", "--columns", "id=a,id=b"], "twice"),
    "a missing manifest": (["extract", "WORK/nothing.csv", "--out", "TMP/x"], "WORK/nothing.csv: no such file"),
    "a bad upstream": (
        ["extract", "WORK/manifest.csv", "--upstream", "mfcc", "--out", "TMP/x"],
        "one of [logmel",
    ),
    "a missing config": (["extract", "WORK/manifest.csv", "--config", "WORK/no.yaml"], "No config file WORK/no.yaml"),
    "a missing feature set": (["bank", "WORK/nothing", "--out", "TMP/x"], "No feature set at WORK/nothing"),
    "another kind of folder": (["bank", "WORK/bank", "--out", "TMP/x"], "expected a feature set"),
    "a bad bank key": (["bank", "WORK/logmel", "--set", "kinds=3"], "unknown key 'kinds', expected one of [updates"),
    "a bad method": (["select", "WORK/logmel", "--method", "best"], "Bad method 'best', expected one of [random"),
    "no points": (["select", "WORK/logmel", "--ppc", 0, "--out", "TMP/x"], "expected 1 or more"),
    "how many of a control": (["select", "WORK/logmel", "--out", "TMP/x"], "How many points?"),
    "a control's class": (["select", "WORK/logmel", "--counts", "bored=3"], "some of [angry, happy, neutral, sad]"),
    "soft without a bank": (
        ["select", "WORK/logmel", "--ppc", 2, "--labels", "soft"],
        "--labels soft and --bank DIR go together",
    ),
    "a bank without soft": (["select", "WORK/logmel", "--ppc", 2, "--bank", "WORK/bank"], "go together"),
    "a missing bank": (
        ["select", "WORK/logmel", "--ppc", 2, "--labels", "soft", "--bank", "WORK/nothing"],
        "No bank at WORK/nothing",
    ),
    "too few bytes": (["select", "WORK/logmel", "--method", "pooled", "--bytes", 100], "too many for 100"),
    "bytes of another method": (["select", "WORK/logmel", "--bytes", 9000], "--bytes goes with --method pooled"),
    "bytes and a number": (
        ["select", "WORK/logmel", "--method", "pooled", "--bytes", 9000, "--ppc", 2],
        "--bytes decides how many points",
    ),
    "a bad config key": (["train", "--set", "training.epochs=3", "--out", "TMP/x"], "expected one of [updates"),
    "a bad config value": (["train", "--set", "training.batch=3", "--out", "TMP/x"], "training.batch"),
    "no config value": (["train", "--set", "training.batch", "--out", "TMP/x"], "expected key=value"),
    "a bank alone": (["train", "--set", "bank=WORK/bank", "--out", "TMP/x"], "a feature set: --set features=DIR"),
    "a GAN of a bank alone": (
        ["train", "--set", "bank=WORK/bank", "--set", "architecture.kind=gan-att", "--out", "TMP/x"],
        "--set features=DIR --set bank=DIR",
    ),
    "a run that is there": (["train", "--out", "WORK/gan"], "--resume continues it"),
    "no run to resume": (["train", "--out", "TMP/x", "--resume"], "holds no run to resume"),
    "another setting": (["train", "--out", "WORK/gan", "--resume", "--set", "training.seed=4"], "[training.seed]"),
    "a missing generator": (["sample", "WORK/nothing", "--ppc", 3], "No generator at WORK/nothing: no such folder"),
    "no generator": (["sample", "WORK/logmel", "--ppc", 3], "expected a generator"),
    "how many": (["sample", "WORK/gan", "--out", "TMP/x"], "How many points?"),
    "a contradiction": (["sample", "WORK/gan", "--ppc", 3, "--total", 5, "--out", "TMP/x"], "Choose one of"),
    "an unknown class": (
        ["sample", "WORK/gan", "--counts", "bored=3"],
        "some of [angry, happy, neutral, sad]",
    ),
    "bad counts": (["sample", "WORK/gan", "--counts", "sad=some"], "expected a whole number"),
    "a class twice": (["sample", "WORK/gan", "--counts", "sad=1,sad=2"], "twice"),
    "bad labels": (["sample", "WORK/gan", "--ppc", 3, "--labels", "both"], "expected one of [hard, soft]"),
    "out is taken": (["sample", "WORK/gan", "--ppc", 3, "--out", "WORK/bank"], "holds a gandistill bank"),
    "out is a file": (["sample", "WORK/gan", "--ppc", 3, "--out", "WORK/manifest.csv"], "WORK/manifest.csv"),
    "a bad precision": (["compress", "WORK/gan", "--precision", "int4"], "expected one of [float16, int8]"),
    "nothing to compress": (["compress", "WORK/logmel", "--out", "TMP/x"], "expected a generator"),
    "compressed onto itself": (["compress", "WORK/gan", "--out", "WORK/gan/generator"], "choose another --out"),
    "a bad head": (["train-head", "WORK/random", "--head", "mlp", "--out", "TMP/x"], "expected one of [superb"),
    "no soft labels": (["train-head", "WORK/random", "--labels", "soft", "--out", "TMP/x"], "no soft labels"),
    "no dev part": (["train-head", "WORK/random", "--dev", "WORK/random", "--out", "TMP/x"], "no 'dev' part"),
    "a missing head": (["evaluate", "WORK/nothing", "WORK/logmel"], "No head at WORK/nothing: no such folder"),
    "a bad split": (
        ["evaluate", "WORK/head-a", "WORK/logmel", "--split", "tst"],
        "Bad split 'tst', expected one of [train, dev, test]",
    ),
    "a bad target": (["probe", "WORK/head-a", "WORK/logmel", "--target", "age"], "Bad target 'age', expected one of"),
    "no speakers": (["probe", "WORK/head-a", "WORK/distilled"], "names no speaker"),
    "a bad probe key": (["probe", "WORK/head-a", "WORK/logmel", "--set", "epochs=1"], "unknown key 'epochs'"),
    "a probe of nothing": (["probe", "WORK/nothing", "WORK/logmel"], "No head at WORK/nothing: no such folder"),
    "an exit that no such model has": (["selfdistill", "describe", "--exits", "3,13"], "Bad exits [13], the model has"),
    "exits that are no numbers": (["selfdistill", "describe", "--exits", "3;8"], "expected layers such as 3,8,10"),
    "an unknown model": (["selfdistill", "describe", "--upstream", "wav2vec3"], "expected one of [hubert-base"),
    "no network": (["selfdistill", "export", "WORK/logmel", "--exit", 3], "expected a self-distilled network"),
    "missing predictions": (["compare", "WORK/nothing.csv", "WORK/nothing.csv"], "WORK/nothing.csv"),
    "no device to extract on": (["extract", "WORK/manifest.csv", "--out", "TMP/x", "--device", "gpu"], "one of [cpu"),
    "no device for a bank": (["bank", "WORK/logmel", "--out", "TMP/x", "--device", "cuda:99"], "Bad device 'cuda:99'"),
    "no device to sample on": (["sample", "WORK/gan", "--ppc", 3, "--device", "cpu:1"], "expected one of [cpu"),
    "no device for a head": (["train-head", "WORK/random", "--out", "TMP/x", "--device", ""], "Bad device ''"),
    "a missing demo corpus": (["demo", "--corpus", "WORK/nothing", "--out", "TMP/x"], "WORK/nothing"),
    "a demo of no corpus known": (["demo", "--corpus", "WORK/bank"], "say --corpus-kind, one of [ravdess, nemo"),
    "a demo of a bad kind": (
        ["demo", "--corpus", "WORK/RAVDESS", "--corpus-kind", "x", "--out", "TMP/x"],
        "Bad --corpus-kind",
    ),
    "a kind of no corpus": (["demo", "--corpus-kind", "nemo", "--out", "TMP/x"], "go with --corpus"),
    "settings of a command that has none": (["settings", "sample"], "expected one of [extract, bank, train"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_exit_code_2(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str
):
    monkeypatch.chdir(tmp_path)  # where a command would write that was not told where

    def placed(word: object) -> str:
        return str(word).replace("WORK", str(work)).replace("TMP", str(tmp_path))

    words, expected = MISTAKES[mistake]
    done = run(*map(placed, words))
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("gandistill: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    assert placed(expected) in done.err
    assert not any(mark in done.err for mark in ("Traceback", "╭", "│", "Error:"))
    assert not any(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.parametrize(
    "words",
    [
        ("extract", "WORK/manifest.csv"),
        ("bank", "WORK/logmel", *BANK),
        ("sample", "WORK/gan", "--ppc", 2, "--labels", "soft"),
        ("train-head", "WORK/random", *HEAD),
    ],
    ids=lambda words: words[0],
)
def test_a_command_computes_on_the_device_that_is_named(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
):
    """A device without values stands for the one named, and ends what computes there."""
    asked = []
    monkeypatch.setattr("gandistill.processes.device", lambda name: asked.append(name) or torch.device("meta"))
    with pytest.raises(RuntimeError, match=r"(?i)meta"):
        run(*(str(word).replace("WORK", str(work)) for word in words), "--out", tmp_path / "x", "--device", "a")
    assert asked == ["a"]


def test_trajectory_matching(work: Path, tmp_path: Path):
    """One recipe serves the three commands; what they make is a feature set that the others take."""
    clips, teachers, out = tmp_path / "clips", tmp_path / "teachers", tmp_path / "mtt"
    succeed("extract", work / "manifest.csv", "--upstream", "logmel", "--set", "clip=8192", "--out", clips)
    few = ("teach.epochs=3", "teach.trajectories=2", "distil.ppc=2", "distil.steps=2", "distil.updates=2")
    quick = settings(*few, "distil.latest_start=0", "evaluate.epochs=1", "evaluate.seeds=2", "evaluate.students=[cnn]")
    recipe = ("--config", RECIPE / "mtt_quick.yaml", *settings(f"features={clips}", f"teachers=[{teachers}]"), *quick)
    assert succeed("trajectory", "teach", *recipe, "--out", teachers).out == ""
    assert succeed("trajectory", "distil", *recipe, "--out", out).out == ""
    found = succeed("trajectory", "evaluate", out / "distilled", clips, *recipe, "--json").json
    assert (found["points"], found["split"], found["start"]) == (8, "test", "scratch")
    assert [len(student["uars"]) for student in found["students"]] == [2]
    resumed = succeed("trajectory", "distil", "--resume", *settings("distil.steps=3"), "--out", out)
    assert f"Resuming {out} after step 2" in resumed.err
    assert FeatureSet.open(out / "distilled").config["distilled_by"]["step"] == 3
    succeed("train-head", out / "distilled", "--head", "cnn", "--out", tmp_path / "head", *HEAD)
    assert 0 <= succeed("evaluate", tmp_path / "head", clips, "--json").json["uar"] <= 1
    refused = run("trajectory", "distil", *recipe, "--out", out)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "holds a run already: --resume continues it" in refused.err


def test_every_bad_file_has_a_line(tmp_path: Path):
    root = fabricate_ravdess(tmp_path / "RAVDESS", actors=2, limit=1, seconds=0.1)
    files = sorted(root.rglob("*.wav"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:60])
    done = run("prepare", "ravdess", root, "--out", tmp_path / "manifest.csv")
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("gandistill: ")
    assert str(files[0]) in lines[1]
    assert str(files[1]) in lines[2]
    assert not (tmp_path / "manifest.csv").exists()
    assert succeed("prepare", "ravdess", root, "--out", tmp_path / "manifest.csv", "--skip-bad").out == ""
    assert len((tmp_path / "quarantine.csv").read_text().splitlines()) == 3


def test_a_diverging_training_is_one_line_with_exit_code_1(work: Path, tmp_path: Path):
    inputs = settings(f"features={work / 'logmel'}", f"bank={work / 'bank'}", "training.critic_learning_rate=1e9")
    done = run("train", *inputs, *NARROW, "--out", tmp_path / "gan")
    assert done.code == 1
    assert "gandistill: Training diverged at step " in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPED])
def test_help_lists_the_options(command: str):
    done = succeed(*command.split(), "--help")
    assert done.err == ""
    assert [option for option in (COMMANDS | GROUPED)[command].split() if option not in done.out] == []
    *group, name = command.split()
    assert f"  {name} " in succeed(*group, "--help").out


@pytest.mark.parametrize(
    ("command", "choices"),
    [
        ("prepare", tuple(READERS)),
        ("prepare", tuple(PROTOCOLS)),
        ("select", tuple(METHODS)),
        ("train-head", tuple(MODELS)),
    ],
    ids=str,
)
def test_help_names_the_choices(command: str, choices: Iterable[str]):
    described = "".join(succeed(command, "--help").out.split())  # lines break within names
    assert [name for name in choices if name not in described] == []


@pytest.mark.parametrize(
    ("said", "real"),
    [(cli.CORPORA, READERS), (cli.PROTOCOLS, PROTOCOLS), (cli.METHODS, METHODS), (cli.HEADS, MODELS)],
    ids=["corpora", "protocols", "methods", "heads"],
)
def test_help_names_no_other_choices(said: str, real: Iterable[str]):
    assert sorted(re.split(", | or ", said.partition(";")[0].rstrip("."))) == sorted(real)


def test_no_command_is_missing_from_these_tests():
    listed = succeed("--help").out.split("Commands:")[1].splitlines()
    assert [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "] == list(COMMANDS)


def test_version():
    assert succeed("--version").out == f"{__version__}\n"


def test_help_needs_no_heavy_library():
    """What makes --help slow is imported by the commands that need it."""
    heavy = ("torch", "pandas", "numpy", "scipy", "transformers", "accelerate", "statsmodels", "soundfile")
    script = (
        "import sys; from gandistill.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"sys.exit(', '.join(name for name in {heavy!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_ctrl_c_leaves_a_run_that_goes_on(work: Path, tmp_path: Path):
    out = tmp_path / "gan"
    inputs = settings(f"features={work / 'logmel'}", f"bank={work / 'bank'}", "training.log_every=1")
    forever = settings("training.updates=100000", "training.evaluate_every=100000", "training.checkpoint_every=1")
    command = [sys.executable, "-c", "from gandistill.cli import main; main()", "train", *inputs, *NARROW, *forever]
    process = subprocess.Popen(
        [*command, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = threading.Timer(120, process.kill)
    deadline.start()
    while process.poll() is None and not any((out / "checkpoints").glob("[0-9]*")):
        threading.Event().wait(0.05)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate()
    deadline.cancel()
    assert (process.returncode, printed) == (130, "")
    assert "Stopping after this step" in said
    assert said.splitlines()[-1].endswith("go on with --resume")
    assert "Traceback" not in said
    done = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    resumed = succeed("train", "--resume", "--out", out, "--set", f"training.updates={done + 2}")
    assert f"Resuming {out} after step {done}" in resumed.err
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in logged if "critic/adversarial" in r] == list(range(1, done + 3))
    succeed("sample", out, "--ppc", 1, "--out", tmp_path / "distilled")
