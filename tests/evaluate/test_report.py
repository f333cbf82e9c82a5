import math

from gandistill.evaluate.report import markdown, percent, plain

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
