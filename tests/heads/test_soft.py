from pathlib import Path

import pytest
import torch

from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, Utterance
from gandistill.heads.bank import Bank
from gandistill.heads.soft import are_soft, soft_labelled, teacher
from tests.heads.conftest import write_bank


@pytest.fixture(scope="module")
def bank(shared_features: FeatureSet) -> Path:
    return write_bank(shared_features)


def test_hard_or_soft():
    assert (are_soft("hard"), are_soft("soft")) == (False, True)
    with pytest.raises(InputError, match=r"Bad --labels 'both', expected one of \[hard, soft\]"):
        are_soft("both")


def test_a_teacher_is_given_for_soft_labels_and_for_them_alone(bank: Path):
    given = teacher("soft", bank)
    assert given is not None
    assert given.labels == ["neutral", "happy", "sad"]
    assert teacher("hard", None) is None
    for labels, folder in (("soft", None), ("hard", bank)):
        with pytest.raises(InputError, match="--labels soft and --bank DIR go together"):
            teacher(labels, folder)


def test_the_label_is_the_converged_heads_mean_of_the_frames_as_stored(bank: Path):
    heads, frames = Bank.open(bank), torch.randn(7, 8)
    (labelled,) = soft_labelled([Utterance("a", "happy", frames, "s1")], heads)
    stored = frames.half().float()[None]
    converged = [head for head in heads.heads if head.trained["stage"] == "converged"]
    assert len(converged) == 2
    expected = torch.stack([head(stored, torch.tensor([7])).softmax(-1)[0] for head in converged]).mean(0)
    assert labelled.soft is not None
    torch.testing.assert_close(labelled.soft, expected)
    assert labelled.soft.sum() == pytest.approx(1)
    assert not labelled.soft.requires_grad
    assert (labelled.id, labelled.label, labelled.speaker) == ("a", "happy", "s1")
    assert labelled.frames is frames
