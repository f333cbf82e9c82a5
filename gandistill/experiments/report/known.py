"""What a page says of any artifact: where it came from, and what it is on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gandistill import artifacts
from gandistill.experiments.report import page


def origin(facts: Mapping[str, Any]) -> dict[str, str | None]:
    """Corpus and licence, by what an artifact's config says."""
    fold = None if facts.get("fold") is None else f"fold {facts['fold']}"
    return {
        "corpus": joined(facts.get("corpus") or "not stated", facts.get("protocol"), fold),
        "licence": f"{facts.get('licence') or 'not stated'} (of the corpus)",
    }


def features(facts: Mapping[str, Any]) -> str:
    """Upstream, layer and rate of the features that an artifact is made of."""
    rate, upstream = facts.get("frame_rate"), facts.get("upstream")
    upstream = upstream if isinstance(upstream, dict) else {"name": upstream or "not stated"}
    layer = None if upstream.get("layer") is None else f"layer {upstream['layer']}"
    return joined(upstream.get("name", "not stated"), layer, rate and f"{rate:g} frames a second")


def identity(folder: Path) -> dict[str, str]:
    """Bytes, the versions that made it, fingerprint."""
    made_by = artifacts.read_json(folder / artifacts.CONFIG).get("made_by", {})
    return {
        "bytes": f"{artifacts.bytes_on_disk(folder):,}",
        "versions": ", ".join(f"{name} {number}" for name, number in made_by.get("versions", {}).items()),
        "fingerprint": artifacts.fingerprint(folder),
    }


def description(entries: Mapping[str, Any], counts: Mapping[str, int], counted: str, isnt: str) -> str:
    """What an artifact is, by name and, where known, by what is ``counted`` of each class; and what it is not."""
    classes = page.table([{"class": label, counted: count} for label, count in counts.items()]) if counts else ""
    is_it = page.part("What it is", page.facts(entries), classes)
    return is_it + page.part("What it is not", page.paragraph(isnt))


def joined(*parts: str | None) -> str:
    """What is known of several things, with commas."""
    return ", ".join(part for part in parts if part)
