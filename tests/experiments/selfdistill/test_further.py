"""What leaving early is worth, by a rule given by hand."""

from pathlib import Path

import pytest
import torch

from gandistill.corpora.prepare import prepare
from gandistill.experiments.selfdistill import further
from gandistill.experiments.selfdistill.further import Early, Further
from gandistill.experiments.selfdistill.trials import ExitInputs
from gandistill.experiments.store import Store
from gandistill.numerics import seeded
from gandistill.selfdistill.backbone import backbone_of, load_upstream
from gandistill.selfdistill.calibration import Rule
from gandistill.selfdistill.inference import hear, posteriors_of
from gandistill.selfdistill.model import Network, load_network, save_network
from gandistill.selfdistill.settings import SelfDistilConfig
from gandistill.selfdistill.work import Work
from tests.corpora.fabricate import fabricate_nemo


@pytest.fixture
def inputs(tmp_path: Path, tiny_whisper: Path) -> ExitInputs:
    manifest = tmp_path / "manifest.csv"
    prepare("nemo", fabricate_nemo(tmp_path / "data", 1, 0.2), manifest, protocol="speaker-independent")
    return ExitInputs({"dev": manifest, "test": manifest}, str(tiny_whisper), 4, "0" * 64)


@pytest.fixture
def network(inputs: ExitInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """With exits behind layers 1 and 4, in place of one that a trial has trained."""
    with seeded(0):
        made = Network(backbone_of(load_upstream(inputs.upstream)[0]), {1: "cnn", 4: None}, inputs.labels, False)
    save_network(tmp_path / "network", made, {"command": "test"})
    monkeypatch.setattr(Further, "network", lambda *_: tmp_path / "network")
    return load_network(tmp_path / "network")


@pytest.mark.parametrize(("threshold", "depth"), [(0.0, 1), (1.0, 4)])
def test_leaving_always_or_never_by_hand(
    threshold: float,
    depth: int,
    inputs: ExitInputs,
    network: Network,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    asked = []

    def rule(heard: object, targets: object, uar_loss: float) -> Rule:
        asked.append((targets, uar_loss))
        return Rule(temperatures={1: 1.0, 4: 1.0}, threshold=threshold)

    monkeypatch.setattr(further, "learned", rule)
    found = Early(inputs, "test", SelfDistilConfig(), 0.25).compute(Store(tmp_path / "store"))
    assert [(len(targets), loss) for targets, loss in asked] == [(len(inputs.judged("dev")), 0.25)], "dev teaches it"
    auto, deepest = found["exits"]["auto"], found["exits"]["4"]
    p = posteriors_of(hear(network, inputs.judged("test")))
    assert auto["predicted"] == p[depth].argmax(-1).tolist()
    assert deepest["predicted"] == p[4].argmax(-1).tolist()
    assert auto["mean_depth"] == depth
    assert auto["left"] == {"1": float(depth == 1), "4": float(depth == 4)}
    work = Work.of(network.to(torch.device("meta")))
    assert auto["multiply_accumulates"] == pytest.approx(work.until(depth))
    assert deepest["multiply_accumulates"] == work.alone[4]
    assert work.until(4) > work.alone[4], "who stays has asked in vain"
