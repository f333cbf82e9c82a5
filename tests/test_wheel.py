"""The wheel has everything: installed alone, far from any checkout, it does what a checkout does.

The commands of README and of the pages beside it are run from it by ``test_readme.py``.
"""

import json
import re
from pathlib import Path
from zipfile import ZipFile

import yaml

from gandistill import __version__
from gandistill.corpora.synthetic import synthesise
from gandistill.gan.sampling import is_generator
from tests.installed import ROOT, Installed

SHIPPED = {"checkpoints": "checkpoints", "recipes": "recipes", "eval/plans": "plans", "eval/expected": "expected"}
TINY = {
    "head.yaml": "updates: 5",
    "bank.yaml": "{{heads: [superb], seeds: 1, updates: 2, half_trained: 1}}",
    "tiny.yaml": """
corpus: synthetic
protocol: speaker-independent
extract: ravdess/logmel.yaml
bank: {folder}/bank.yaml
generators: {{Gaussian: {{recipe: ravdess/class_gaussian.yaml, losses: [both]}}}}
balanced: Gaussian
controls: [random]
ppc: [2]
labels: [hard]
head: {folder}/head.yaml
heads: [{{kind: superb, seeds: 1}}]
seeds: 1
repeats: 1
folds: [1]
draws: [designed]
""",
}
"""A plan and what it names: few trials, for each job of them is a process that takes seconds to import torch."""


def test_it_holds_all_that_ships_and_nothing_else(wheel: Path):
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        (Path("gandistill") / name / path.relative_to(ROOT / place)).as_posix()
        for place, name in ({"gandistill": ""} | SHIPPED).items()
        for path in (ROOT / place).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == expected
    assert {"gandistill/recipes/ravdess/gan_att.yaml", "gandistill/plans/trajectory/demos.yaml"} < held


def metadata(wheel: Path) -> list[str]:
    """Its lines, without the description."""
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name).decode().partition("\n\n")[0].splitlines()


def test_its_metadata(wheel: Path):
    lines = metadata(wheel)
    assert f"Version: {__version__}" in lines
    needed = {line.partition("; ")[2] for line in lines if line.startswith("Requires-Dist: datasets")}
    assert needed == {"extra == 'datasets'"}, "only whoever asks for one of them needs it"
    assert not any("matplotlib" in line for line in lines), "figures are drawn without it"


def test_its_addresses_are_those_of_the_papers(wheel: Path):
    """README and the file to cite by name the same ones; there is no home page."""
    addresses = [line.rpartition(", ")[2] for line in metadata(wheel) if line.startswith("Project-URL: ")]
    assert len(addresses) == 3
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert addresses == re.findall(r"et al\., \d{4}\]\((https://\S+?)\)", readme)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    assert addresses == [paper["url"] for paper in cited]


def test_it_is_the_installed_one_that_is_run(installed: Installed):
    found = installed.call("-c", "import gandistill; print(gandistill.__file__)")
    assert Path(found.strip()).parents[1] == installed.site
    recipes = installed.run("recipes", "--json").json["recipes"]
    assert {Path(each["path"]).parents[1] for each in recipes} == {installed.site / "gandistill" / "recipes"}


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(installed: Installed):
    before = {*installed.folder.iterdir()}
    refused = {
        "train --config ravdess/gan_cnn --set features=nowhere": "No feature set at nowhere",
        "train --config ravdess/gan_ccn": "No config file ravdess/gan_ccn, nor one of that name in",
        "tables whisper nowhere --table 2": "nowhere",
        "tables trajectory/ravdess_quick nowhere": "nowhere",
        "demo --corpus nowhere": "nowhere",
    }
    for command, said in refused.items():
        done = installed.run(*command.split())
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert said in done.err, command
    assert {*installed.folder.iterdir()} == before


def test_what_a_checkout_trains_by_a_script_two_processes_train(installed: Installed):
    """What README calls ``accelerate launch -m gandistill train …``, by the launcher's own recipe."""
    installed.run("sample", "--ppc", 2, "--out", "set").succeeded()
    recipes = {each["name"]: each["path"] for each in installed.run("recipes", "--json").json["recipes"]}
    launch = ["-m", "accelerate.commands.launch", "--config_file", recipes["accelerate/cpu"], "-m", "gandistill"]
    settings = ["--set", "architecture.kind=class-gaussian", "--set", "features=set"]
    assert installed.call(*launch, "train", *settings, "--out", "run") == ""
    assert is_generator(installed.folder / "run")


def test_what_a_checkout_makes_by_a_script_is_a_command(installed: Installed):
    """``gandistill tables``: recipes and the paper's values come with it; files go below the current folder."""
    folder = installed.folder
    corpus = synthesise(folder / "corpus", sessions=4, per_class=2)
    for name, text in TINY.items():
        (folder / name).write_text(text.format(folder=folder))
    said = installed.run("tables", "tiny.yaml", corpus, "--table", 2).succeeded().err
    assert said.endswith("Table 2: results/tiny/table2.md\n")
    table = json.loads((folder / "results" / "tiny" / "table2.json").read_text())
    assert table["commit"] == f"unknown, gandistill {__version__}"
    assert {"real, all of it", "real, random"} <= {row["training set"] for row in table["rows"]}
