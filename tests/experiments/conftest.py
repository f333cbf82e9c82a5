"""A tiny corpus in two folds, a plan whose networks train in milliseconds, and trials done in this process."""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch

from gandistill import artifacts
from gandistill.experiments import jobs
from gandistill.experiments.gan.plan import Plan
from gandistill.experiments.gan.rows import Fold, Rows
from gandistill.experiments.inputs import Inputs
from gandistill.features.featureset import KIND, FeatureSet, Utterance, write_feature_set
from gandistill.heads.bank import BankConfig, build_bank

EVAL = Path(__file__).parents[2] / "eval"
EACH = {"angry": 2, "calm": 4, "sad": 3}
"""Utterances of each of six speakers; a fold's test part is two of them, so that 8, 16 and 12 train."""
DIMS = 6
BANK = BankConfig(heads=("superb",), seeds=1, updates=4, half_trained=2, batch=4)
GAN = """
architecture: {kind: gan-att, frames: 12, noise: 4, channels: [6, 6, 4], critic_channels: [4, 4, 4, 4, 4, 4, 4, 4]}
training: {updates: 4, batch: 4, checkpoint_every: 1, evaluate_heads: [superb], evaluate_ppc: 2}
"""
RECIPES = {
    "extract.yaml": "",
    "bank.yaml": BANK.to_yaml(),
    "head.yaml": "updates: 6\nbatch: 8\n",
    "probe.yaml": "updates: 6\n",
    "gan.yaml": GAN,
    "warm.yaml": "base: gan.yaml\narchitecture: {start: closed-form}\n",
}
PLAN: dict[str, Any] = {
    "corpus": "synthetic",
    "protocol": "speaker-independent",
    "folds": [1, 2],
    "extract": "extract.yaml",
    "bank": "bank.yaml",
    "head": "head.yaml",
    "generators": {"cold": {"recipe": "gan.yaml"}, "warm": {"recipe": "warm.yaml", "losses": ["both"]}},
    "balanced": "cold",
    "ppc": [2, 5],
    "labels": ["hard", "soft"],
    "heads": [{"kind": "superb", "seeds": 2}, {"kind": "attentive", "seeds": 3, "ppc": [5], "labels": ["hard"]}],
    "seeds": 2,
    "repeats": 3,
    "speakers": {"config": "probe.yaml"},
}


def write_fold(folder: Path, fold: int) -> Inputs:
    """Features and bank; class c's frames are raised in dimension c, a speaker's in another."""
    rng, utterances, labels = np.random.default_rng(0), [], [*EACH]
    for speaker in range(6):
        split = "test" if speaker in (2 * fold - 2, 2 * fold - 1) else "train"
        for number, (label, each) in enumerate(EACH.items()):
            for i in range(each):
                frames = torch.from_numpy(rng.normal(size=(int(rng.integers(7, 20)), DIMS))).float()
                frames[:, number] += 2.0
                frames[:, 3 + speaker % 3] += 1.0
                name = f"s{speaker}-{label}-{i}"
                utterances.append(Utterance(name, label, frames, f"s{speaker}", "", split))
    facts = artifacts.describe(KIND, {}, corpus="toy", labels=labels, dims=DIMS, frame_rate=50.0, fold=fold)
    write_feature_set(folder / "features", utterances, facts, "# Test\n")
    build_bank(FeatureSet.open(folder / "features"), BANK, folder / "bank", {})
    return Inputs(folder / "features", folder / "bank", BANK)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Inputs]:
    """Of two folds whose test parts share no utterance."""
    root = tmp_path_factory.mktemp("folds")
    return [write_fold(root / f"fold{fold}", fold) for fold in (1, 2)]


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    for name, text in RECIPES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def planned(recipes: Path) -> Callable[..., Plan]:
    """The plan with some values changed, its recipes found: ``planned(seeds=1)``."""
    return lambda **changes: Plan.build(PLAN | changes, "plan").rooted(recipes)


@dataclass(frozen=True)
class Tables:
    """A plan with the folds that it is run on."""

    plan: Plan
    folds: list[Fold]

    def rows(self, table: int) -> list[Any]:
        rows = Rows(self.plan, self.folds, within=4000)
        return [*{1: rows.sizes, 2: rows.losses, 3: rows.balance, 4: rows.speakers}[table]()]


@pytest.fixture
def tables_of(inputs: list[Inputs], planned: Callable[..., Plan]) -> Callable[..., Tables]:
    def made(folds: int = 1, **changes: Any) -> Tables:
        return Tables(planned(**changes), [Fold.of(one) for one in inputs[:folds]])

    return made


class HereAndNow:
    """Stands in for a pool of processes: what is submitted is done at once, in this process, in the order given."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def shutdown(self, **_: object) -> None: ...

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do trials in this process, since a new one takes three seconds to import torch."""
    monkeypatch.setattr(jobs, "ProcessPoolExecutor", HereAndNow)


Script = Callable[..., None]


def script_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The ``main`` of a script in ``eval/`` on a command line, in this process: a new one takes seconds to import."""
    spec = spec_from_file_location(f"{name}_script", EVAL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        module.main()

    return run


def line_of_refusal(script: Script, capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a script says of bad input, having ended with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        script(*arguments)
    assert ended.value.code == 2
    out, err = capfd.readouterr()
    assert not out
    (line,) = [line for line in err.splitlines() if line.startswith(f"{Path(sys.argv[0]).stem}: ")]
    return line
