"""``gandistill report``: sources in, one page out."""

from collections.abc import Sequence
from pathlib import Path

from gandistill import artifacts
from gandistill.console import say
from gandistill.corpora.manifest import SPLITS
from gandistill.errors import InputError, choices
from gandistill.experiments.report import beside, generators, papers, tables
from gandistill.experiments.report.page import page
from gandistill.features.featureset import FeatureSet
from gandistill.gan.sampling import Sampler, generator_folder, is_generator, named
from gandistill.run import METRICS

TITLE = "What was distilled, and what it is worth"
LEAD = (
    "Labelled speech features, and a generator that replaces them: UAR is the mean recall of the classes on real "
    "speech. Every number comes from the files named beside it, or was measured while this page was made."
)


def report(sources: Sequence[Path], features: Path | None, split: str, out: Path) -> None:
    """Write a page about generators, runs and folders of tables; beside ``features`` of the corpus where given.

    Raises InputError for a source that is none of them, or features without a generator or of another kind.
    """
    if split not in SPLITS:
        raise choices("split", split, SPLITS)
    if out.is_dir():
        raise InputError(f"{out} is a folder: name a file, such as --out report.html")
    folders = [named(source) for source in sources]
    of_generators = [generator_folder(folder) for folder in folders if is_generator(folder)]
    for folder in folders:
        if not (is_generator(folder) or tables.kept(folder) or papers.kept(folder)):
            raise InputError(
                f"{folder} is neither a generator, nor a run that has one, nor a folder that 'gandistill tables' wrote"
            )
    if features is not None and not of_generators:
        raise InputError(f"--features {features} has no generator to stand beside: name one before it")
    real = None if features is None else FeatureSet.open(features)
    sections = [(str(source), _section(folder, real, split)) for source, folder in zip(sources, folders, strict=True)]
    artifacts.write_text(out, page(TITLE, LEAD, sections))
    say(f"Report: {out}")


def _section(folder: Path, real: FeatureSet | None, split: str) -> str:
    """What is said of one source; a run may also hold tables."""
    said = ""
    if is_generator(folder):
        sampler, inner = Sampler.open(folder), generator_folder(folder)
        said = generators.described(sampler, inner)
        said += generators.trained(folder / METRICS, len(sampler.labels)) if inner != folder else ""
        said += "" if real is None else beside.compared(sampler, real, split)
    return said + tables.described(tables.kept(folder)) + papers.described(folder)
