"""The GAN paper's tables 1 to 4: the rows of each, what is measured of them, and how that is read and drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gandistill.charts import Chart
from gandistill.evaluate.markdown import markdown
from gandistill.evaluate.predictions import Predictions
from gandistill.experiments.gan import figures, measured, printed, reference
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import Fold, Row, Rows
from gandistill.experiments.names import Facts
from gandistill.experiments.store import Store


@dataclass(frozen=True)
class Table:
    """How a table is made: ``rows``, ``measure`` what it says of each as plain JSON values, ``text`` in Markdown.

    ``figures`` of what is kept: facts of the table, its rows, and where there are any the predictions of each.
    ``paper_key`` is what the paper's table calls a row; ``digest`` what says most, for a document, where it has a place
    in one; ``has_predictions``, whether those of every row are kept beside it.
    """

    rows: Callable[[Rows], Iterator[Row]]
    measure: Callable[[Sequence[Row], Sequence[Fold], Store, Plan], list[Facts]]
    text: Callable[[Sequence[Facts], Plan], str]
    figures: Callable[[Facts, Sequence[Facts], Sequence[Sequence[Predictions]]], list[Chart]]
    paper_key: Callable[[Facts], Facts]
    digest: Callable[[Sequence[Facts], Plan], str] = lambda *_: ""
    has_predictions: bool = False


SIZES = Table(
    Rows.sizes,
    measured.weighed,
    lambda rows, _: markdown(printed.sizes(rows)),
    lambda facts, rows, _: [figures.sizes(facts, rows)],
    reference.of_size,
)
LOSSES = Table(
    Rows.losses,
    measured.judged,
    printed.judged,
    lambda facts, rows, _: figures.curves(facts, rows),
    reference.of_losses,
    printed.digest,
    has_predictions=True,
)
BALANCE = replace(
    LOSSES, rows=Rows.balance, figures=figures.confusions, paper_key=reference.of_balance, digest=Table.digest
)
SPEAKERS = Table(
    Rows.speakers,
    lambda rows, _, store, __: measured.probed(rows, store),
    lambda rows, _: markdown(printed.probed(rows)),
    lambda facts, rows, _: figures.speakers(facts, rows),
    reference.of_speakers,
)
TABLES = {1: SIZES, 2: LOSSES, 3: BALANCE, 4: SPEAKERS}
