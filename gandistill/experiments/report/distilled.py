"""What a page says of a set that trajectory matching distilled, and of the run that did."""

from pathlib import Path

import numpy as np

from gandistill import artifacts
from gandistill.console import say
from gandistill.experiments.names import DRAWN, REAL
from gandistill.experiments.report import beside, known, page, training
from gandistill.experiments.report.beside import RANDOM, Beside
from gandistill.experiments.report.training import UAR, Panel
from gandistill.features.featureset import KIND, FeatureSet, scale
from gandistill.heads.head import check_match
from gandistill.numerics import one_thread
from gandistill.run import CONFIG
from gandistill.trajectory.distillation import DEV, set_folder
from gandistill.trajectory.distillation import KIND as DISTILLED
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.synthetic import CLIPS, LABELS, RATE

PANELS = (
    Panel(DEV, "dev: students trained on the set alone", UAR),
    Panel("match/loss", "How far students end from their goal, of the way to it"),
    Panel("match/rate", "The students' learning rate, which is learned", "rate"),
    *(
        Panel(f"gradient/{of}", f"Norm of the gradient of {of}, before it is cut", "norm")
        for of in (CLIPS, RATE, LABELS)
    ),
)
START = f"{DISTILLED}-0000"
"""The real clips that a run begins with."""
BEGAN, MADE = "real clips that it began as", "distilled clips"
NOT = (
    "It is real clips of real speakers that were changed, and nothing was measured here that shows how much of them is "
    "left: no privacy is claimed. It has to be judged by the network that will learn from it, beside the clips that it "
    "began as: 'gandistill trajectory evaluate' does."
)


def is_distilled(folder: Path) -> bool:
    """Whether a folder is a set that trajectory matching distilled, or a run that has one."""
    path = set_folder(folder) / artifacts.CONFIG
    facts = artifacts.read_json(path) if path.is_file() else {}
    return facts.get("kind") == KIND and "teachers" in facts.get("distilled_by", {})


def described(folder: Path) -> str:
    """What a set in this folder, or in that of its run, is, and what it is not."""
    inner = set_folder(folder)
    made = FeatureSet.open(inner)
    by = made.config["distilled_by"]
    teachers = ", ".join(f"{of['trajectories']} {of['head']}" for of in by["teachers"])
    halved = f", rates halved {by['halvings']} times" if by.get("halvings") else ""
    steps = f"{by['step']} ({by['config']['method']}){halved}"
    entries = {
        "kind": "a distilled set, by trajectory matching",
        **known.origin(made.config),
        "features": known.features(made.config),
        "clips": f"{len(made)}, each {made.median_length} frames x {made.dims} dims",
        "began as": "random real clips, as many of each class",
        "steps": steps if by["step"] else "none: it is the real clips that it began as",
        "teachers": teachers,
        "labels": by["config"]["labels"],
        "students' rate": f"{by['rate']:.3g}",
        **known.identity(inner),
    }
    return known.description(entries, made.class_counts, "clips", NOT)


def trained(run: Path) -> str:
    """The curves of its steps, and the seconds; those of its teachers are not among them."""
    caption = "What the steps did, and UAR on dev where a run chooses by it"
    return training.trained(run, PANELS, len(FeatureSet.open(set_folder(run)).labels), "step", caption)


def compared(folder: Path, features: FeatureSet | None, split: str) -> str:
    """A set beside the real clips that it began as, where its run has them; judged on a part of ``features``, if given.

    Raises InputError if these have other labels or dims, or come from another upstream or fold; or lack the part.
    """
    made, start = FeatureSet.open(set_folder(folder)).held(), folder / START
    began = FeatureSet.open(start).held() if artifacts.present(start) else None
    if features is None:
        return "" if began is None else _side_by_side(Beside(began, began, made, DISTILLED, BEGAN, MADE), began)
    check_match("the distilled set", made.labels, made.dims, made.config, features)
    whole, part, counts = features.training_part(), features.part(split).held(), made.class_counts
    say(f"Comparing {len(made)} distilled clips with as many real ones")
    with one_thread():
        random = beside.drawn(features, counts)
        real, which = (random[0], RANDOM) if began is None else (began, BEGAN)
        shown = Beside(whole, real, made, DISTILLED, which, MADE)
        taught = {MADE: [made]} | ({} if began is None else {BEGAN: [began]})
        taught |= {DRAWN["random"]: random, REAL: [whole.held()]}
        note = "The set was not distilled for such heads. "
        note += beside.remark(made.config, features, part, split == "dev" and _chosen(folder))
        judged = beside.agreement(shown, random[0]) + beside.teaches(taught, part, note)
        return _side_by_side(shown, began) + judged


def _side_by_side(shown: Beside, began: FeatureSet | None) -> str:
    return beside.looks(shown) + beside.lies(shown) + ("" if began is None else _way(began, shown.made))


def _way(began: FeatureSet, made: FeatureSet) -> str:
    """How far clips are from those that they began as, by class: the same rows of both sets."""
    rows, deviation = np.arange(len(made)), scale(began.moments()[1])
    moved = ((made.padded(rows)[0] - began.padded(rows)[0]) / deviation).square().mean(dim=(1, 2)).numpy()
    by_class = [
        {"class": label, "moved by": f"{np.sqrt(moved[made.targets == number].mean()):.3f}"}
        for number, label in enumerate(made.labels)
    ]
    note = (
        "How far clips are from those that they began as: root mean square over clips, frames and dims, in deviations "
        "of frames. 0 is the real clips themselves."
    )
    return page.part("How far it went", page.paragraph(note), page.table(by_class))


def _chosen(folder: Path) -> bool:
    """Whether a run's set is the best on dev of those that it kept."""
    return (folder / CONFIG).is_file() and TrajectoryConfig.load(folder / CONFIG).distil.choose == "dev"
