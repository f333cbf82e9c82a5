"""Fitting a module to labelled clips: every update of every epoch, what is logged of it, checkpoints and stops.

Shapes: B batch, S samples. All draws are keyed by the seed, their purpose and the update: a resumed run draws the same.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from gandistill import processes
from gandistill.console import track
from gandistill.errors import InputError
from gandistill.numerics import drawn_by
from gandistill.run import Run, check_finite, load_state, state_of
from gandistill.selfdistill.clips import Utterances, epoch_batches
from gandistill.selfdistill.model import Network
from gandistill.selfdistill.settings import TrainingConfig

DROPOUT, WEIGHTS = 2, 3
"""Purposes of the draws that dropout and new weights need; 1 is the order of an epoch."""
Loss = Callable[[Tensor, Tensor | None, Tensor], dict[str, Tensor]]
"""From clips [B, S], their lengths [B] or None, and class numbers [B] to named terms, ``loss`` among them, each a mean
over the batch, or such that its mean over processes is one over the batches of all."""
Batch = tuple[Tensor, Tensor | None, Tensor]


def fit(
    run: Run,
    module: nn.Module,
    loss: Loss,
    utterances: Utterances,
    network: Network,
    config: TrainingConfig,
    epochs: int,
    stop: Callable[[], bool],
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Move those parameters of a module that ask for gradients by Adam, from where the run's last checkpoint stood.

    ``network`` says how clips are prepared. ``after_epoch`` is called after each epoch, before its checkpoint. Several
    processes share each batch and end with the same weights; only dropout makes these differ from those of one.
    Raises KeyboardInterrupt after an update, its checkpoint written, once ``stop()``; InputError for audio that
    cannot be read, or a run that has gone further; RunError when a loss is no longer a sane number.
    """
    device = processes.device()
    module.to(device)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(by_rate(parameters, network, config), config.learning_rate, fused=True)
    if run.state:
        load_state(run.state, run.folder, optimiser, module=module)
    processes.check_same(module.state_dict() | {"step": torch.tensor(run.step)})
    per_epoch = -(-len(utterances) // config.batch)
    updates = epochs * per_epoch
    if run.step > updates:
        raise InputError(f"{run.folder} has made {run.step} updates already, more than {epochs} epochs have")
    batches = ahead(_loads(utterances, network, config, run.step, updates))
    steps = run.steps(updates, "update", lambda: state_of(optimiser, module=module), per_epoch, stop)
    train_mode(module)
    for update, batch in zip(track(steps, "training", updates, run.step, unit="updates"), batches, strict=True):
        clips, lengths, targets = batch
        ends = None if lengths is None else lengths.to(device)
        with drawn_by(config.seed, DROPOUT, update, processes.place().process_index):
            terms = loss(clips.to(device), ends, targets.to(device))
            terms["loss"].backward()
        processes.average_gradients(parameters)
        norm = clip_grad_norm_(parameters, config.max_norm)
        means = processes.mean(torch.stack([*terms.values(), norm]).detach()).tolist()
        scalars = dict(zip((*terms, "gradient_norm"), means, strict=True))
        check_finite(update, scalars)
        optimiser.step()
        optimiser.zero_grad()
        run.log(update, scalars)
        epoch, left = divmod(update, per_epoch)
        if not left:
            after_epoch(epoch)
            train_mode(module)


def by_rate(parameters: list[nn.Parameter], network: Network, config: TrainingConfig) -> list[dict[str, Any]]:
    """Parameters in groups of one learning rate: a single one, unless what was pretrained has a rate of its own."""
    if config.backbone_learning_rate is None:
        return [{"params": parameters}]
    pretrained = {id(parameter) for parameter in network.backbone.parameters()}
    old = [parameter for parameter in parameters if id(parameter) in pretrained]
    new = [parameter for parameter in parameters if id(parameter) not in pretrained]
    return [{"params": old, "lr": config.backbone_learning_rate}, {"params": new}]


def train_mode(module: nn.Module) -> None:
    """Training mode, but for those parts whose parameters are all frozen."""
    module.train()
    for part in module.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            part.eval()


def _loads(
    utterances: Utterances, network: Network, config: TrainingConfig, done: int, updates: int
) -> Iterator[Callable[[], Batch]]:
    """What reads this process's share of the batch of each update after ``done``."""
    per_epoch = -(-len(utterances) // config.batch)
    samples = None if config.clip else utterances.samples  # measuring may read every file

    def load(rows: NDArray[np.int64]) -> Batch:
        return *utterances.batch(rows, network), torch.from_numpy(utterances.targets[rows])

    for epoch in range(done // per_epoch + 1, updates // per_epoch + 1):
        batches = epoch_batches(len(utterances), config.batch, samples, config.seed, epoch)
        first = max(done - (epoch - 1) * per_epoch, 0)
        yield from (partial(load, processes.share(rows)) for rows in batches[first:])


def ahead(calls: Iterable[Callable[[], Batch]]) -> Iterator[Batch]:
    """The results of calls, in order, the next one made in a thread of its own while the last one's is used."""
    with ThreadPoolExecutor(1) as pool:
        pending = None
        for call in calls:
            pending, result = pool.submit(call), pending
            if result is not None:
                yield result.result()
        if pending is not None:
            yield pending.result()
