"""``gandistill settings``: nothing that --set takes is left out, and what it prints can be given back."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer.main
import yaml

from gandistill.cli import app
from gandistill.config import Config
from gandistill.settings import CONFIGS, Setting, config_of, settings_of, written
from tests.commands import run, succeed
from tests.test_readme import flat

COMMANDS = flat(typer.main.get_command(app))
CONFIGURED = [name for name, command in COMMANDS.items() if "config" in {each.name for each in command.params}]
NEEDED = {"selfdistill make-upstream": ["settings.model_type=hubert"]}
"""What a config lacks before it can be loaded."""
SECTIONS = {"layerwise": ["network.depth=2", "network.exits=[]"]}
"""What must be said beside a section that is off by default."""


def load(command: str, *overrides: str) -> Config:
    return config_of(command).load(overrides=[*NEEDED.get(command, []), *overrides])


def fields(kind: type[Config], before: str = "") -> Iterator[str]:
    """Every leaf of a config's classes, found by another way than JSON's schema."""
    for name, field in kind.model_fields.items():
        kinds = [each for each in (field.annotation, *getattr(field.annotation, "__args__", ())) if is_config(each)]
        if field.annotation not in kinds:
            yield before + name
        for inner in kinds:
            yield from fields(inner, f"{before}{name}.")


def is_config(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Config)


def test_every_command_that_takes_settings_lists_them():
    assert sorted(CONFIGURED) == sorted(CONFIGS)


@pytest.mark.parametrize("command", CONFIGS)
def test_every_setting_is_listed_and_has_a_meaning(command: str):
    listed = settings_of(config_of(command))
    assert [setting.key for setting in listed] == list(fields(config_of(command)))
    assert [setting.key for setting in listed if not setting.meaning.endswith((".", ")"))] == []
    assert all(setting.takes for setting in listed)


@pytest.mark.parametrize("command", CONFIGS)
def test_every_default_loads_back(command: str):
    plain = load(command)
    for setting in settings_of(config_of(command)):
        if not setting.needed:
            said = SECTIONS.get(setting.key.partition(".")[0], []) if "." in setting.key else []
            loaded = load(command, *said, f"{setting.key}={written(setting.default)}")
            assert said or loaded == plain, setting.key


class Inner(Config):
    share: float | None = None
    """A share."""
    kinds: tuple[str, ...] = ("a", "b: c")
    """Kinds of
    things."""


class Outer(Config):
    inner: Inner = Inner(share=0.5)
    """Inside."""
    name: str
    """A name."""


def test_a_default_is_that_of_the_config_around_it():
    share, kinds, name = settings_of(Outer)
    assert share == Setting("inner.share", "number or null", "A share.", False, 0.5)
    assert (kinds.takes, kinds.meaning) == ("list of (text)", "Kinds of things.")
    assert yaml.safe_load(written(kinds.default)) == ["a", "b: c"]
    assert name.needed
    assert str(name).splitlines() == ["name=...", "    text, needed.", "    A name."]


@pytest.mark.parametrize(
    ("command", "key", "takes"),
    [
        ("train", "training.batch", "whole number, above 0, a multiple of 2"),
        ("train", "training.betas", "list of 2 (number, at least 0, below 1)"),
        ("train", "architecture.channels", "list of 3 to 17 (whole number, at least 1, at most 16384)"),
        ("train", "architecture.start", "random or closed-form"),
        ("extract", "hubert.layer", "last or whole number"),
        ("trajectory distil", "teachers", "list of (path)"),
        ("selfdistill train", "layerwise", "the settings below or null"),
        ("selfdistill make-upstream", "settings", "mapping"),
    ],
)
def test_types_choices_and_bounds_are_said(command: str, key: str, takes: str):
    assert next(setting.takes for setting in settings_of(config_of(command)) if setting.key == key) == takes


def test_it_prints_what_can_be_given_and_as_json_all_of_it():
    printed = succeed("settings", "trajectory", "distil").out
    assert "\ndistil.ppc=10\n    whole number, above 0.\n" in printed
    listed = succeed("settings", "train", "--json").json
    assert listed["command"] == "train"
    assert listed["settings"] == [setting.to_dict() for setting in settings_of(config_of("train"))]


def test_a_command_without_settings_is_one_line():
    refused = run("settings", "sample")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "Bad command 'sample', expected one of [extract, bank, train" in refused.err


@pytest.mark.parametrize("command", CONFIGURED)
def test_help_says_where_settings_are_listed(command: str):
    assert "gandistill settings COMMAND" in " ".join(succeed(*command.split(), "--help").out.split())


def test_a_shell_completes_commands():
    script = "from gandistill.cli import main; main()"
    shell = {"_GANDISTILL_COMPLETE": "complete_bash", "COMP_WORDS": "gandistill tra", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=shell, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["train", "train-head", "trajectory"]
    assert done.stderr == ""
