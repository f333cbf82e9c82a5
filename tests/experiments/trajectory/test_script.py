"""``python eval/trajectory.py``: both tables and figures of a tiny corpus, what a second run does, what is refused."""

import csv
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import yaml

from gandistill.corpora.synthetic import synthesise
from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions
from gandistill.experiments.trajectory import trials
from gandistill.features.featureset import FeatureSet
from gandistill.heads.bank import Bank
from tests.experiments.conftest import Script, line_of_refusal, script_of

ROOT = Path(__file__).parents[3]
EVAL = ROOT / "eval"
RECIPES: dict[str, dict[str, Any]] = {
    "clips": {"upstream": "logmel", "logmel": {"bands": 16, "window": 1024, "hop": 512}, "clip": 8192},
    "bank": {"heads": ["superb"], "seeds": 1, "updates": 3, "half_trained": 1, "window": 16, "batch": 4},
    "gan": {
        "architecture": {"kind": "gan-att", "frames": 15, "channels": [4, 4, 4], "critic_channels": [4] * 8},
        "training": {"updates": 1, "batch": 4, "evaluate_heads": ["superb"], "evaluate_ppc": 2},
    },
    "mtt": {
        "teach": {"head": "cnn", "trajectories": 2, "epochs": 2, "batch": 4},
        "distil": {"steps": 4, "updates": 2, "ahead": 1, "latest_start": 1, "batch": 4, "keep_every": 2},
        "evaluate": {"epochs": 2, "epoch_updates": 2},
    },
}
PLAN: dict[str, Any] = {
    "note": "Tiny.",
    "corpus": "synthetic",
    "protocol": "speaker-independent",
    "matched": {
        "cnn": {"guides": ["cnn"]},
        "pool": {"guides": ["cnn", "superb"], "curve": False},
        "soft": {"guides": ["cnn"], "curve": False, "settings": ["distil.labels=soft"]},
    },
    "soft_controls": ["random"],
    "ppc": [2],
    "controls": ["random", "class-gaussian"],
    "students": [{"kind": "cnn"}],
    "seeds": 2,
    "repeats": 3,
}
FILES = {f"{table}.{form}" for table in ("full", "distilled") for form in ("json", "csv", "md")}
FILES |= {f"figure{number}-{part}.svg" for number in (2, 3) for part in ("dev", "test")}
FILES |= {"predictions.csv", "costs.csv"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesise(tmp_path_factory.mktemp("trajectory") / "corpus", sessions=3, per_class=2)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    for name, values in RECIPES.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    named = {"extract": "clips", "bank": "bank", "recipe": "mtt"}
    values = PLAN | {key: str(tmp_path / f"{name}.yaml") for key, name in named.items()}
    values["generators"] = {"GAN": {"recipe": str(tmp_path / "gan.yaml")}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "tiny.yaml"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, here: None) -> Script:
    """The script's ``main`` on a command line, all in this process: a new one takes seconds to import torch."""
    return script_of("trajectory", monkeypatch)


def check_kept(folder: Path) -> None:
    """Every UAR is that of the kept predictions, and every table says what made it."""
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    parts, ids, speakers, labels = (columns.pop(key) for key in ("part", "id", "speaker", "label"))
    for name in ("full", "distilled"):
        table = json.loads((folder / f"{name}.json").read_text())
        assert len(table["plan"]["sha256"]) == 64
        assert table["commit"] != "unknown"
        assert (folder / f"{name}.md").read_text().startswith(table["plan"]["note"])
        known = np.array(table["labels"])
        for row in table["rows"]:
            for part in table["parts"].keys() - {"train"}:
                asked = parts == part
                for keys, uars in zip(row["trials"], row[part]["uars"], strict=True):
                    for key, uar in zip(keys, uars, strict=True):
                        predicted = known[columns[key][asked].astype(int)]
                        told = Predictions(ids[asked], speakers[asked], labels[asked], predicted)
                        assert told.uar == pytest.approx(uar)
                assert row[part]["uar"] == pytest.approx(fmean(map(fmean, row[part]["uars"])))
                for found in row.get("differences", {}).values():
                    assert (part in found) == (part == "test" or "chosen" not in row), "what chose it cannot judge it"
                    assert part not in found or -1 <= found[part]["uar_difference"] <= 1


@pytest.mark.parametrize("folder", sorted((EVAL / "results").glob("trajectory-*")), ids=lambda folder: folder.name)
def test_kept_tables_say_what_their_own_predictions_say(folder: Path):
    check_kept(folder)
    assert {path.name for path in folder.iterdir()} == FILES
    name = json.loads((folder / "full.json").read_text())["plan"]["name"]
    assert (EVAL / "plans" / "trajectory" / f"{name}.yaml").is_file()


def test_both_tables_and_a_second_run(plan: Path, corpus: Path, tmp_path: Path, script: Script):
    work, out = tmp_path / "work", tmp_path / "out"
    script(plan, corpus, "--work", work, "--out", out)
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    assert written.keys() == FILES
    check_kept(out)

    full, distilled = (json.loads(written[f"{name}.json"])["rows"] for name in ("full", "distilled"))
    assert [(row["student"], row["updates"]) for row in full] == [("cnn", 8)], "two passes of 16"
    assert {row["updates"] for row in distilled} == {4}, "the same budget for every row"
    mine = [row for row in distilled if (row["student"], row["start"], row.get("ppc", 2)) == ("cnn", "scratch", 2)]
    mine = [row for row in mine if "chosen" not in row]
    assert [(row["training set"], row.get("step"), row["labels"]) for row in mine] == [
        ("real, all of it", None, "hard"),
        ("real, random", None, "hard"),
        ("class-Gaussian", None, "hard"),
        ("real, random", None, "the bank's soft"),
        ("GAN, 0 updates", None, "hard"),
        ("GAN", None, "hard"),
        *(("distilled, cnn", step, "hard") for step in (0, 2, 4)),
        *(("distilled, pool", step, "hard") for step in (0, 4)),
        *(("distilled, soft", step, "learned soft") for step in (0, 4)),
    ]
    random = mine[1]
    assert np.shape(random["test"]["uars"]) == (3, 1), "draws"
    assert mine[6]["trials"] == random["trials"][:2], "step 0 is the random control of the same seeds"
    assert {row["points"] for row in mine[1:]} == {8}
    last = mine[8]
    assert {"its step 0", "real, random", "class-Gaussian", "real, all of it", "GAN"} <= last["differences"].keys()
    gap = last["differences"]["its step 0"]["test"]
    assert gap["uar_difference"] == pytest.approx(last["test"]["uar"] - mine[6]["test"]["uar"])
    taught = [row for row in distilled if row["start"] == "teacher"]
    assert {row["step"] for row in taught} == {0, 4}
    chosen = [row for row in distilled if "chosen" in row]
    assert [(row["matched"], row["ppc"]) for row in chosen] == [("cnn", 2)]
    with (out / "costs.csv").open() as file:
        costs = list(csv.DictReader(file))
    weighed = [bool(row["set_bytes"]) for row in costs]
    assert weighed == ["ppc" in row for row in (*full, *distilled)], "what was made"
    assert b"Of 3 distilled rows after their last step" in written["distilled.md"]

    kept = {path: path.stat().st_mtime_ns for path in work.rglob("*.json") if path.parent.name == "trials"}
    next(iter(kept)).unlink()
    script(plan, corpus, "--work", work, "--out", out, "--jobs", 2)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".json", ".svg", ".md")} == {
        name: text for name, text in written.items() if name.endswith((".json", ".svg", ".md"))
    }
    again = {path: path.stat().st_mtime_ns for path in kept}
    assert len([path for path in kept if again[path] != kept[path]]) == 1, "only what was missing"


def test_sets_distilled_again_from_train_and_dev_part(plan: Path, corpus: Path, tmp_path: Path, script: Script):
    less = {"generators": {}, "matched": {"cnn": {"guides": ["cnn"], "curve": False}}, "starts": ["scratch"]}
    values = yaml.safe_load(plan.read_text()) | less
    parts, real = {}, {}
    for name, merged in (("plain", False), ("again", True)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values | {"merge_dev": merged}))
        script(tmp_path / f"{name}.yaml", corpus, "--work", tmp_path / f"{name}-work", "--out", tmp_path / name)
        check_kept(tmp_path / name)
        told = json.loads((tmp_path / name / "distilled.json").read_text())
        parts[name] = {part: size["utterances"] for part, size in told["parts"].items()}
        real[name] = next(row["points"] for row in told["rows"] if row["training set"] == "real, all of it")
        assert all(("dev" in row) != merged for row in told["rows"])
        on_dev = {path.name for path in (tmp_path / name).glob("figure*-dev.svg")}
        assert on_dev == (set() if merged else {"figure3-dev.svg"}), "without curves no figure of them"
    assert parts["again"] == {
        "train": parts["plain"]["train"] + parts["plain"]["dev"],
        "test": parts["plain"]["test"],
    }
    assert real == {name: size["train"] for name, size in parts.items()}
    plain, again = (FeatureSet.open(tmp_path / f"{name}-work" / "features") for name in ("plain", "again"))
    Bank.open(tmp_path / "again-work" / "bank").check_match(again)
    Bank.open(tmp_path / "plain-work" / "bank").check_match(again)
    with pytest.raises(InputError, match="has a dev part, which the bank was trained on too"):
        Bank.open(tmp_path / "again-work" / "bank").check_match(plain)


def test_sets_from_recentred_clips_without_a_bank(plan: Path, corpus: Path, tmp_path: Path, script: Script):
    """Step 0 is the recentred control, which is a rival; what nobody asks for is not built; ``--set`` is heard."""
    way = {"guides": ["cnn"], "curve": False, "settings": ["distil.start=real-recentred"]}
    less = {"generators": {}, "soft_controls": [], "starts": ["scratch"], "matched": {"cnn": way}}
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | less | {"controls": ["real-recentred"]}))
    script(plan, corpus, "--work", tmp_path / "work", "--out", tmp_path / "out", "--set", "logmel.bands=8")
    assert not (tmp_path / "work" / "bank").exists()
    assert FeatureSet.open(tmp_path / "work" / "features").dims == 8
    rows = json.loads((tmp_path / "out" / "distilled.json").read_text())["rows"]
    by_name = {(row["training set"], row.get("step")): row for row in rows}
    recentred = by_name["real, recentred", None]
    assert by_name["distilled, cnn", 0]["trials"] == recentred["trials"][:2]
    assert "real, recentred" in by_name["distilled, cnn", 4]["differences"]
    assert by_name["real, random", None]["trials"] != recentred["trials"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ppc": [2, 1000]}, "Bad ppc 1000, expected at most"),
        ({"corpus": "ravdes"}, "ravdes"),
        ({"students": [{"kind": "cnn7"}]}, "bad head 'cnn7', expected some of [superb"),
        ({"matched": {"cnn": {"guides": ["cnn7"]}}}, "bad head 'cnn7'"),
        ({"speed": 3}, "unknown key 'speed'"),
        ({"repeats": 1}, "repeats 1 are fewer than the 2 seeds"),
        ({"settings": ["distil.latest_start=9"]}, "more than the teachers' 2 epochs"),
        ({"settings": ["distil.step=9"]}, "unknown key 'distil.step'"),
        ({"controls": ["herdin"]}, "bad control 'herdin'"),
        ({"merge_dev": True}, "generators are chosen on dev, which merge_dev leaves empty"),
        ({"generators": {"GAN": {"recipe": "HERE/gan.yaml", "settings": ["architecture.frames=9"]}}}, "makes 9 frames"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(
    change: dict[str, Any],
    said: str,
    plan: Path,
    corpus: Path,
    tmp_path: Path,
    script: Script,
    capfd: pytest.CaptureFixture[str],
):
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | change).replace("HERE", str(tmp_path)))
    assert said in line_of_refusal(script, capfd, plan, corpus, "--work", tmp_path / "work", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "work" / "features").exists(), "before any work"


def test_a_trial_that_fails_is_named_and_leaves_the_others(
    plan: Path,
    corpus: Path,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no such luck")

    monkeypatch.setattr(trials, "distil", broken)
    less = {"generators": {}, "students": [{"kind": "cnn"}], "starts": ["scratch"], "soft_controls": []}
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | less | {"matched": {"cnn": {"guides": ["cnn"]}}}))
    with pytest.raises(SystemExit) as ended:
        script(plan, corpus, "--work", tmp_path / "work", "--out", tmp_path / "out")
    assert ended.value.code == 1
    err = capfd.readouterr().err
    assert "failed: student cnn 0 on distillation by cnn 0, 2 per class, step 2: ValueError: no such luck" in err
    assert "trials failed, what is done is kept" in err
    judged = [json.loads(path.read_text()) for path in (tmp_path / "work" / "trials").iterdir()]
    assert {each["source"]["kind"] for each in judged} == {"real", "control"}
