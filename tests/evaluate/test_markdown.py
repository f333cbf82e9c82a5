import math
from pathlib import Path

import pytest

from gandistill.errors import InputError
from gandistill.evaluate.markdown import markdown, percent, plain, put_table

ROWS = [
    {"set": "real", "points": 693, "UAR": "64.2"},
    {"set": "a|b", "points": 50, "UAR": "60.3 [58.0, 62.6]", "note": "ours"},
    {"set": "none", "points": None, "UAR": "-1.0"},
]


def test_a_markdown_table() -> None:
    assert markdown(ROWS) == (
        "| set | points | UAR | note |\n"
        "| --- | ---: | ---: | --- |\n"
        "| real | 693 | 64.2 |  |\n"
        "| a\\|b | 50 | 60.3 [58.0, 62.6] | ours |\n"
        "| none |  | -1.0 |  |\n"
    )


def test_a_plain_table() -> None:
    assert plain(ROWS) == (
        "set   points                UAR  note\n"
        "----  ------  -----------------  ----\n"
        "real     693               64.2\n"
        "a|b       50  60.3 [58.0, 62.6]  ours\n"
        "none                       -1.0\n"
    )


def test_shares_as_per_cent() -> None:
    assert percent(0.5236) == "52.4"
    assert percent(0.5236, 0.481, 0.567) == "52.4 [48.1, 56.7]"
    assert percent(1, math.nan, math.nan) == "100.0"


def test_a_table_goes_between_its_marks(tmp_path: Path):
    document, end = tmp_path / "README.md", "<!-- end of table -->\n"
    document.write_text(f"before\n<!-- table: a -->\nold\n{end}between\n<!-- table: b -->\n{end}after\n")
    put_table(document, "a", "| new |\n")
    whole = f"before\n<!-- table: a -->\n\n| new |\n\n{end}between\n<!-- table: b -->\n{end}after\n"
    assert document.read_text() == whole
    put_table(document, "b")
    with pytest.raises(InputError, match=r"has no place for a table: <!-- table: c --> and <!-- end of table -->"):
        put_table(document, "c", "lost")
    assert document.read_text() == whole
