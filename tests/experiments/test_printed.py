"""Cells and tables to read, by hand."""

from gandistill.experiments.printed import beyond, uar_of, wide


def test_a_uar_and_a_difference_with_their_intervals():
    assert uar_of({"uar": 0.5}) == "50.0"
    assert uar_of({"uar": 0.5, "low": 0.45, "high": 0.55}) == "50.0 [45.0, 55.0]"
    difference = {"uar_difference": -0.02, "low": -0.05, "high": 0.01}
    assert beyond(difference) == "-2.0 [-5.0, 1.0]"
    assert beyond(difference | {"bootstrap": {"interval": (-0.04, 0.0)}}) == "-2.0 [-5.0, 1.0] (-4.0, 0.0)"


def test_a_table_has_a_row_and_a_column_for_each_of_its_keys():
    entries = [
        {"set": "a", "ppc": None, "uar": 0.7},
        {"set": "a", "ppc": 5, "uar": 0.5},
        {"set": "b", "ppc": 5, "uar": 0.6},
    ]
    assert wide(entries, ("set",), ("ppc",), lambda entry: f"{100 * entry['uar']:.0f}") == [
        {"set": "a", "all": "70", "5 ppc": "50"},
        {"set": "b", "all": None, "5 ppc": "60"},
    ]
