"""The page of runs of trajectory matching and of self-distillation: what they keep, told as their files have it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gandistill.evaluate.markdown import percent
from gandistill.experiments.report import beside, training
from gandistill.experiments.report.command import report
from gandistill.features.featureset import FeatureSet
from gandistill.run import METRICS, SECONDS, arithmetic, spent
from gandistill.selfdistill.calibration import calibrate
from gandistill.selfdistill.describe import describe
from gandistill.selfdistill.evaluation import evaluate
from gandistill.selfdistill.random_upstream import make_upstream
from gandistill.selfdistill.settings import SelfDistilConfig
from gandistill.selfdistill.training import train
from gandistill.trajectory.distillation import distil
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.teachers import teach
from tests.commands import run
from tests.corpora.fabricate import fabricate_nemo
from tests.experiments.report.pages import Parsed, browsed, quick, stands_alone, told
from tests.selfdistill.conftest import TINY
from tests.trajectory.conftest import LABELS, write_clips

IS_IT = ["What it is", "What it is not"]
BESIDE = ["Side by side", "A map of both", "How far it went"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return write_clips(tmp_path_factory.mktemp("clips") / "clips")


@pytest.fixture(scope="module")
def distilled(clips: FeatureSet) -> Path:
    """The run of a short distillation, whose set is the best on dev of those it kept, and has soft labels."""
    out, teachers = clips.folder.with_name("run"), clips.folder.with_name("teachers")
    values = {
        "features": str(clips.folder),
        "teachers": [str(teachers)],
        "teach": {"head": "cnn", "epochs": 3, "trajectories": 1, "batch": 6},
        "distil": {"ppc": 2, "steps": 4, "updates": 2, "ahead": 2, "latest_start": 1, "keep_every": 2, "choose": "dev"}
        | {"labels": "soft"},
        "evaluate": {"students": ["cnn"], "seeds": 1, "epochs": 2},
    }
    config = TrajectoryConfig.build(values, "test")
    teach(config.teaching(), teachers)
    distil(config, out)
    return out


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, and a random model of four small layers beside it."""
    folder = tmp_path_factory.mktemp("corpus")
    make_upstream(folder / "upstream", TINY, seed=0)
    data = fabricate_nemo(folder / "data", 1, 0.4)
    options = ("--protocol", "speaker-independent", "--out", folder / "manifest.csv")
    assert run("prepare", "nemo", data, *options).code == 0
    return folder / "manifest.csv"


def trained(corpus: Path, name: str, **values: Any) -> Path:
    """The run of a short training of a network."""
    network = {"upstream": str(corpus.with_name("upstream")), "block": "gru"} | values.pop("network")
    training = {"epochs": 1, "batch": 10, "learning_rate": 1e-3, "clip": 6400}
    config = {"manifest": str(corpus), "network": network, "training": training} | values
    train(SelfDistilConfig.build(config, "test"), corpus.with_name(name))
    return corpus.with_name(name)


@pytest.fixture(scope="module")
def exits(corpus: Path) -> Path:
    """Behind the layers 1, 2 and 4."""
    return trained(corpus, "exits", network={"exits": [1, 2]})


@pytest.fixture(scope="module")
def layerwise(corpus: Path) -> Path:
    """Behind the second layer alone, which first learned to predict others."""
    return trained(corpus, "layerwise", network={"exits": [], "depth": 2}, layerwise={"layers": [2, 4], "epochs": 1})


@pytest.fixture(scope="module")
def judged(corpus: Path, exits: Path) -> tuple[Path, dict[str, Any]]:
    """The same run after its network was calibrated and judged, and what was found on each part."""
    folder = exits.with_name("judged")
    shutil.copytree(exits, folder)
    calibrate(folder, corpus, 0.1)
    return folder, {split: evaluate(folder, corpus, split) for split in ("dev", "test")}


def page(tmp_path: Path, *sources: Path, features: Path | None = None, split: str = "dev") -> str:
    report(sources, features, split, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "HeadConfig", quick)


def logged(folder: Path, name: str) -> list[float]:
    lines = map(json.loads, (folder / METRICS).read_text().splitlines())
    return [line[name] for line in lines if name in line]


def known(text: str) -> dict[str, str]:
    return dict(zip(Parsed(text).said("dt"), Parsed(text).said("dd"), strict=True))


@pytest.mark.usefixtures("fast")
def test_parts_of_a_distilled_set_are_there_as_its_run_and_features_are(
    distilled: Path, clips: FeatureSet, tmp_path: Path
):
    def parts(*sources: Path, features: Path | None = None) -> list[str]:
        return Parsed(page(tmp_path, *sources, features=features)).said("h3")

    measured = ["Agreement of moments", "What it teaches"]
    assert parts(distilled) == [*IS_IT, "Its training", *BESIDE]
    assert parts(distilled, features=clips.folder) == [*IS_IT, "Its training", *BESIDE, *measured]
    assert parts(distilled / "distilled") == IS_IT
    assert parts(distilled / "distilled", features=clips.folder) == [*IS_IT, *BESIDE[:2], *measured]


@pytest.mark.usefixtures("fast")
def test_a_distilled_set_stands_beside_the_clips_that_it_began_as(distilled: Path, clips: FeatureSet, tmp_path: Path):
    text = page(tmp_path, distilled, features=clips.folder)
    stands_alone(text)
    figures, facts = told(text), known(text)
    uars = ", ".join(f"{100 * uar:.1f}" for uar in logged(distilled, "dev/cnn"))
    assert f"dev: students trained on the set alone. UAR, % against step. cnn: {uars}; chance: 33.3." in figures
    losses = ", ".join(f"{loss:.3g}" for loss in logged(distilled, "match/loss"))
    assert any(f"loss against step. loss: {losses}." in said for said in figures)
    assert any("Norm of the gradient of labels" in said for said in figures)
    assert facts["clips"] == "6, each 16 frames x 8 dims"
    assert (facts["teachers"], facts["labels"]) == ("1 cnn", "soft")
    start, made = (FeatureSet.open(distilled / name) for name in ("distilled-0000", "distilled"))
    said = Parsed(text).said("td")
    rows = range(2, 4)
    way = (made.padded(rows)[0] - start.padded(rows)[0]) / start.moments()[1]
    row = said.index(LABELS[1], said.index(LABELS[1]) + 1)
    assert said[row + 1] == f"{float(way.square().mean().sqrt()):.3f}"
    for taught in ("distilled clips", "real clips that it began as", "real, random", "real, all of it"):
        assert taught in said
    words = " ".join(Parsed(text).said("figcaption"))
    assert "It was chosen by its UAR on this part" in words
    assert "The set was not distilled for such heads" in words
    assert "not known to be those" not in words


def test_a_set_that_no_step_changed_is_said_to_be_real(distilled: Path, tmp_path: Path):
    facts = known(page(tmp_path, distilled / "distilled-0000"))
    assert facts["steps"] == "none: it is the real clips that it began as"


def test_parts_of_a_network(exits: Path, layerwise: Path, judged: tuple[Path, dict[str, Any]], tmp_path: Path):
    def parts(source: Path) -> list[str]:
        return Parsed(page(tmp_path, source)).said("h3")

    costs, taken = "What its exits cost, and are worth", "What is taken for what on"
    first = "Its first stage: a student learns to predict deeper layers"
    assert parts(exits / "network") == [*IS_IT, costs]
    assert parts(exits) == [*IS_IT, costs, "Its training"]
    assert parts(layerwise) == [*IS_IT, costs, first, "Its training"]
    assert parts(judged[0]) == [*IS_IT, costs, f"{taken} dev", f"{taken} test", "Its training"]


def test_exits_are_told_by_what_they_cost_and_are_worth(
    corpus: Path, judged: tuple[Path, dict[str, Any]], tmp_path: Path
):
    folder, found = judged
    text = page(tmp_path, folder)
    stands_alone(text)
    cells, figures = Parsed(text).said("td"), told(text)
    for split, result in found.items():
        for name, answer in result["exits"].items():
            called = f"exit {name}" if name.isdecimal() else name
            assert called in cells
            assert any(cell.startswith(f"{percent(answer['uar'])} [") for cell in cells)
            recall = answer["recalls"]["anger"]
            (said,) = (
                each for each in figures if each.startswith(f"{called} on {split}: UAR {percent(answer['uar'])} %")
            )
            assert f"anger as itself {100 * recall:.0f} %" in said
    described = describe(str(corpus.with_name("upstream")), [1, 2], "gru", 6)
    for cost in described["exits"]:
        assert f"{cost['parameters_deployed']:,}" in cells
        assert f"{cost['bytes']:,}" in cells
    assert sum(said.startswith("Judged on") for said in figures) == 2
    assert "where an exit is surer than" in known(text)["leaves early"]


def test_a_network_that_was_not_judged_says_its_dev_uar(exits: Path, tmp_path: Path):
    text = page(tmp_path, exits)
    uars = json.loads((exits / "network" / "config.json").read_text())["trained"]["dev_uar"]
    assert {percent(uar) for uar in uars.values()} <= set(Parsed(text).said("td"))
    assert any("'gandistill selfdistill evaluate' adds" in said for said in Parsed(text).said("p"))


def test_seconds_are_those_of_the_run(distilled: Path, layerwise: Path, tmp_path: Path):
    said = " ".join(Parsed(page(tmp_path, distilled, layerwise)).said("p"))
    for folder, unit in ((distilled, "steps"), (layerwise, "updates"), (layerwise / "layerwise", "updates")):
        (part,) = spent(folder)
        assert f"{part['steps']} {unit} took {part['seconds']:,.1f} s on" in said


def test_seconds_say_what_computed_each_part(tmp_path: Path):
    parts = [
        {"seconds": 1234.56, "steps": 2000, "threads": 2, "processes": 1, "device": "cpu"},
        {"seconds": 7.0, "steps": 1000, "threads": 1, "processes": 3, "device": "cpu"},
        {"seconds": 5.0, "steps": 10, "threads": 8, "processes": 1, "device": "cuda"},
    ]
    (tmp_path / SECONDS).write_text(json.dumps({"parts": [arithmetic() | part for part in parts]}))
    assert training.seconds(tmp_path, "update") == (
        "By the clock, with scores and checkpoints: 2,000 updates took 1,234.6 s on 2 threads; then 1,000 updates took "
        "7.0 s on 3 processes, 1 thread each; then 10 updates took 5.0 s on cuda."
    )
    (tmp_path / SECONDS).unlink()
    assert training.seconds(tmp_path, "update") == ""


def test_bad_input_is_one_line(distilled: Path, exits: Path, clips: FeatureSet, tmp_path: Path):
    def line(*arguments: object) -> str:
        done = run("report", *arguments, "--out", tmp_path / "page.html")
        assert done.code == 2
        assert done.err.count("\n") == 1
        return done.err

    assert "has no generator or distilled set to stand beside" in line(exits, "--features", clips.folder)
    other = write_clips(tmp_path / "other", dims=9)
    assert "has 9 dims, but the distilled set expects 8" in line(distilled, "--features", other.folder)
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copyfile(distilled / "config.yaml", begun / "config.yaml")
    assert f"{begun} is a run that has made nothing yet: go on with it by --resume" in line(begun)


@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_finds_no_error(distilled: Path, judged: tuple[Path, dict[str, Any]], tmp_path: Path, width: int):
    assert browsed(page(tmp_path, distilled, judged[0]), tmp_path, width) == 4 * len(LABELS)
