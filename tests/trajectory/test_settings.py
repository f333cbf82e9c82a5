"""What trajectory matching may be told: whatever is accepted reads back as itself, the rest is refused in a line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.errors import InputError
from gandistill.heads.head import MODELS
from gandistill.trajectory.settings import DistilConfig, TrajectoryConfig

DISTIL = st.fixed_dictionaries(
    {},
    optional={
        "ppc": st.integers(1, 10**6),
        "latest_start": st.integers(0, 10**6),
        "smoothing": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "momentum": st.floats(0, 1, exclude_max=True),
        "clips_learning_rate": st.floats(0, 1e9),
        "method": st.sampled_from(["adjoint", "unroll", "tesla"]),
        "labels": st.sampled_from(["hard", "soft"]),
        "seed": st.integers(0, 2**63 - 1),
    },
)
EVALUATE = st.fixed_dictionaries(
    {},
    optional={
        "students": st.lists(st.sampled_from([*MODELS]), min_size=1),
        "decay": st.floats(0, 1, exclude_min=True),
        "epoch_updates": st.none() | st.integers(1, 10**6),
        "split": st.sampled_from(["dev", "test"]),
    },
)


@settings(deadline=None, max_examples=40)
@given(DISTIL, EVALUATE)
def test_what_is_accepted_reads_back_as_itself(distil: dict[str, Any], evaluate: dict[str, Any]):
    config = TrajectoryConfig.build({"distil": distil, "evaluate": evaluate}, "test")
    for section, values in ((config.distil, distil), (config.evaluate, evaluate)):
        assert {key: getattr(section, key) for key in values} == {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
    assert TrajectoryConfig.build(yaml.safe_load(config.to_yaml()), "test") == config


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("distil.ppc=0", "'distil.ppc'"),
        ("distil.smoothing=1", "'distil.smoothing'"),
        ("distil.momentum=1", "'distil.momentum'"),
        ("distil.latest_start=-1", "'distil.latest_start'"),
        ("distil.farthest=0", "'distil.farthest'"),
        ("distil.clips_learning_rate=-1", "'distil.clips_learning_rate'"),
        ("distil.method=guess", "'adjoint', 'unroll' or 'tesla'"),
        ("distil.choose=test", "'last' or 'dev'"),
        ("evaluate.students=[]", "'evaluate.students'"),
        ("evaluate.students=[cnn6, cnn7]", "expected some of [superb"),
        ("evaluate.split=train", "'dev' or 'test'"),
        ("evaluate.epoch=3", "unknown key 'evaluate.epoch', expected one of [students, start"),
    ],
)
def test_a_bad_setting_is_named(setting: str, said: str):
    with pytest.raises(InputError) as refused:
        TrajectoryConfig.load(overrides=[setting])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_longer_run_that_keeps_more_shapes_the_same_set():
    """What shaped a set at some step, by which it is known again: not how long the run was."""
    short = DistilConfig(steps=10, keep_every=5, checkpoint_every=2, choose="dev")
    assert short.shaping() == DistilConfig().shaping()
    others = {"ppc": 3, "updates": 3, "ahead": 1, "latest_start": 3, "batch": 3, "matches": 3, "method": "tesla"}
    others |= {"labels": "soft", "smoothing": 0.3, "rate": 0.3, "clips_learning_rate": 3.0, "rate_learning_rate": 3.0}
    others |= {"labels_learning_rate": 3.0, "momentum": 0.3, "clip": 3.0, "farthest": 0.3, "seed": 3}
    assert others.keys() == DistilConfig().shaping().keys()
    for key, value in others.items():
        assert DistilConfig.build({key: value}, "test").shaping() != DistilConfig().shaping(), key


def test_teachers_learn_from_the_features_that_are_distilled_unless_they_have_their_own():
    config = TrajectoryConfig.build({"features": "ours"}, "test")
    assert config.teaching() == config.teach.model_copy(update={"features": Path("ours")})
    own = TrajectoryConfig.build({"features": "ours", "teach": {"features": "theirs", "epochs": 3}}, "test")
    assert (own.teaching().features, own.teaching().epochs) == (Path("theirs"), 3)
