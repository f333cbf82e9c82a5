"""Where features came from, for whatever is made of them: said in its config, and checked before it meets others."""

from collections.abc import Mapping
from typing import Any

from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet

ORIGIN = ("corpus", "protocol", "fold", "dev", "licence")
"""What features say of the manifest that they were made from, and what is made of them after them."""
UNPOOLED = {"pool": 1}
"""What an upstream's description says where it says nothing of it."""


def made_from(features: FeatureSet) -> dict[str, Any]:
    """Where a derived artifact came from: folder name, fingerprint, upstream, corpus and licence of its source."""
    keys = ("upstream", "frame_rate", *ORIGIN)
    source = {"features": features.folder.name, "fingerprint": features.fingerprint}
    return {key: features.config[key] for key in keys if key in features.config} | {"source": source}


def check_origin(what: str, origin: Mapping[str, Any], features: FeatureSet) -> None:
    """Refuse features of another kind than ``origin`` (a config, or what ``made_from`` gave) says ``what`` is for.

    Only where both say so: another upstream, whatever the length of its clips; another fold of the same corpus and
    protocol, whose test speakers ``what`` has met; or the same fold with a dev part that ``what`` was trained on too.
    Raises InputError.
    """
    expected, given = (_upstream_settings(facts.get("upstream")) for facts in (origin, features.config))
    differ = [key for key in expected if key in given and expected[key] != given[key]]
    if differ:
        raise InputError(
            f"{features.folder} comes from another upstream than {what}: {differ[0]} is {given[differ[0]]!r}, "
            f"expected {expected[differ[0]]!r}"
        )
    folds = origin.get("fold"), features.config.get("fold")
    same = all(origin.get(key) == features.config.get(key) is not None for key in ("corpus", "protocol"))
    if same and None not in folds and folds[0] != folds[1]:
        raise InputError(
            f"{features.folder} is fold {folds[1]}, but {what} is of fold {folds[0]} of the same corpus, which has "
            "other test speakers: make it anew for this fold"
        )
    if same and origin.get("dev") and not features.config.get("dev"):
        raise InputError(
            f"{features.folder} has a dev part, which {what} was trained on too: extract features of a manifest that "
            "was prepared with --merge-dev"
        )


def _upstream_settings(upstream: Any) -> dict[str, Any]:
    """What decides features, but for the length of clips: empty where nothing is known."""
    if not isinstance(upstream, dict):
        return {} if upstream is None else {"name": upstream}
    whole = upstream | UNPOOLED | upstream  # in its own order, the name first: it says most where two differ
    return {key: value for key, value in whole.items() if key != "clip"}
