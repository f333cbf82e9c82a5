"""What plans of every paper say: on which corpus, from which recipes. YAML, under ``eval/plans/``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from gandistill.config import Config
from gandistill.gan.settings import GanConfig


class Rooted(Config):
    """What names recipes, itself or in what it holds, by paths relative to the folder that ``rooted`` is given."""

    def rooted(self, recipes: Path) -> Self:
        """The same, every recipe's path made whole. Raises InputError if ``check_recipes`` does: before any work."""
        plan = _rooted(self, recipes)
        plan.check_recipes()
        return plan

    def check_recipes(self) -> None:
        """Raise InputError if a recipe is missing or does not fit."""


def _rooted(value: Any, recipes: Path) -> Any:
    if isinstance(value, Path):
        return recipes / value
    if isinstance(value, dict):
        return {name: _rooted(item, recipes) for name, item in value.items()}
    if isinstance(value, Config):
        whole = {name: _rooted(getattr(value, name), recipes) for name in type(value).model_fields}
        return value.model_copy(update=whole)
    return value


class CorpusPlan(Rooted):
    """What is run on which corpus."""

    note: str = ""
    """What every table says of itself first."""
    corpus: str
    """A reader of ``gandistill prepare``."""
    protocol: str
    """A protocol of that corpus."""


class RecipePlan(Rooted):
    """A generator that is trained by a recipe."""

    recipe: Path
    """YAML of ``gandistill train``."""
    settings: tuple[str, ...] = ()
    """What differs from the recipe, as ``--set`` takes it."""

    def config(self) -> GanConfig:
        """The training, its inputs not named."""
        config = GanConfig.load(self.recipe, self.settings)
        return config.model_copy(update={"features": None, "bank": None})


def seeded(config: GanConfig, seed: int) -> GanConfig:
    """The same training by another seed."""
    return config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})


def check_distinct(lists: Mapping[str, Sequence[Any]]) -> None:
    """Raise ValueError where a list names anything twice: the same row twice would count twice."""
    for name, values in lists.items():
        repeated = [value for place, value in enumerate(values) if value in values[:place]]
        if repeated:
            raise ValueError(f"{name}: {repeated[0]!r} is named twice")
