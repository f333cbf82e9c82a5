import csv
from pathlib import Path

import pytest

from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: lacks the columns \[id, speaker, label, predicted\]"),
        ("id,speaker,label\n1,s,x\n", r"line 1: lacks the columns \[predicted\]"),
        ("id,speaker,label,predicted\n", "line 2: holds no prediction"),
        ("id,speaker,label,predicted\n1,s,x,x\n2,s,x\n", "line 3: 3 fields, expected 4"),
        ("id,speaker,label,predicted\n1,s,x,x\n2,s,x,x,9\n", "line 3: 5 fields, expected 4"),
        ("id,speaker,label,predicted\n1,s,x,x\n\n", "line 3: 0 fields, expected 4"),
        ("id,speaker,label,predicted\n1,s,,x\n", "line 2: 'label' is empty"),
        ("id,speaker,label,predicted\n1,s,x,x\n1,s,x,x\n", "line 3: the id '1' occurs twice"),
        ('id,speaker,label,predicted\n1,s,x,"x\n', "line 2: not valid CSV"),
        (b"id,speaker,label,predicted\n\xff\xfe,s,x,x\n", "cannot be read as text"),
        ("id,speaker,label,predicted,p_x,p_y\n1,s,z,x,1,0\n", r"line 2: bad label 'z', expected one of \[x, y\]"),
        ("id,speaker,label,predicted,p_x\n1,s,x,\0,1\n", r"line 2: bad predicted '\\x00'"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        Predictions.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such predictions file"):
        Predictions.read(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        Predictions.read(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffid,speaker,label,predicted\n1,s,x,y\n", encoding="utf-8")
    assert Predictions.read(tmp_path / "a.csv").predicted.tolist() == ["y"]


def test_names_may_hold_commas_quotes_and_any_script(tmp_path: Path) -> None:
    rows = [('a,"b"', "Ünal", "gioia, forte", "gioia, forte"), ("日本", "s\n2", "x", "x")]
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "speaker", "label", "predicted"), *rows])
    read = Predictions.read(path)
    assert list(zip(read.ids, read.speakers, read.labels, read.predicted, strict=True)) == rows
