from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError, RunError
from gandistill.selfdistill import windows
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.inference import can_fuse, fused, hear, posteriors
from gandistill.selfdistill.model import Network, save_network
from gandistill.selfdistill.prediction import predict

MakeNetwork = Callable[..., Network]


@pytest.mark.parametrize("clip", [0, 8000])
@pytest.mark.parametrize("batch", [1, 5, 100])
def test_each_clip_is_answered_as_if_alone_in_the_order_of_the_manifest(
    make_network: MakeNetwork, manifest: Path, clip: int, batch: int
) -> None:
    network, utterances = make_network(clip=clip), Utterances.read(manifest, "test")
    found = hear(network, utterances, batch=batch).logits
    assert {depth: said.shape for depth, said in found.items()} == dict.fromkeys((1, 2, 4), (len(utterances), 6))
    with torch.no_grad():
        for row in range(len(utterances)):
            for depth, answer in network.answers(*utterances.batch([row], network)):
                torch.testing.assert_close(found[depth][row], answer.logits[0], atol=1e-4, rtol=1e-4)
    assert len(found[4].argmax(1).unique()) > 1


def test_posteriors_are_the_softmax(make_network: MakeNetwork, manifest: Path) -> None:
    network, utterances = make_network(), Utterances.read(manifest, "dev")
    p = posteriors(network, utterances, [2])
    assert list(p) == [2]
    torch.testing.assert_close(p[2], hear(network, utterances, [2]).logits[2].softmax(-1))


def test_no_layer_above_the_deepest_that_is_asked_for_is_run(make_network: MakeNetwork, manifest: Path) -> None:
    network, run = make_network(), list[int]()
    for number, layer in enumerate(network.backbone.layers, 1):
        layer.register_forward_hook(lambda *_, number=number: run.append(number))
    hear(network, Utterances.read(manifest, "dev"), [2, 1], batch=1000)
    assert run == [1, 2]
    with pytest.raises(InputError, match=r"Bad exit 3, expected one of \[1, 2, 4\]"):
        hear(network, Utterances.read(manifest, "dev"), [3])


def test_a_network_in_training_answers_without_dropout_and_goes_on_training(
    make_network: MakeNetwork, manifest: Path
) -> None:
    network, utterances = make_network(), Utterances.read(manifest, "dev")
    expected = hear(network, utterances).logits
    network.train()
    found = hear(network, utterances).logits
    assert network.training
    assert all(torch.equal(found[depth], expected[depth]) for depth in expected)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_of_nans_is_refused(make_network: MakeNetwork, manifest: Path) -> None:
    network = make_network()
    with torch.no_grad():
        for parameter in network.exits["2"].parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(RunError, match="The exit behind layer 2 gives NaN"):
        hear(network, Utterances.read(manifest, "dev"))


def test_fusion_is_the_mean_of_the_students_without_their_teacher() -> None:
    p = {12: [[0.0, 1.0]], 3: [[0.9, 0.1]], 8: [[0.5, 0.5]], 10: [[0.1, 0.9]]}
    found = fused({depth: torch.tensor(rows) for depth, rows in p.items()})
    np.testing.assert_allclose(found.numpy(), [[0.5, 0.5]], rtol=1e-6)
    with pytest.raises(InputError, match=r"no two exits to fuse besides the deepest, the exits are \[3, 12\]"):
        fused({depth: torch.tensor(p[depth]) for depth in (3, 12)})
    assert [can_fuse(depths) for depths in ([12], [3, 12], [3, 8, 12])] == [False, False, True]


@pytest.mark.parametrize("clip", [0, 3000])
def test_a_long_utterance_is_heard_in_the_windows_of_predict(
    make_network: MakeNetwork, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: int
) -> None:
    """0.4 s are 6,400 samples: windows of 3,000, 3,000 and 400; beside them utterances that are short."""
    monkeypatch.setattr(windows, "WINDOW", 3000)
    network, short = make_network(clip=clip), list[Entry]()
    long = Utterances.read(manifest, "dev").entries[:3]
    for number, seconds in enumerate((0.1, 0.15, 0.18)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, round(16_000 * seconds)), 16_000)
        short.append(Entry(str(number), path, "fear", "s", duration=seconds, split="dev"))
    mixed = Utterances([long[0], *short, *long[1:]], network.labels)
    heard, calls = hear(network, mixed), list[int]()
    assert heard.counts.tolist() == [3, 1, 1, 1, 3, 3]
    assert heard.samples.tolist() == [3000, 3000, 400, 1600, 2400, 2880, *[3000, 3000, 400] * 2]
    network.backbone.encoder.register_forward_pre_hook(lambda _, clips: calls.append(clips[0].shape[-1]))
    p = posteriors(network, mixed)
    assert max(calls) <= 3000
    save_network(tmp_path / "network", network, {"command": "test"})
    for depth in network.depths:
        told, _ = predict(tmp_path / "network", [entry.path for entry in mixed.entries], str(depth))
        expected = [[*each["probabilities"].values()] for each in told["files"]]
        np.testing.assert_allclose(p[depth].numpy(), expected, atol=1e-5)
    alone = posteriors(network, Utterances(short, network.labels))
    assert all(torch.equal(p[depth][1:4], alone[depth]) for depth in alone)
    assert all(torch.equal(alone[depth], heard.logits[depth][3:6].softmax(-1)) for depth in alone)
