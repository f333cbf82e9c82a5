"""The page: whole HTML that asks nothing of anyone, whose figures say in words what they show, whose numbers are kept.

A browser, where there is one, finds no error in it.
"""

import json
import re
import shutil
from pathlib import Path
from statistics import fmean

import pytest

from gandistill.api import Generator
from gandistill.evaluate.markdown import percent
from gandistill.evaluate.predict import class_scores
from gandistill.experiments.printed import uar_of
from gandistill.experiments.report import beside, generators, papers, training
from gandistill.experiments.report.command import report
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import posteriors
from gandistill.heads.training import train_head
from tests.commands import run
from tests.experiments.report.pages import Parsed, browsed, quick, stands_alone, told
from tests.gan.conftest import write_features

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "eval" / "results"
LABELS = ['<&"b>', "happy", "sad"]
COUNTS = dict(zip(LABELS, (9, 4, 6), strict=True))


METRICS = [
    {"step": 1, "critic/adversarial": -0.5, "generator/adversarial": 0.25},
    {"step": 2, "critic/adversarial": -0.75, "generator/adversarial": 0.5},
    {"step": 2, "dev/superb": 0.625},
]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return write_features(tmp_path_factory.mktemp("report") / "features", LABELS, COUNTS, ("train", "dev", "test"))


@pytest.fixture(scope="module")
def trained(features: FeatureSet) -> Path:
    """A run folder, its log as a killed training leaves it."""
    folder = features.folder.with_name("run")
    Generator.fit(features).save(folder / "generator")
    lines = "".join(json.dumps(line) + "\n" for line in METRICS)
    (folder / "metrics.jsonl").write_text(lines + '{"step": 3, "crit')
    return folder


@pytest.fixture(scope="module")
def everything(features: FeatureSet, trained: Path) -> str:
    """The page of a run beside its features, and of tables."""
    out = features.folder.with_name("report.html")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beside, "HeadConfig", quick)
        report([trained, RESULTS / "nemo", RESULTS / "whisper"], features.folder, "test", out)
    return out.read_text(encoding="utf-8")


def test_it_is_whole_html_that_asks_nothing_of_anyone(everything: str):
    stands_alone(everything)


def test_every_figure_says_in_words_what_it_shows(everything: str):
    assert len(told(everything)) == 22


def test_a_label_is_text_and_nothing_else(everything: str):
    page = Parsed(everything)
    assert LABELS[0] in page.said("td")
    assert LABELS[0] in page.said("text")
    assert any(LABELS[0] in (figure["aria-label"] or "") for figure in page.found["svg"])
    assert "b" in page.found or '<&"b>' not in everything
    assert "&lt;&amp;&quot;b&gt;" in everything


def test_numbers_of_tables_are_those_of_their_files(everything: str):
    cells = Parsed(everything).said("td")
    told = " ".join(figure["aria-label"] or "" for figure in Parsed(everything).found["svg"])
    for name in ("nemo", "whisper"):
        for path in sorted((RESULTS / name).glob("table[12].json")):
            for row in json.loads(path.read_text())["rows"]:
                if "uar" in row:
                    assert percent(row["uar"], row["low"], row["high"]) in cells
                    assert f"{100 * row['uar']:.1f}" in told
                if "bytes" in row:
                    assert f"{row['bytes']:,}" in cells
    for row in json.loads((RESULTS / "nemo" / "table4.json").read_text())["rows"]:
        assert f"{row['first layer of']}: all {100 * row['all']['accuracy']['mean']:.1f}, seen" in told


def test_numbers_that_are_measured_are_those_of_heads_trained_the_same_way(
    everything: str, features: FeatureSet, trained: Path
):
    whole, part = features.training_part(), features.part("test")
    said = []
    for seed in beside.SEEDS:
        head = train_head(whole, quick(seed))
        said.append(class_scores(part.targets, posteriors(head, part).argmax(1).numpy(), part.labels)["uar"])
    page = Parsed(everything)
    row = page.said("td").index("real, all of it")
    utterances, uar = page.said("td")[row + 1 : row + 3]
    assert utterances == "19"
    assert uar.startswith(f"{100 * fmean(said):.1f} [")
    drawn = Generator.load(trained).sample(counts=dict.fromkeys(LABELS, 4))
    means = whole.rows(whole.targets == 1).means().double()
    apart = (drawn.rows(drawn.targets == 1).means().double().mean(0) - means.mean(0)) / means.std(0, correction=0)
    row = page.said("td").index("happy", page.said("td").index("happy") + 1)
    assert page.said("td")[row : row + 3] == ["happy", "samples", f"{float(apart.square().mean().sqrt()):.3f}"]


def test_parts_are_there_as_sources_are(trained: Path, features: FeatureSet, tmp_path: Path, everything: str):
    def parts(*sources: Path) -> list[str]:
        report(sources, None, "dev", tmp_path / "page.html")
        return Parsed((tmp_path / "page.html").read_text()).said("h3")

    is_it = ["What it is", "What it is not"]
    assert parts(trained / "generator") == is_it
    assert parts(trained) == [*is_it, "Its training"]
    assert parts(RESULTS / "whisper") == ["UAR against points", "Seconds", "Bytes"]
    named = ["UAR against points", "Seconds", "Bytes", "Balance, and what is taken for what", "Speakers"]
    assert parts(RESULTS / "nemo") == named
    beside_real = ["Side by side", "A map of both", "Agreement of moments", "What it teaches"]
    assert Parsed(everything).said("h3")[:7] == [*is_it, "Its training", *beside_real]


def test_tables_of_the_other_papers(tmp_path: Path):
    """Their figures and numbers, told in words; a page of all three systems has each."""
    sources = [RESULTS / "trajectory-ravdess_quick", RESULTS / "selfdistill-ravdess_quick"]
    report([*sources, RESULTS / "whisper"], None, "dev", tmp_path / "page.html")
    page = Parsed((tmp_path / "page.html").read_text())
    costs = "Bytes and seconds"
    assert page.said("h3")[:4] == ["Trajectory matching", costs, "Self-distillation", costs]
    told = [figure["aria-label"] or "" for figure in page.found["svg"]]
    assert len(set(told)) == len(told)
    for words in ("UAR on dev, % against distillation step", "against points per class", "student's layer"):
        assert any(words in said for said in told), words
    cells = page.said("td")
    for source, tables in zip(sources, (("full", "distilled"), ("networks", "early")), strict=True):
        for name in tables:
            for row in json.loads((source / f"{name}.json").read_text())["rows"]:
                if row.get("network") != "chance":
                    assert uar_of(row["test"]) in cells
    (tmp_path / "full.json").write_text('{"table": "full"}')
    done = run("report", tmp_path, "--out", tmp_path / "other.html")
    assert (done.code, done.err) == (
        2,
        f"gandistill: {tmp_path}/full.json: not a table that 'gandistill tables' wrote\n",
    )


@pytest.mark.parametrize(
    ("name", "known", "more", "said"),
    [
        ("trajectory", "126.68", "set_bytes", "1,234,567"),
        ("selfdistill", "856,400", "training_seconds", "1234567.0"),
    ],
)
def test_costs_of_the_other_papers(name: str, known: str, more: str, said: str, tmp_path: Path):
    """Bytes of a set and seconds of a training are said where they were kept, which earlier versions did not."""
    folder = tmp_path / name
    shutil.copytree(RESULTS / f"{name}-ravdess_quick", folder)
    cells = Parsed(papers.described(folder)).said("td")
    assert known in cells
    assert said not in cells
    header, *rows = (folder / "costs.csv").read_text().splitlines()
    assert more not in header
    (folder / "costs.csv").write_text("\n".join([f"{header},{more}", *(f"{row},1234567" for row in rows)]))
    assert said in Parsed(papers.described(folder)).said("td")


def test_a_generator_says_what_it_is(everything: str):
    page = Parsed(everything)
    known = dict(zip(page.said("dt"), page.said("dd"), strict=True))
    assert known["kind"] == "class-gaussian, a closed form, fitted without training"
    assert known["corpus"] == "test corpus"
    assert known["licence"] == "CC0-1.0 (of the corpus)"
    assert known["replaces"] == "19 utterances"
    assert known["features"] == "test, 50 frames a second"
    assert any("that is not privacy" in said for said in page.said("p"))


def test_curves_of_a_training_are_its_log(everything: str):
    told = [figure["aria-label"] or "" for figure in Parsed(everything).found["svg"]]
    assert told[0] == "dev: heads trained on samples. UAR, % against update. superb: 62.5; chance: 33.3."
    assert told[1] == "critic: losses. loss against update. adversarial: -0.5, -0.75."


def test_a_long_training_is_told_by_its_ends_and_extent(tmp_path: Path):
    lines = [json.dumps({"step": step, "critic/a": abs(step - 500)}) for step in range(1, 1001)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    text = generators.trained(tmp_path, 4)
    assert "a: 499 to 500, between 1 and 500." in text
    assert max(path.count("L") for path in re.findall(r' d="(M[^"]*)"', text)) < training.MOST_POINTS
    assert Parsed(text).said("td") == ["critic/a", "1000", "499", "0", "500", "500"]


def test_the_same_page_each_time(trained: Path, features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(beside, "HeadConfig", quick)
    for name in ("a", "b"):
        report([trained], features.folder, "dev", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_doubtful_is_said(trained: Path, features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(beside, "HeadConfig", quick)
    other = write_features(tmp_path / "other", LABELS, dict.fromkeys(LABELS, 5), ("train", "dev"))
    for given, said in ((features, False), (other, True)):
        report([trained], given.folder, "dev", tmp_path / "page")
        assert ("not known to be those" in (tmp_path / "page").read_text()) == said


def test_bad_input_is_one_line(trained: Path, features: FeatureSet, tmp_path: Path):
    def line(*arguments: object) -> str:
        done = run("report", *arguments, "--out", tmp_path / "page.html")
        assert done.code == 2
        assert not (tmp_path / "page.html").exists()
        assert done.err.count("\n") == 1
        return done.err

    neither = "is neither a generator, a distilled set or a network with exits, nor a run that has one, nor a folder"
    assert f"{tmp_path} {neither}" in line(tmp_path)
    assert f"{features.folder} {neither}" in line(features.folder)
    assert "No generator nowhere: no such folder, and none of those that ship" in line("nowhere")
    assert "has no generator or distilled set to stand beside" in line(
        RESULTS / "whisper", "--features", features.folder
    )
    assert "Bad split 'all', expected one of [train, dev, test]" in line(trained, "--split", "all")
    fewer = write_features(tmp_path / "fewer", LABELS[:2], splits=("train",), counts=COUNTS)
    assert "has labels" in line(trained, "--features", fewer.folder)
    alone = write_features(tmp_path / "alone", LABELS, COUNTS, ("train",))
    assert "has no 'dev' part" in line(trained, "--features", alone.folder)
    (tmp_path / "table2.json").write_text('{"rows": []}')
    assert "table2.json: not a table that 'gandistill tables' wrote" in line(tmp_path)
    done = run("report", trained, "--out", tmp_path)
    assert (done.code, "is a folder: name a file" in done.err) == (2, True)


def test_a_generator_that_ships_is_named(tmp_path: Path):
    assert run("report", "ravdess-whisper", "--out", tmp_path / "page.html").code == 0
    assert "CC BY-NC-SA 4.0" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_finds_no_error_and_a_text_alternative_of_every_figure(everything: str, tmp_path: Path, width: int):
    assert browsed(everything, tmp_path, width) == 12, "images"
