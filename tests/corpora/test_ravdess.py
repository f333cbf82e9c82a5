from pathlib import Path

from gandistill.corpora import ravdess
from gandistill.corpora.verdicts import scan
from tests.corpora.fabricate import described, expected


def test_the_real_corpus_equals_expected_csv(ravdess_root: Path) -> None:
    entries, errors = scan(ravdess.read(ravdess_root))
    assert errors == []
    assert [described(entry) for entry in entries] == expected(ravdess_root)
    assert len({entry.id for entry in entries}) == 1440
