"""``gandistill report``: sources in, one page out."""

from collections.abc import Sequence
from pathlib import Path

from gandistill import artifacts
from gandistill.console import say
from gandistill.corpora.manifest import SPLITS
from gandistill.errors import InputError, choices
from gandistill.experiments.report import beside, distilled, generators, networks, papers, tables
from gandistill.experiments.report.page import page
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler, generator_folder, is_generator
from gandistill.gan.shipped import named
from gandistill.run import CONFIG
from gandistill.selfdistill.model import network_folder
from gandistill.trajectory.distillation import set_folder

TITLE = "What was distilled, and what it is worth"
LEAD = (
    "Labelled speech, and what replaces it or learned from it: UAR is the mean recall of the classes on real speech. "
    "Every number comes from the files named beside it, or was measured while this page was made."
)
KNOWN = (is_generator, distilled.is_distilled, networks.is_network, tables.kept, papers.kept)
"""What tells whether there is something to say of a folder."""


def report(sources: Sequence[Path], features: Path | None, split: str, out: Path) -> None:
    """Write a page about generators, distilled sets, networks with exits, their runs, and folders of tables; of the
    first two beside ``features`` of the corpus, where given.

    Raises InputError for a source that is none of them, or features of another kind or with nothing to stand beside.
    """
    if split not in SPLITS:
        raise choices("split", split, SPLITS)
    if out.is_dir():
        raise InputError(f"{out} is a folder: name a file, such as --out report.html")
    folders = [named(source) for source in sources]
    for folder in folders:
        _check(folder)
    if features is not None and not any(is_generator(folder) or distilled.is_distilled(folder) for folder in folders):
        raise InputError(f"--features {features} has no generator or distilled set to stand beside: name one before it")
    real = None if features is None else FeatureSet.open(features)
    sections = [(str(source), _section(folder, real, split)) for source, folder in zip(sources, folders, strict=True)]
    artifacts.write_text(out, page(TITLE, LEAD, sections))
    say(f"Report: {out}")


def _check(folder: Path) -> None:
    """Raise InputError for a folder that there is nothing to say of."""
    if any(is_known(folder) for is_known in KNOWN):
        return
    if (folder / CONFIG).is_file():
        raise InputError(f"{folder} is a run that has made nothing yet: go on with it by --resume")
    raise InputError(
        f"{folder} is neither a generator, a distilled set or a network with exits, nor a run that has one, nor a "
        "folder that 'gandistill tables' wrote"
    )


def _section(folder: Path, real: FeatureSet | None, split: str) -> str:
    """What is said of one source; a run may also hold tables."""
    section = ""
    if is_generator(folder):
        sampler, inner = Sampler.open(folder), generator_folder(folder)
        section = generators.described(sampler, inner)
        section += generators.trained(folder, len(sampler.labels)) if inner != folder else ""
        section += "" if real is None else beside.compared(sampler, real, split)
    elif distilled.is_distilled(folder):
        section = distilled.described(folder)
        section += distilled.trained(folder) if set_folder(folder) != folder else ""
        section += distilled.compared(folder, real, split)
    elif networks.is_network(folder):
        section = networks.described(folder)
        section += networks.trained(folder) if network_folder(folder) != folder else ""
    return section + tables.described(tables.kept(folder)) + papers.described(folder)
