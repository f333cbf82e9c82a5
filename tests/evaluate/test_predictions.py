import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions, pooled


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


def judged(rows: list[str], source: str = "predictions in memory") -> Predictions:
    """Rows of ``id speaker label predicted``."""
    return Predictions(*(np.array(column) for column in zip(*map(str.split, rows), strict=True)), source=source)


def test_predictions_in_memory_by_hand() -> None:
    p = judged(["1 s x x", "2 s x x", "3 s x yy", "4 t yy yy", "5 t yy zzz"])
    assert p.right.tolist() == [True, True, False, True, False]
    assert p.uar == pytest.approx((2 / 3 + 1 / 2) / 2)  # zzz is only predicted
    assert p.take([3, 0]).predicted.tolist() == ["yy", "x"]


@settings(deadline=None, max_examples=100)
@given(pairs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_the_uar_is_the_mean_recall(pairs: list[tuple[str, str]]) -> None:
    p = judged([f"u{i} s {label} {predicted}" for i, (label, predicted) in enumerate(pairs)])
    recalls = [np.mean([y == x for x, y in pairs if x == label]) for label in {x for x, _ in pairs}]
    assert p.uar == pytest.approx(np.mean(recalls))


def test_columns_that_cannot_be_are_refused() -> None:
    x = np.array(["x", "y"])
    with pytest.raises(ValueError, match="cell 3: ids, speakers, labels and predicted differ in length"):
        Predictions(x, x, x, x[:1], "cell 3")
    with pytest.raises(InputError, match="cell 3: the id 'x' occurs twice"):
        Predictions(x[[0, 0]], x, x, x, "cell 3")


def test_the_order_of_others() -> None:
    a, b = judged(["1 s x x", "2 t y x", "3 s x y"]), judged(["3 s x x", "1 s x y", "2 t y z"], "b")
    ordered = b.in_order_of(a)
    assert ordered.ids.tolist() == ["1", "2", "3"]
    assert ordered.predicted.tolist() == ["y", "z", "x"]
    assert ordered.source == "b"
    assert ordered.uar == b.uar


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 s x x"], "a holds the utterance '2', b does not"),
        (["2 t y y", "4 t x x", "1 s x x"], "b holds the utterance '4', a does not"),
        (["2 t x x", "1 s x x"], "The label of '2' is 'y' in a but 'x' in b"),
        (["2 s y x", "1 s x x"], "The speaker of '2' is 't' in a but 's' in b"),
    ],
)
def test_others_of_other_utterances_are_refused_by_name(rows: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        judged(rows, "b").in_order_of(judged(["1 s x x", "2 t y x"], "a"))


def test_folds_are_pooled_in_order() -> None:
    folds = [
        judged(["1 s x x", "2 t y x"], "fold 1"),
        judged(["Ses02 ü x xyz"], "fold 2"),
        judged(["3 s y y"], "fold 3"),
    ]
    found = pooled(folds)
    assert found.ids.tolist() == ["1", "2", "Ses02", "3"]
    assert found.speakers.tolist() == ["s", "t", "ü", "s"]
    assert found.labels.tolist() == ["x", "y", "x", "y"]
    assert found.predicted.tolist() == ["x", "x", "xyz", "y"]
    assert found.source == "fold 1 + fold 2 + fold 3"
    assert found.uar == 0.5


def test_an_utterance_in_two_folds_is_named() -> None:
    folds = [judged(["1 s x x"], "fold 1"), judged(["2 s x x", "3 s x x"], "fold 2"), judged(["3 s x x"], "fold 3")]
    with pytest.raises(InputError, match="The utterance '3' is in fold 2 and in fold 3: expected it once"):
        pooled(folds)
