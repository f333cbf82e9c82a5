"""Teachers: networks trained on real clips whose weights are kept after every epoch, as trajectories to be matched.

Section 4.2 of Chang et al. 2024, "Breaking Resource Barriers in Speech Emotion Recognition via Data Distillation".
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from gandistill import artifacts, files, processes
from gandistill.console import muted, say, track
from gandistill.errors import InputError, killed
from gandistill.features.featureset import FeatureSet
from gandistill.features.origin import made_from
from gandistill.heads.head import Head
from gandistill.heads.training import Schedule, score, target_distributions
from gandistill.numerics import one_thread
from gandistill.run import CHECKPOINTS, CONFIG, Run, last_step, load_state, state_of, stop_asked
from gandistill.trajectory.fitting import EpochSchedule, clip_frames, fit, fresh, optimiser_of
from gandistill.trajectory.matching import Network
from gandistill.trajectory.trajectories import KIND, MOMENTS, Trajectories, file_of, write_row

__all__ = ["EpochSchedule", "TeachConfig", "Trajectories", "fit", "teach"]

WORK = ".work"
STOP = "stop"
"""A file that tells the processes of a teaching to end after their epoch."""
POLL_SECONDS = 1.0
FREE = ("features",)
"""Settings that may differ when a teaching goes on: what they name is known by its content."""


class TeachConfig(EpochSchedule):
    """Which teachers are trained, and how."""

    features: Path | None = None
    """Feature set, its clips of one length, whose training part the teachers learn."""
    head: str = "cnn6"
    """Kind of head, as ``gandistill heads`` lists them."""
    trajectories: PositiveInt = 5
    """Teachers, each from initial weights of its own."""
    seed: int = Field(default=3000, ge=0, lt=2**62)
    """The first of the teachers' consecutive seeds. Far from those of heads that judge: a student with the initial
    weights of a teacher would flatter what was distilled from its trajectory, unless that is what is asked for."""

    def shareable(self) -> dict[str, Any]:
        """The settings that shaped the teachers, without where things lay on somebody's disk."""
        return self.model_dump(mode="json", exclude={*FREE})


def teach(config: TeachConfig, out: Path, jobs: int = 1, inexact: bool = False) -> None:
    """Train teachers and write their trajectories, an artifact; what a stop leaves in ``OUT.work`` is gone on from.

    ``jobs`` of them are trained at once in processes of their own, each on one thread, so that no bit depends on how
    many there are or on the machine's cores. ``inexact``: go on even where the bits would differ from those of an
    uninterrupted run. Raises InputError for bad input, or if ``out`` or its work has other settings; RunError when a
    loss is no longer a sane number, or the disk is full.
    """
    if processes.world() > 1:
        raise InputError("Teachers are not trained by processes that share batches: start one process, with --jobs")
    training, dev = _parts(config)
    if _is_taught(config, training, out):
        say(f"{out} holds these trajectories already")
        files.remove(_work(out))
        return
    head = fresh(training, config.head, config.seed)
    _say_size(config, Network(head.model).size, out)
    target_distributions(training, Schedule(labels=config.labels))
    work, total = _work(out), config.trajectories * config.epochs
    with muted(True):  # of checkpoints, which are in the trajectories' folders
        teaching = _run(work, config, config.seed, training, inexact)
    with teaching, stop_asked() as stop:
        done = _epochs_done(config, work)
        if done:
            say(f"Going on from {work}, where {done} of {total} epochs are there")
        one_by_one = (_trajectory(config, work, number, stop, inexact) for number in range(config.trajectories))
        epochs = _spread(config, work, jobs, stop, inexact) if jobs > 1 else chain.from_iterable(one_by_one)
        try:
            for _ in track(epochs, f"teaching {config.trajectories} {config.head}", total, done, unit="epochs"):
                pass
        except KeyboardInterrupt:
            say(f"Stopped: the same command goes on from {work}")
            raise
        _write(config, out, head, training, dev)
        files.remove(work)
    say(f"Trajectories: {out}")


def _work(out: Path) -> Path:
    """Where unfinished trajectories lie: a run folder for each, in a run folder that keeps other teachings out."""
    return out.with_name(out.name + WORK)


def _folder(work: Path, number: int) -> Path:
    return work / f"trajectory-{number}"


def _parts(config: TeachConfig) -> tuple[FeatureSet, FeatureSet | None]:
    """Training part, its clips of one length, and dev part if there is one. Raises InputError."""
    if config.features is None:
        raise InputError("Teaching needs a feature set: --set features=DIR")
    whole = FeatureSet.open(config.features)
    training = whole.training_part()
    clip_frames(training)
    return training, whole.part("dev") if "dev" in set(whole.index["split"]) else None


def _is_taught(config: TeachConfig, training: FeatureSet, out: Path) -> bool:
    """Whether ``out`` holds these trajectories. Raises InputError if it holds others, or something else."""
    artifacts.check_free(out, KIND)
    if not (out / artifacts.CONFIG).is_file():
        return False
    existing = Trajectories.open(out).config
    before, source = TeachConfig.build(existing.get("config", {}), str(out / artifacts.CONFIG)), existing.get("source")
    changed = [name for name, value in config.shareable().items() if before.shareable()[name] != value]
    if not isinstance(source, dict) or source.get("fingerprint") not in training.fingerprints:
        changed.append("features")
    if changed:
        raise InputError(f"{out} holds trajectories of other [{', '.join(changed)}]: choose another --out or remove it")
    return True


def _say_size(config: TeachConfig, size: int, out: Path) -> None:
    needed = config.trajectories * (config.epochs + 1) * size * 4
    if needed > 10**9:
        existing = next(folder for folder in out.absolute().parents if folder.is_dir())
        free = shutil.disk_usage(existing).free
        say(f"The trajectories will take {needed / 1e9:.1f} GB at {out}, {free / 1e9:.1f} GB are free there")


def _run(folder: Path, config: TeachConfig, seed: int, training: FeatureSet, inexact: bool) -> Run:
    """A run folder, new or to go on in. Raises InputError as ``Run`` does."""
    resume = (folder / CONFIG).is_file()
    return Run(folder, config, resume, inexact, FREE, seed, features=training.fingerprints)


def _epochs_done(config: TeachConfig, work: Path) -> int:
    """Epochs of all trajectories, by their last checkpoints."""
    return sum(last_step(_folder(work, number)) for number in range(config.trajectories))


def _trajectory(config: TeachConfig, work: Path, number: int, stop: Callable[[], bool], inexact: bool) -> Iterator[int]:
    """Train one teacher to its end, or go on with it, passing after every epoch, whose snapshot is then on disk.

    Raises KeyboardInterrupt after an epoch if a stop is asked for.
    """
    training, dev = _parts(config)
    folder, seed = _folder(work, number), config.seed + number
    with one_thread(), _run(folder, config, seed, training, inexact) as run:
        if run.step == config.epochs:
            return
        head = fresh(training, config.head, seed).to(processes.device())
        optimiser = optimiser_of(head, config)
        network = Network(head.model)
        shape = config.epochs + 1, network.size
        if run.state:
            load_state(run.state, folder, optimiser, head=head)
        else:
            write_row(folder / file_of(number), shape, 0, network.weights())
        for epoch in fit(head, training, config, seed, optimiser, run.step):
            write_row(folder / file_of(number), shape, epoch, network.weights())
            if epoch == config.epochs and dev is not None:
                run.best = score(head, dev)["uar"]
            run.checkpoint(epoch, state_of(optimiser, head=head))
            yield epoch
            if stop():
                raise KeyboardInterrupt


def _spread(config: TeachConfig, work: Path, jobs: int, stop: Callable[[], bool], inexact: bool) -> Iterator[None]:
    """Train teachers in processes of their own, passing once for each epoch that is done.

    Where one fails, or a stop is asked for, the others end after the epoch that they are in; a Ctrl-C while they are
    waited for ends them at once.
    """
    (work / STOP).unlink(missing_ok=True)
    done = _epochs_done(config, work)
    # Fresh processes: no thread of this one is forked, and CUDA cannot be.
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        with _deaf_to_ctrl_c():
            futures = {pool.submit(_in_silence, config, work, n, inexact) for n in range(config.trajectories)}
        try:
            while futures:
                ended, futures = wait(futures, POLL_SECONDS, FIRST_COMPLETED)
                before, done = done, _epochs_done(config, work)
                yield from (None for _ in range(done - before))
                for future in ended:
                    future.result()
                if stop() and futures:
                    raise KeyboardInterrupt
        except BaseException as error:
            (work / STOP).touch()
            try:
                pool.shutdown(wait=True, cancel_futures=True)
            except KeyboardInterrupt:
                for child in active_children():
                    child.kill()
                raise
            if isinstance(error, BrokenProcessPool):
                raise killed() from None
            raise


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes and threads that start within never hear Ctrl-C, which a terminal sends to all; ``STOP`` tells them.

    One that hears it while it still imports libraries dies with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_silence(config: TeachConfig, work: Path, number: int, inexact: bool) -> None:
    """One trajectory, in a process of its own, which ends after its epoch too if the one that waits for it is gone."""
    parent = parent_process()
    with muted(True), stop_asked() as interrupted:

        def stop() -> bool:
            return interrupted() or (work / STOP).exists() or (parent is not None and not parent.is_alive())

        if stop():  # a call that waited in the queue, out of which it cannot be cancelled
            return
        for _ in _trajectory(config, work, number, stop, inexact):
            pass


def _write(config: TeachConfig, out: Path, head: Head, training: FeatureSet, dev: FeatureSet | None) -> None:
    """Make an artifact of finished trajectories, whose files stay where they are until it is whole."""
    numbers, work = range(config.trajectories), _work(out)
    scores = [_last_score(_folder(work, number), config.epochs) for number in numbers]
    with artifacts.new_artifact(out, KIND) as folder:
        for number in numbers:
            _link(_folder(work, number) / file_of(number), folder / file_of(number))
        artifacts.save_tensors(folder / MOMENTS, {"mean": head.mean, "deviation": head.deviation})
        facts = {
            "head": head.kind,
            "labels": head.labels,
            "dims": head.dims,
            "frames": clip_frames(training),
            "epochs": config.epochs,
            "trajectories": config.trajectories,
            "config": config.shareable(),
            "utterances": training.class_counts,
            "dev_uar": None if dev is None else scores,
        }
        made_by = {"command": "trajectory teach", "seed": config.seed}
        described = artifacts.describe(KIND, made_by, **facts, **made_from(training))
        artifacts.write_json(folder / artifacts.CONFIG, described)
        artifacts.write_text(folder / artifacts.CARD, _card(facts))


def _last_score(folder: Path, epochs: int) -> float | None:
    checkpoint = folder / CHECKPOINTS / f"{epochs:09d}"
    return artifacts.open_artifact(checkpoint, "checkpoint", verify=(artifacts.CONFIG,))["best"]


def _link(source: Path, target: Path) -> None:
    """The same bytes under a second name, or where the file system knows none, copied."""
    try:
        os.link(source, target)
    except OSError:
        with files.room_for(target, source.stat().st_size):
            shutil.copyfile(source, target)


def _card(facts: dict[str, Any]) -> str:
    scores = facts["dev_uar"]
    listed = "not measured" if scores is None else ", ".join(f"{uar:.1%}" for uar in scores)
    return (
        f"# {facts['trajectories']} teachers' trajectories\n\nWeights of `{facts['head']}` heads before training and "
        f"after each of {facts['epochs']} epochs on real clips of {facts['frames']} frames of {facts['dims']} dims, "
        f"classes {', '.join(facts['labels'])}. UAR on the dev part after the last epoch: {listed}.\n\nFor matching "
        "trajectories by a distilled set. They were trained on real speech, and nothing was measured here that would "
        f"show they keep speakers private.\n\nWhat made them is in `{artifacts.CONFIG}`. Open them with "
        "`gandistill.trajectory.teachers.Trajectories`.\n"
    )
