from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gandistill.errors import InputError, RunError
from gandistill.selfdistill.clips import Utterances
from gandistill.selfdistill.inference import fused, logits, posteriors
from gandistill.selfdistill.model import Network

MakeNetwork = Callable[..., Network]


@pytest.mark.parametrize("clip", [0, 5000])
@pytest.mark.parametrize("batch", [1, 5, 100])
def test_each_clip_is_answered_as_if_alone_in_the_order_of_the_manifest(
    make_network: MakeNetwork, manifest: Path, clip: int, batch: int
) -> None:
    network, utterances = make_network(clip=clip), Utterances.read(manifest, "test")
    found = logits(network, utterances, batch=batch)
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
    torch.testing.assert_close(p[2], logits(network, utterances, [2])[2].softmax(-1))


def test_no_layer_above_the_deepest_that_is_asked_for_is_run(make_network: MakeNetwork, manifest: Path) -> None:
    network, run = make_network(), list[int]()
    for number, layer in enumerate(network.backbone.layers, 1):
        layer.register_forward_hook(lambda *_, number=number: run.append(number))
    logits(network, Utterances.read(manifest, "dev"), [2, 1], batch=1000)
    assert run == [1, 2]
    with pytest.raises(InputError, match=r"Bad exit 3, expected one of \[1, 2, 4\]"):
        logits(network, Utterances.read(manifest, "dev"), [3])


def test_a_network_in_training_answers_without_dropout_and_goes_on_training(
    make_network: MakeNetwork, manifest: Path
) -> None:
    network, utterances = make_network(), Utterances.read(manifest, "dev")
    expected = logits(network, utterances)
    network.train()
    found = logits(network, utterances)
    assert network.training
    assert all(torch.equal(found[depth], expected[depth]) for depth in expected)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_of_nans_is_refused(make_network: MakeNetwork, manifest: Path) -> None:
    network = make_network()
    with torch.no_grad():
        for parameter in network.exits["2"].parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(RunError, match="The exit behind layer 2 gives NaN"):
        logits(network, Utterances.read(manifest, "dev"))


def test_fusion_is_the_mean_of_the_students_without_their_teacher() -> None:
    p = {12: [[0.0, 1.0]], 3: [[0.9, 0.1]], 8: [[0.5, 0.5]], 10: [[0.1, 0.9]]}
    found = fused({depth: torch.tensor(rows) for depth, rows in p.items()})
    np.testing.assert_allclose(found.numpy(), [[0.5, 0.5]], rtol=1e-6)
    with pytest.raises(InputError, match="There is one exit, behind layer 12"):
        fused({12: torch.tensor([[0.0, 1.0]])})
