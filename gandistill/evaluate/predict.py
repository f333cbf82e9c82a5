"""A head's predictions on real speech, and what they are worth."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandistill import artifacts, metrics
from gandistill.corpora.manifest import SPLITS
from gandistill.errors import InputError, choices
from gandistill.evaluate.markdown import percent, plain
from gandistill.evaluate.predictions import Predictions, file_name, write_predictions
from gandistill.evaluate.significance import uar_interval
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import check_match, load_head, posteriors


def evaluate(head_folder: Path, features: FeatureSet, split: str) -> dict[str, Any]:
    """Judge a head on one split, and write its predictions into its folder (outside its hash).

    ``predictions.csv`` for the test split, ``predictions-dev.csv`` and ``predictions-train.csv`` for the others; an
    earlier one of the same split is replaced.

    Returns JSON-ready ``uar`` and ``accuracy`` (0..1), ``uar_without`` (only where the split lacks classes: UAR is over
    the others), ``recalls`` (label to recall, None where the split lacks the class), ``confusion`` (rows true, columns
    predicted, in the order of ``labels``), ``labels``, ``utterances``, ``split``, and name and fingerprint of ``head``
    and ``features``. Labels are matched by name. Raises InputError for a split other than train, dev or test, if
    labels, dims or upstream differ, if the features are of another fold than the head, or if the set lacks the split.
    """
    if split not in SPLITS:
        raise choices("split", split, SPLITS)
    head = load_head(head_folder)
    if sorted(head.labels) != sorted(features.labels):
        given, expected = ", ".join(features.labels), ", ".join(head.labels)
        raise InputError(f"{features.folder} has labels [{given}], but the head {head_folder} knows [{expected}]")
    judged = replace(features, config=features.config | {"labels": head.labels}).part(split)  # in the head's order
    check_match(f"the head {head_folder}", head.labels, head.dims, head.origin, judged)
    p = posteriors(head, judged).numpy()
    write_predictions(head_folder / file_name(split), judged.index, p, judged.labels)
    metrics.say_absent(judged.targets, judged.labels, split)
    return {
        **class_scores(judged.targets, p.argmax(axis=1), judged.labels),
        "labels": judged.labels,
        "utterances": len(judged),
        "split": split,
        "head": {"name": head_folder.name, "fingerprint": artifacts.fingerprint(head_folder)},
        "features": {"name": features.folder.name, "fingerprint": features.fingerprint},
    }


def lines(found: dict[str, Any], head_folder: Path) -> list[str]:
    """What ``evaluate`` gives, to read: UAR with its interval, and per cent of each class as what it was taken for."""
    path = head_folder / file_name(found["split"])
    low, high, over = uar_interval(Predictions.read(path))
    rows = [
        {"": label}
        | dict(zip(found["labels"], (f"{100 * n / max(sum(row), 1):.0f}" for n in row), strict=True))
        | {"utterances": f"{sum(row)}"}
        for label, row in zip(found["labels"], found["confusion"], strict=True)
    ]
    return [
        f"UAR {percent(found['uar'], low, high)} %, with the 95 % interval of a bootstrap by {over}; accuracy "
        f"{percent(found['accuracy'])} %; {found['utterances']} utterances of the {found['split']} part",
        "",
        plain(rows),
        f"Rows: what it is; columns: what it was taken for, in per cent. Predictions: {path}",
    ]


def class_scores(targets: NDArray[np.int64], predicted: NDArray[np.int64], labels: list[str]) -> dict[str, Any]:
    """``uar`` to ``confusion``, as ``evaluate`` has them, of class numbers [N]."""
    confusion = metrics.confusion_matrix(targets, predicted, len(labels))
    recalls = metrics.recalls(confusion)
    return (
        metrics.scores(targets, predicted, len(labels))
        | metrics.uar_without(targets, labels)
        | {
            "recalls": {x: None if np.isnan(r) else float(r) for x, r in zip(labels, recalls, strict=True)},
            "confusion": confusion.tolist(),
        }
    )
