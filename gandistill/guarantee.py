"""The guarantee that a private generator gives for its speakers (differential privacy), and what made from it carries.

An artifact's config has its terms under ``privacy``: epsilon, delta, what is adjacent, the noise.
"""

from collections.abc import Mapping
from typing import Any


def guaranteed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The guarantee of a private generator's samples, by their config or by what was made of them, and of nothing else:
    whatever is computed from a release has it too."""
    return {"privacy": facts["privacy"]} if "privacy" in facts else {}


def guarantee_said(facts: Mapping[str, Any]) -> str:
    """A sentence of a card, where there is a guarantee."""
    if "privacy" not in facts:
        return ""
    return f" The generator's guarantee, epsilon {facts['privacy']['epsilon']:g}, covers it too."
