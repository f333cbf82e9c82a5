"""The plans for corpora that are not here, run on trees in their layout: all is real but sound and sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.corpora.fabricate import fabricate_iemocap, fabricate_voxceleb1

EVAL = Path(__file__).parents[1] / "eval"
GAN = """
base: {recipes}/iemocap/gan_att.yaml
architecture: {{kind: gan-att, frames: 8, channels: [4, 4, 4, 4, 4], critic_channels: [4, 4, 4, 4, 4, 4, 4, 4]}}
training: {{updates: 1, batch: 4, evaluate_heads: [superb], evaluate_ppc: 2}}
"""
PLAN = """
base: {plan}
extract: {work}/hubert.yaml
bank: {work}/bank.yaml
head: {work}/head.yaml
generators:
  GAN-CNN: {{losses: [both], recipe: {work}/gan.yaml}}
  GAN-ATT: {{losses: [both], recipe: {work}/gan.yaml}}
controls: [random]
ppc: [50]
labels: [hard]
heads: [{{kind: superb, seeds: 1}}]
seeds: 1
repeats: 2
draws: [designed]
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny_hubert: Path) -> Path:
    """IEMOCAP's 5,531 utterances, a twentieth of a second each, and recipes of the smallest sizes."""
    work = tmp_path_factory.mktemp("plans")
    recipes = EVAL.parent / "recipes"
    fabricate_iemocap(work / "iemocap")
    fabricate_voxceleb1(work / "voxceleb1")
    (work / "hubert.yaml").write_text(f"base: {recipes}/iemocap/hubert.yaml\nhubert: {{model: {tiny_hubert}}}\n")
    (work / "bank.yaml").write_text("heads: [superb]\nseeds: 1\nupdates: 2\nhalf_trained: 1\n")
    (work / "head.yaml").write_text(f"base: {recipes}/heads/superb.yaml\nupdates: 2\n")
    (work / "probe.yaml").write_text(f"base: {recipes}/probe/superb_sid.yaml\nupdates: 2\n")
    (work / "gan.yaml").write_text(GAN.format(recipes=recipes))
    return work


def table(number: int, plan: str, work: Path, *options: object) -> dict[str, Any]:
    name = work / f"{plan}-{number}.yaml"
    base = PLAN.format(plan=EVAL / "plans" / f"{plan}.yaml", work=work)
    extra = "" if number == 2 else f"speakers: {{config: {work}/probe.yaml}}\n"
    name.write_text(base + ("folds: [1, 2]\n" if number == 2 else "") + extra)
    where = ("--work", work / "work", "--out", work / "out")
    script = [sys.executable, "-W", "error", EVAL / "tables.py", name, work / "iemocap", "--table", number]
    command = [*map(str, [*script, *options, *where])]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((work / "out" / f"table{number}.json").read_text())


def test_iemocap_by_superbs_folds_with_hubert(small: Path):
    found = table(2, "iemocap", small)
    assert [fold["test"]["utterances"] for fold in found["folds"].values()] == [1085, 1023]
    assert found["folds"]["1"]["train"] == {"utterances": 3556, "speakers": 8}
    rows = {row["training set"]: row for row in found["rows"]}
    assert list(rows) == [
        "real, all of it",
        "real, random",
        *(f"{name} {state}" for name in ("GAN-CNN", "GAN-ATT") for state in ("0 updates", "+both")),
    ]
    made = rows["GAN-ATT +both"]
    assert made["points"] == 200
    assert made["paper"] == {"uar": 60.27, "other_corpus": "iemocap, hubert facebook/hubert-base-ls960"}
    assert made["differences"]["real, random"]["utterances"] == 1085 + 1023
    assert made["differences"]["real, random"]["bootstrap"] == "utterance", "two sessions have four speakers"
    assert made["uar"] == pytest.approx(sum(made["fold_uars"]) / 2)


def test_voxceleb1s_speakers_for_heads_of_iemocap(small: Path):
    found = table(4, "voxceleb1", small, "--speakers", small / "voxceleb1")
    rows = {row["first layer of"]: row for row in found["rows"]}
    assert [row["paper"]["accuracy"] for row in rows.values() if "paper" in row] == [80.89, 44.87, 37.99]
    for row in rows.values():
        assert row["speakers"] == 4
        assert row["chance"]["accuracy"] == pytest.approx(1 / 4)
        assert 0 <= row["all"]["accuracy"]["mean"] <= 1
