"""What goes wrong is said in one line that names it, with an exit code for whose fault it was."""

import pytest

from gandistill.errors import InputError, RunError, choices, killed
from tests.commands import run


def test_choices_names_the_bad_value_and_the_valid_ones():
    assert str(choices("protocol", "x", ["a", "b"])) == "Bad protocol 'x', expected one of [a, b]"
    assert str(choices("fold", 3, ("1", "2"))) == "Bad fold 3, expected one of [1, 2]"
    assert isinstance(choices("fold", 3, ("1", "2")), InputError)


def test_a_process_that_was_killed_is_nobodys_bad_input():
    error = killed()
    assert isinstance(error, RunError)
    assert not isinstance(error, InputError)
    assert "what is done is kept: run this again" in str(error)


@pytest.mark.parametrize(("error", "code"), [(InputError("what, where"), 2), (RunError("what, where"), 1)])
def test_it_is_one_line_without_a_traceback(error: Exception, code: int, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("gandistill.shipped.catalogue", fails)
    done = run("recipes")
    assert (done.code, done.out, done.err) == (code, "", "gandistill: what, where\n")
