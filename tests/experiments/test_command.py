"""How scripts end: with a digest in a document, or one line that says why not."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gandistill.errors import InputError, RunError
from gandistill.experiments.checkout import Checkout
from gandistill.experiments.command import answer, parser_of

README = "<!-- table: eval/tables.py quick -->\n<!-- end of table -->\n"
Answer = Callable[..., argparse.Namespace]


@pytest.fixture
def answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """The options that a script's work is given by a command line."""
    (tmp_path / "README.md").write_text(README)

    def run(*arguments: str, raised: BaseException | None = None) -> argparse.Namespace:
        given: list[argparse.Namespace] = []

        def make(options: argparse.Namespace) -> str:
            given.append(options)
            if raised is not None:
                raise raised
            return "the digest"

        monkeypatch.setattr(sys, "argv", ["tables.py", "quick", "corpus", *arguments])
        answer(parser_of("tables", "It makes tables.", Checkout(tmp_path), "gan-"), make)
        return given[0]

    return run


def test_a_digest_goes_to_its_place_unless_files_go_elsewhere(answered: Answer, tmp_path: Path):
    options = answered("--out", "elsewhere")
    assert (options.work, options.out) == (Path("work/tables/quick"), Path("elsewhere"))
    assert (tmp_path / "README.md").read_text() == README
    assert answered().out == tmp_path / "eval" / "results" / "gan-quick"
    assert "the digest" in (tmp_path / "README.md").read_text()


def test_a_bad_option_is_one_line(answered: Answer, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        answered("--colour", "red")
    said = "tables: unrecognized arguments: --colour red (see tables.py --help)\n"
    assert (ended.value.code, capfd.readouterr().err) == (2, said)


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (InputError("no such thing"), 2, "tables: no such thing"),
        (RunError("it broke"), 1, "tables: it broke"),
        (KeyboardInterrupt(), 130, "tables: stopped, what is done is kept: the same command goes on"),
    ],
)
def test_what_was_not_done_is_one_line_and_a_code(
    raised: BaseException, code: int, line: str, answered: Answer, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        answered(raised=raised)
    assert (ended.value.code, capfd.readouterr().err) == (code, f"{line}\n")
