"""HTML by hand: what is said is text and nothing else, and every part stands where it should."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from gandistill.charts import Chart
from gandistill.experiments.report import page

TEXT = st.text(st.characters(exclude_categories=["C"]))
"""What a reader can see; control characters are no part of XML."""


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{html}</div>")


def words(html: str, tag: str) -> list[str]:
    return [each.text or "" for each in parsed(html).iter(tag)]


@given(TEXT)
def test_whatever_is_said_is_read_back_as_it_was(said: str):
    assert words(page.paragraph(said), "p") == [said]
    assert words(page.part(said, "<p>x</p>"), "h3") == [said]
    facts = page.facts({said: said})
    known = [said] if said else []
    assert (words(facts, "dt"), words(facts, "dd")) == (known, known), "what is not known is left out"
    table = page.table([{said: said}])
    assert (words(table, "th"), words(table, "td")) == ([said], [said])
    assert words(page.figure([], said), "figcaption") == [said]


def test_a_table_has_a_column_for_every_key_and_nothing_where_a_row_lacks_it():
    table = parsed(page.table([{"name": "a", "n": 1}, {"name": "2b", "m": -0.5}, {"name": "c", "n": None}]))
    assert [each.text for each in table.iter("th")] == ["name", "n", "m"]
    cells = [[cell.text for cell in row.iter("td")] for row in table.iter("tr")][1:]
    assert cells == [["a", "1", None], ["2b", None, "-0.5"], ["c", None, None]]


def test_columns_of_numbers_are_to_the_right():
    table = parsed(page.table([{"name": "a", "n": 1}, {"name": "2b", "n": "3.0 [1.0, 5.0]"}]))
    assert [each.get("class") for each in table.iter("th")] == [None, "number"]
    assert [each.get("class") for each in table.iter("td")] == [None, "number"] * 2


def test_numbers_behind_a_figure_are_there_to_open():
    chart = Chart(10, 20, "a & b", "<path/>")
    figure = parsed(page.figure([chart, chart], "what it is", [{"n": 1}]))
    assert [each.get("aria-label") for each in figure.iter("svg")] == ["a & b"] * 2
    assert [each.text for each in figure.iter("summary")] == ["The numbers"]
    assert [each.text for each in figure.iter("td")] == ["1"]
    assert [*parsed(page.figure([chart], "what it is")).iter("details")] == []


def test_sections_are_listed_first_and_are_where_links_lead():
    text = page.page("A <title>", "What it is.", [("one & only", "<p>1</p>"), ("two", "<p>2</p>")])
    body = text[text.index("<body>") : text.index("</html>")]
    found = ElementTree.fromstring(body)
    links = [(each.get("href"), each.text) for each in found.iter("a")]
    assert links == [("#part1", "one & only"), ("#part2", "two")]
    assert [(f"#{each.get('id')}", each.findtext("h2")) for each in found.iter("section")] == links
    assert [each.findtext("p") for each in found.iter("section")] == ["1", "2"]
    assert found.findtext("header/h1") == "A <title>"
    assert "<title>A &lt;title&gt;</title>" in text
