"""What ``--set`` may say: every setting of a command, what it takes, its default and its meaning."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from shutil import get_terminal_size
from textwrap import fill
from typing import Any

import yaml

from gandistill.config import Config
from gandistill.errors import choices

CONFIGS = {
    "extract": "features.extract:ExtractConfig",
    "bank": "heads.bank:BankConfig",
    "train": "gan.settings:GanConfig",
    "train-head": "heads.training:HeadConfig",
    "probe": "evaluate.speakers:ProbeConfig",
    "trajectory teach": "trajectory.settings:TrajectoryConfig",
    "trajectory distil": "trajectory.settings:TrajectoryConfig",
    "trajectory evaluate": "trajectory.settings:TrajectoryConfig",
    "selfdistill make-upstream": "selfdistill.random_upstream:RandomUpstreamConfig",
    "selfdistill train": "selfdistill.settings:SelfDistilConfig",
}
"""The config of each command that has one: module and name, imported when it is asked for."""
TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "object": "mapping",
    "null": "null",
}
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
}
WIDTH = 100


@dataclass(frozen=True)
class Setting:
    """One setting: ``takes`` says type, choices and bounds in words; the default is plain JSON, or absent if needed."""

    key: str
    takes: str
    meaning: str
    needed: bool
    default: Any

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        """Three lines or more: what can be given to ``--set``, what else could, and what it means."""
        width = min(get_terminal_size().columns, WIDTH)
        default = "..." if self.needed else written(self.default)
        paragraphs = (f"{self.takes}{', needed' if self.needed else ''}.", self.meaning.replace("``", "`"))
        indent = "    "
        body = (fill(text, width, initial_indent=indent, subsequent_indent=indent) for text in paragraphs)
        return "\n".join((f"{self.key}={default}", *body))


def config_of(command: str) -> type[Config]:
    """The config that a command's ``--set`` changes. Raises InputError, naming those that have one, if it has none."""
    if command not in CONFIGS:
        raise choices("command", command, list(CONFIGS))
    module, name = CONFIGS[command].split(":")
    return getattr(import_module(f"gandistill.{module}"), name)


def settings_of(kind: type[Config]) -> list[Setting]:
    """Every setting of a config and, by dotted keys, of those within it, in the order of their definition."""
    schema = kind.model_json_schema()
    return list(_walk(schema, schema.get("$defs", {}), "", {}))


def written(default: Any) -> str:
    """A value as YAML on one line, which ``--set`` reads back."""
    return yaml.safe_dump(default, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()


def _walk(schema: Any, configs: Any, before: str, given: Any) -> Iterator[Setting]:
    """The settings of one config's JSON schema; ``given`` are the values that the config it lies in has for it."""
    for name, field in schema["properties"].items():
        default = (given or {}).get(name, field.get("default"))
        kinds = field.get("anyOf", [field])
        inner = next((configs[kind["$ref"].rpartition("/")[2]] for kind in kinds if "$ref" in kind), None)
        if inner is None or len(kinds) > 1:
            takes, needed = _takes(field), name in schema.get("required", ())
            yield Setting(before + name, takes, " ".join(field.get("description", "").split()), needed, default)
        if inner is not None:
            yield from _walk(inner, configs, f"{before}{name}.", default)


def _takes(field: Any) -> str:
    """A JSON schema in words."""
    if "anyOf" in field:
        return " or ".join(map(_takes, field["anyOf"]))
    if "$ref" in field:
        return "the settings below"
    if "enum" in field or "const" in field:
        return " or ".join(map(str, field.get("enum", [field.get("const")])))
    if field["type"] == "array":
        item = field.get("prefixItems", [field.get("items")])[0]
        least, most = field.get("minItems"), field.get("maxItems")
        if least is None:
            return f"list of ({_takes(item)})"
        number = f"{least}" if least == most else f"{least} to {most}" if most else f"{least} or more"
        return f"list of {number} ({_takes(item)})"
    what = "path" if field.get("format") == "path" else TYPES[field["type"]]
    return ", ".join([what, *(f"{words} {field[bound]}" for bound, words in BOUNDS.items() if bound in field)])
