"""What a recogniser is judged by: functions of integer labels and a confusion matrix.

N utterances, C classes. ``confusion[i, j]`` counts utterances of class i recognised as class j.
"""

import numpy as np
from numpy.typing import NDArray

from gandistill.console import say


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts [C, C], rows the true class, columns the predicted one, from labels [N] and predicted [N]."""
    if len(labels) != len(predicted):
        raise ValueError(f"{len(labels)} labels but {len(predicted)} predictions")
    for numbers in (labels, predicted):
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < classes:
            raise ValueError(f"A class number lies outside 0..{classes - 1}")
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall of each class [C]; NaN where a class has no utterance."""
    totals = confusion.sum(axis=1)
    return np.where(totals > 0, np.diag(confusion) / np.maximum(totals, 1), np.nan)


def unweighted_average_recall(confusion: NDArray[np.int64]) -> float:
    """UAR in 0..1: the mean recall over the classes that occur, whatever their sizes."""
    return float(np.nanmean(recalls(confusion)))


def scores(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> dict[str, float]:
    """``uar`` and ``accuracy``, in 0..1, of labels [N] and predicted [N]."""
    confusion = confusion_matrix(labels, predicted, classes)
    return {"uar": unweighted_average_recall(confusion), "accuracy": accuracy(confusion)}


def accuracy(confusion: NDArray[np.int64]) -> float:
    """Share of utterances recognised rightly, in 0..1."""
    return float(np.trace(confusion) / confusion.sum())


def uar_without(targets: NDArray[np.int64], labels: list[str]) -> dict[str, list[str]]:
    """``uar_without``, the classes that no utterance has of class numbers [N]; nothing where all classes occur."""
    absent = [label for c, label in enumerate(labels) if c not in targets]
    return {"uar_without": absent} if absent else {}


def say_absent(targets: NDArray[np.int64], labels: list[str], split: str) -> None:
    """Say which classes a split lacks, by the class numbers [N] of its utterances."""
    for absent in uar_without(targets, labels).values():
        say(f"The {split} split has no utterance of [{', '.join(absent)}]: UAR is over the other classes")
