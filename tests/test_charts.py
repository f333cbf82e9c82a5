"""Charts are whole XML, say in words what they show, and let no label hide another."""

import math
import struct
import zlib
from base64 import b64decode
from xml.etree import ElementTree

import numpy as np
import pytest

from gandistill import charts
from gandistill.charts import Chart, Look, Point, Row, Series

NAME = 'a <b> & "c"'


def every() -> list[Chart]:
    line = Series(NAME, Look("real"), [Point(1, 2), Point(10, 3, 2, 4)])
    level = Series("level", Look("ink"), [Point(0, 2.5)], across=True)
    return [
        charts.curves("title", [line, level], "x", "y", ticks=[1, 10]),
        charts.curves("title", [Series(NAME, Look("gan"), [Point(0, 1)], marked=False)], "x", "y"),
        charts.dots("title", [Row(NAME, [(Look("gan", "square"), Point(5, 0, 4, 6))], "5")], "x", levels=[("l", 7)]),
        charts.shares("title", [NAME, "b"], np.array([[90.0, 10.0], [20.0, 80.0]])),
        charts.cloud("title", [(NAME, Look("class0"), np.zeros((3, 2)))], (-1, 1, -1, 1)),
        charts.images("title", [(NAME, [np.zeros((5, 3))])], ["real"]),
    ]


@pytest.mark.parametrize("place", range(6))
def test_a_chart_is_xml_that_escapes_names_and_tells_what_it_shows(place: int):
    chart = every()[place]
    drawn = ElementTree.fromstring(chart.file())
    assert drawn.get("role") == "img"
    told = drawn.get("aria-label")
    assert told is not None
    assert told.startswith("title. ")
    assert NAME in told
    assert NAME in [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "nan" not in chart.body
    inline = chart.inline()
    assert "http" not in inline


def test_charts_side_by_side_are_one():
    charts_of = every()[:3]
    whole = charts.together(charts_of, columns=2)
    assert whole.width == pytest.approx(max(charts_of[0].width, charts_of[2].width) + 18 + charts_of[1].width)
    assert whole.height == pytest.approx(max(charts_of[0].height, charts_of[1].height) + 18 + charts_of[2].height)
    assert whole.about == " ".join(chart.about for chart in charts_of)
    ElementTree.fromstring(whole.file())


def test_labels_move_as_little_as_keeps_them_apart_and_inside():
    assert charts.apart([50, 10, 51], 10, 0, 100) == [50, 10, 60]
    assert charts.apart([99, 98, 97], 10, 0, 100) == [100, 90, 80]
    assert charts.apart([], 10, 0, 100) == []
    crowded = charts.apart([5, 5, 5, 5], 10, 0, 20)
    assert sorted(crowded) == [-10, 0, 10, 20], "where there is no room they are still apart"


def test_an_image_is_a_png_from_blue_over_white_to_red():
    png = b64decode(charts.image(np.array([[-1.0, 0.0, 1.0], [0.0, 0.0, -9.0]])).removeprefix("data:image/png;base64,"))
    assert png.startswith(charts.PNG)
    chunks, at = {}, len(charts.PNG)
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size) == (zlib.crc32(name + data),)
        chunks[name], at = data, at + 12 + size
    assert struct.unpack_from(">II", chunks[b"IHDR"]) == (3, 2)
    lines = zlib.decompress(chunks[b"IDAT"])
    assert lines == bytes([0, 0, 127, 254, 0, 127, 127, 0])
    colour = [tuple(chunks[b"PLTE"][3 * number : 3 * number + 3]) for number in (0, 127, 254)]
    assert colour == [(33, 102, 172), (247, 247, 247), (178, 24, 43)]


def test_an_axis_has_round_numbers_from_where_it_begins():
    assert charts.span([30, 80], 25) == (25, 82.2)
    low, high = charts.span([1.0], None)
    assert low < 1 < high
    assert not math.isnan(low)
    assert charts.short(10_000).strip() == "10 k"
    assert charts.short(68_188_774, 3) == "68.2 M"
