"""``python eval/tables.py``: four tables of a tiny corpus, in parts or whole, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from gandistill.corpora.synthetic import synthesise
from tests.experiments.conftest import Script, line_of_refusal, script_of

EVAL = Path(__file__).parents[3] / "eval"
GAN = {
    "architecture": {"kind": "gan-att", "frames": 20, "channels": [8, 8, 8], "critic_channels": [4] * 8},
    "training": {"updates": 2, "batch": 4, "evaluate_every": 2, "evaluate_heads": ["superb"], "evaluate_ppc": 2},
}
PLAN: dict[str, Any] = {
    "corpus": "synthetic",
    "protocol": "speaker-independent",
    "extract": "ravdess/logmel.yaml",
    "balanced": "GAN-ATT",
    "controls": ["random", "pooled"],
    "ppc": [2],
    "labels": ["hard"],
    "heads": [{"kind": "superb", "seeds": 1}],
    "seeds": 1,
    "repeats": 2,
    "variants": ["shuffled", "with-real"],
}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    recipes = {
        "bank": {"heads": ["superb"], "seeds": 1, "updates": 3, "half_trained": 1},
        "head": {"updates": 5},
        "probe": {"updates": 5},
        "gan": GAN,
    }
    for name, values in recipes.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    values = PLAN | {name: str(tmp_path / f"{name}.yaml") for name in ("bank", "head")}
    values["generators"] = {"GAN-ATT": {"recipe": str(tmp_path / "gan.yaml"), "losses": ["baseline", "both"]}}
    values["speakers"] = {"config": str(tmp_path / "probe.yaml")}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "tiny.yaml"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, here: None) -> Script:
    """The script's ``main`` on a command line, in this process."""
    return script_of("tables", monkeypatch)


def test_four_tables_in_parts_and_whole(plan: Path, tmp_path: Path, script: Script, capfd: pytest.CaptureFixture[str]):
    corpus = synthesise(tmp_path / "corpus", sessions=4, per_class=2)

    def run(table: int, work: str, *more: object) -> None:
        script(plan, corpus, "--table", table, "--work", tmp_path / work, "--out", tmp_path / f"out-{work}", *more)

    for number, work in ((1, "one"), (2, "two")):
        run(2, work, "--shard", f"{number}/2")
        assert not (tmp_path / f"out-{work}").exists(), "a part is no table"
        told = capfd.readouterr().err
        assert f"trials belong to other shards: copy their trials and runs into {tmp_path / work}" in told
    shutil.copytree(tmp_path / "two" / "trials", tmp_path / "one" / "trials", dirs_exist_ok=True)
    run(2, "one")
    for table in (2, 3, 4, 1):
        run(table, "whole")
    outs = [tmp_path / "out-one", tmp_path / "out-whole"]
    for path in outs[0].glob("table2*"):
        assert path.read_bytes() == (outs[1] / path.name).read_bytes(), f"{path.name} is not the same bits"
    written = {path.name: path.read_bytes() for path in outs[1].iterdir()}
    forms = {f"table{table}.{kind}" for table in (1, 2, 3, 4) for kind in ("json", "md", "csv", "svg")}
    assert written.keys() == forms | {"table2-predictions.csv", "table3-predictions.csv", "costs.csv"}
    trials = {path: path.stat().st_mtime_ns for path in (tmp_path / "whole" / "trials").iterdir()}
    run(2, "whole")
    assert (outs[1] / "table2.json").read_bytes() == written["table2.json"], "of the same trials the same table"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "whole" / "trials").iterdir()} == trials
    assert not (EVAL / "results" / "tiny").exists(), "results go where --out says"

    tables = {number: json.loads(written[f"table{number}.json"]) for number in (1, 2, 3, 4)}
    names = [row["training set"] for row in tables[2]["rows"]]
    assert names[:3] == ["real, all of it", "real, time-pooled", "real, random"]
    states = ("0 updates", "baseline", "+both")
    assert names[3:9] == [f"GAN-ATT {state}{draws}" for state in states for draws in ("", ", independent")]
    assert names[9:] == ["GAN-ATT +both, frames shuffled", "real, all of it, and GAN-ATT +both"]
    shuffled, joined = tables[2]["rows"][9:]
    assert [*shuffled["differences"]] == ["frames in order"]
    assert [*joined["differences"]] == ["real, all of it"]
    assert (shuffled["points"], joined["points"]) == (8, 32 + 8)
    for table in (2, 3):
        text = written[f"table{table}.md"].decode()
        assert all(f"| {row['training set']}" in text for row in tables[table]["rows"])
    assert tables[2]["folds"]["1"]["train"]["utterances"] > 0
    assert {row["paper"]["uar"] for row in tables[2]["rows"] if "paper" in row} == set(), "the paper has no 2 points"
    weighed = {row["what"]: row["bytes"] for row in tables[1]["rows"]}
    runs = [path.parent for path in (tmp_path / "whole" / "runs").glob("*/config.yaml")]
    (trained,) = (run for run in runs if yaml.safe_load((run / "config.yaml").read_text())["losses"]["diversity"])
    files = [path for path in (trained / "generator").rglob("*") if path.is_file()]
    assert weighed["GAN-ATT +both, float32"] == sum(path.stat().st_size for path in files)
    assert [row["first layer of"] for row in tables[4]["rows"]][:2] == ["speaker head", "untrained head"]
    judged = [row["what"] for row in tables[1]["rows"] if "uar" in row]
    stored = [f"GAN-ATT +both, {precision}, without bank" for precision in ("float32", "float16", "int8")]
    assert judged == ["features, float16", "features, time-pooled, float16", *stored]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "2", "--shard", "3/2"], "Bad --shard '3/2', expected i/n such as 3/8"),
        (["--table", "2", "--shard", "half"], "Bad --shard 'half', expected i/n such as 3/8"),
        (["--table", "2", "--jobs", "0"], "Bad --jobs 0, expected 1 or more"),
        (["--table", "2"], "corpus"),
        (["--table", "4"], "voxceleb1: --speakers path/to/it"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, plan: Path, tmp_path: Path, script: Script, capfd: pytest.CaptureFixture[str]
):
    values = yaml.safe_load(plan.read_text())
    values["speakers"] |= {"corpus": "voxceleb1", "protocol": "superb-sid"}
    plan.write_text(yaml.safe_dump(values))
    where = ("--work", tmp_path / "work", "--out", tmp_path / "out")
    assert said in line_of_refusal(script, capfd, plan, tmp_path / "corpus", *where, *arguments)
    assert not (tmp_path / "out").exists()


def test_table_4_of_a_plan_without_speakers_is_refused(
    plan: Path, tmp_path: Path, script: Script, capfd: pytest.CaptureFixture[str]
):
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | {"speakers": None}))
    line = line_of_refusal(script, capfd, plan, tmp_path / "corpus", "--table", 4)
    assert line == f"tables: {plan} has no 'speakers', which Table 4 needs"
