"""What a page says of a network with exits, and of the run that trained it."""

from collections.abc import Mapping
from pathlib import Path

from gandistill import artifacts
from gandistill.charts import Chart, Look, Point, Series
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.evaluate.markdown import percent
from gandistill.evaluate.predictions import Predictions
from gandistill.evaluate.significance import uar_interval
from gandistill.experiments import canvas
from gandistill.experiments.report import beside, known, page, training
from gandistill.experiments.report.training import Panel
from gandistill.experiments.selfdistill.costs import timed
from gandistill.precision import FULL
from gandistill.run import METRICS
from gandistill.selfdistill.calibration import FACT, PREDICTIONS, Calibration
from gandistill.selfdistill.describe import count, needed, weight_bytes
from gandistill.selfdistill.inference import FUSION, can_fuse, students_of
from gandistill.selfdistill.layerwise import FOLDER
from gandistill.selfdistill.model import KIND, PRECISION, Network, described_network, load_network, network_folder
from gandistill.selfdistill.prediction import AUTO
from gandistill.selfdistill.work import Work

PANELS = (Panel("", "Losses"), Panel("gradient_norm", "Norm of the gradient, before it is cut", "norm"))
NOT = (
    "It learned from real speech, and nothing was measured here that shows it keeps speakers private. UAR says how "
    "well it names the emotions listed here, of the speakers judged here, and nothing of other corpora."
)
COSTS = (
    "UAR from predictions has the 95 % interval of a bootstrap by speakers, or by utterances where they are few. "
    "Parameters, bytes of the weights and multiply-accumulates for a second that is heard are of all that is loaded to "
    "answer there; what lies above is neither loaded nor run. Seconds of one thread for a second that is heard were "
    "measured while this page was made."
)
UNJUDGED = (
    "UAR on dev, where it is said, was measured at the end of training; 'gandistill selfdistill evaluate' adds "
    "intervals, fusion and what is taken for what."
)
HEARD = "million multiply-accumulates for a second heard"
Judged = Mapping[str, Mapping[str, Predictions]]
"""Predictions by part, and there by what answered."""


def is_network(folder: Path) -> bool:
    """Whether a folder is a network with exits, or a run that has one."""
    path = network_folder(folder) / artifacts.CONFIG
    return path.is_file() and artifacts.read_json(path).get("kind") == KIND


def described(folder: Path) -> str:
    """What a network in this folder, or in that of its run, is, what its exits cost and are worth."""
    inner = network_folder(folder)
    network = load_network(inner)
    facts = network.facts
    trained, source = facts.get("trained", {}), facts.get("source", {})
    counts = trained.get("utterances", {})
    exits = ", ".join(f"{depth} ({block or 'no block'})" for depth, block in network.blocks.items())
    entries = {
        "kind": f"a {network.backbone.config.model_type} that answers behind some of its layers",
        "exits": f"behind the layers {exits}",
        **known.origin(facts | source),
        "began as": trained.get("upstream", {}).get("name"),
        "learned from": f"{sum(counts.values()):,} utterances, in {trained.get('epoch')} epochs" if counts else None,
        "hears": f"clips of {network.clip / SAMPLE_RATE:g} s" if network.clip else "clips of any length",
        "leaves early": _leaving(network, inner),
        "weights": facts.get(PRECISION, FULL),
        **known.identity(inner),
    }
    return known.description(entries, counts, "utterances it learned from", NOT) + _answers(network, inner)


def _leaving(network: Network, folder: Path) -> str | None:
    """When it may answer without its deeper layers, by its calibration, if it has one."""
    if FACT not in network.facts:
        return None
    learned = Calibration.of(network, folder)
    return (
        f"where an exit is surer than {learned.threshold:.3g}: for a loss of {100 * learned.uar_loss:g} points of UAR "
        f"at most on dev, where it runs {learned.mean_depth:.3g} layers"
    )


def trained(run: Path) -> str:
    """The curves of its training, and the seconds; of both stages, where it has two."""
    first, classes = run / FOLDER, len(artifacts.read_json(network_folder(run) / artifacts.CONFIG)["labels"])
    section = training.trained(run, PANELS, classes, "update", "The terms of the loss")
    if (first / METRICS).is_file():
        title = "Its first stage: a student learns to predict deeper layers"
        section = training.trained(first, PANELS, classes, "update", "The terms of its loss", title) + section
    return section


def judged(folder: Path) -> dict[str, dict[str, Predictions]]:
    """What was kept of judging a network, by part and answer: exits, then fusion, then leaving early."""
    predictions: dict[str, dict[str, Predictions]] = {}
    for path in sorted(folder.glob("*.csv"), key=lambda path: (path.name.startswith(AUTO), path.name)):
        if name := PREDICTIONS.fullmatch(path.name):
            answer, split = name[1].removeprefix("exit-"), (name[2] or "-test")[1:]
            predictions.setdefault(split, {})[answer.removeprefix("0")] = Predictions.read(path)
    return dict(sorted(predictions.items()))


def _answers(network: Network, folder: Path) -> str:
    """What each answer costs and is worth: exits, the fusion of students, leaving early."""
    answers = {str(depth): [depth] for depth in network.depths}
    answers |= {FUSION: students_of(network.depths)} if can_fuse(network.depths) else {}
    work = Work.of(described_network(artifacts.read_json(folder / artifacts.CONFIG), folder / artifacts.CONFIG))
    products = {name: work.together(depths) / 1e6 for name, depths in answers.items()}
    seconds = timed({name: (network, depths) for name, depths in answers.items()})
    predictions, precision = judged(folder), network.facts.get(PRECISION, FULL)
    rows = []
    for name in [*answers, *([AUTO] if FACT in network.facts else [])]:
        row = {"answer": name if name in (FUSION, AUTO) else f"exit {name}"} | _uars(network, name, predictions)
        if name in answers:
            costs = {"million multiply-accumulates": f"{products[name]:,.1f}", "seconds": f"{seconds[name]:.4f}"}
            row |= costs | (_size(network, int(name), precision) if name.isdecimal() else {})
        rows.append(row)
    charts = [_against(network, of, products, split) for split, of in predictions.items() if len(network.depths) > 1]
    exits = ", ".join(map(str, network.depths))
    caption = f"UAR against work; points from left to right are the exits behind the layers {exits}, from predictions."
    figure = page.figure(charts, caption) if charts else ""
    note = page.paragraph(COSTS) + ("" if predictions else page.paragraph(UNJUDGED))
    section = page.part("What its exits cost, and are worth", figure, note, page.table(rows))
    return section + "".join(_taken(network, of, split) for split, of in predictions.items())


def _size(network: Network, depth: int, precision: str) -> dict[str, str]:
    parameters = count(*needed(network, depth))
    return {"parameters": f"{parameters:,}", "bytes": f"{weight_bytes(network, depth, precision):,}"}


def _uars(network: Network, name: str, predictions: Judged) -> dict[str, str]:
    """UAR of an answer on each part with its interval, or what was measured when the network was trained."""
    if not predictions:
        uars = network.facts.get("trained", {}).get("dev_uar", {})
        return {"dev UAR, %": percent(uars[name])} if name in uars else {}
    return {
        f"{split} UAR, %": percent(of[name].uar, *uar_interval(of[name])[:2])
        for split, of in predictions.items()
        if name in of
    }


def _against(network: Network, of: Mapping[str, Predictions], products: Mapping[str, float], split: str) -> Chart:
    """UAR on a part against work: exits are joined, fusion, which is no exit, stands alone."""
    placed = {name: Point(products[name], 100 * of[name].uar) for name in products if name in of}
    exits = [point for name, point in placed.items() if name != FUSION]
    drawn = [Series("exits", Look("class6"), exits)] if exits else []
    if FUSION in placed:
        drawn.append(Series(FUSION, Look("class6", hollow=True), [placed[FUSION]], joined=False))
    first = next(iter(of.values()))
    return canvas.uars(f"Judged on {split}", drawn, 1 / len(set(first.labels.tolist())), HEARD)


def _taken(network: Network, of: Mapping[str, Predictions], split: str) -> str:
    """What each answer takes each class of a part for."""
    charts = []
    for name, answered in of.items():
        counts = [
            [int(((answered.labels == is_one) & (answered.predicted == taken)).sum()) for taken in network.labels]
            for is_one in network.labels
        ]
        title = f"{name if name in (FUSION, AUTO) else f'exit {name}'} on {split}: UAR {percent(answered.uar)} %"
        charts.append(beside.confusion(title, [{"confusion": counts}], network.labels))
    speakers = len({*next(iter(of.values())).speakers.tolist()} - {""})
    number = len(next(iter(of.values())).ids)
    caption = f"{number} utterances of {speakers} speakers (the {split} part); per cent of each class."
    return page.part(f"What is taken for what on {split}", page.figure(charts, caption))
