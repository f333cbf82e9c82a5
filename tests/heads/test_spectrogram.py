from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from gandistill.heads.head import MODELS, catalogue, sees
from gandistill.heads.spectrogram import CNN6, VGG15, FrameNorm, ResNet9, Stem

KINDS = [kind for kind in MODELS if sees(kind) == "spectrogram"]
PAPERS = {"cnn6": 4.44, "resnet9": 4.96, "vgg15": 14.86}
"""Section 4.2 of the MTT paper: millions of parameters at 7 classes."""


def test_norm_takes_its_statistics_from_valid_frames_alone():
    torch.manual_seed(0)
    norm, picture = FrameNorm(3), torch.randn(2, 3, 6, 4)
    valid = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    kept = torch.cat([picture[0], picture[1, :, :2]], dim=1)  # [3, 8, 4]: all valid frames end to end
    mean, variance = kept.mean((1, 2)), kept.var((1, 2), unbiased=False)
    expected = (picture - mean[:, None, None]) / (variance[:, None, None] + norm.norm.eps).sqrt()
    expected = expected * valid[:, None, :, None]
    torch.testing.assert_close(norm(picture, torch.tensor([6, 2])), expected, rtol=0, atol=1e-5)


def test_norm_without_padding_is_batch_norm():
    torch.manual_seed(0)
    picture = torch.randn(2, 3, 6, 4)
    assert torch.equal(FrameNorm(3)(picture, torch.tensor([6, 6])), nn.BatchNorm2d(3)(picture))


@pytest.mark.parametrize("kind", KINDS)
def test_training_does_not_depend_on_padding(kind: str):
    torch.manual_seed(0)
    model, frames, lengths = MODELS[kind](16, 3).train(), torch.randn(3, 40, 16), torch.tensor([40, 23, 9])
    wider = pad(frames, (0, 0, 0, 17), value=5.0)
    torch.testing.assert_close(model(frames, lengths), model(wider, lengths), rtol=0, atol=2e-4)


def test_overlapping_pooling_reaches_no_place_behind_the_end():
    """An utterance of 3 frames is 1 place after two halvings, and the next one's window begins within it."""
    stem = Stem(2).eval()
    picture, lengths = stem(torch.ones(1, 1, 12, 8), torch.tensor([3]))
    assert lengths.tolist() == [1]
    assert picture.shape == (1, 2, 3, 2)
    assert picture[:, :, 0].max() > 0
    assert picture[:, :, 1:].abs().max() == 0


@pytest.mark.parametrize(("kind", "millions"), PAPERS.items())
def test_the_papers_numbers_of_parameters(kind: str, millions: float):
    found = {head["name"]: head["parameters"] for head in catalogue(64, 7)["heads"]}
    assert round(found[kind] / 1e6, 2) == millions
    assert {head["name"]: head["parameters"] for head in catalogue(40, 7)["heads"]}[kind] == found[kind]


def test_parameters_by_hand():
    classifier = 512 * 256 + 256 + 256 * 7 + 7
    cnn6 = sum(25 * a * b + 2 * b for a, b in pairwise((1, 64, 128, 256, 512)))
    shortcuts = sum(a * b + 2 * b for a, b in pairwise((64, 128, 256, 512)))
    resnet9 = 49 * 64 + 2 * 64 + sum(9 * (a + b) * b + 4 * b for a, b in pairwise((64, 128, 256, 512))) + shortcuts
    widths = (1, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    vgg15 = sum(9 * a * b + 3 * b for a, b in pairwise(widths))
    found = {head["name"]: head["parameters"] for head in catalogue(64, 7)["heads"]}
    for kind, convolutions in (("cnn6", cnn6), ("resnet9", resnet9), ("vgg15", vgg15)):
        assert found[kind] == convolutions + classifier


def plain(layers: list[nn.Module]) -> nn.Sequential:
    """The same as textbooks write it, for clips without padding."""
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(512, 256), nn.ReLU())


def test_cnn6_and_vgg15_are_their_textbook_stacks():
    torch.manual_seed(0)
    frames, lengths = torch.randn(4, 64, 32), torch.full((4,), 64)
    vgg = [[1, 64, 64], [64, 128, 128], [128, 256, 256, 256], [256, 512, 512, 512], [512, 512, 512, 512]]
    for model, blocks, kernel, bias in (
        (CNN6(32, 7), [[1, 64], [64, 128], [128, 256], [256, 512]], 5, False),
        (VGG15(32, 7), vgg, 3, True),
    ):
        layers: list[nn.Module] = []
        for block in blocks:
            for a, b in pairwise(block):
                layers += [nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=bias), nn.BatchNorm2d(b), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        textbook = plain(layers).append(nn.Linear(256, 7))
        textbook.load_state_dict(dict(zip(textbook.state_dict(), model.state_dict().values(), strict=True)))
        torch.testing.assert_close(model(frames, lengths), textbook(frames.unsqueeze(1)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "places"), [("cnn6", (7, 4)), ("resnet9", (4, 2)), ("vgg15", (4, 2))], ids=str)
def test_how_far_they_halve(kind: str, places: tuple[int, int]):
    """112 frames of 64 bands: the blocks halve 4 times in CNN-6, 5 times in the others."""
    model, pictures = MODELS[kind](64, 7).eval(), []
    model.blocks[-1].register_forward_hook(lambda block, given, found: pictures.append(found))
    model(torch.randn(1, 112, 64), torch.tensor([100]))
    picture, lengths = pictures[0]
    assert picture.shape == (1, 512, *places)
    assert lengths.tolist() == [7 if kind == "cnn6" else 4]


def test_a_residual_block_by_hand():
    """With the residual's last norm at 0, what is left is the rectified shortcut."""
    torch.manual_seed(0)
    block = ResNet9(16, 3).blocks[1].eval()
    for weights in (block.second.norm.norm.weight, block.second.norm.norm.bias):
        nn.init.zeros_(weights)
    picture = torch.randn(1, 64, 6, 5)
    found, lengths = block(picture, torch.tensor([6]))
    shortcut = block.shortcut.convolution.weight.flatten(1) @ picture[0, :, ::2, ::2].flatten(1)
    expected = (shortcut / (1 + 1e-5) ** 0.5).relu().view(1, 128, 3, 3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert lengths.tolist() == [3]


@pytest.mark.parametrize("kind", KINDS)
def test_twice_differentiable(kind: str):
    """The derivative of ``d . dL/dw`` by clips and weights, along a step of both, against its central difference."""
    torch.manual_seed(0)
    model, lengths, targets = MODELS[kind](16, 3).double().train(), torch.full((3,), 18), torch.arange(3)
    frames = torch.randn(3, 18, 16, dtype=torch.float64, requires_grad=True)
    places = [frames, *model.parameters()]
    direction, step = ([torch.randn_like(place) for place in places] for _ in range(2))

    def along() -> Tensor:
        gradients = torch.autograd.grad(cross_entropy(model(frames, lengths), targets), places, create_graph=True)
        return dot(gradients[1:], direction[1:])

    expected = dot(torch.autograd.grad(along(), places), step)
    size, ends = 1e-6 / dot(step, step).sqrt(), []
    for way in (size, -2 * size):  # so short that it comes to no other branch of a ReLU or a maximum
        with torch.no_grad():
            for place, change in zip(places, step, strict=True):
                place.add_(way * change)
        ends.append(along().detach())
    torch.testing.assert_close(expected, (ends[0] - ends[1]) / (2 * size), rtol=1e-5, atol=0)


def dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()
