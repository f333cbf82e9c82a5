"""Strict YAML configs: every field documents itself, an unknown key is an error that lists the valid ones."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from gandistill import shipped
from gandistill.errors import InputError


class Config(BaseModel):
    """Base of all configs: frozen, unknown keys refused, the docstring under a field is its help.

    A YAML file may name another with ``base: other.yaml`` (relative to itself) and then holds only what differs; null
    takes away a mapping that the base has there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @classmethod
    def load(cls, path: Path | str | None = None, overrides: list[str] | tuple[str, ...] = ()) -> Self:
        """Read a YAML file (none: all defaults) and apply ``a.b=value`` overrides, values parsed as YAML.

        Where there is no file at ``path`` it may be the name of a recipe that ships, such as ``ravdess/gan_att``.
        Raises InputError naming file, key and valid choices.
        """
        values = {} if path is None else read(shipped.file("recipes", Path(path)))
        return cls.build(values, str(path) if path is not None else "--set", overrides)

    @classmethod
    def build(cls, values: dict[str, Any], where: str, overrides: Sequence[str] = ()) -> Self:
        """Validate a plain mapping, changed by ``overrides`` as ``load`` has them.

        Raises InputError whose first words say ``where``, or which of the ``overrides`` put the bad value there.
        """
        values = deepcopy(values)
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals:
                raise InputError(f"Bad --set {override!r}, expected key=value such as training.seed=1")
            _assign(values, key.strip().split("."), _parse(value, f"--set {override}"))
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            explanations: dict[str, list[str]] = {}
            for e in error.errors():
                explanations.setdefault(_source(e["loc"], where, overrides), []).append(_explain(cls, e))
            raise InputError(
                "; ".join(f"{source}: {'; '.join(what)}" for source, what in explanations.items())
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """The resolved values as plain JSON types."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """YAML that ``load`` reads back as the same config. Non-ASCII is escaped, since YAML folds some of it."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=False)


def read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The plain values of a YAML file and of its chain of bases, which ``seen`` holds so far. Raises InputError."""
    if not path.is_file():
        raise InputError(f"No config file {path}")
    if path.resolve() in seen:
        raise InputError(f"{path}: its chain of 'base' files leads back to itself")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from None
    values = _parse(text, str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected 'key: value' lines, found {type(values).__name__}")
    base = values.pop("base", None)
    if base is None:
        return values
    return _merge(read(path.parent / str(base), (*seen, path.resolve())), values)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key that occurs twice is an error: plain YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} occurs twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, dict) and value is None:
            del merged[key]
        else:
            merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _assign(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            inner = values[key] = {}
        values = inner
    values[keys[-1]] = value


def _source(location: Sequence[int | str], where: str, overrides: Sequence[str]) -> str:
    """Where the value at a location comes from: the last override of it, of what holds it or of what it holds."""
    for override in reversed(overrides):
        key = override.partition("=")[0].strip().split(".")
        if all(part == str(place) for part, place in zip(key, location, strict=False)) and location:
            return f"--set {override}"
    return where


def _explain(model: type[BaseModel], error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        return f"unknown key {key!r}, expected one of [{', '.join(owner.model_fields)}]"
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    message = error["msg"].removeprefix("Value error, ")  # pydantic's word for what a validator of ours said
    return f"bad value {error['input']!r} for {key!r}: {message}" if key else message


def _model_at(model: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    for key in keys:
        field = model.model_fields.get(key)
        if field is None:  # a list index or a union tag: stay with the model that holds it
            continue
        for candidate in _members(field.annotation):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return model


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType, list, tuple) else (annotation,)
