import warnings

import audmetric
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill import metrics

pairs = st.integers(2, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=60),
    )
)


def test_by_hand() -> None:
    confusion = metrics.confusion_matrix(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0]), 3)
    assert confusion.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert metrics.recalls(confusion)[:2].tolist() == [2 / 3, 1 / 2]
    assert np.isnan(metrics.recalls(confusion)[2])
    assert metrics.unweighted_average_recall(confusion) == pytest.approx(7 / 12)
    assert metrics.accuracy(confusion) == 0.6


@settings(deadline=None, max_examples=200)
@given(pairs)
def test_equal_to_audmetric(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    classes, found = drawn
    truth, said = (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
    confusion = metrics.confusion_matrix(truth, said, classes)
    names = list(range(classes))
    assert confusion.tolist() == audmetric.confusion_matrix(truth, said, labels=names)
    assert metrics.accuracy(confusion) == pytest.approx(audmetric.accuracy(truth, said, labels=names))
    present = sorted(set(truth.tolist()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_class = audmetric.recall_per_class(truth, said, labels=names)
    recalls = metrics.recalls(confusion)
    assert [recalls[c] for c in present] == pytest.approx([by_class[c] for c in present])
    assert np.isnan(recalls[[c for c in names if c not in present]]).all()
    assert metrics.unweighted_average_recall(confusion) == pytest.approx(np.mean([by_class[c] for c in present]))


@settings(deadline=None, max_examples=50)
@given(pairs, st.randoms(use_true_random=False))
def test_naming_the_classes_otherwise_changes_nothing(drawn, random) -> None:
    classes, found = drawn
    truth, said = (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
    name = np.array(random.sample(range(classes), classes))
    one, other = (metrics.confusion_matrix(t, s, classes) for t, s in ((truth, said), (name[truth], name[said])))
    assert metrics.unweighted_average_recall(one) == pytest.approx(metrics.unweighted_average_recall(other))
    assert metrics.accuracy(one) == metrics.accuracy(other)


def test_uar_does_not_depend_on_class_sizes() -> None:
    once = np.array([[3, 1], [2, 2]])
    assert metrics.unweighted_average_recall(once) == metrics.unweighted_average_recall(once * [[10], [1]])


@pytest.mark.parametrize(
    ("truth", "said"), [([0, 1], [0]), ([0, 1], [0, 2]), ([2, 1], [0, 1]), ([0, 1], [0, -1]), ([-1, 1], [1, 1])]
)
def test_a_number_that_is_no_class_is_refused(truth: list[int], said: list[int]) -> None:
    with pytest.raises(ValueError, match=r"predictions|class number"):
        metrics.confusion_matrix(np.array(truth), np.array(said), 2)
