import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.cli import main
from gandistill.errors import InputError, RunError
from gandistill.features.pretrained import load_pretrained
from gandistill.run import CHECKPOINTS, METRICS, STATE, Run
from gandistill.selfdistill import clips, training
from gandistill.selfdistill.backbone import MODEL_TYPES, WaveBackbone, backbone_of
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.fitting import train_mode
from gandistill.selfdistill.layerwise import FOLDER
from gandistill.selfdistill.model import NETWORK, load_network
from gandistill.selfdistill.random_upstream import make_upstream
from gandistill.selfdistill.training import dev_scores, prepared, train
from tests.selfdistill.conftest import LAYERWISE, TINY, UPDATES, metrics

LEARNING = {
    "nothing": [True] * 4,
    "encoder": [True] * 4,
    "half": [False, False, True, True],
    "backbone": [False] * 4,
}
"""Whether each layer learns, by what is frozen."""


def content(run: Path) -> dict[str, bytes]:
    """What a training leaves behind: metrics, last checkpoint, network; of both stages where there are two."""
    found = {}
    for folder in (run, run / FOLDER):
        if folder.is_dir():
            last = max((folder / CHECKPOINTS).iterdir())
            files = [folder / METRICS, last / STATE, *sorted((run / NETWORK).iterdir())]
            found |= {str(file.relative_to(run)): file.read_bytes() for file in files}
    return found


def interrupted(monkeypatch: pytest.MonkeyPatch, run: str, at: int, act: Callable[[], None]) -> None:
    """Let something happen once in the run of this name, when its update ``at`` is logged."""
    log = Run.log

    def logged(self: Run, step: int, scalars: dict[str, float]) -> None:
        log(self, step, scalars)
        if self.folder.name == run and step == at:
            monkeypatch.undo()
            act()

    monkeypatch.setattr(Run, "log", logged)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def kill() -> None:
    raise KeyboardInterrupt


def test_what_a_run_says_of_each_update(trained: Path):
    lines = metrics(trained)
    assert [line["step"] for line in lines] == list(range(1, 2 * UPDATES + 1))
    for line in lines:
        assert line.keys() == {"step", "loss", "cross_entropy", "kl", "similarity", "gradient_norm"}
        assert line["loss"] == pytest.approx(line["cross_entropy"] + line["kl"] + line["similarity"], abs=1e-5)


def test_what_a_network_says_of_itself(trained: Path, manifest: Path, upstream: Path):
    network = load_network(trained / NETWORK)
    assert (network.depths, network.blocks) == ([1, 2, 4], {1: "gru", 2: "gru", 4: None})
    assert (network.clip, network.normalise) == (6400, True)
    facts = network.facts
    assert facts["corpus"] == "nEMO"
    assert "licence" in facts
    assert facts["source"]["protocol"] == "speaker-independent"
    assert facts["trained"]["utterances"] == {label: 5 - (label == "surprise") for label in network.labels}
    assert facts["trained"]["epoch"] == 2
    scores = facts["trained"]["dev_uar"]
    assert scores == {str(d): uar for d, uar in dev_scores(network, Utterances.read(manifest, "dev")).items()}
    written = (trained / NETWORK / "config.json").read_text()
    for place in (manifest.parent, upstream):
        assert str(place) not in written, "no place on anybody's disk"
    assert facts["trained"]["upstream"]["name"] == "tiny"


def test_a_random_model_learns_what_the_corpus_teaches(configured: Any, tmp_path: Path, manifest: Path):
    """Six tones: chance is 1/6. Every exit of the network must hear them, on speakers it has not heard."""
    train(configured(training={"epochs": 16, "learning_rate": 3e-3, "freeze": "nothing"}), tmp_path / "run")
    network = load_network(tmp_path / "run" / NETWORK)
    scores = dev_scores(network, Utterances.read(manifest, "test", network.labels))
    assert min(scores.values()) > 0.5, scores


@pytest.mark.parametrize("changes", [{}, {"training": {"clip": 0}}, LAYERWISE], ids=["clips", "lengths", "layerwise"])
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_run_that_goes_on_ends_with_the_same_bytes(
    changes: dict[str, Any], how: str, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped after update 2, 4 and 5 of 6 (an epoch has 3), or killed there; dropout is on."""
    config, resume = configured(**changes), False
    train(config, tmp_path / "whole")
    for run in (FOLDER, "run") if "layerwise" in changes else ("run",):
        for at in (2, 4, 5):
            interrupted(monkeypatch, run, at, {"stopped": stop, "killed": kill}[how])
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path / "run", resume)
            resume = True
    train(config, tmp_path / "run", resume)
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_more_epochs_may_be_asked_for_later(configured: Any, trained: Path, tmp_path: Path):
    train(configured(training={"epochs": 1}), tmp_path / "run")
    train(configured(), tmp_path / "run", resume=True)
    assert content(tmp_path / "run") == content(trained)
    with pytest.raises(InputError, match="has made 6 updates already, more than 1 epochs have"):
        train(configured(training={"epochs": 1}), tmp_path / "run", resume=True)


def test_fewer_epochs_may_be_asked_for_later(
    configured: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped where the second of four epochs ends: two are enough after all; what is written once stays."""
    interrupted(monkeypatch, "run", 2 * UPDATES, stop)
    with pytest.raises(KeyboardInterrupt):
        train(configured(training={"epochs": 4}), tmp_path / "run")
    assert not (tmp_path / "run" / NETWORK).exists()
    train(configured(), tmp_path / "run", resume=True)
    assert content(tmp_path / "run") == content(trained)
    written = (tmp_path / "run" / NETWORK / "config.json").stat().st_mtime_ns
    train(configured(), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / NETWORK / "config.json").stat().st_mtime_ns == written
    interrupted(monkeypatch, "run", 3 * UPDATES, stop)
    with pytest.raises(KeyboardInterrupt):
        train(configured(training={"epochs": 4}), tmp_path / "run", resume=True)
    train(configured(training={"epochs": 3}), tmp_path / "run", resume=True)
    assert load_network(tmp_path / "run" / NETWORK).facts["trained"]["epoch"] == 3, "no older one is taken for it"


def test_files_are_measured_only_where_lengths_matter(configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def measured(part: Utterances) -> Any:
        raise InputError(f"measured {part.entries[0].split}")

    monkeypatch.setattr(Utterances, "samples", property(measured))
    monkeypatch.setattr(training, "dev_scores", lambda network, dev: {})
    train(configured(training={"epochs": 1}), tmp_path / "clips")
    with pytest.raises(InputError, match="measured train"):
        train(configured(training={"epochs": 1, "clip": 0}), tmp_path / "lengths")


def test_another_corpus_or_model_is_another_run(configured: Any, trained: Path, manifest: Path, tmp_path: Path):
    lines = manifest.read_text().splitlines(keepends=True)
    (tmp_path / "fewer.csv").write_text("".join(lines[:-14]) + "".join(lines[-12:]))
    with pytest.raises(InputError, match=r"other content of \[(train|dev)"):
        train(configured(manifest=str(tmp_path / "fewer.csv")), trained, resume=True)
    make_upstream(tmp_path / "other", TINY, seed=1)
    with pytest.raises(InputError, match=r"other content of \[upstream\]"):
        train(configured(network={"upstream": str(tmp_path / "other")}), trained, resume=True)
    with pytest.raises(InputError, match=r"other values of \[training\.seed\]"):
        train(configured(training={"seed": 1}), trained, resume=True)


def test_the_seed_decides(configured: Any, trained: Path, tmp_path: Path):
    train(configured(training={"seed": 1}), tmp_path / "run")
    assert metrics(tmp_path / "run")[0]["loss"] != metrics(trained)[0]["loss"]


@pytest.mark.parametrize("freeze", ["nothing", "encoder", "half", "backbone"])
def test_what_is_frozen_stays_as_it_was(freeze: str, configured: Any, upstream: Path, tmp_path: Path):
    config = configured(training={"freeze": freeze, "epochs": 1})
    network = prepared(config).network
    train_mode(network)
    backbone = network.backbone
    assert isinstance(backbone, WaveBackbone)
    frames = backbone.frames(torch.randn(2, 3000))
    assert backbone.encoder.training == (freeze == "nothing")
    assert backbone.encoder(torch.randn(1, 3000)).requires_grad == (freeze == "nothing"), "no graph is built"
    assert frames.requires_grad == backbone.layers.training == (freeze != "backbone")
    assert [layer.training for layer in backbone.layers] == LEARNING[freeze]
    assert network.exits.training
    train(config, tmp_path / "run")
    model, _ = load_pretrained(str(upstream), "", MODEL_TYPES)
    after, before = load_network(tmp_path / "run" / NETWORK).backbone, backbone_of(model)
    moved = {}
    for part in ("encoder", "projection", "layers"):
        pairs = zip(getattr(after, part).parameters(), getattr(before, part).parameters(), strict=True)
        moved[part] = any(not torch.equal(mine, theirs) for mine, theirs in pairs)
    assert moved == {"encoder": freeze == "nothing", "projection": freeze != "backbone", "layers": freeze != "backbone"}


def test_what_was_pretrained_may_have_a_rate_of_its_own(configured: Any, tmp_path: Path):
    """Adam's first update moves a weight by its rate."""
    config = configured(
        training={"learning_rate": 1e-2, "backbone_learning_rate": 1e-4, "epochs": 1, "batch": 29, "max_norm": 1e9}
    )
    before = prepared(config).network
    train(config, tmp_path / "run")
    after = load_network(tmp_path / "run" / NETWORK)
    for part, rate in (("backbone", 1e-4), ("exits", 1e-2)):
        pairs = zip(getattr(after, part).parameters(), getattr(before, part).parameters(), strict=True)
        assert max((mine - theirs).abs().max().item() for mine, theirs in pairs) == pytest.approx(rate, rel=1e-2)


def test_gradient_checkpointing_changes_no_weight(configured: Any, trained: Path, tmp_path: Path):
    train(configured(training={"gradient_checkpointing": True}), tmp_path / "run")
    for mine, theirs in zip(metrics(tmp_path / "run"), metrics(trained), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_the_best_on_dev_is_kept(configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Scores of four epochs, as means over exits: the second is the best, and the fourth only as good."""
    said = iter([{1: 0.2, 4: 0.4}, {1: 0.5, 4: 0.3}, {1: 0.1, 4: 0.1}, {1: 0.4, 4: 0.4}])
    monkeypatch.setattr(training, "dev_scores", lambda network, dev: next(said))
    train(configured(training={"epochs": 4, "select": "dev"}, network={"exits": [1]}), tmp_path / "run")
    kept = load_network(tmp_path / "run" / NETWORK).facts["trained"]
    assert (kept["epoch"], kept["dev_uar"]) == (2, {"1": 0.5, "4": 0.3})


def test_without_dev_the_last_is_kept(configured: Any, manifest: Path, tmp_path: Path):
    lines = manifest.read_text().replace(",dev,", ",train,")
    (tmp_path / "both.csv").write_text(lines)
    train(configured(manifest=str(tmp_path / "both.csv"), training={"epochs": 1}), tmp_path / "run")
    facts = load_network(tmp_path / "run" / NETWORK).facts
    assert facts["trained"]["dev_uar"] == {}
    assert sum(facts["trained"]["utterances"].values()) == 41
    assert facts.keys() == {"trained", "source"}, "nothing is known of its origin"
    with pytest.raises(InputError, match=r"has no dev part for training\.select=dev"):
        train(configured(manifest=str(tmp_path / "both.csv"), training={"select": "dev"}), tmp_path / "other")


def test_a_class_without_utterances_is_said(
    configured: Any, manifest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    lines = manifest.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not (",fear," in line and ",train," in line)]
    (tmp_path / "manifest.csv").write_text("".join(kept))
    prepared(configured(manifest=str(tmp_path / "manifest.csv")))
    assert "its train part has no fear, which is trained without" in capfd.readouterr().err
    alone = [line for line in lines if ",train," not in line or ",fear," in line]
    (tmp_path / "manifest.csv").write_text("".join(alone))
    with pytest.raises(InputError, match="its train part has one class only"):
        prepared(configured(manifest=str(tmp_path / "manifest.csv")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"manifest": None}, "Training needs a manifest with a train part: --set manifest=FILE"),
        ({"manifest": "none.csv"}, r"none\.csv: no such file"),
        ({"network": {"exits": [1, 4]}}, r"Bad exits \[4\], the model has layers 1 to 4"),
        ({"network": {"depth": 5}}, "Bad depth 5, expected 1 to 4, the model's transformer layers"),
        ({"network": {"upstream": "./no/model"}}, "No model at ./no/model"),
        ({"training": {"clip": 399}}, r"Bad training\.clip 399: the upstream takes at least 400 samples"),
        (LAYERWISE | {"layerwise": {"layers": [4, 8]}}, r"Bad layerwise\.layers \[4, 8\], the model has layers 1 to 4"),
    ],
)
def test_bad_input(configured: Any, tmp_path: Path, changes: dict[str, Any], words: str):
    with pytest.raises(InputError, match=words) as error:
        train(configured(**changes), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_clips_too_short_are_named_before_any_work(configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clips, "shortest_of", lambda _: 6401)
    with pytest.raises(InputError) as error:
        train(configured(training={"clip": 0}), tmp_path / "run")
    lines = str(error.value).splitlines()
    assert len(lines) == 29, "all of the train part"
    assert all(line.endswith("(6400 samples at 16 kHz, it takes at least 6401)") for line in lines)
    assert not (tmp_path / "run").exists()


def test_divergence_is_said(configured: Any, tmp_path: Path):
    with pytest.raises(RunError, match="Training diverged at step"):
        train(configured(training={"learning_rate": 1e30}), tmp_path / "run")


def test_a_file_that_is_gone(configured: Any, manifest: Path, tmp_path: Path):
    shutil.copytree(manifest.parent, tmp_path / "corpus")
    moved = (tmp_path / "corpus" / "manifest.csv").read_text().replace(str(manifest.parent), str(tmp_path / "corpus"))
    (tmp_path / "corpus" / "manifest.csv").write_text(moved)
    gone = Utterances.read(tmp_path / "corpus" / "manifest.csv", "train").entries[3].path
    gone.unlink()
    with pytest.raises(InputError, match=f"{gone}: no such file"):
        train(configured(manifest=str(tmp_path / "corpus" / "manifest.csv")), tmp_path / "run")


def test_the_command(configured: Any, tmp_path: Path, trained: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "config.yaml").write_text(configured().to_yaml())
    with pytest.raises(SystemExit) as end:
        main(["selfdistill", "train", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "run")])
    assert end.value.code == 0
    assert content(tmp_path / "run") == content(trained)
    said = capfd.readouterr()
    assert said.out == ""
    assert f"Network: {tmp_path / 'run' / NETWORK}" in said.err
    with pytest.raises(SystemExit) as end:
        main(["selfdistill", "train", "--out", str(tmp_path / "other"), "--set", "network.exits=[3,2]"])
    assert end.value.code == 2
