"""What a page says of a training, by its run: the curves of its log, and what its steps took."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gandistill.charts import CLASSES, Chart, Look, Point, Series, curves
from gandistill.console import say
from gandistill.experiments.report import page
from gandistill.run import METRICS, spent

MOST_POINTS = 240
"""Of a curve that is drawn; of more, every second, third, ..., and the last."""
UAR = "UAR, %"


@dataclass(frozen=True)
class Panel:
    """A chart of what is logged under names that begin with ``prefix``, and with no longer one of another panel."""

    prefix: str
    title: str
    y: str = "loss"


def trained(
    run: Path, panels: Sequence[Panel], classes: int, unit: str, caption: str, title: str = "Its training"
) -> str:
    """The curves of a training, each ``unit`` of which is a step, and its seconds; what is not kept is left out.

    ``caption`` is what the curves are of. Raises InputError for a damaged record of seconds.
    """
    metrics, took = run / METRICS, seconds(run, unit)
    logged = _logged(metrics)
    groups = {panel: {} for panel in panels}
    for name, line in logged.items():
        if fitting := [panel for panel in panels if name.startswith(panel.prefix)]:
            groups[max(fitting, key=lambda panel: len(panel.prefix))][name] = line
    drawn = [_curves(panel, lines, classes, unit) for panel, lines in groups.items() if lines]
    if not drawn:
        say(f"{run} has no log of its training: the report has no curves of it")
    numbers = [_numbers(name, [point.y for point in line]) for name, line in logged.items()]
    figure = page.figure(drawn, f"{caption}, from {metrics.name}.", numbers) if drawn else ""
    return page.part(title, took and page.paragraph(took), figure) if drawn or took else ""


def seconds(run: Path, unit: str) -> str:
    """What the steps of a run took; empty where it does not say, as of an earlier version. Raises InputError."""
    parts = [f"{part['steps']:,} {unit}s took {part['seconds']:,.1f} s on {_place(part)}" for part in spent(run)]
    return f"By the clock, with scores and checkpoints: {'; then '.join(parts)}." if parts else ""


def _place(part: dict[str, Any]) -> str:
    """What computed steps: an accelerator, or threads."""
    threads = "1 thread" if part["threads"] == 1 else f"{part['threads']} threads"
    device = part["device"] if part["device"] != "cpu" else threads
    return device if part["processes"] == 1 else f"{part['processes']} processes, {device} each"


def _logged(metrics: Path) -> dict[str, list[Point]]:
    """The lines of a log by their names."""
    logged: dict[str, list[Point]] = {}
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines() if metrics.is_file() else ():
        with suppress(ValueError):  # a kill may have cut the last line
            scalars = json.loads(line)
            step = scalars.pop("step")
            for name, value in scalars.items():
                logged.setdefault(name, []).append(Point(step, value))
    return logged


def _numbers(name: str, values: list[float]) -> dict[str, Any]:
    extent = {"first": values[0], "lowest": min(values), "highest": max(values), "last": values[-1]}
    return {"scalar": name, "logged": len(values)} | {statistic: f"{value:.4g}" for statistic, value in extent.items()}


def _curves(panel: Panel, lines: dict[str, list[Point]], classes: int, unit: str) -> Chart:
    """The lines of a panel; UAR in per cent, from what whoever guesses reaches."""
    drawn, is_uar = [], panel.y == UAR
    for number, (name, line) in enumerate(lines.items()):
        look = Look(f"class{number % len(CLASSES)}", dash="" if number < len(CLASSES) else "4 2")
        kept = [*line[: -1 : -(-len(line) // MOST_POINTS)], line[-1]]
        points = [Point(p.x, 100 * p.y if is_uar else p.y) for p in kept]
        drawn.append(Series(name.rpartition("/")[2], look, points, marked=len(points) < 30))
    if not is_uar:
        return curves(panel.title, drawn, unit, panel.y, form=".3g")
    drawn.append(Series("chance", Look("faint"), [Point(0, 100 / classes)], across=True))
    return curves(panel.title, drawn, unit, panel.y, least=100 / classes)
