"""Equations (1) to (4), worked by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, kl_divergence
from torch.testing import assert_close

from gandistill.selfdistill.losses import LossConfig, cross_entropies, kl, self_distillation, similarity
from gandistill.selfdistill.model import Answer

TEACHER, STUDENT = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def answers() -> dict[int, Answer]:
    """Of exits 1, 2 and 4, two clips: R = 3, five linear outputs, C = 2; all of them leaves."""
    parts = {depth: (drawn(depth, 2, 3), drawn(10 + depth, 2, 5), drawn(20 + depth, 2, 2)) for depth in (4, 1, 2)}
    return {depth: Answer(*(part.requires_grad_() for part in each)) for depth, each in parts.items()}


def test_kl_of_the_teacher_from_the_student():
    """0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75), and another sum the other way round."""
    even, uneven = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert kl(even, uneven).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert kl(uneven, even).item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    two = torch.cat([even, uneven]), torch.cat([uneven, uneven])
    assert kl(*two).item() == pytest.approx(kl(even, uneven).item() / 2), "a mean over clips"


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), shift=st.floats(-50, 50))
def test_kl_is_that_of_the_distributions_and_zero_where_they_agree(seed: int, shift: float):
    teacher, student = drawn(seed, 4, 6).double() * 5, drawn(seed + 1, 4, 6).double() * 5
    expected = kl_divergence(Categorical(logits=teacher), Categorical(logits=student)).mean()
    assert_close(kl(teacher, student), expected)
    assert kl(teacher, teacher + shift).abs() < 1e-12, "logits may be shifted"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("l1", 1.0), ("l2", 1.0), ("cosine", -24 / 25), ("l1+cosine", 1 - 24 / 25), ("l2+cosine", 1 - 24 / 25)],
)
def test_similarity(kind: str, expected: float):
    assert similarity(TEACHER, STUDENT, kind).item() == pytest.approx(expected)
    thrice = 3 * TEACHER
    assert similarity(thrice, TEACHER, "l1").item() == pytest.approx(7)
    assert similarity(thrice, TEACHER, "l2").item() == pytest.approx(50)
    assert similarity(thrice, TEACHER, "cosine").item() == pytest.approx(-1)


def test_cross_entropies():
    """ln 2 for an even teacher; students at ln 4 and ln(4/3) for a class given a quarter and three quarters."""
    even, quarter, most = (torch.tensor([[p, 1 - p]]).log() for p in (0.5, 0.25, 0.75))
    label = torch.tensor([0])
    assert cross_entropies(even, [], label, 1).item() == pytest.approx(math.log(2))
    expected = math.log(2) + 0.5 * (math.log(4) + math.log(4 / 3)) / 2
    assert cross_entropies(even, [quarter, most], label, 0.5).item() == pytest.approx(expected)


@pytest.mark.parametrize("level", ["embedding", "linear"])
def test_the_whole_loss(level: str):
    found, labels = answers(), torch.tensor([0, 1])
    config = LossConfig.build({"alpha": 2, "beta": 3, "gamma": 0.5, "similarity": "l1", "level": level}, "test")
    terms = self_distillation(found, labels, config)
    teacher, students = found[4], [found[1], found[2]]
    divergence = sum(kl(teacher.logits, each.logits) for each in students) / 2
    distance = sum(similarity(getattr(teacher, level), getattr(each, level), "l1") for each in students) / 2
    entropy = cross_entropies(teacher.logits, [each.logits for each in students], labels, 0.5)
    assert_close(terms["kl"], divergence)
    assert_close(terms["similarity"], distance)
    assert_close(terms["cross_entropy"], entropy)
    assert_close(terms["loss"], entropy + 2 * divergence + 3 * distance)


@pytest.mark.parametrize("gradient", [False, True])
def test_the_teacher_moves_only_where_asked(gradient: bool):
    found = answers()
    terms = self_distillation(found, torch.tensor([0, 1]), LossConfig(teacher_gradient=gradient))
    (terms["kl"] + terms["similarity"]).backward()
    assert all((part.grad is not None) == gradient for part in (found[4].embedding, found[4].logits))
    assert all(found[depth].logits.grad is not None for depth in (1, 2))


def test_without_students_it_is_plain_fine_tuning():
    found = {4: answers()[4]}
    terms = self_distillation(found, torch.tensor([0, 1]), LossConfig())
    assert terms.keys() == {"loss", "cross_entropy"}
    assert terms["loss"] == torch.nn.functional.cross_entropy(found[4].logits, torch.tensor([0, 1]))
