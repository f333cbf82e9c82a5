import re
from pathlib import Path
from typing import Self

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import model_validator

from gandistill.config import Config
from gandistill.errors import InputError
from gandistill.gan.settings import GanConfig

RECIPES = Path(__file__).parents[1] / "recipes"


class Training(Config):
    updates: int = 100
    """How many updates."""
    rate: float = 1e-4
    """Learning rate."""
    name: str | None = None
    """A name."""


class Layer(Config):
    width: int = 1
    """Channels."""


class Recipe(Config):
    training: Training = Training()
    """How to train."""
    layers: tuple[Layer, ...] = ()
    """The layers."""
    judge: Layer | None = None
    """A layer or none."""
    features: str = ""
    """Where the features are."""


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def fails(message: str, path: Path | None = None, *overrides: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        Recipe.load(path, overrides)
    assert "\n" not in str(caught.value)


def test_defaults_files_and_overrides(tmp_path: Path) -> None:
    assert Recipe.load() == Recipe()
    path = put(tmp_path / "a.yaml", "training:\n  updates: 7\nlayers: [{width: 2}, {width: 3}]\n")
    recipe = Recipe.load(path, ["training.rate=0.5", "features=work/logmel"])
    assert (recipe.training.updates, recipe.training.rate, recipe.features) == (7, 0.5, "work/logmel")
    assert [layer.width for layer in recipe.layers] == [2, 3]
    assert Recipe.load(str(path), ["training.updates=8"]).training.updates == 8
    assert Recipe.load(put(tmp_path / "empty.yaml", "")) == Recipe()


def test_values_are_parsed_as_yaml() -> None:
    assert Recipe.load(None, ["training.rate=1e-3"]).training.rate == 1e-3
    assert Recipe.load(None, ["training.name=null"]).training.name is None
    assert Recipe.load(None, ["layers=[{width: 4}]"]).layers[0].width == 4
    assert Recipe.load(None, ["features=a=b"]).features == "a=b"
    assert Recipe.load(None, ["judge.width=3"]).judge == Layer(width=3)


def test_a_base_holds_what_a_file_does_not(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    put(tmp_path / "root.yaml", "training: {updates: 1, rate: 0.1}\nfeatures: root\n")
    put(tmp_path / "middle.yaml", "base: root.yaml\ntraining: {rate: 0.2}\n")
    leaf = put(tmp_path / "deep" / "leaf.yaml", "base: ../middle.yaml\nfeatures: leaf\n")
    recipe = Recipe.load(leaf)
    assert (recipe.training.updates, recipe.training.rate, recipe.features) == (1, 0.2, "leaf")
    without = Recipe.load(put(tmp_path / "without.yaml", "base: middle.yaml\ntraining: null\n"))
    assert (without.training, without.features) == (Recipe().training, "root")


def test_a_base_that_leads_back_or_nowhere_is_refused(tmp_path: Path) -> None:
    a = put(tmp_path / "a.yaml", "base: b.yaml\n")
    put(tmp_path / "b.yaml", "base: a.yaml\n")
    fails("leads back to itself", a)
    fails("leads back to itself", put(tmp_path / "self.yaml", "base: self.yaml\n"))
    fails(f"No config file {tmp_path / 'gone.yaml'}", put(tmp_path / "c.yaml", "base: gone.yaml\n"))


def test_an_unknown_key_lists_the_valid_ones(tmp_path: Path) -> None:
    path = put(tmp_path / "a.yaml", "training: {update: 5}\n")
    fails(f"{path}: unknown key 'training.update', expected one of [updates, rate, name]", path)
    fails("unknown key 'seed', expected one of [training, layers, judge, features]", None, "seed=1")
    fails("unknown key 'judge.wide', expected one of [width]", None, "judge.wide=1")
    fails("unknown key 'layers.0.wide', expected one of [width]", None, "layers=[{wide: 1}]")
    fails("unknown key 'training.a', expected one of [updates, rate, name]", None, "training.a.b.c=1")


def test_a_bad_value_is_named_with_its_key(tmp_path: Path) -> None:
    path = put(tmp_path / "a.yaml", "training: {updates: many}\n")
    fails(f"{path}: bad value 'many' for 'training.updates'", path)
    fails("bad value inf for 'training.rate'", None, "training.rate=.inf")
    fails("bad value nan for 'training.rate'", None, "training.rate=.nan")
    fails("bad value 5 for 'training'", None, "training=5")
    fails("for 'training.updates'", None, "training.updates=")


def test_what_a_validator_says_is_said_in_its_own_words() -> None:
    class Even(Config):
        size: int = 0
        """A size."""

        @model_validator(mode="after")
        def _even(self) -> Self:
            if self.size % 2:
                raise ValueError(f"size {self.size} is odd")
            return self

    class Box(Config):
        inner: Even = Even()
        """What is in it."""

    with pytest.raises(InputError) as alone:
        Even.build({"size": 3}, "test")
    assert str(alone.value) == "test: size 3 is odd"
    with pytest.raises(InputError) as within:
        Box.build({"inner": {"size": 3}}, "test")
    assert str(within.value) == "test: bad value {'size': 3} for 'inner': size 3 is odd"


def test_every_bad_key_is_named_at_once() -> None:
    fails("--set training.updates=x: bad value 'x' for 'training.updates'", None, "training.updates=x", "oops=1")
    fails("; --set oops=1: unknown key 'oops'", None, "training.updates=x", "oops=1")


def test_a_bad_value_is_blamed_on_what_gave_it(tmp_path: Path) -> None:
    path = put(tmp_path / "a.yaml", "training: {updates: 5, rate: high}\n")
    fails("--set training.updates=1e3: bad value '1e3' for", path, "training.updates=7", "training.updates=1e3")
    fails(f"{path}: bad value 'high' for 'training.rate'", path, "training.updates=7")
    fails("--set training={rate: low}: bad value 'low' for 'training.rate'", path, "training={rate: low}")


def test_bad_overrides_are_refused() -> None:
    fails("Bad --set 'training.seed', expected key=value", None, "training.seed")
    fails("--set features=[1: not valid YAML", None, "features=[1")
    fails("unknown key ''", None, "=1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"- 1\n- 2\n", "expected 'key: value' lines, found list"),
        (b"just words", "expected 'key: value' lines, found str"),
        (b"a: [1", "not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read as text"),
        (b"a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        (b"1: 2\n", "bad.yaml: "),
        (b"training: {updates: 1}\ntraining: {rate: 2}\n", "key 'training' occurs twice"),
        (b"[" * 5000, "not valid YAML"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    fails(message, path)


def test_an_anchor_may_be_merged(tmp_path: Path) -> None:
    text = "training: &t {updates: 3}\njudge: {width: 1}\n"
    assert Recipe.load(put(tmp_path / "a.yaml", text)).training.updates == 3
    merged = "layers: [&w {width: 3}, {<<: *w}]\n"
    assert [layer.width for layer in Recipe.load(put(tmp_path / "b.yaml", merged)).layers] == [3, 3]


def test_a_recipe_that_ships_is_named_without_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ravdess/gan_cnn, whose base lies beside it."""
    monkeypatch.chdir(tmp_path)
    named = GanConfig.load("ravdess/gan_cnn", ["training.seed=3"])
    assert named == GanConfig.load(RECIPES / "ravdess" / "gan_cnn.yaml", ["training.seed=3"])
    assert named.architecture.kind == "gan-cnn"


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    fails(f"No config file {tmp_path / 'gone.yaml'}", tmp_path / "gone.yaml")
    fails(f"No config file {tmp_path}", tmp_path)


@settings(deadline=None, max_examples=50)
@given(
    updates=st.integers(-(10**9), 10**9),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    name=st.none() | st.text(),
    widths=st.lists(st.integers(0, 9), max_size=3),
)
def test_a_resolved_config_reads_back_as_itself(
    tmp_path_factory: pytest.TempPathFactory, updates: int, rate: float, name: str | None, widths: list[int]
) -> None:
    recipe = Recipe(
        training=Training(updates=updates, rate=rate, name=name), layers=tuple(Layer(width=width) for width in widths)
    )
    path = put(tmp_path_factory.mktemp("yaml") / "a.yaml", recipe.to_yaml())
    assert Recipe.load(path) == recipe
    assert Recipe.build(recipe.to_dict(), "x") == recipe


@pytest.mark.parametrize("name", ["\x85", "a\u2028b", "\r", "\ufeff", "gęś", "\x00\x7f", " - a: b #"])
def test_text_that_yaml_folds_survives(tmp_path: Path, name: str) -> None:
    recipe = Recipe(training=Training(name=name))
    assert Recipe.load(put(tmp_path / "a.yaml", recipe.to_yaml())) == recipe


def test_a_config_is_frozen_and_a_field_carries_its_docstring() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().features = "other"
    assert Training.model_fields["rate"].description == "Learning rate."
    assert yaml.safe_load(Recipe().to_yaml())["training"]["name"] is None
