"""What tables take from a checkout, and put into it."""

import subprocess
from pathlib import Path

import pytest

from gandistill.experiments.checkout import Checkout

ROOT = Path(__file__).parents[2]


def test_a_papers_table_is_read_by_its_name():
    published = Checkout(ROOT).reference("gan_paper_table2")
    assert (published["corpus"], published["keys"]) == ("iemocap", ["generator", "losses", "ppc"])


@pytest.mark.parametrize("place", ["README.md", "docs/page.md", "eval/results/README.md", "eval/results/a/README.md"])
def test_a_digest_goes_to_the_document_that_has_a_place_for_it(place: str, tmp_path: Path):
    document, other, checkout = tmp_path / place, tmp_path / "docs" / "other.md", Checkout(tmp_path)
    for path, name in ((other, "tiny, in short"), (document, "tiny")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"a\n<!-- table: eval/tables.py {name} -->\nold\n<!-- end of table -->\nz\n")
    checkout.put("eval/tables.py another", "lost")
    assert "old" in document.read_text()
    checkout.put("eval/tables.py tiny", "new")
    assert document.read_text() == "a\n<!-- table: eval/tables.py tiny -->\n\nnew\n<!-- end of table -->\nz\n"
    assert "old" in other.read_text()


def test_a_commit_says_whether_code_was_changed_since(tmp_path: Path):
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=tmp_path, check=True)

    (tmp_path / "gandistill").mkdir()
    (tmp_path / "gandistill" / "code.py").write_text("1\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    commit = Checkout(tmp_path).commit()
    assert len(commit) == 40
    (tmp_path / "notes.txt").write_text("decides nothing\n")
    assert Checkout(tmp_path).commit() == commit
    (tmp_path / "gandistill" / "code.py").write_text("2\n")
    assert Checkout(tmp_path).commit() == f"{commit}, changed"


def test_a_folder_that_is_no_checkout_has_an_unknown_commit(tmp_path: Path):
    assert Checkout(tmp_path).commit().startswith("unknown")
