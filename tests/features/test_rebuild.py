"""An upstream is made again from its description, or what differs is said."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.errors import InputError
from gandistill.features.extract import ExtractConfig, load_upstream
from gandistill.features.rebuild import rebuilt


def described(*settings: str) -> dict[str, Any]:
    """As it comes back from an artifact."""
    return json.loads(json.dumps(load_upstream(ExtractConfig.load(None, settings)).describe()))


@pytest.mark.parametrize(
    "settings", [(), ("logmel.bands=12", "logmel.fmin=40", "logmel.centre=true"), ("clip=9000", "pool=3")]
)
def test_log_mels_are_made_again(settings: tuple[str, ...]):
    noise = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) - 0.5
    upstream = rebuilt("head", described(*settings))
    assert upstream.describe() == described(*settings)
    assert torch.equal(upstream(noise), load_upstream(ExtractConfig.load(None, settings))(noise))


def test_another_model_is_refused_naming_both(tiny_whisper: Path, tmp_path: Path):
    known = described("upstream=whisper", f"whisper.model={tiny_whisper}", "whisper.layer=1")
    here = [f"whisper.model={tiny_whisper}"]
    assert rebuilt("head", known, here).describe() == known
    other = known | {"parameters_sha256": "0" * 64}
    with pytest.raises(
        InputError, match=r"head takes features of another upstream than whisper .*parameters_sha256 is"
    ) as e:
        rebuilt("head", other, here)
    assert str(e.value).endswith("; --set whisper.model=... names another")


def test_a_model_of_another_family_is_refused(tiny_hubert: Path, tiny_whisper: Path):
    known = described("upstream=whisper", f"whisper.model={tiny_whisper}")
    with pytest.raises(InputError, match=r"Bad model type of .* 'hubert', expected one of \[whisper\]"):
        rebuilt("head", known, [f"whisper.model={tiny_hubert}"])


def test_only_the_place_of_the_model_is_open(tiny_whisper: Path):
    known = described("upstream=whisper", f"whisper.model={tiny_whisper}")
    with pytest.raises(
        InputError, match=r"Bad --set whisper.layer=2: head decides the features, expected whisper.model"
    ):
        rebuilt("head", known, ["whisper.layer=2"])
    with pytest.raises(InputError, match=r"Bad --set whisper.model=x: .*logmel has no model to be found"):
        rebuilt("head", described(), ["whisper.model=x"])


@pytest.mark.parametrize("description", [None, "test", {}, {"bands": 3}], ids=str)
def test_without_a_description_nothing_is_heard(description: Any):
    with pytest.raises(InputError, match="head does not say which upstream"):
        rebuilt("head", description)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"name": "mfcc"}, "Bad upstream 'mfcc', expected one of"),
        ({"name": "logmel", "bands": -1}, "head: bad value -1 for 'logmel.bands'"),
        ({"name": "logmel", "units": "dB"}, "units is 'dB' for head and 'ln"),
        ({"name": "logmel", "sample_rate": 8000}, "sample_rate is 8000 for head and 16000 of logmel"),
    ],
    ids=str,
)
def test_descriptions_of_nothing_we_have(description: dict[str, Any], words: str):
    with pytest.raises(InputError) as caught:
        rebuilt("head", description)
    assert words in str(caught.value)
