import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audmetric
import pytest

from gandistill import artifacts
from gandistill.cli import main
from gandistill.corpora.manifest import read_manifest, write_manifest
from gandistill.errors import InputError
from gandistill.evaluate.predictions import Predictions
from gandistill.evaluate.significance import compare
from gandistill.selfdistill.calibration import calibrate
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.evaluation import evaluate
from gandistill.selfdistill.inference import fused, posteriors
from gandistill.selfdistill.model import KIND, Network, load_network, save_network
from gandistill.selfdistill.prediction import predict

MakeNetwork = Callable[..., Network]


def test_each_exit_and_their_fusion_are_judged(network: Path, manifest: Path) -> None:
    before = artifacts.fingerprint(network)
    found = evaluate(network, manifest, "test")
    test = Utterances.read(manifest, "test")
    p = posteriors(load_network(network), test)
    expected = {"1": p[1], "2": p[2], "4": p[4], "fusion": fused(p)}
    assert list(found["exits"]) == list(expected)
    truth = [entry.emotion for entry in test.entries]
    for name, posterior in expected.items():
        said = [test.labels[c] for c in posterior.argmax(-1)]
        result = found["exits"][name]
        assert result["uar"] == pytest.approx(audmetric.unweighted_average_recall(truth, said))
        assert result["accuracy"] == pytest.approx(audmetric.accuracy(truth, said))
        assert result["mean_depth"] == (2 if name == "fusion" else int(name))
        written = Predictions.read(network / result["predictions"])
        assert written.ids.tolist() == [entry.id for entry in test.entries]
        assert (written.labels.tolist(), written.predicted.tolist()) == (truth, said)
        assert written.speakers.tolist() == [entry.speaker for entry in test.entries]
        assert written.uar == pytest.approx(result["uar"])
    names = [result["predictions"] for result in found["exits"].values()]
    assert names == [f"{name}-predictions.csv" for name in ("exit-01", "exit-02", "exit-04", "fusion")]
    assert compare(network / names[0], network / names[2])["utterances"] == len(test)
    assert (found["labels"], found["utterances"], found["split"]) == (test.labels, len(test), "test")
    assert found["network"] == {"name": "network", "fingerprint": before}
    assert found["manifest"] == {"name": "manifest.csv", "sha256": artifacts.sha256(manifest)}
    artifacts.open_artifact(network, KIND)
    assert artifacts.fingerprint(network) == before


def test_leaving_early_costs_on_dev_what_its_calibration_says(network: Path, manifest: Path) -> None:
    told = calibrate(network, manifest, 0.3)
    found = evaluate(network, manifest, "dev")["exits"]
    auto: dict[str, Any] = found["auto"]
    assert auto["uar"] == pytest.approx(told["uar"])
    assert found["4"]["uar"] == pytest.approx(told["deepest_uar"])
    assert auto["mean_depth"] == pytest.approx(told["mean_depth"])
    assert auto["predictions"] == "auto-predictions-dev.csv"
    assert list(auto["left"]) == ["1", "2", "4"]
    assert sum(auto["left"].values()) == told["utterances"]
    total = sum(int(depth) * count for depth, count in auto["left"].items())
    assert auto["mean_depth"] == pytest.approx(total / told["utterances"])
    assert Predictions.read(network / "auto-predictions-dev.csv").uar == pytest.approx(told["uar"])


def test_one_exit_has_nothing_to_fuse_or_to_leave_by(make_network: MakeNetwork, manifest: Path, tmp_path: Path) -> None:
    save_network(tmp_path / "plain", make_network({4: None}), {"command": "test"})
    assert list(evaluate(tmp_path / "plain", manifest, "test")["exits"]) == ["4"]
    save_network(tmp_path / "one", make_network({1: "cnn", 4: None}), {"command": "test"})
    assert list(evaluate(tmp_path / "one", manifest, "test")["exits"]) == ["1", "4"]


def test_long_utterances_leave_as_they_do_in_predict(make_network: MakeNetwork, manifest: Path, tmp_path: Path) -> None:
    """Each is three windows, 3,000 + 3,000 + 400 samples, of which each may leave elsewhere."""
    save_network(tmp_path / "network", make_network(clip=3000), {"command": "test"})
    told = calibrate(tmp_path / "network", manifest, 0.05)
    auto = evaluate(tmp_path / "network", manifest, "dev")["exits"]["auto"]
    dev = Utterances.read(manifest, "dev")
    found, _ = predict(tmp_path / "network", [entry.path for entry in dev.entries], "auto")
    assert told["mean_depth"] == auto["mean_depth"] == pytest.approx(found["mean_depth"])
    written = Predictions.read(tmp_path / "network" / auto["predictions"])
    assert written.predicted.tolist() == [each["label"] for each in found["files"]]
    assert told["uar"] == auto["uar"]
    assert sum(auto["left"].values()) == 3 * len(dev)


def test_a_class_that_the_split_lacks_is_said(
    network: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [entry for entry in read_manifest(manifest) if entry.emotion != "happiness"]
    write_manifest(tmp_path / "some.csv", some)
    found = evaluate(network, tmp_path / "some.csv", "test")
    assert found["exits"]["4"]["recalls"]["happiness"] is None
    assert found["exits"]["4"]["uar_without"] == ["happiness"]
    assert capsys.readouterr().err == (
        "The test split has no utterance of [happiness]: UAR is over the other classes\n"
    )


def test_what_does_not_fit_is_refused(network: Path, manifest: Path, tmp_path: Path) -> None:
    text = manifest.read_text().replace(",sadness,", ",boredom,")
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(InputError, match=r"'boredom', expected one of \["):
        evaluate(network, tmp_path / "other.csv", "test")
    with pytest.raises(InputError, match="Bad split 'x'"):
        evaluate(network, manifest, "x")
    assert not list(network.glob("*.csv"))


def test_the_commands(network: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in ("selfdistill", *arguments)])
        assert stopped.value.code == 0
        return capsys.readouterr().out

    told = json.loads(said("calibrate", network, manifest, "--uar-loss", "0.2", "--json"))
    assert told["uar_loss"] == 0.2
    found = json.loads(said("evaluate", network, manifest, "--split", "dev", "--json"))
    assert found["exits"]["auto"]["mean_depth"] == pytest.approx(told["mean_depth"])
    lines = said("evaluate", network, manifest, "--split", "dev").splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["1", "2", "4", "fusion", "auto"]
    assert lines[0].endswith(" 1 layers")
