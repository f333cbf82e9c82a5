"""What self-distillation may be told: whatever is accepted reads back as itself, the rest is refused in a line."""

from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.config import Config
from gandistill.errors import InputError
from gandistill.selfdistill.settings import NetworkConfig, SelfDistilConfig, rising
from tests.selfdistill.conftest import LAYERWISE


def test_layerwise_needs_a_backbone_that_learns(configured: Any):
    with pytest.raises(InputError, match=r"layerwise trains the backbone, which training\.freeze=backbone forbids"):
        configured(**LAYERWISE, training={"freeze": "backbone"})


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("network.exits=[8, 3]", "expected different layers in rising order"),
        ("network.exits=[0]", "greater than 0"),
        ("network.block=tree", "'cnn', 'lstm' or 'gru'"),
        ("loss.similarity=l3", "'l1', 'l2'"),
        ("layerwise.layers=[4, 4]", "expected different layers in rising order"),
        ("layerwise.epochs=2", "layerwise distils a student of network.depth layers, such as 2, with network.exits"),
        ("training.selekt=dev", "unknown key 'training.selekt', expected one of"),
    ],
)
def test_bad_settings(setting: str, words: str):
    with pytest.raises(InputError, match=words):
        SelfDistilConfig.load(overrides=[setting])


def test_every_setting_has_its_help():
    def fields(kind: type[Config]) -> Any:
        for name, field in kind.model_fields.items():
            yield name, field.description
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, Config):
                yield from fields(inner)

    assert all(help for _, help in fields(SelfDistilConfig))


@given(st.lists(st.integers(1, 30)))
def test_layers_rise_and_differ_or_are_refused(layers: list[int]):
    if all(lower < higher for lower, higher in pairwise(layers)):
        assert rising(tuple(layers)) == tuple(layers)
        assert NetworkConfig.build({"exits": layers}, "test").exits == tuple(layers)
    else:
        with pytest.raises(ValueError, match="rising order"):
            rising(tuple(layers))
        with pytest.raises(InputError, match=r"'exits'.*rising order"):
            NetworkConfig.build({"exits": layers}, "test")


@settings(deadline=None, max_examples=30)
@given(
    exits=st.sets(st.integers(1, 24)),
    block=st.sampled_from(["cnn", "lstm", "gru"]),
    rate=st.floats(1e-9, 1e3),
    freeze=st.sampled_from(["nothing", "encoder", "half", "backbone"]),
    clip=st.integers(0, 10**6),
    seed=st.integers(0, 2**62 - 1),
)
def test_what_is_accepted_reads_back_as_itself(
    exits: set[int], block: str, rate: float, freeze: str, clip: int, seed: int
):
    training = {"learning_rate": rate, "freeze": freeze, "clip": clip, "seed": seed}
    config = SelfDistilConfig.build({"network": {"exits": sorted(exits), "block": block}, "training": training}, "test")
    assert (config.network.exits, config.training.seed) == (tuple(sorted(exits)), seed)
    assert SelfDistilConfig.build(yaml.safe_load(config.to_yaml()), "test") == config


def test_what_is_shared_names_no_place_on_a_disk():
    """Nor the upstream's, which may be a folder; all other settings are there."""
    mine = {"manifest": "/home/me/manifest.csv", "network": {"upstream": "/home/me/model", "exits": [2]}}
    shared = SelfDistilConfig.build(mine, "test").shareable()
    assert "/home/me" not in str(shared)
    assert shared["network"] == {"depth": None, "exits": [2], "block": "lstm"}
    assert shared.keys() == {"network", "loss", "training", "layerwise"}
    assert SelfDistilConfig.build(shared, "test").shareable() == shared
