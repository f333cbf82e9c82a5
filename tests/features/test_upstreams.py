"""Which hidden states become features, and what a model's parameters are known by."""

import pytest
import torch

from gandistill.errors import InputError
from gandistill.features.hubert import HubertConfig
from gandistill.features.upstreams import LayerChoice, parameters_sha256


@pytest.mark.parametrize("overrides", [["layer=-1"], ["layer=first"], ["layer=1", "weights=[1]"], ["weights=[0, 0]"]])
def test_impossible_choices(overrides: list[str]):
    with pytest.raises(InputError, match="--set"):
        HubertConfig.load(overrides=overrides)


def test_weights_by_hand():
    choice = LayerChoice(weights=[3, 1])
    assert choice.normalised == [0.75, 0.25]
    assert choice.mix([torch.tensor([[4.0]]), torch.tensor([[8.0]])]).tolist() == [[5.0]]
    assert (choice.describe(), LayerChoice(layer=2).describe()) == ({"weights": [0.75, 0.25]}, {"layer": 2})
    assert LayerChoice().normalised is None


def test_a_model_is_known_by_names_shapes_and_values():
    models = [torch.nn.Linear(*sizes) for sizes in ((2, 3), (2, 3), (3, 2))]
    models[1].load_state_dict(models[0].state_dict())
    assert parameters_sha256(models[0]) == parameters_sha256(models[1])
    with torch.no_grad():
        models[1].bias[2] += 1
    named = torch.nn.Sequential(models[0])
    assert len({parameters_sha256(model) for model in (*models, named)}) == 4
