"""What self-distillation minimises: equations (1) to (4) of Ren et al. 2023.

"Fast Yet Effective Speech Emotion Recognition with Self-Distillation", ICASSP 2023 (arXiv 2210.14636). The deepest exit
is the teacher N, the N_a others are the students. Shapes: B batch, R dims of an embedding, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, kl_div, l1_loss, mse_loss

from gandistill.config import Config
from gandistill.selfdistill.model import Answer


class LossConfig(Config):
    """The terms of the loss and their weights, the paper's."""

    alpha: NonNegativeFloat = 1.0
    """Weight of the Kullback-Leibler loss."""
    beta: NonNegativeFloat = 1.0
    """Weight of the similarity loss."""
    gamma: NonNegativeFloat = 1.0
    """Weight of the students' cross-entropy."""
    similarity: Literal["l1", "l2", "cosine", "l1+cosine", "l2+cosine"] = "l2+cosine"
    """Distance of a student's representations from the teacher's. The default is that of the paper's best teacher."""
    level: Literal["embedding", "linear"] = "embedding"
    """Which representations are compared: those pooled over time, or what the first linear layer makes of them."""
    teacher_gradient: bool = False
    """Let the Kullback-Leibler and similarity losses move the teacher towards its students too."""


def self_distillation(answers: Mapping[int, Answer], labels: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """The loss, ``loss``, and its terms before weighting, from the answers of all exits and class numbers [B].

    L = L_c + alpha L_k + beta L_s. Without students it is the teacher's cross-entropy. Eq. (1), Ren et al. 2023.

    Paper: whether the teacher is moved by L_k and L_s is not said. Here: it is not, unless ``teacher_gradient`` asks
    for it. Why: a teacher that may come to meet its students can lower both by forgetting.
    """
    *students, teacher = (answers[depth] for depth in sorted(answers))
    goal = teacher if config.teacher_gradient else Answer(*(part.detach() for part in teacher))
    terms = {
        "cross_entropy": cross_entropies(teacher.logits, [student.logits for student in students], labels, config.gamma)
    }
    if students:
        terms["kl"] = torch.stack([kl(goal.logits, student.logits) for student in students]).mean()
        level = config.level
        pairs = [(getattr(goal, level), getattr(student, level)) for student in students]
        terms["similarity"] = torch.stack([similarity(*pair, config.similarity) for pair in pairs]).mean()
    weights = {"cross_entropy": 1.0, "kl": config.alpha, "similarity": config.beta}
    return {"loss": torch.stack([weights[name] * term for name, term in terms.items()]).sum(), **terms}


def cross_entropies(teacher: Tensor, students: Sequence[Tensor], labels: Tensor, gamma: float) -> Tensor:
    """L_ce(O, y) + gamma mean_a L_ce(O_a, y), from logits [B, C] and class numbers [B]. Eq. (2), Ren et al. 2023."""
    loss = cross_entropy(teacher, labels)
    if students:
        loss = loss + gamma * torch.stack([cross_entropy(student, labels) for student in students]).mean()
    return loss


def kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(O || O_a) = sum_c O log(O / O_a), averaged over the batch, from logits [B, C]; 0 where they agree.

    Eq. (3), Ren et al. 2023. (The paper's public code gives probabilities where log-probabilities are expected, and
    finds -1.9 there.)
    """
    return kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)


def similarity(teacher: Tensor, student: Tensor, kind: str) -> Tensor:
    """L_sim of representations [B, R]: the mean absolute or squared difference, the negative cosine, or a sum of two.

    Eq. (4), Ren et al. 2023.
    """
    return torch.stack([_DISTANCES[name](student, teacher) for name in kind.split("+")]).sum()


def _negative_cosine(a: Tensor, b: Tensor) -> Tensor:
    return -cosine_similarity(a, b).mean()


_DISTANCES = {"l1": l1_loss, "l2": mse_loss, "cosine": _negative_cosine}
