"""What plans of every paper say: on which corpus, from which recipes. YAML, under ``eval/plans/``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from gandistill.config import Config
from gandistill.gan.settings import GanConfig


class CorpusPlan(Config):
    """What is run on which corpus. Recipes are named relative to the folder that ``rooted`` is given."""

    note: str = ""
    """What every table says of itself first."""
    corpus: str
    """A reader of ``gandistill prepare``."""
    protocol: str
    """A protocol of that corpus."""


class RecipePlan(Config):
    """A generator that is trained by a recipe."""

    recipe: Path
    """YAML of ``gandistill train``."""
    settings: tuple[str, ...] = ()
    """What differs from the recipe, as ``--set`` takes it."""

    def rooted(self, recipes: Path) -> Self:
        """The same, the recipe's path made whole."""
        return self.model_copy(update={"recipe": recipes / self.recipe})

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
