"""Trajectory matching: eq. (1) and (2) of the paper, and three ways to the gradient through all Q updates of a student.

A student starts at a teacher's weights, makes Q updates on batches of the distilled set, eq. (1), and the set is judged
by how far that leaves it from where the teacher stood some epochs later, eq. (2). ``adjoint`` is exact and keeps Q
weight vectors and the graph of one update; ``unroll`` is exact and keeps the graphs of all Q; ``tesla`` keeps the graph
of one update alone, and is biased. All three leave their arguments as they are.

Paper: Chang et al. 2024, "Breaking Resource Barriers in Speech Emotion Recognition via Data Distillation", after
Cazenavette et al. 2022, "Dataset Distillation by Matching Training Trajectories" (MTT).
Shapes: Q updates of the student, W weights, N clips of the distilled set, B batch, T frames, D feature dims, C classes.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from gandistill.errors import InputError
from gandistill.trajectory.normalisation import BatchNorm


class Network:
    """A head's model as a function of one flat weight vector [W], its parameters in their order; ``size`` is W.

    A pure function, so that a step passed twice is the same step: batch norm takes the statistics of the batch at hand,
    as in a training update, and through them gradients flow from clip to clip; running statistics, which are no
    weights, are neither read nor written. Dropout, a different function at each call, is off.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._pure = deepcopy(model, {id(weight): weight for weight in model.parameters()}).eval()  # shares weights
        for name, module in list(self._pure.named_modules()):
            if isinstance(module, _BatchNorm):
                self._pure.set_submodule(name, BatchNorm(module))
        self._shapes = {name: weight.shape for name, weight in model.named_parameters()}
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        self.size = sum(self._sizes)

    def weights(self) -> Tensor:
        """The model's weights [W], a copy: what trains the model later does not change it."""
        return torch.cat([weight.detach().flatten() for weight in self._model.parameters()])

    @torch.no_grad()
    def load(self, weights: Tensor) -> None:
        """Write weights [W] into the model, which keeps none of their memory."""
        for weight, part in zip(self._model.parameters(), weights.split(self._sizes), strict=True):
            weight.copy_(part.view_as(weight))

    def __call__(self, weights: Tensor, clips: Tensor) -> Tensor:
        """Logits [B, C] of clips [B, T, D], all T frames of which are valid, with weights [W]."""
        parts = zip(self._shapes.items(), weights.split(self._sizes), strict=True)
        named = {name: part.view(shape) for (name, shape), part in parts}
        lengths = torch.full((len(clips),), clips.shape[1], device=clips.device)
        return functional_call(self._pure, named, (clips, lengths))


@dataclass(frozen=True)
class Gradients:
    """The matching loss [] of one distillation step, and its gradients."""

    loss: Tensor
    clips: Tensor
    """[N, T, D]; zero for clips in none of the batches."""
    targets: Tensor
    """[N, C], as of unconstrained numbers."""
    rate: Tensor
    """[]"""


def student_loss(network: Network, weights: Tensor, clips: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of clips [B, T, D] with target distributions [B, C]. L' of eq. (1)."""
    return F.cross_entropy(network(weights, clips), targets)


def matching_loss(reached: Tensor, start: Tensor, goal: Tensor) -> Tensor:
    """Squared distance of the student to the goal, over the teacher's from start to goal, all [W]. Eq. (2), l = 2.

    1 for a student that did not move, 0 for one at the goal. Raises InputError if the teacher did not move.
    """
    teacher_distance = _squared_norm(start - goal)
    if teacher_distance == 0:
        raise InputError("The teacher's weights are the same at start and goal: match epochs between which it learns")
    return (_squared_norm(reached - goal) / teacher_distance).to(reached.dtype)


def adjoint(
    network: Network,
    start: Tensor,
    goal: Tensor,
    clips: Tensor,
    targets: Tensor,
    rate: Tensor,
    batches: Sequence[Tensor],
) -> Gradients:
    """Exact gradients of eq. (2) through the Q updates of eq. (1), one update in memory at a time.

    Weights ``start`` and ``goal`` [W], clips [N, T, D], target distributions [N, C], rate [] and row numbers [B] of
    each of Q batches. The updates are made without a graph, keeping only the weights before each; then, backwards from
    lambda = dL/dtheta_Q, with g = grad L'(b_n; theta_n) and one double backward for each update,

        dL/dx -= alpha d(g lambda)/dx,  dL/dalpha -= g lambda,  lambda -= alpha d(g lambda)/dtheta.

    Raises InputError if the teacher did not move. Source: the adjoint of the recurrence, as in backpropagation through
    time (Maclaurin et al. 2015 for gradient descent), from stored states and not from reversed ones.
    """
    path = [start, *updates(network, start, clips, targets, rate, batches)]
    loss, lambda_ = _loss_and_lambda(path.pop(), start, goal)
    gradients = _zero_gradients(loss, clips, targets, rate)
    for rows in reversed(batches):
        _, by_weights = _double_backward(gradients, network, path.pop(), clips, targets, rate, rows, lambda_)
        lambda_ = lambda_ - rate * by_weights
    return gradients


def unroll(
    network: Network,
    start: Tensor,
    goal: Tensor,
    clips: Tensor,
    targets: Tensor,
    rate: Tensor,
    batches: Sequence[Tensor],
) -> Gradients:
    """The same gradients from one graph of all Q updates, which is kept until the end.

    Arguments and errors as of ``adjoint``. Source: MTT.
    """
    leaves = clips, targets, rate = _leaves(clips, targets, rate)
    (reached,) = _leaves(start)
    for rows in batches:
        slope = _slope(network, reached, clips[rows], targets[rows], graph=True)
        reached = reached - rate * slope
    loss = matching_loss(reached, start, goal)
    return Gradients(loss.detach(), *torch.autograd.grad(loss, leaves))


def tesla(
    network: Network,
    start: Tensor,
    goal: Tensor,
    clips: Tensor,
    targets: Tensor,
    rate: Tensor,
    batches: Sequence[Tensor],
) -> Gradients:
    """Gradients as if no update changed what the later ones see: exact for Q = 1, else biased; no weights are kept.

    With theta_Q = theta_0 - alpha sum_n g_n expanded in eq. (2), each g_n is taken to depend on its own batch alone,
    at weights that are constants: ``adjoint`` with lambda = dL/dtheta_Q throughout. In particular
    dL/dalpha = -lambda sum_n g_n. The Q updates are made twice, first to find lambda.

    Arguments and errors as of ``adjoint``. Source: Cui et al. 2023 (TESLA), "Scaling Up Dataset Distillation to
    ImageNet-1K with Constant Memory", which calls it exact. Their code leaves out the factor 2 of the clips' gradient;
    here it is in.
    """
    reached = start
    for reached in updates(network, start, clips, targets, rate, batches):  # noqa: B007
        pass
    loss, lambda_ = _loss_and_lambda(reached, start, goal)
    gradients = _zero_gradients(loss, clips, targets, rate)
    weights = start
    for rows in batches:
        slope, _ = _double_backward(gradients, network, weights, clips, targets, rate, rows, lambda_)
        weights = weights - rate * slope
    return gradients


Method = Callable[[Network, Tensor, Tensor, Tensor, Tensor, Tensor, Sequence[Tensor]], Gradients]
METHODS: dict[str, Method] = {"adjoint": adjoint, "unroll": unroll, "tesla": tesla}


def updates(
    network: Network, start: Tensor, clips: Tensor, targets: Tensor, rate: Tensor, batches: Sequence[Tensor]
) -> Iterator[Tensor]:
    """The student's weights [W] after each of its updates, without a graph. Eq. (1)."""
    weights = start
    for rows in batches:
        weights = weights - rate * _slope(network, weights, clips[rows], targets[rows])
        yield weights


def _slope(network: Network, weights: Tensor, clips: Tensor, targets: Tensor, graph: bool = False) -> Tensor:
    """The gradient [W] of the student's loss with respect to its weights. Eq. (1)."""
    if not graph:
        (weights,) = _leaves(weights)
    loss = student_loss(network, weights, clips, targets)
    return torch.autograd.grad(loss, weights, create_graph=graph)[0]


def _double_backward(
    gradients: Gradients,
    network: Network,
    weights: Tensor,
    clips: Tensor,
    targets: Tensor,
    rate: Tensor,
    rows: Tensor,
    lambda_: Tensor,
) -> tuple[Tensor, Tensor]:
    """Add what the update on these ``rows`` gives to the gradients; gives its slope g [W], and d(g lambda)/dtheta."""
    leaves = _leaves(weights, clips[rows], targets[rows])
    slope = _slope(network, *leaves, graph=True)
    by_weights, by_clips, by_targets = torch.autograd.grad(slope, leaves, lambda_)
    slope = slope.detach()
    gradients.clips.index_add_(0, rows, -rate * by_clips)
    gradients.targets.index_add_(0, rows, -rate * by_targets)
    gradients.rate.sub_((slope * lambda_).sum(dtype=torch.float64))
    return slope, by_weights


def _loss_and_lambda(reached: Tensor, start: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. (2), and lambda = dL/dtheta_Q [W]."""
    (reached,) = _leaves(reached)
    loss = matching_loss(reached, start, goal)
    return loss.detach(), torch.autograd.grad(loss, reached)[0]


def _zero_gradients(loss: Tensor, clips: Tensor, targets: Tensor, rate: Tensor) -> Gradients:
    return Gradients(loss, torch.zeros_like(clips), torch.zeros_like(targets), torch.zeros_like(rate))


def _leaves(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().requires_grad_() for tensor in tensors)


def _squared_norm(weights: Tensor) -> Tensor:
    """In float64: float32 would do for the sum, but not for what is left where it cancels."""
    return weights.square().sum(dtype=torch.float64)
