"""``python eval/selfdistill.py``: tables and figures of a tiny corpus, what a second run does, what is refused."""

import csv
import json
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import yaml

from gandistill.evaluate.predictions import Predictions, file_name
from gandistill.experiments.selfdistill import trials as room
from gandistill.experiments.selfdistill.plan import ExitPlan
from tests.corpora.fabricate import fabricate_nemo
from tests.experiments.conftest import Script, line_of_refusal, script_of
from tests.selfdistill.conftest import LAYERS, TINY

ROOT = Path(__file__).parents[3]
EVAL = ROOT / "eval"
PLAN: dict[str, Any] = {
    "note": "Tiny.",
    "corpus": "nemo",
    "protocol": "speaker-independent",
    "random": {"settings": TINY},
    "settings": ["network.exits=[1, 2]", "training.epochs=1", "training.clip=3200", "training.batch=16"],
    "blocks": ["lstm"],
    "similarities": ["l1"],
    "competing": {"block": "lstm", "students": "l1", "teacher": "l1"},
    "layerwise": {"blocks": ["cnn"], "depth": 1, "stage": {"layers": [2, 4], "epochs": 1}},
    "layers": {"layers": [3]},
    "precisions": ["int8"],
    "seeds": 2,
}
TABLES = ("exits", "networks", "layers", "precisions", "early")
FILES = {f"{table}.{form}" for table in TABLES for form in ("json", "csv", "md")}
FILES |= {"layers.svg", "cost.svg", "predictions.csv", "predictions-dev.csv", "costs.csv", "costs.md"}
PARTS = ("dev", "test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate_nemo(tmp_path_factory.mktemp("selfdistill") / "corpus", 1, 0.2)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text("loss: {similarity: l2}\n")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PLAN | {"recipe": str(tmp_path / "recipe.yaml")}))
    return tmp_path / "tiny.yaml"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, here: None) -> Script:
    """The script's ``main`` on a command line, all in this process: a new one takes seconds to import torch."""
    return script_of("selfdistill", monkeypatch)


def check_kept(folder: Path) -> None:
    """Every UAR is that of the kept predictions, and every table says what made it."""
    for name in TABLES:
        if not (folder / f"{name}.json").is_file():
            continue  # a plan without Figure 2 or other precisions
        table = json.loads((folder / f"{name}.json").read_text())
        assert len(table["plan"]["sha256"]) == 64
        assert table["commit"] != "unknown"
        assert (folder / f"{name}.md").read_text().startswith(table["plan"]["note"])
        known = np.array(table["labels"])
        for part, sizes in table["parts"].items():
            with (folder / file_name(part)).open(newline="") as file:
                rows = list(csv.DictReader(file))
            assert len(rows) == sizes["judged"]["utterances"]
            columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
            ids, speakers, labels = (columns[key] for key in ("id", "speaker", "label"))
            for row in table["rows"]:
                if row["network"] == "chance":
                    assert row[part]["uar"] == pytest.approx(1 / len(set(labels.tolist())))
                    continue
                if part not in row["trials"]:
                    continue  # leaving early is judged on test alone
                for key, uar in zip(row["trials"][part], row[part]["uars"], strict=True):
                    told = Predictions(ids, speakers, labels, known[columns[f"{key}.{row['answer']}"].astype(int)])
                    assert told.uar == pytest.approx(uar)
                assert row[part]["uar"] == pytest.approx(fmean(row[part]["uars"]))
                same = table["plan"]["corpus"] == "demos"
                assert "paper" not in row or ("other_corpus" in row["paper"]) != same


@pytest.mark.parametrize("folder", sorted((EVAL / "results").glob("selfdistill-*")), ids=lambda folder: folder.name)
def test_kept_tables_say_what_their_own_predictions_say(folder: Path):
    """And a folder has the files that its plan asks for."""
    check_kept(folder)
    name = json.loads((folder / "exits.json").read_text())["plan"]["name"]
    plan = ExitPlan.load(EVAL / "plans" / "selfdistill" / f"{name}.yaml")
    asked = {"layers": plan.layers, "precisions": plan.precisions, "early": plan.uar_losses}
    unasked = {name for name in FILES if not asked.get(name.partition(".")[0], True)}
    unasked |= {file_name(part) for part in PARTS if part not in plan.parts}
    assert {path.name for path in folder.iterdir()} == FILES - unasked


def test_all_tables_and_a_second_run(
    plan: Path, corpus: Path, tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
):
    work, out = tmp_path / "work", tmp_path / "out"
    script(plan, corpus, "--work", work, "--out", out)
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    assert written.keys() == FILES
    check_kept(out)

    exits, networks, layers, precisions, early = (json.loads(written[f"{name}.json"]) for name in TABLES)
    assert [row.get("exit") for row in exits["rows"]] == [None, "1", "2", "deepest", "fusion"]
    _, first, second, deepest, fusion = exits["rows"]
    gap = first["differences"]["its deepest exit"]["dev"]
    assert gap["paired"]
    assert gap["uar_difference"] == pytest.approx(first["dev"]["uar"] - deepest["dev"]["uar"])
    assert list(deepest["differences"]) == ["chance"]
    assert deepest["paper"] == {"dev": 91.4, "test": 90.2, "other_corpus": "demos, facebook/wav2vec2-base"}
    assert "paper" not in first, "the paper has no exit behind layer 1"
    assert first["multiply_accumulates"] < deepest["multiply_accumulates"]
    assert first["parameters_deployed"] < first["parameters_paper"], "which counts the quantiser"
    assert first["bytes"] == 4 * first["parameters_deployed"]
    assert second["multiply_accumulates"] < fusion["multiply_accumulates"]

    rows = [(row["network"], row.get("exit")) for row in networks["rows"]]
    assert rows == [
        ("chance", None),
        *(("fine-tuning", depth) for depth in ("1", "2", "deepest")),
        ("layer-wise distillation", "1"),
        *(("self-distillation", depth) for depth in ("1", "2", "deepest")),
    ]
    assert networks["rows"][5]["trials"] == first["trials"], "Table 2 takes runs of Table 1"
    assert list(networks["rows"][5]["differences"]) == [
        "chance",
        "fine-tuning of as many layers",
        "fine-tuning of all layers",
    ]
    assert "paper" not in networks["rows"][5], "it takes other runs than the paper does"
    layer_wise, fine_tuned = networks["rows"][4], networks["rows"][1]
    assert layer_wise["parameters_deployed"] == fine_tuned["parameters_deployed"], "its blocks are left behind"
    assert layer_wise["parameters_paper"] == fine_tuned["parameters_paper"] + 2 * 4, "two blocks of four parameters"
    assert [(row.get("layer"), row.get("exit")) for row in layers["rows"]] == [
        (None, None),
        (3, "3"),
        (3, "deepest"),
    ]
    leaving_early(early["rows"])
    assert "over test utterances, not over speakers" in (out / "early.md").read_text(), "there are two"
    of_precisions(precisions["rows"], {row["exit"]: row for row in exits["rows"][1:]})
    judged = exits["parts"]["test"]
    assert (
        judged["taught by"]["utterances"]
        == exits["parts"]["dev"]["taught by"]["utterances"] + (exits["parts"]["dev"]["judged"]["utterances"])
    ), "dev teaches what is judged on test"
    assert exits["upstream"] | {"parameters_sha256": ""} == {
        "name": "random weights",
        "layers": LAYERS,
        "parameters_sha256": "",
    }
    with (out / "costs.csv").open(newline="") as file:
        costs = list(csv.DictReader(file))
    assert len(costs) == 4 + 7
    assert all(float(row["seconds"]) > 0 and float(row["training_seconds"]) > 0 for row in costs)
    assert not [*work.rglob("checkpoints"), *work.rglob("exported")], "a network is what stays of a run"

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(room, "train", refused)
    for key in precisions["rows"][-1]["trials"]["dev"]:  # is found again by the networks that were kept
        (stored,) = (work / "trials").glob(f"{key}*")
        stored.unlink()
    script(plan, corpus, "--work", work, "--out", out, "--jobs", 2)
    again = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {name for name in FILES if again[name] != written[name]} <= {"costs.csv", "costs.md"}, "times are taken anew"


def leaving_early(rows: list[dict[str, Any]]) -> None:
    """Beside the deepest exit of the same networks, on test."""
    _, auto, deepest = rows
    assert (auto["exit"], deepest["exit"]) == ("auto", "deepest")
    assert "dev" not in auto
    assert auto["trials"] == deepest["trials"]
    gap = auto["differences"]["its deepest exit"]["test"]
    assert gap["paired"]
    assert gap["uar_difference"] == pytest.approx(auto["test"]["uar"] - deepest["test"]["uar"])
    assert 1 <= auto["mean_depth"] <= deepest["mean_depth"] == LAYERS
    assert auto["multiply_accumulates"] > 0


def of_precisions(rows: list[dict[str, Any]], exits: dict[str, dict[str, Any]]) -> None:
    """Each exit stored twice: in float32, as Table 1 has it, and in int8, in fewer bytes by half its weights'."""
    named = [(row["exit"], row["precision"]) for row in rows[1:]]
    assert named == [*product(("1", "2", "deepest"), ("float32", "int8"))]
    for full, fewer in zip(rows[1::2], rows[2::2], strict=True):
        exit = exits[full["exit"]]
        assert all(full[part] == exit[part] for part in PARTS), "of the same trainings"
        assert exit["bytes"] < full["bytes"], "the weights and what describes them"
        assert fewer["bytes"] < full["bytes"] - exit["bytes"] / 2
        gap = fewer["differences"]["float32"]["test"]
        assert gap["paired"]
        assert gap["uar_difference"] == pytest.approx(fewer["test"]["uar"] - full["test"]["uar"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpus": "ravdes"}, "ravdes"),
        ({"protocol": "none"}, "Bad protocol for nemo 'none'"),
        ({"blocks": ["lstn"]}, "bad value 'lstn' for 'blocks.0'"),
        ({"similarities": ["l1", "l1"]}, "similarities: 'l1' is named twice"),
        ({"competing": {"block": "gru"}}, "Table 2 takes the runs gru with l1 and l2+cosine"),
        ({"precisions": ["int4"]}, "bad value 'int4' for 'precisions.0'"),
        ({"precisions": ["int8", "int8"]}, "precisions: 'int8' is named twice"),
        ({"uar_losses": [1]}, "uar_losses.0"),
        ({"speed": 3}, "unknown key 'speed'"),
        ({"settings": ["network.exits=[]"]}, "network.exits is empty"),
        ({"settings": ["network.exits=[1, 4]"]}, "network.exits 4 is too deep: the upstream has 4 layers"),
        ({"settings": ["network.depth=2"]}, "network.depth must be None here"),
        ({"settings": ["training.select=dev"]}, "training.select must be 'last' here"),
        ({"settings": ["training.epoch=9"]}, "unknown key 'training.epoch'"),
        ({"layerwise": {"depth": 1}}, "layerwise.stage.layers 12 is too deep"),
        ({"layers": {"layers": [4]}}, "layers.layers 4 is too deep"),
        ({"random": {"settings": {"model_type": "bert"}}}, "'bert', expected one of [hubert"),
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
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | change))
    assert said in line_of_refusal(script, capfd, plan, corpus, "--work", tmp_path / "work", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "work" / "runs").exists(), "before any work"


def test_a_trial_that_fails_is_named_and_leaves_the_others(
    plan: Path,
    corpus: Path,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    real = room.train

    def some(config: Any, *arguments: Any, **options: Any) -> None:
        if config.network.exits:
            raise ValueError("no such luck")
        real(config, *arguments, **options)

    monkeypatch.setattr(room, "train", some)
    less = {"layerwise": None, "layers": None, "seeds": 1, "parts": ["dev"]}
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | less))
    with pytest.raises(SystemExit) as ended:
        script(plan, corpus, "--work", tmp_path / "work", "--out", tmp_path / "out")
    assert ended.value.code == 1
    err = capfd.readouterr().err
    assert "failed: self-distillation lstm, l1, exits 1, 2, seed 0, judged on dev: ValueError: no such luck" in err
    assert "seed 0, judged on dev, stored in int8: the training that it needs failed" in err
    assert "3 trials failed, what is done is kept" in err
    assert len(list((tmp_path / "work" / "trials").iterdir())) == 3
