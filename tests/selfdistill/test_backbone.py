"""Hidden states are transformers' own, one layer at a time; padding changes nothing."""

import copy
from itertools import islice

import pytest
import torch
from torch.testing import assert_close

from gandistill.errors import InputError
from gandistill.numerics import seeded
from gandistill.selfdistill.backbone import backbone_of
from tests.features.test_hubert import KINDS, LAYERS, make_model

LENGTHS = torch.tensor([4000, 2500, 3333])


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_equal_transformers(kind: str):
    model, clips = make_model(kind), noise(2, 4000)
    with torch.no_grad():
        expected = model(clips, output_hidden_states=True)
        backbone = backbone_of(model).eval()
        found = list(backbone.states(clips))
        states = list(expected.hidden_states[1:-1])
        if kind.endswith("-layer"):
            states = [model.encoder.layer_norm(state) for state in states]
    for state, reference in zip(found, [*states, expected.last_hidden_state], strict=True):
        assert_close(state, reference, atol=1e-5, rtol=1e-5)
    assert found[0].shape == (2, int(backbone.frames_of(torch.tensor(4000))), backbone.dims)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_padding_changes_nothing(kind: str):
    backbone, clips = backbone_of(make_model(kind)).eval(), noise(3, 4000)
    mask = backbone.mask(LENGTHS)
    assert mask is not None
    assert mask.sum(1).tolist() == backbone.frames_of(LENGTHS).tolist()
    together = list(backbone.states(clips, LENGTHS))
    for row, samples in enumerate(LENGTHS.tolist()):
        alone = backbone.states(clips[row : row + 1, :samples])
        for state, reference in zip(together, alone, strict=True):
            assert_close(state[row][mask[row]], reference[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert-layer", "wavlm", "wavlm-layer"])
@pytest.mark.parametrize("padded", [False, True])
def test_saving_memory_changes_no_gradient(kind: str, padded: bool):
    """With dropout, on whole and padded batches."""
    clips, lengths = noise(3, 4000), LENGTHS if padded else None
    gradients = []
    for saving in (False, True):
        backbone = backbone_of(make_model(kind)).train()
        backbone.saving = saving
        with seeded(0):
            sum(state.square().mean() for state in backbone.states(clips, lengths)).backward()
        gradients.append({name: p.grad for name, p in backbone.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient, msg=name)


def test_a_layer_is_run_when_its_states_are_asked_for():
    backbone = backbone_of(make_model("wav2vec2")).eval()
    backbone.layers[1].register_forward_hook(lambda *_: pytest.fail("layer 2 was run"))
    (first,) = islice(backbone.states(noise(1, 4000)), 1)
    assert first.isfinite().all()


def test_only_so_many_layers():
    model = make_model("wavlm")
    assert backbone_of(model, 2).depth == 2
    for depth in (0, LAYERS + 1):
        with pytest.raises(InputError, match=f"Bad depth {depth}, expected 1 to 3"):
            backbone_of(model, depth)


@torch.no_grad()
def test_a_copy_of_a_wavlm_is_its_own():
    """Its attention is called by a method that is set on the instance: a copy must call that of the copy."""
    backbone, clips = backbone_of(make_model("wavlm")).eval(), noise(1, 4000)
    other = copy.deepcopy(backbone)
    before = list(backbone.states(clips))
    for parameter in backbone.layers.parameters():
        parameter.zero_()
    for state, reference in zip(other.states(clips), before, strict=True):
        assert_close(state, reference)
