import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from gandistill import artifacts
from gandistill.corpora import audio
from gandistill.corpora.manifest import Entry, read_manifest, write_manifest
from gandistill.errors import InputError, RunError
from gandistill.selfdistill import prediction, windows
from gandistill.selfdistill.calibration import Calibration, calibrate, leaving, tempered, thresholds
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.evaluation import evaluate
from gandistill.selfdistill.export import export
from gandistill.selfdistill.inference import fused, hear
from gandistill.selfdistill.model import Network, load_network, save_network
from gandistill.selfdistill.prediction import Predictor, predict
from gandistill.selfdistill.windows import shortest_of
from tests.commands import run

MakeNetwork = Callable[..., Network]
RATE = audio.SAMPLE_RATE


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def wav(path: Path, samples: NDArray[np.float32], rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def calibrated(network: Path, threshold: float) -> None:
    """The same network, calibrated by hand, to temperatures of 1.5."""
    kept = load_network(network)
    fact = {"temperatures": {str(depth): 1.5 for depth in kept.depths}, "threshold": threshold, "uar_loss": 0.01}
    worth = {"uar": 0.5, "deepest_uar": 0.5, "mean_depth": 2.0}
    dev = {"manifest": "m.csv", "fingerprint": "0", "chose_epoch": None}
    kept.facts["calibration"] = fact | worth | {"utterances": 9, "held_out": worth | {"by": "speaker"}, "dev": dev}
    save_network(network, kept, {"command": "test"})


def p_of(network: Network, depth: int, samples: NDArray[np.float32]) -> torch.Tensor:
    with torch.no_grad():
        clip = network.prepared(torch.from_numpy(samples))[None]
        return dict(network.answers(clip))[depth].logits[0].double().softmax(-1)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of a network that are opened, and the layers and exits that are run, in order."""
    seen, plain_load, plain_open = list[str](), artifacts.load_verified, Predictor.open

    def load(file: Path, expected: Any) -> Any:
        seen.append(file.name)
        return plain_load(file, expected)

    def opened(folder: Path, exit: str) -> Predictor:
        predictor = plain_open(folder, exit)
        for number, layer in enumerate(predictor.network.backbone.layers, 1):
            layer.register_forward_hook(lambda *_, number=number: seen.append(f"layer {number}"))
        for depth, each in predictor.network.exits.items():
            each.register_forward_hook(lambda *_, depth=depth: seen.append(f"exit {depth}"))
        return predictor

    monkeypatch.setattr(artifacts, "load_verified", load)
    monkeypatch.setattr(Predictor, "open", opened)
    return seen


def test_a_run_stands_for_the_network_in_it(network: Path, manifest: Path, tmp_path: Path):
    """Whatever takes a network; what is written beside it is written there."""
    run, file = network.parent, wav(tmp_path / "a.wav", noise(0.4))
    assert calibrate(run, manifest, 0.5) == load_network(network).facts["calibration"]
    assert predict(run, [file], "auto") == predict(network, [file], "auto")
    assert evaluate(run, manifest, "test") == evaluate(network, manifest, "test")
    assert (network / "auto-predictions.csv").is_file()
    assert export(run, 1, tmp_path / "exit") == export(network, 1, tmp_path / "exit")


def test_no_more_is_read_and_run_than_an_exit_needs(network: Path, tmp_path: Path, counted: list[str]) -> None:
    predict(network, [wav(tmp_path / "a.wav", noise(0.4))], "2")
    read = ["encoder.safetensors", "layer-01.safetensors", "layer-02.safetensors", "exit-02.safetensors"]
    assert counted == [*read, "layer 1", "layer 2", "exit 2"]


def test_what_is_above_an_exit_need_not_be_there(network: Path, tmp_path: Path) -> None:
    clip = wav(tmp_path / "a.wav", noise(0.4))
    expected = predict(network, [clip], "1")
    for name in ("layer-02", "layer-03", "layer-04", "exit-02", "exit-04"):
        (network / f"{name}.safetensors").unlink()
    assert predict(network, [clip], "1") == expected
    with pytest.raises(InputError, match=r"layer-02\.safetensors"):
        predict(network, [clip], "2")


def test_fusion_runs_no_layer_above_the_last_student(network: Path, tmp_path: Path, counted: list[str]) -> None:
    samples = noise(0.4)
    result, _ = predict(network, [wav(tmp_path / "a.wav", samples)], "fusion")
    assert counted[-4:] == ["layer 1", "exit 1", "layer 2", "exit 2"]
    assert not {"layer-03.safetensors", "exit-04.safetensors"} & set(counted)
    whole = load_network(network)
    expected = fused({depth: p_of(whole, depth, samples) for depth in (1, 2, 4)})
    assert list(result["files"][0]["probabilities"].values()) == pytest.approx(expected.tolist(), rel=1e-4)
    assert result["mean_depth"] == 2


@pytest.mark.parametrize(
    ("threshold", "run"),
    [(0.0, ["layer 1", "exit 1"]), (1.0, ["layer 1", "exit 1", "layer 2", "exit 2", "layer 3", "layer 4", "exit 4"])],
)
def test_auto_stops_the_layers_where_it_leaves(
    network: Path, tmp_path: Path, counted: list[str], threshold: float, run: list[str]
) -> None:
    clip = wav(tmp_path / "a.wav", noise(0.4))
    calibrated(network, threshold)
    result, _ = predict(network, [clip], "auto")
    assert [each for each in counted if " " in each] == run
    assert result["mean_depth"] == int(run[-1][-1])


def test_auto_leaves_each_clip_where_the_evaluation_says(network: Path, manifest: Path) -> None:
    test, whole = Utterances.read(manifest, "test"), load_network(network)
    heard = hear(whole, test)
    confidence = np.stack([tempered(each, 1.5).amax(-1).numpy() for each in heard.logits.values()])
    mixed = (each for each in thresholds(confidence[:2]) if len(set(leaving(confidence, each))) == 3)
    calibrated(network, next(mixed))
    depths, p = Calibration.of(load_network(network), network).chosen(heard)
    assert set(depths) == {1, 2, 4}
    result, problems = predict(network, [entry.path for entry in test.entries], "auto")
    assert [each["depth"] for each in result["files"]] == depths.tolist()
    found = [[*each["probabilities"].values()] for each in result["files"]]
    np.testing.assert_allclose(found, p.numpy(), atol=1e-4)
    assert (result["mean_depth"], problems) == (pytest.approx(depths.mean()), [])


@pytest.mark.parametrize("clip", [0, 5000])
def test_a_clip_is_heard_as_in_training(make_network: MakeNetwork, manifest: Path, tmp_path: Path, clip: int) -> None:
    """0.2 s, shorter than 5,000 samples, which it reaches by repeating itself."""
    whole, path = make_network(clip=clip), wav(tmp_path / "a.wav", noise(0.2))
    save_network(tmp_path / "network", whole, {"command": "test"})
    write_manifest(tmp_path / "m.csv", [Entry("a", path, "sadness", "s", split="test")])
    expected = hear(whole, Utterances.read(tmp_path / "m.csv", "test", whole.labels)).logits
    for depth in whole.depths:
        found = predict(tmp_path / "network", [path], str(depth))[0]["files"][0]
        assert [*found["probabilities"].values()] == pytest.approx(expected[depth][0].softmax(-1).tolist(), abs=1e-5)
        assert found["label"] == whole.labels[int(expected[depth].argmax())]
        assert (found["exit"], found["depth"], found["seconds"]) == (str(depth), depth, 0.2)


def test_a_long_file_by_hand(make_network: MakeNetwork, tmp_path: Path) -> None:
    """Windows of 5,000, 5,000 and 2,000 samples, the last repeated: means by 5 : 5 : 2."""
    whole, samples = make_network(clip=5000), noise(12_000 / RATE)
    save_network(tmp_path / "network", whole, {"command": "test"})
    parts = samples[:5000], samples[5000:10_000], samples[10_000:]
    expected = torch.stack([len(part) * p_of(whole, 2, part) for part in parts]).sum(0) / 12_000
    found = predict(tmp_path / "network", [wav(tmp_path / "a.wav", samples)], "2")[0]["files"][0]
    assert [*found["probabilities"].values()] == pytest.approx(expected.tolist(), abs=1e-6)
    assert found["seconds"] == 0.75


@pytest.mark.parametrize("clip", [0, 5000])
@pytest.mark.parametrize("rest", [1, 399, 400])
def test_a_last_window_of_a_moment_does_no_harm(
    make_network: MakeNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: int, rest: int
) -> None:
    monkeypatch.setattr(windows, "WINDOW", 5000)
    heard, whole, plain = list[int](), make_network(clip=clip), Predictor.answer
    monkeypatch.setattr(Predictor, "answer", lambda self, part: (heard.append(len(part)), plain(self, part))[1])
    save_network(tmp_path / "network", whole, {"command": "test"})
    samples = noise((10_000 + rest) / RATE)
    found = predict(tmp_path / "network", [wav(tmp_path / "a.wav", samples)], "4")[0]["files"][0]
    assert heard == ([5000, 5000 + rest] if rest < 400 else [5000, 5000, 400])
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["seconds"] == len(samples) / RATE


def test_a_long_file_is_answered_while_it_is_read(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it is, no more is held than a window, a rest and a block."""
    monkeypatch.setattr(windows, "WINDOW", 2000)
    monkeypatch.setattr(audio, "BLOCK_FRAMES", 1000)
    events, plain, plain_blocks = list[str](), Predictor.answer, audio._decoded

    def answer(self: Predictor, part: torch.Tensor) -> Any:
        events.append("answer")
        return plain(self, part)

    def blocks(*arguments: Any) -> Iterator[NDArray[np.float32]]:
        for block in plain_blocks(*arguments):
            events.append("block")
            yield block

    monkeypatch.setattr(Predictor, "answer", answer)
    monkeypatch.setattr(audio, "_decoded", blocks)
    predict(network, [wav(tmp_path / "a.wav", noise(10_000 / RATE))], "1")
    assert events == ["block", *["block", "block", "answer"] * 4, "block", "answer"]


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_and_channels_are_heard_as_everywhere(network: Path, tmp_path: Path, rate: int) -> None:
    stereo = np.stack([noise(0.5, 0, rate), noise(0.5, 1, rate)], axis=1)
    path = wav(tmp_path / "a.wav", stereo, rate)
    straight = wav(tmp_path / "b.wav", audio.load(path))
    (first, second) = predict(network, [path, straight], "4")[0]["files"]
    assert first["probabilities"] == second["probabilities"]


def test_a_silent_window_of_a_file_that_is_not_silent_is_answered(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW", 4000)
    samples = np.concatenate([np.zeros(4000, np.float32), noise(0.25)])
    found = predict(network, [wav(tmp_path / "a.wav", samples)], "4")[0]["files"][0]
    assert sum(found["probabilities"].values()) == pytest.approx(1)


def test_a_file_too_short_for_the_convolutions_is_refused(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = wav(tmp_path / "a.wav", noise(0.03))
    shortest = shortest_of(load_network(network))
    assert shortest == 400
    assert load_network(network).backbone.frames_of(torch.tensor([364, 365])).tolist() == [0, 1]
    config = load_network(network).backbone.config
    assert (config.conv_kernel, config.conv_stride) == ([10, 16, 8], [5, 8, 8])
    monkeypatch.setattr(prediction, "shortest_of", lambda _: 481)
    with pytest.raises(
        InputError, match=r"a\.wav: too short for the upstream \(480 samples at 16 kHz, it takes at least 481\)$"
    ):
        predict(network, [clip], "4")


def test_weights_that_give_nan_are_an_error(make_network: MakeNetwork, tmp_path: Path) -> None:
    whole = make_network()
    with torch.no_grad():
        for parameter in whole.exits["4"].parameters():
            parameter.mul_(1e30)
    save_network(tmp_path / "network", whole, {"command": "test"})
    with pytest.raises(RunError, match=r"a\.wav: the network gives NaN"):
        predict(tmp_path / "network", [wav(tmp_path / "a.wav", noise(0.4))], "4")


BAD_EXITS = {
    "3": r"Bad exit of .*network: '3', expected one of \[1, 2, 4, fusion, auto\]",
    "twelve": "Bad exit of .*network: 'twelve'",
    "-1": "Bad exit",
    "auto": r"is not calibrated, .* choose an exit of \[1, 2, 4\]",
}


@pytest.mark.parametrize("exit", BAD_EXITS)
def test_a_bad_exit_is_refused_before_weights_are_read(
    network: Path, tmp_path: Path, exit: str, counted: list[str]
) -> None:
    with pytest.raises(InputError, match=BAD_EXITS[exit]) as error:
        predict(network, [tmp_path / "a.wav"], exit)
    assert "\n" not in str(error.value)
    assert counted == []


def test_one_student_has_nothing_to_be_fused_with(make_network: MakeNetwork, tmp_path: Path) -> None:
    save_network(tmp_path / "one", make_network({1: "cnn", 4: None}), {"command": "test"})
    with pytest.raises(InputError, match=r"no two exits to fuse besides the deepest, the exits are \[1, 4\]"):
        Predictor.open(tmp_path / "one", "fusion")
    with pytest.raises(InputError, match=r"expected one of \[1, 4, auto\]"):
        Predictor.open(tmp_path / "one", "2")


@pytest.mark.parametrize("exit", ["fusion", "auto"])
def test_one_exit_leaves_nothing_to_choose(make_network: MakeNetwork, tmp_path: Path, exit: str) -> None:
    save_network(tmp_path / "plain", make_network({4: None}), {"command": "test"})
    calibrated(tmp_path / "plain", 0.5)
    with pytest.raises(InputError, match=r"There is one exit, behind layer 4|the exits are \[4\]"):
        Predictor.open(tmp_path / "plain", exit)
    with pytest.raises(InputError, match=r"Bad exit of .*: '1', expected one of \[4\]"):
        Predictor.open(tmp_path / "plain", "1")


def test_the_command(network: Path, manifest: Path) -> None:
    files = [entry.path for entry in read_manifest(manifest)[:2]]
    done = run("selfdistill", "predict", network, *files, "--exit", "2", "--json")
    assert (done.json, done.err) == (predict(network, files, "2")[0], "")
    first, second, mean = run("selfdistill", "predict", network, *files, "--exit", "2").out.splitlines()
    assert first.startswith(f"{files[0]}: ")
    assert second.endswith("2 layers, 0.4 s")
    assert mean == "mean_depth: 2.0"


def test_a_bad_file_does_not_lose_the_others_answers(network: Path, tmp_path: Path) -> None:
    """The good are answered, the bad named, a line each, and the exit code tells that there were some."""
    good = [wav(tmp_path / f"{name}.wav", noise(0.4, i)) for i, name in enumerate("ab")]
    (tmp_path / "poem.wav").write_text("I am a poem.\n" * 100)
    wav(tmp_path / "cut.wav", noise(0.4))
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:-100])
    (tmp_path / "empty").mkdir()
    bad = [tmp_path / name for name in ("poem.wav", "absent.wav", "cut.wav", "empty")]
    files = [bad[0], good[0], *bad[1:], good[1]]
    done = run("selfdistill", "predict", network, *files, "--exit", "1", "--json")
    assert done.code == 2
    assert [each["path"] for each in json.loads(done.out)["files"]] == [str(path) for path in good]
    reasons = ["not audio", "no such file", "truncated or damaged", "no audio file is below it"]
    lines = done.err.splitlines()
    assert [line.removeprefix("gandistill: ").split(" (")[0] for line in lines] == [
        f"{path}: {reason}" for path, reason in zip(bad, reasons, strict=True)
    ]
    done = run("selfdistill", "predict", network, *bad[:2], "--exit", "1", "--json")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 2)


@pytest.mark.parametrize(
    "words", ["predict {} a.wav --exit 3", "calibrate {} m.csv", "evaluate {} m.csv", "export {} --exit 3"]
)
def test_other_folders_are_refused(words: str, tmp_path: Path) -> None:
    with artifacts.new_artifact(tmp_path / "head", "head") as folder:
        artifacts.write_json(folder / artifacts.CONFIG, artifacts.describe("head", {}))
    (tmp_path / "empty").mkdir()
    problems = {"head": "holds a gandistill head", "none": "no such folder", "empty": "it has no config.json"}
    for name, problem in problems.items():
        done = run("selfdistill", *words.format(tmp_path / name).split())
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert problem in done.err


def test_an_altered_network_is_refused(network: Path, tmp_path: Path) -> None:
    clip = wav(tmp_path / "a.wav", noise(0.4))
    shutil.copy(network / "layer-02.safetensors", network / "layer-01.safetensors")
    with pytest.raises(InputError, match=r"layer-01\.safetensors has changed since it was written"):
        predict(network, [clip], "1")
