"""Charts as SVG that stand in a page or alone: curves that say their names where they end, dots, points, grids.

They need nothing but text: no script, no font, no request. Colours are names of ``STYLE``, by light or dark; a chart
says in words what it shows, for whoever does not see it. Lengths are in pixels, x to the right and y downwards.
"""

import math
import textwrap
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from struct import pack
from zlib import compress, crc32

import numpy as np
from numpy.typing import NDArray

LIGHT = {
    "ink": "#1f2328",
    "faint": "#6e7781",
    "rule": "#d8dee4",
    "paper": "#ffffff",
    "real": "#0072b2",
    "closed": "#d55e00",
    "gan": "#00805c",
    "flow": "#b5538a",
    "distilled": "#946c00",
    "other": "#6e7781",
}
DARK = {
    "ink": "#e6edf3",
    "faint": "#9aa4af",
    "rule": "#343b44",
    "paper": "#0f1318",
    "real": "#56b4e9",
    "closed": "#f0883e",
    "gan": "#2fc08f",
    "flow": "#dd8fba",
    "distilled": "#e3b341",
    "other": "#9aa4af",
}
CLASSES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a63d2", "#7f7f7f")
"""Of classes, told apart by the colour-blind too (Okabe and Ito); after the last they begin anew."""
MARKS = {
    "circle": "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0 -6.8 0z",
    "square": "M-3 -3h6v6h-6z",
    "triangle": "M0 -4L3.8 3H-3.8z",
    "diamond": "M0 -4.4L4.4 0L0 4.4L-4.4 0z",
    "wedge": "M0 4L3.8 -3H-3.8z",
    "cross": "M-3.4 -3.4L3.4 3.4M-3.4 3.4L3.4 -3.4z",
    "plus": "M-4 0H4M0 -4V4z",
}
FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
LINE = 14
"""From one line of text to the next."""
LETTER, BOLD = 6.2, 7.6
"""Width of a letter of text and of a title, more or less: no font is at hand to measure it."""
MARGIN = 8
LEAST = 0.7
"""Of its size: smaller, its text cannot be read on a phone."""
PLOT = 270
"""Width of what curves are drawn in."""
SPREAD = 255
"""The colours of an image."""
PNG = b"\x89PNG\r\n\x1a\n"
"""What such a file begins with."""


def _style() -> str:
    names = [name for name in LIGHT if name not in ("rule", "paper")]
    light, dark = ("".join(f"--{name}:{colour};" for name, colour in theme.items()) for theme in (LIGHT, DARK))
    coloured = "".join(f".chart .{name}{{color:var(--{name})}}" for name in names)
    classes = "".join(f".chart .class{number}{{color:{colour}}}" for number, colour in enumerate(CLASSES))
    return (
        f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f".chart{{font:{FONT};color:var(--ink);background:var(--paper)}}{coloured}{classes}"
        ".chart text{fill:currentColor;stroke:var(--paper);stroke-width:3px;paint-order:stroke}"
        ".chart .plain{stroke:none}.chart .title{font-weight:600;font-size:12px}"
        ".chart .rule{stroke:var(--rule);fill:none}.chart .mark{stroke:currentColor;stroke-width:1.3;fill:currentColor}"
        ".chart .hollow{fill:var(--paper)}.chart .line{stroke:currentColor;stroke-width:1.5;fill:none}"
        ".chart .thin{stroke:currentColor;stroke-width:1;fill:none;opacity:.45}"
        ".chart .band{fill:currentColor;opacity:.12}.chart .end{text-anchor:end}.chart .middle{text-anchor:middle}"
    )


STYLE = _style()
"""What every chart needs, once in a page."""


@dataclass(frozen=True)
class Look:
    """How a line or point is drawn: ``colour`` by its name, ``mark`` of ``MARKS``, ``dash`` as SVG has it."""

    colour: str
    mark: str = "circle"
    dash: str = ""
    hollow: bool = False


@dataclass(frozen=True)
class Point:
    """A value with its interval, if there is one."""

    x: float
    y: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Series:
    """A line of points, or without a place in x a level all across (``across``).

    Points may be shown without marks (``marked``), or not be joined.
    """

    name: str
    look: Look
    points: Sequence[Point]
    across: bool = False
    marked: bool = True
    joined: bool = True


@dataclass(frozen=True)
class Chart:
    """A drawing of this size; ``about`` says in words what it shows."""

    width: float
    height: float
    about: str
    body: str

    def inline(self) -> str:
        """As part of a page that has ``STYLE``, where it shrinks to ``LEAST`` of its size."""
        width = self.width + 2 * MARGIN
        return self._svg(f'style="width:{width:.0f}px;min-width:{LEAST * width:.0f}px"', self.body)

    def file(self) -> str:
        """As a file of its own."""
        size = f'width="{self.width + 2 * MARGIN:.0f}" height="{self.height + 2 * MARGIN:.0f}"'
        alone = f'xmlns="http://www.w3.org/2000/svg" {size}'
        paper = f'<rect x="{-MARGIN}" y="{-MARGIN}" {size} style="fill:var(--paper)"/>'
        return self._svg(alone, f"<style>{STYLE}</style>{paper}{self.body}") + "\n"

    def _svg(self, more: str, body: str) -> str:
        box = f"{-MARGIN} {-MARGIN} {self.width + 2 * MARGIN:.0f} {self.height + 2 * MARGIN:.0f}"
        return f'<svg class="chart" role="img" aria-label="{escape(self.about)}" viewBox="{box}" {more}>{body}</svg>'


def together(charts: Sequence[Chart], columns: int = 1) -> Chart:
    """Charts in rows of so many columns, as one."""
    rows = [charts[first : first + columns] for first in range(0, len(charts), columns)]
    widths = [max(chart.width for chart in charts[place::columns]) for place in range(min(columns, len(charts)))]
    body, top, gap = "", 0.0, 18
    for row in rows:
        for place, chart in enumerate(row):
            left = sum(widths[:place]) + gap * place
            body += f'<g transform="translate({left:.0f} {top:.0f})">{chart.body}</g>'
        top += max(chart.height for chart in row) + gap
    about = " ".join(chart.about for chart in charts)
    return Chart(sum(widths) + gap * (len(widths) - 1), top - gap, about, body)


def curves(
    title: str,
    series: Sequence[Series],
    x: str,
    y: str,
    *,
    least: float | None = None,
    ticks: Sequence[float] = (),
    form: str = ".1f",
    key: Sequence[tuple[str, Look]] = (),
) -> Chart:
    """Lines over x, each named where it ends; the y axis begins at ``least``, or at the least value.

    With ``ticks`` x is logarithmic and has those; ``key`` says what looks mean.
    """
    at = sorted({point.x for curve in series if not curve.across for point in curve.points})
    values = [value for curve in series for p in curve.points for value in (p.y, p.high) if not math.isnan(value)]
    bottom, top = span(values, least)
    lines, left = wrapped(title, PLOT + 180), 44
    upper, height = LINE * (len(lines) + 2 + bool(key)), max(230, (LINE - 1) * len(series))
    across = _scale(at or [0, 1], left + 8, left + PLOT - 8, logarithmic=bool(ticks))
    up = _scale([bottom, top], upper + height, upper)
    ends = [up(curve.points[-1].y) for curve in series]
    places = apart(ends, LINE - 1, upper, upper + height)
    body = _title(lines) + _y_axis(_ticks(bottom, top), up, left, PLOT)
    body += _key(key, LINE * (len(lines) + 1) - 2) + text(left - 36, upper - 8, y, "faint")
    for tick in ticks or (_ticks(at[0], at[-1]) if at else []):
        body += text(across(tick), upper + height + LINE + 2, f"{tick:,.10g}", "faint middle")
    body += text(left + PLOT / 2, upper + height + 2 * LINE + 3, x, "faint middle")
    right = left + PLOT + 20
    for curve in sorted(series, key=lambda curve: not curve.across):  # bands below lines
        body += _series(curve, across, up, left, bottom)
    for curve, end, place in zip(series, ends, places, strict=True):
        colour, dash = curve.look.colour, _dash(curve.look)
        start = left + PLOT if curve.across else across(curve.points[-1].x) + 5
        bend = f"M{_n(start)} {_n(end)}H{_n(max(start, left + PLOT))}L{right} {_n(place)}"
        body += f'<path class="thin {colour}" d="{bend}"/>'
        body += f'<path class="line {colour}"{dash} d="M{right} {_n(place)}h18"/>' if curve.joined else ""
        body += mark(right + 9, place, curve.look) if curve.marked and not curve.across else ""
        body += text(right + 23, place + 3.8, curve.name, colour)
    width = right + 26 + LETTER * max(len(curve.name) for curve in series)
    summary = "; ".join(f"{curve.name}: {_summary([point.y for point in curve.points], form)}" for curve in series)
    width = max(width, *(BOLD * len(line) for line in lines))
    return Chart(width, upper + height + 2 * LINE + 10, f"{title}. {y} against {x}. {summary}.", body)


def _summary(values: Sequence[float], form: str) -> str:
    """Values in words: all of a few, of many where they begin and end, and between what they lie."""
    if len(values) <= 12:
        return ", ".join(f"{value:{form}}" for value in values)
    ends, extent = ([values[0], values[-1]], [min(values), max(values)])
    return f"{ends[0]:{form}} to {ends[1]:{form}}, between {extent[0]:{form}} and {extent[1]:{form}}"


def _dash(look: Look) -> str:
    return f' stroke-dasharray="{look.dash}"' if look.dash else ""


def _series(
    curve: Series, across: Callable[[float], float], up: Callable[[float], float], left: float, bottom: float
) -> str:
    """A line; what of an interval is below the ``bottom`` of the axis is not shown."""
    colour, dash = curve.look.colour, _dash(curve.look)
    if curve.across:
        (level,) = curve.points
        top = up(level.high)
        body = "" if math.isnan(level.low) else _band(left, top, PLOT, up(max(level.low, bottom)) - top, colour)
        return f'{body}<path class="line {colour}"{dash} d="M{left} {_n(up(level.y))}h{PLOT}"/>'
    path = "L".join(f"{_n(across(point.x))} {_n(up(point.y))}" for point in curve.points)
    body = f'<path class="line {colour}"{dash} d="M{path}"/>' if curve.joined else ""
    for point in curve.points if curve.marked else ():
        if not math.isnan(point.low):
            ends = f"M{_n(across(point.x))} {_n(up(max(point.low, bottom)))}V{_n(up(point.high))}"
            body += f'<path class="thin {colour}" d="{ends}"/>'
        body += mark(across(point.x), up(point.y), curve.look)
    return body


@dataclass(frozen=True)
class Row:
    """A named row of dots: each a look, a value with its interval (``Point``; its y is not used), and a ``label``."""

    name: str
    dots: Sequence[tuple[Look, Point]]
    label: str = ""


def dots(
    title: str,
    rows: Sequence[Row],
    x: str,
    *,
    logarithmic: bool = False,
    levels: Sequence[tuple[str, float]] = (),
    key: Sequence[tuple[str, Look]] = (),
) -> Chart:
    """A row for each name, its values along x below it; ``levels`` across all rows, ``key`` what marks mean."""
    values = [v for row in rows for _, p in row.dots for v in (p.x, p.low, p.high) if not math.isnan(v)]
    values += [level for _, level in levels]
    low, high = min(values), max(values)
    width, step = 430.0, 2 * LINE + 4
    lines = wrapped(title, width)
    top = LINE * (len(lines) + 1 + bool(key) + bool(levels))
    bottom = top + step * len(rows)
    if logarithmic:
        ticks = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        across = _scale([ticks[0], ticks[-1]], 12, width - 12, logarithmic=True)
    else:
        low, high = span(values, None)
        ticks, across = _ticks(low, high), _scale([low, high], 12, width - 12)
    body = _title(lines) + _key(key, LINE * (len(lines) + 1) - 2)
    for tick in ticks:
        body += f'<path class="rule" d="M{_n(across(tick))} {top - 6}V{bottom}"/>'
        body += text(across(tick), bottom + LINE, short(tick).strip(), "faint middle")
    for name, level in levels:
        body += f'<path class="line ink" stroke-dasharray="2 3" d="M{_n(across(level))} {top - 6}V{bottom}"/>'
        side, nudge = ("", 4) if across(level) < width / 2 else (" end", -4)
        body += text(across(level) + nudge, top - 8, name, f"faint{side}")
    for place, row in enumerate(rows):
        base = top + step * place + LINE - 6
        body += text(0, base, row.name, row.dots[0][0].colour)
        body += text(width, base, row.label, "end faint") if row.label else ""
        for look, point in row.dots:
            if not math.isnan(point.low):
                extent = f"M{_n(across(point.low))} {_n(base + 10)}H{_n(across(point.high))}"
                body += f'<path class="thin {look.colour}" d="{extent}"/>'
            body += mark(across(point.x), base + 10, look)
    body += text(width / 2, bottom + 2 * LINE + 2, x, "faint middle")
    summary = "; ".join(f"{r.name}: {r.label or ', '.join(f'{p.x:.1f}' for _, p in r.dots)}" for r in rows)
    return Chart(width, bottom + 2 * LINE + 8, f"{title}. {x}. {summary}.", body)


def shares(title: str, labels: Sequence[str], values: NDArray[np.float64]) -> Chart:
    """A confusion in per cent [C, C], rows what is, columns what it was taken for."""
    side, left = 46, 8 + LETTER * max(map(len, labels))
    lines = wrapped(title, max(260, left + side * len(labels)))
    top = LINE * (len(lines) + 1) + 10
    body = _title(lines)
    for j, label in enumerate(labels):
        body += text(left + side * (j + 0.5), top - 5, label[:8], "faint middle")
        body += text(left - 6, top + side * (j + 0.5) + 4, label, "faint end")
    for i, j in np.ndindex(values.shape):
        x, y, share = left + side * j, top + side * i, values[i, j] / 100
        body += f'<rect class="real" x="{_n(x)}" y="{_n(y)}" width="{side - 1}" height="{side - 1}" '
        body += f'style="fill:currentColor" fill-opacity="{0.04 + 0.66 * share:.2f}"/>'
        body += text(x + side / 2, y + side / 2 + 4, f"{values[i, j]:.0f}", "middle plain")
    width = max(left + side * len(labels), *(BOLD * len(line) for line in lines))
    summary = "; ".join(f"{label} as itself {values[i, i]:.0f} %" for i, label in enumerate(labels))
    body += text(left, top + side * len(labels) + LINE, "rows: what it is; columns: taken for", "faint")
    width = max(width, left + 36 * LETTER)
    return Chart(width, top + side * len(labels) + LINE + 6, f"{title}. {summary}.", body)


def histogram(title: str, values: NDArray[np.float64], x: str, y: str) -> Chart:
    """How many of the values [N] lie where along x, in 40 bars; y is what is counted."""
    counts, edges = np.histogram(values, 40)
    lines, left, height = wrapped(title, PLOT), 44, 150
    upper, most = LINE * (len(lines) + 2), max(5, int(counts.max()))  # fewer would have halves on their axis
    across = _scale(edges.tolist(), left, left + PLOT)
    up = _scale([0, most], upper + height, upper)
    body = _title(lines) + _y_axis(_ticks(0, most), up, left, PLOT) + text(left - 36, upper - 8, y, "faint")
    for count, start, end in zip(counts.tolist(), edges.tolist(), edges[1:].tolist(), strict=False):
        size = f'width="{_n(across(end) - across(start) - 0.5)}" height="{_n(upper + height - up(count))}"'
        body += f'<rect class="real" x="{_n(across(start))}" y="{_n(up(count))}" {size} style="fill:currentColor"/>'
    for tick in _ticks(float(edges[0]), float(edges[-1])):
        body += text(across(tick), upper + height + LINE + 2, f"{tick:,.10g}", "faint middle")
    body += text(left + PLOT / 2, upper + height + 2 * LINE + 3, x, "faint middle")
    summary = f"{len(values)} {y}, {values.min():.3g} to {values.max():.3g}, median {np.median(values):.3g}"
    return Chart(left + PLOT + 10, upper + height + 2 * LINE + 10, f"{title}. {x}: {summary}.", body)


def cloud(
    title: str, groups: Sequence[tuple[str, Look, NDArray[np.float64]]], box: tuple[float, float, float, float]
) -> Chart:
    """Points [N, 2] of groups in a square that shows x and y from ``box``; each group is named at its middle."""
    side = 300.0
    lines = wrapped(title, side)
    top = LINE * len(lines) + 6
    across, up = _scale(box[:2], 4, side - 4), _scale(box[2:], top + side - 4, top + 4)
    body = _title(lines) + f'<rect class="rule" x=".5" y="{top}" width="{side - 1:.0f}" height="{side:.0f}"/>'
    for _, look, points in groups:
        for x, y in points:
            body += mark(across(float(x)), up(float(y)), look, 0.75, 0.6)
    middles = [points.mean(axis=0) for _, _, points in groups]
    places = apart([up(float(y)) for _, y in middles], LINE, top + 10, top + side - 6)
    for (name, look, _), (x, _), place in zip(groups, middles, places, strict=True):
        at = min(max(across(float(x)), 4 + LETTER * len(name) / 2), side - 4 - LETTER * len(name) / 2)
        body += text(at, place + 4, name, f"middle title {look.colour}")
    summary = "; ".join(f"{name}: {len(points)}" for name, _, points in groups)
    return Chart(side, top + side + 4, f"{title}. Points of each class, {summary}.", body)


def images(title: str, rows: Sequence[tuple[str, Sequence[NDArray[np.float64]]]], heads: Sequence[str]) -> Chart:
    """Values [T, D] of -1 to 1 as images, time to the right and dims upwards; a named row of them, columns by name."""
    width, height, gap = 150, 84, 8
    columns = max(len(panels) for _, panels in rows)
    lines = wrapped(title, columns * (width + gap))
    top = LINE * (len(lines) + 1) + 6
    body = _title(lines)
    for place, head in enumerate(heads):
        body += text(place * (width + gap) + width / 2, top - 5, head, "faint middle")
    for number, (name, panels) in enumerate(rows):
        y = top + number * (height + LINE + gap)
        body += text(0, y + LINE - 3, name)
        for place, values in enumerate(panels):
            where = f'x="{place * (width + gap)}" y="{y + LINE}" width="{width}" height="{height}"'
            body += f'<image {where} preserveAspectRatio="none" href="{image(values.T[::-1])}"/>'
    summary = f"A row of {', '.join(heads)} for each of: {', '.join(name for name, _ in rows)}."
    size = columns * (width + gap) - gap
    return Chart(size, top + len(rows) * (height + LINE + gap), f"{title}. {summary}", body)


def image(values: NDArray[np.float64]) -> str:
    """Values [H, W] of -1 to 1 as a PNG within an address: blue below 0, white, red above."""
    shade = np.linspace(-1, 1, SPREAD)[:, None]
    ends = np.where(shade < 0, (33, 102, 172), (178, 24, 43))
    colours = np.rint(247 + np.abs(shade) * (ends - 247)).astype(np.uint8)
    pixels = np.rint((values.clip(-1, 1) + 1) / 2 * (SPREAD - 1)).astype(np.uint8)
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # each line begins with the number of its filter, none
    header = pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", colours.tobytes()), (b"IDAT", compress(lines, 9)), (b"IEND", b""))
    png = b"".join(pack(">I", len(data)) + name + data + pack(">I", crc32(name + data)) for name, data in chunks)
    return f"data:image/png;base64,{b64encode(PNG + png).decode()}"


def apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The values moved as little as keeps them ``gap`` apart and, where there is room, within ``low`` to ``high``."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    moved: list[float] = []
    for place in order:
        moved.append(max(values[place], moved[-1] + gap if moved else low))
    limit = high
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], limit)
        limit = moved[place] - gap
    return [moved[order.index(place)] for place in range(len(values))]


def text(x: float, y: float, content: str, names: str = "") -> str:
    """A line of text at a place."""
    more = f' class="{names}"' if names else ""
    return f'<text x="{_n(x)}" y="{_n(y)}"{more}>{escape(content)}</text>'


def mark(x: float, y: float, look: Look, size: float = 1.0, opacity: float = 1.0) -> str:
    """A point."""
    shape = f"translate({_n(x)} {_n(y)})" + (f" scale({size:g})" if size != 1 else "")
    faint = f' opacity="{opacity:g}"' if opacity != 1 else ""
    hollow = " hollow" if look.hollow else ""
    return f'<path class="mark {look.colour}{hollow}" transform="{shape}" d="{MARKS[look.mark]}"{faint}/>'


def wrapped(title: str, width: float) -> list[str]:
    """A title in lines of about this width."""
    return textwrap.wrap(title, max(20, int(width / BOLD))) or [""]


def span(values: Iterable[float], least: float | None) -> tuple[float, float]:
    """What an axis shows: from ``least`` or somewhat below the least value to somewhat above the largest."""
    values = [*values, *([] if least is None else [least])]
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.5
    return (low if low == least else low - room), high + room


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low``, which is one of them, to ``high``."""
    raw = (high - low) / 5 or 1.0
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return [round(step * number, 10) for number in range(first, math.floor(high / step) + 1)]


def _scale(values: Sequence[float], start: float, stop: float, logarithmic: bool = False) -> Callable[[float], float]:
    """From the first and last of these values to places from ``start`` to ``stop``; one value lies between them."""
    measure = math.log if logarithmic else float
    low, high = measure(values[0]), measure(values[-1])
    if low == high:
        return lambda _: (start + stop) / 2
    return lambda value: start + (stop - start) * (measure(value) - low) / (high - low)


def _y_axis(ticks: Sequence[float], up: Callable[[float], float], left: float, width: float) -> str:
    body = ""
    for tick in ticks:
        body += f'<path class="rule" d="M{left} {_n(up(tick))}h{width}"/>'
        body += text(left - 6, up(tick) + 3.8, f"{tick:,.10g}", "faint end")
    return body


def _title(lines: Sequence[str]) -> str:
    return "".join(text(0, LINE * (place + 1) - 3, line, "title") for place, line in enumerate(lines))


def _key(key: Sequence[tuple[str, Look]], y: float) -> str:
    """What looks mean, in a line."""
    body, along = "", 0.0
    for name, look in key:
        body += mark(along + 5, y - 4, look) + text(along + 13, y, name, look.colour)
        along += 26 + LETTER * len(name)
    return body


def _band(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect class="band {colour}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"/>'


def short(value: float, digits: int = 6) -> str:
    """A number as axes say it, such as ``10 k`` or ``1 M``; its unit may follow."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g} {unit}"
    return f"{value:.{digits}g} "


def _n(value: float) -> str:
    """A length, short."""
    return f"{value:.1f}".removesuffix(".0")
