"""The GAN paper's tables 1 to 4: the rows of each, what is measured of them, and how that is read and drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gandistill.experiments.gan import figures, measured, printed, reference
from gandistill.experiments.gan.measured import Measured
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import Fold, Row, Rows
from gandistill.experiments.names import Facts
from gandistill.experiments.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """How a table is made: ``rows``, ``measure`` what it says of each as plain JSON values, ``text`` in Markdown.

    ``paper_key`` is what the paper's table calls a row; ``digest`` what says most, for a document, where it has a place
    in one; ``has_predictions``, whether those of every row are kept beside it.
    """

    rows: Callable[[Rows], Iterator[Row]]
    measure: Callable[[Sequence[Row], Sequence[Fold], Store, Plan], list[Facts]]
    text: Callable[[Sequence[Facts], Plan], str]
    figure: "Callable[[Sequence[Facts], Sequence[Measured]], Figure]"
    paper_key: Callable[[Facts], Facts]
    digest: Callable[[Sequence[Facts], Plan], str] = lambda *_: ""
    has_predictions: bool = False


SIZES = Table(
    Rows.sizes,
    measured.weighed,
    lambda rows, _: printed.sizes(rows),
    lambda rows, _: figures.sizes(rows),
    reference.of_size,
)
LOSSES = Table(
    Rows.losses,
    measured.judged,
    printed.judged,
    lambda rows, _: figures.curves(rows),
    reference.of_losses,
    printed.digest,
    has_predictions=True,
)
BALANCE = replace(
    LOSSES, rows=Rows.balance, figure=figures.confusions, paper_key=reference.of_balance, digest=Table.digest
)
SPEAKERS = Table(
    Rows.speakers,
    lambda rows, _, store, __: measured.probed(rows, store),
    lambda rows, _: printed.probed(rows),
    lambda rows, _: figures.speakers(rows),
    reference.of_speakers,
)
TABLES = {1: SIZES, 2: LOSSES, 3: BALANCE, 4: SPEAKERS}
