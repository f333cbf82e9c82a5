"""The generator that the paper describes, held layer by layer, and the settings of its shape."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gandistill.batch_norm import BatchNorm
from gandistill.errors import InputError
from gandistill.gan.generator import Architecture, Generator, TimeAttention
from gandistill.numerics import seeded
from tests.gan.conftest import FLOW, KINDS, modules, small


def drawn(generator: Generator, rows: int = 3) -> torch.Tensor:
    noise = torch.randn(rows, generator.architecture.noise, generator=torch.Generator().manual_seed(0))
    return generator(torch.arange(rows) % generator.classes, noise)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("frames", "dims"), [(112, 64), (20, 7), (33, 5), (1, 1)])
def test_any_frames_and_dims(kind: str, frames: int, dims: int):
    architecture = small(kind, frames=frames)
    assert drawn(Generator(architecture, 4, dims)).shape == (3, frames, dims)


@pytest.mark.parametrize("kind", KINDS)
def test_generator_has_transposed_convolutions_and_batch_norm_and_no_tanh(kind: str):
    generator = Generator(Architecture.build({"kind": kind}, "test"), 4, 64)
    doublings = len(modules(generator.layers, nn.ConvTranspose2d))
    assert doublings == (3 if kind == "gan-time" else 4)
    assert len(modules(generator, nn.Conv2d)) > doublings
    assert len(modules(generator.layers, nn.BatchNorm2d)) == 2 * doublings
    assert not modules(generator, nn.Tanh)
    assert isinstance(generator.leave, nn.Conv2d)  # bare: nothing bounds the output
    nn.init.constant_(generator.leave.weight, 5.0)
    assert drawn(generator).abs().max() > 1.5


def test_gan_att_has_one_attention_after_the_fourth_convolution_and_dilation():
    generator = Generator(Architecture(kind="gan-att"), 4, 64)
    assert len(modules(generator, TimeAttention)) == 1
    order = [type(module) for module in generator.layers]
    before = order[: order.index(TimeAttention)]
    assert before.count(nn.ConvTranspose2d) + before.count(nn.Conv2d) == 4
    plain = [conv for conv in generator.layers if isinstance(conv, nn.Conv2d)]
    assert all(conv.dilation == (2, 2) for conv in plain)
    assert not modules(Generator(Architecture(kind="gan-cnn"), 4, 64), TimeAttention)


def test_gan_time_has_time_as_its_only_axis_and_dims_without_neighbours():
    architecture, order = small("gan-time"), torch.randperm(7, generator=torch.Generator().manual_seed(0))
    generator = Generator(architecture, 2, 7).eval()
    assert len(modules(generator, TimeAttention)) == 1
    for convolution in modules(generator, nn.Conv2d) + modules(generator, nn.ConvTranspose2d):
        assert convolution.kernel_size[1] == convolution.stride[1] == 1
    samples = drawn(generator)
    generator.leave.weight.data, generator.leave.bias.data = generator.leave.weight[order], generator.leave.bias[order]
    torch.testing.assert_close(drawn(generator), samples[..., order])


def test_gan_time_has_channels_of_its_own_and_no_preset_of_the_paper():
    assert Architecture.build({"kind": "gan-time"}, "test").channels == (256, 192, 128, 128)
    assert small("gan-time").channels == (8, 8, 8)
    with pytest.raises(InputError, match="gan-time has 'small' alone"):
        small("gan-time", preset="paper")


def test_every_frame_of_the_attention_depends_on_every_frame():
    torch.manual_seed(0)
    attention = TimeAttention(8)
    maps = torch.randn(1, 8, 9, 3, requires_grad=True)
    for frame in range(9):
        (slope,) = torch.autograd.grad(attention(maps)[:, :, frame].sum(), maps)
        assert (slope.abs().sum(dim=(0, 1, 3)) > 0).all()


@pytest.mark.parametrize(("kind", "megabytes", "width"), [("gan-cnn", 100, 256), ("gan-att", 60, 128)])
def test_paper_preset_comes_near_table_1(kind: str, megabytes: float, width: int):
    architecture = Architecture.build({"kind": kind, "preset": "paper"}, "test")
    with torch.device("meta"):
        generator = Generator(architecture, 4, 768)
    size = sum(tensor.numel() * tensor.element_size() for tensor in generator.state_dict().values())
    assert size / 1e6 == pytest.approx(megabytes, rel=0.12)
    assert architecture.frames == 256
    assert set(architecture.channels) == {width}


def test_the_label_matters():
    generator = Generator(small("gan-cnn"), 2, 7).eval()
    noise = torch.zeros(1, 6)
    assert not torch.allclose(generator(torch.tensor([0]), noise), generator(torch.tensor([1]), noise))


def test_a_preset_may_be_changed_field_by_field_and_survives_a_round_trip():
    architecture = Architecture.build({"kind": "gan-cnn", "preset": "paper", "noise": 7}, "test")
    assert architecture.noise == 7
    assert architecture.channels == (256,) * 5
    assert Architecture.build(architecture.to_dict(), "test") == architecture


def test_an_even_kernel_is_refused():
    with pytest.raises(InputError, match="kernel 4 is even"):
        small("gan-cnn", kernel=4)


def test_a_closed_form_start_gives_means_plus_components_and_keeps_learning():
    generator = Generator(small("gan-att", start="closed-form"), 2, 7)
    means, components = torch.randn(2, 140), torch.randn(3, 140)
    generator.start_from(means, components)
    noise = torch.randn(4, 6)
    expected = means[[0, 1, 1, 0]] + noise[:, :3] @ components
    samples = generator(torch.tensor([0, 1, 1, 0]), noise)
    assert torch.allclose(samples.flatten(1), expected, atol=1e-5)
    samples.square().sum().backward()
    assert generator.leave.weight.grad is not None
    assert generator.leave.weight.grad.abs().sum() > 0  # the convolutions are silent at first, but not for ever


def test_a_random_start_has_no_linear_map_and_cannot_be_set():
    generator = Generator(small("gan-att"), 2, 7)
    assert generator.linear is None
    with pytest.raises(ValueError, match="starts at random"):
        generator.start_from(torch.zeros(2, 140), torch.zeros(3, 140))


def test_more_doublings_than_frames_need_are_refused():
    with pytest.raises(InputError, match="12 channels double a map beyond 20 frames"):
        small("gan-cnn", channels=[4] * 12)


def test_a_kind_that_is_none_is_an_input_error_whatever_its_type():
    with pytest.raises(InputError, match="kind"):
        Architecture.build({"kind": ["a"], "preset": "paper"}, "test")


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [
        ({"start": "closed-form"}, "a flow starts from a Gaussian always"),
        ({"preset": "paper"}, "preset 'paper' is of the paper's kinds"),
        ({"channels": [8, 8, 4]}, "expected one width for all blocks"),
    ],
)
def test_what_it_has_not_is_refused(configured: Any, architecture: dict[str, Any], problem: str):
    with pytest.raises(InputError, match=problem):
        configured(architecture=FLOW | architecture)


@given(st.sampled_from(KINDS), st.integers(1, 200), st.integers(1, 40), st.integers(3, 6), st.sampled_from([1, 3, 5]))
@settings(deadline=None, max_examples=25)
def test_what_is_accepted_reads_back_as_itself_and_makes_samples_of_its_length(
    kind: str, frames: int, dims: int, stages: int, kernel: int
):
    sizes = {"frames": frames, "channels": [4] * stages, "kernel": kernel}
    if 2 ** (stages - 1) > max(2 * frames, 16):
        with pytest.raises(InputError, match="double a map beyond"):
            small(kind, **sizes)
        return
    architecture = small(kind, **sizes)
    assert Architecture.build(architecture.to_dict(), "test") == architecture
    with torch.device("meta"):
        generator, labels = Generator(architecture, 3, dims), torch.zeros(2, dtype=torch.long)
        assert generator.eval()(labels, torch.zeros(2, 6)).shape == (2, frames, dims)


def test_the_same_shape_for_samples_of_another_length():
    architecture = Architecture(kind="gan-att", noise=7)
    other = architecture.lasting(33)
    assert other.to_dict() == architecture.to_dict() | {"frames": 33}
    assert "frames" in other.model_fields_set
    with pytest.raises(InputError, match="samples of 3 frames: 6 channels double a map beyond 3 frames"):
        small("gan-cnn", channels=[4] * 6).lasting(3)


@pytest.mark.parametrize("kind", KINDS)
def test_saving_memory_changes_neither_samples_nor_gradients_nor_statistics(kind: str):
    """The forward pass that is repeated for the backward one does not count twice."""
    with seeded(0):
        plain = Generator(small(kind), 4, 7)
    saving = deepcopy(plain)
    saving.saving = True
    for generator in (plain, saving):
        drawn(generator).square().sum().backward()
    torch.testing.assert_close(drawn(saving), drawn(plain))
    for mine, theirs in zip(saving.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    for mine, theirs in zip(saving.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert all(norm.counting for norm in modules(saving, BatchNorm))
