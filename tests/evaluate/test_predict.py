import csv
import json
from dataclasses import replace
from pathlib import Path

import audmetric
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.evaluate.predict import evaluate
from gandistill.evaluate.predictions import Predictions, file_name
from gandistill.evaluate.significance import uar_interval
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.heads.head import Head, load_head, save_head
from tests.commands import run

LABELS = ["calm", "happy", "angry"]


class Reader(nn.Module):
    """Reads the logits off the mean of the features: whatever the test wrote there."""

    sees = "mean"

    def __init__(self, dims: int, classes: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.eye(dims)[:classes])

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return (frames.sum(1) / lengths[:, None]) @ self.weights.T


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(load_head.__globals__["MODELS"], "reader", Reader)
    save_head(tmp_path / "head", Head("reader", LABELS, 3), {"command": "test"})
    return tmp_path / "head"


def feature_set(out: Path, pairs: list[tuple[str, str]], labels: list[str] = LABELS, dims: int = 3) -> FeatureSet:
    """An utterance for each (label, what the head above will say)."""
    utterances = []
    for i, (label, said) in enumerate(pairs):
        frames = torch.zeros(2 + i % 3, dims)
        frames[:, LABELS.index(said)] = 1 + i / 8
        utterances.append(Utterance(f"u{i}", label, frames, f"s{i % 2}", split="test"))
    utterances.append(Utterance("unused", labels[0], torch.ones(2, dims), "s0", split="train"))
    config = artifacts.describe(KIND, {"command": "test"}, labels=labels, dims=dims)
    write_feature_set(out, utterances, config, "# toy\n")
    return FeatureSet.open(out)


PAIRS = [
    ("calm", "calm"), ("calm", "calm"), ("calm", "happy"), ("calm", "angry"), ("happy", "happy"), ("angry", "calm"),
    ("angry", "angry"), ("angry", "angry"),
]  # fmt: skip


def test_a_result_by_hand(head: Path, tmp_path: Path) -> None:
    features = feature_set(tmp_path / "set", PAIRS)
    found = evaluate(head, features, "test")
    assert found["recalls"] == {"calm": 0.5, "happy": 1.0, "angry": pytest.approx(2 / 3)}
    assert found["uar"] == pytest.approx((0.5 + 1 + 2 / 3) / 3)
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert found["confusion"] == [[2, 1, 1], [0, 1, 0], [1, 0, 2]]
    assert (found["labels"], found["utterances"], found["split"]) == (LABELS, 8, "test")
    assert found["head"] == {"name": "head", "fingerprint": artifacts.fingerprint(head)}
    assert found["features"] == {"name": "set", "fingerprint": features.fingerprint}
    truth, said = zip(*PAIRS, strict=True)
    assert found["uar"] == pytest.approx(audmetric.unweighted_average_recall(truth, said))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_result_is_read_by_people(head: Path, tmp_path: Path) -> None:
    features = feature_set(tmp_path / "set", PAIRS)
    done = run("evaluate", head, features.folder)
    low, high, over = uar_interval(Predictions.read(head / "predictions.csv"))
    assert over == "utterance"
    bounds = f"72.2 [{100 * low:.1f}, {100 * high:.1f}] %"
    assert done.out == (
        f"UAR {bounds}, with the 95 % interval of a bootstrap by utterance; accuracy 62.5 %; 8 utterances of the test "
        f"""part

       calm  happy  angry  utterances
-----  ----  -----  -----  ----------
calm     50     25     25           4
happy     0    100      0           1
angry    33      0     67           3

Rows: what it is; columns: what it was taken for, in per cent. Predictions: {head / "predictions.csv"}
"""
    )


def test_the_predictions_file(head: Path, tmp_path: Path) -> None:
    features = feature_set(tmp_path / "set", PAIRS)
    before = artifacts.fingerprint(head)
    evaluate(head, features, "test")
    with (head / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "speaker", "label", "predicted", "p_calm", "p_happy", "p_angry"]
    assert [row[:4] for row in rows] == [[f"u{i}", f"s{i % 2}", *pair] for i, pair in enumerate(PAIRS)]
    e = np.exp(1)
    assert [float(p) for p in rows[0][4:]] == pytest.approx([e / (e + 2), 1 / (e + 2), 1 / (e + 2)], abs=1e-6)
    assert Predictions.read(head / "predictions.csv").labels.tolist() == [pair[0] for pair in PAIRS]
    assert artifacts.fingerprint(head) == before
    artifacts.open_artifact(head, "head")
    assert sorted(f.name for f in head.iterdir()) == sorted(
        ["config.json", "head.safetensors", "README.md", "SHA256SUMS", "predictions.csv"]
    )


def test_each_split_has_a_file_of_its_own(head: Path, tmp_path: Path) -> None:
    features = feature_set(tmp_path / "set", PAIRS)
    evaluate(head, features, "test")
    judged = (head / "predictions.csv").read_bytes()
    evaluate(head, features, "train")
    assert (head / "predictions.csv").read_bytes() == judged
    assert Predictions.read(head / "predictions-train.csv").ids.tolist() == ["unused"]
    assert file_name("dev") == "predictions-dev.csv"


def test_labels_in_another_order_are_matched_by_name(head: Path, tmp_path: Path) -> None:
    straight = evaluate(head, feature_set(tmp_path / "set", PAIRS), "test")
    text = (head / "predictions.csv").read_text()
    turned = evaluate(head, feature_set(tmp_path / "turned", PAIRS, ["angry", "calm", "happy"]), "test")
    assert {k: straight[k] for k in ("uar", "recalls", "confusion", "labels")} == {
        k: turned[k] for k in ("uar", "recalls", "confusion", "labels")
    }
    assert (head / "predictions.csv").read_text() == text


def test_a_class_absent_from_the_split_is_left_out_and_said(
    head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [pair for pair in PAIRS if pair[0] != "happy"]
    found = evaluate(head, feature_set(tmp_path / "set", pairs), "test")
    assert found["recalls"] == {"calm": 0.5, "happy": None, "angry": pytest.approx(2 / 3)}
    assert found["uar"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert found["uar_without"] == ["happy"]
    assert "uar_without" not in evaluate(head, feature_set(tmp_path / "whole", PAIRS), "test")
    assert capsys.readouterr().err == "The test split has no utterance of [happy]: UAR is over the other classes\n"


def test_what_does_not_fit_together_is_refused(head: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"has labels \[calm, happy, sad\], but the head .* knows \[calm, happy, angry\]"
    ):
        evaluate(head, feature_set(tmp_path / "a", PAIRS[:5], ["calm", "happy", "sad"]), "test")
    with pytest.raises(InputError, match=r"has 4 dims, but the head .* expects 3"):
        evaluate(head, feature_set(tmp_path / "b", PAIRS, dims=4), "test")
    with pytest.raises(InputError, match="no 'dev' part; its splits are"):
        evaluate(head, feature_set(tmp_path / "c", PAIRS), "dev")
    with pytest.raises(InputError, match=r"Bad split '../x', expected one of \[train, dev, test\]"):
        evaluate(head, feature_set(tmp_path / "e", PAIRS), "../x")
    with pytest.raises(InputError, match="No head at"):
        evaluate(tmp_path / "nowhere", feature_set(tmp_path / "d", PAIRS), "test")
    assert not (head / "predictions.csv").exists()


def test_features_of_another_upstream_are_refused_naming_both(head: Path, tmp_path: Path) -> None:
    """Before their dims, which say less."""
    save_head(tmp_path / "other", load_head(head), {"command": "test"}, upstream={"name": "whisper", "pool": 2})
    features = feature_set(tmp_path / "set", PAIRS, dims=4)
    features = replace(features, config=features.config | {"upstream": {"name": "logmel"}})
    with pytest.raises(InputError, match=r"another upstream than the head .*: name is 'logmel', expected 'whisper'"):
        evaluate(tmp_path / "other", features, "test")


def test_posteriors_in_the_file_are_those_of_the_head(head: Path, tmp_path: Path) -> None:
    features = feature_set(tmp_path / "set", PAIRS)
    evaluate(head, features, "test")
    written = pd.read_csv(head / "predictions.csv")[["p_calm", "p_happy", "p_angry"]].to_numpy()
    test = features.part("test")
    frames, lengths = test.padded(range(len(test)))
    with torch.no_grad():
        expected = load_head(head)(frames, lengths).softmax(-1).numpy()
    assert np.allclose(written, expected, atol=1e-6)
