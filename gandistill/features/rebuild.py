"""The upstream that features came from, made again from what they say of it: for audio that they never saw."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gandistill.errors import InputError
from gandistill.features.extract import OWN, S3PRL, ExtractConfig, difference, load_upstream
from gandistill.features.upstreams import Upstream

PLACES = {"whisper": "whisper.model", "hubert": "hubert.model", "s3prl": "s3prl.checkpoint"}
"""The setting that says where a pretrained model lies, which no description does."""


def rebuilt(what: str, description: Any, settings: Sequence[str] = (), device: torch.device | str = "cpu") -> Upstream:
    """The upstream whose ``describe`` gave ``description``; ``what``, a head for example, takes its features.

    A description says what a pretrained model holds, not where it lies. Where that is not the default, ``settings``
    say it as for ``extract``: ``whisper.model=DIR``. Raises InputError for other settings, if there is no description,
    or if the model cannot be had or is another than the one described.
    """
    if not isinstance(description, Mapping) or "name" not in description:
        raise InputError(f"{what} does not say which upstream its features came from, so it cannot hear audio")
    name = str(description["name"])
    section = name if name in OWN else S3PRL.rstrip(":")
    for setting in settings:
        if setting.partition("=")[0].strip() != PLACES.get(section):
            expected = f"expected {PLACES[section]}=..." if section in PLACES else f"{name} has no model to be found"
            raise InputError(f"Bad --set {setting}: {what} decides the features, {expected}")
    fields = type(getattr(ExtractConfig(), section)).model_fields
    values = {key: description[key] for key in ("clip", "pool") if key in description}
    values |= {"upstream": name, section: {key: description[key] for key in fields if key in description}}
    upstream = load_upstream(ExtractConfig.build(values, what, settings), device)
    # Weights are brought to a sum of 1 again, which may change their last bit.
    here = upstream.describe() | {key: description[key] for key in ("weights",) if key in description}
    different = difference(dict(description), here, (f"for {what}", f"of {upstream.name}"))
    if different is not None:
        hint = f"; --set {PLACES[section]}=... names another" if section in PLACES else ""
        raise InputError(f"{what} takes features of another upstream than {upstream.name}: {different}{hint}")
    return upstream
