"""Trials: one network, trained once, and what each of its exits makes of the part it is judged on.

Of a trial's run folder, which lies under the hash of what decides it, the network stays.
"""

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from gandistill import artifacts, evaluate, experiments, selfdistill
from gandistill.corpora.manifest import origin_path, read_manifest, read_origin, write_manifest
from gandistill.corpora.prepare import DEV_MERGED, prepare
from gandistill.corpora.splits import merge_dev
from gandistill.evaluate.predict import class_scores
from gandistill.experiments.inputs import MANIFEST
from gandistill.experiments.jobs import Trials
from gandistill.experiments.names import Facts
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.store import Store, digest
from gandistill.features.upstreams import parameters_sha256
from gandistill.processes import place
from gandistill.run import CHECKPOINTS, CONFIG
from gandistill.selfdistill import layerwise
from gandistill.selfdistill.backbone import encoder_of, load_upstream
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.inference import FUSION, can_fuse, fused, posteriors
from gandistill.selfdistill.model import NETWORK, Network, load_network
from gandistill.selfdistill.random_upstream import make_upstream
from gandistill.selfdistill.settings import SelfDistilConfig
from gandistill.selfdistill.training import train

TAUGHT_MORE = "manifest-train+dev.csv"


@dataclass(frozen=True)
class ExitInputs:
    """What every trial of a plan starts from.

    ``manifests`` by the part that is judged: for test one in which dev counts as train. ``layers`` of the upstream.
    """

    manifests: Mapping[str, Path]
    upstream: str
    layers: int
    upstream_sha256: str

    @cached_property
    def labels(self) -> list[str]:
        """The classes, in the order of their numbers."""
        return self.judged(next(iter(self.manifests))).labels

    def judged(self, part: str) -> Utterances:
        """The utterances of a part that is judged."""
        return self._parts[part]

    @cached_property
    def _parts(self) -> dict[str, Utterances]:
        return {part: Utterances.read(manifest, part) for part, manifest in self.manifests.items()}

    @cached_property
    def fingerprints(self) -> dict[str, list[str]]:
        """Of what teaches and what is judged, by the part that is judged."""
        return {
            part: [Utterances.read(manifest, "train").fingerprint, self.judged(part).fingerprint]
            for part, manifest in self.manifests.items()
        }


def inputs_of(plan: ExitPlan, root: Path, work: Path, upstream: str | None = None) -> ExitInputs:
    """Upstream and manifests of a plan's fold, in ``work``; ``upstream`` says where the recipe's lies, if not there.

    Raises InputError, before any long work, for layers that the upstream does not have, or a part that the protocol
    does not fill.
    """
    upstream = upstream or plan.whole.network.upstream
    if plan.random is not None:
        folder = work / f"upstream-{digest([plan.random.to_dict(), selfdistill.VERSION])[:16]}"
        if not folder.exists():
            make_upstream(folder, plan.random.settings, plan.random.seed)
        upstream = str(folder)
    model, _ = load_upstream(upstream)
    layers = len(model.encoder.layers)
    plan.check_layers(layers)
    manifest, more = work / MANIFEST, work / TAUGHT_MORE
    prepare(plan.corpus, root, manifest, protocol=plan.protocol, fold=plan.fold)
    write_manifest(more, merge_dev(read_manifest(manifest)))
    artifacts.write_json(origin_path(more), read_origin(manifest) | DEV_MERGED)
    manifests = {part: manifest if part == "dev" else more for part in plan.parts}
    inputs = ExitInputs(manifests, upstream, layers, parameters_sha256(encoder_of(model)))
    _ = inputs.fingerprints
    return inputs


@dataclass(frozen=True)
class Trial:
    """One training and its judgement. What is judged on test was taught by train and dev together, as in the paper."""

    inputs: ExitInputs
    part: str
    config: SelfDistilConfig

    def __str__(self) -> str:
        """What it is, in few words, for whoever must find it."""
        network, seed = self.config.network, self.config.training.seed
        if network.exits:
            exits = ", ".join(map(str, network.exits))
            name = f"self-distillation {network.block}, {self.config.loss.similarity}, exits {exits}"
        elif self.config.layerwise is not None:
            name = f"layer-wise distillation {network.block}"
        else:
            name = f"fine-tuning of {f'{network.depth} layers' if network.depth else 'all layers'}"
        return f"{name}, seed {seed}, judged on {self.part}"

    @property
    def decides(self) -> Facts:
        """What decides it, but for versions of libraries and the machine."""
        return {
            "code": [experiments.VERSION, evaluate.VERSION, selfdistill.VERSION],
            "upstream": self.inputs.upstream_sha256,
            "part": self.part,
            "data": self.inputs.fingerprints[self.part],
            "config": self.config.shareable(),
        }

    @cached_property
    def key(self) -> str:
        """The hash of everything that decides it."""
        return digest(self.decides)

    def run(self, store: Store) -> Path:
        """The run folder of its training."""
        return store.run(self.decides)

    def compute(self, store: Store) -> Facts:
        """Train the network, or go on with it, and judge every exit; of the run its network stays."""
        run = self.run(store)
        if not (run / NETWORK / artifacts.CONFIG).is_file():
            network = self.config.network.model_copy(update={"upstream": self.inputs.upstream})
            named = {"manifest": self.inputs.manifests[self.part], "network": network}
            begun, start = (run / CONFIG).is_file(), time.process_time()
            train(self.config.model_copy(update=named), run, resume=begun)
            store.timed(run, begun, start)
        for of_run in (run / CHECKPOINTS, run / layerwise.FOLDER):  # many times the network's size
            shutil.rmtree(of_run, ignore_errors=True)
        network = load_network(run / NETWORK)
        return {
            "exits": answers(network, self.inputs.judged(self.part)),
            "part": self.part,
            "config": self.config.shareable(),
            "utterances": network.facts["trained"]["utterances"],
        }


def answers(network: Network, judged: Utterances) -> dict[str, Facts]:
    """The scores of each exit of a network, by its depth, and of ``fusion`` of two students or more."""
    by_depth = posteriors(network.to(place().device or torch.device("cpu")), judged)
    p = {str(depth): posterior for depth, posterior in by_depth.items()}
    if can_fuse(by_depth):
        p[FUSION] = fused(by_depth)
    return scores_of(p, judged)


def scores_of(p: Mapping[str, Tensor], judged: Utterances) -> dict[str, Facts]:
    """What posteriors [N, C] are worth on utterances, by name.

    As ``class_scores`` has it, and ``predicted``, the class number of each utterance.
    """
    predicted = {name: posterior.argmax(-1).cpu().numpy() for name, posterior in p.items()}
    return {
        name: class_scores(judged.targets, classes, judged.labels) | {"predicted": classes.tolist()}
        for name, classes in predicted.items()
    }


def jobs_of(trials: Iterable[Trial]) -> list[Trials[Trial]]:
    """The jobs that these trials take, each trial once, in their order, but layer-wise ones first: they take longest.

    A job trains one network by several seeds and for every part, and then asks further of it.
    """
    groups: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        config = trial.config.shareable()
        del config["training"]["seed"]
        groups.setdefault(digest(config), {})[trial.key] = trial
    jobs = [Trials(tuple(group.values())) for group in groups.values()]
    return sorted(jobs, key=lambda job: job.trials[0].config.layerwise is None)
