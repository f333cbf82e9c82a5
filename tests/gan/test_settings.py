"""What a generator's training may be told: whatever is accepted reads back as itself, the rest is refused in a line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.errors import InputError
from gandistill.gan.settings import GanConfig
from gandistill.heads.head import MODELS
from gandistill.run import configured as load

KNOWN = {"architecture": {"kind": "class-gaussian"}, "privacy": {"epsilon": 4.0, "public": "theirs"}}
"""A training with a guarantee."""
RATES = st.floats(1e-9, 1e9)


@st.composite
def told(draw: st.DrawFn) -> dict[str, Any]:
    """Settings of a schedule, some of them given."""
    pairs = draw(st.integers(1, 64))
    values: dict[str, Any] = {
        "updates": draw(st.integers(1, 10**9)),
        "batch": 2 * pairs,
        "chunks": draw(st.integers(1, pairs)),
        "learning_rate": draw(RATES),
        "betas": draw(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2)),
        "average": draw(st.floats(0, 1, exclude_max=True)),
        "decay": draw(st.sampled_from(["none", "cosine"])),
        "evaluate_heads": draw(st.lists(st.sampled_from([*MODELS]), min_size=1)),
        "seed": draw(st.integers(0, 2**63 - 1)),
    }
    named = draw(st.sets(st.sampled_from([*values])))
    return {key: value for key, value in values.items() if key in named or key in ("batch", "chunks")}


@settings(deadline=None, max_examples=30)
@given(told())
def test_what_is_accepted_reads_back_as_itself(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]):
    config = GanConfig.build({"training": values}, "test")
    assert all(getattr(config.training, key) == type(getattr(config.training, key))(values[key]) for key in values)
    file = tmp_path_factory.mktemp("settings") / "config.yaml"
    file.write_text(config.to_yaml())
    assert GanConfig.load(file) == config
    assert GanConfig.build(config.to_dict(), "test") == config


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(["updates", "batch", "chunks", "penalty_every", "learning_rate", "evaluate_ppc", "log_every"]),
    st.one_of(st.integers(max_value=0), st.floats(max_value=0), st.just("many"), st.none()),
)
def test_what_must_be_above_0_is_refused_by_its_name(key: str, value: Any):
    with pytest.raises(InputError, match=f"'training.{key}'") as refused:
        GanConfig.build({"training": {key: value}}, "test")
    assert str(refused.value).count("\n") == 0


def test_settings_are_checked_before_work(tmp_path: Path):
    for setting, message in (
        ("training.batch=7", "training.batch"),
        ("training.chunks=9", "chunks 9 are more than the 8 pairs of a batch"),
        ("training.evaluate_heads=[superb, nobody]", r"expected some of \[superb, .*\]"),
        ("training.evaluate_heads=[]", "evaluate_heads"),
        ("training.average=1", "training.average"),
        ("training.lr=1", r"unknown key 'training.lr', expected one of \[updates, critic_steps"),
        ("losses.diversity=-1", "losses.diversity"),
        ("architecture.kernel=4", "kernel 4 is even, expected an odd number"),
    ):
        with pytest.raises(InputError, match=message):
            load(GanConfig, None, [setting], tmp_path / "run", resume=False)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"privacy": {"epsilon": 4.0}}, "privacy.epsilon needs privacy.public, a feature set of another corpus"),
        ({"privacy": {"public": "theirs"}}, "privacy.public is given but no privacy.epsilon"),
        ({"privacy": {"epsilon": 0.0, "public": "theirs"}}, "greater than 0"),
        ({"architecture": {"kind": "gan-att"}}, "privacy.epsilon is for class-gaussian alone, not for gan-att"),
        ({"bank": "somewhere"}, "goes without a bank, which has seen the data"),
    ],
)
def test_what_is_no_guarantee(changed: dict[str, Any], words: str):
    assert GanConfig.build(KNOWN, "test").privacy.epsilon == 4
    with pytest.raises(InputError, match=words):
        GanConfig.build(KNOWN | changed, "test")


def test_settings_of_a_guarantee_are_told_only_where_there_is_one():
    """So that those of all other generators are what they were before there was any."""
    assert "privacy" not in GanConfig().to_dict()
    assert GanConfig.build(KNOWN, "test").to_dict()["privacy"]["epsilon"] == 4


def test_what_is_shared_names_no_place_on_a_disk():
    mine = {"features": "/home/me/features", "privacy": {"epsilon": 4.0, "public": "/home/me/theirs"}}
    config = GanConfig.build(KNOWN | mine, "test")
    assert config.shareable() == {
        key: value if key != "privacy" else {"epsilon": 4}
        for key, value in config.to_dict().items()
        if key not in ("features", "bank")
    }
    with_bank = GanConfig.build({"features": "/home/me/features", "bank": "/home/me/bank"}, "test")
    for each in (config, with_bank):
        assert "/home/me" not in str(each.shareable())
    assert GanConfig.build(with_bank.shareable(), "test") == with_bank.model_copy(
        update={"features": None, "bank": None}
    )
