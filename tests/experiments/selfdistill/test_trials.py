"""What trials of a plan start from."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gandistill.errors import InputError
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.selfdistill.trials import inputs_of
from gandistill.features.whisper import Whisper, WhisperConfig
from tests.corpora.fabricate import fabricate_nemo
from tests.experiments.selfdistill.conftest import ROOT

PLAN: dict[str, Any] = {
    "corpus": "nemo",
    "protocol": "speaker-independent",
    "recipe": "ravdess/selfdistill_whisper_tiny.yaml",
    "layerwise": None,
    "layers": None,
}


def test_a_pretrained_model_may_lie_in_a_folder(tiny_whisper: Path, tmp_path: Path):
    """It is known by what of it hears, and called by the recipe's name."""
    corpus = fabricate_nemo(tmp_path / "corpus", 1, 0.2)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    plan = ExitPlan.load(tmp_path / "plan.yaml").rooted(ROOT / "recipes")
    inputs = inputs_of(plan, corpus, tmp_path / "work", str(tiny_whisper))
    assert (inputs.upstream, inputs.layers) == (str(tiny_whisper), 4)
    described = Whisper(WhisperConfig(model=str(tiny_whisper))).describe()
    assert inputs.upstream_sha256 == described["parameters_sha256"], "as extraction has it, without the decoder"
    assert plan.upstream == "openai/whisper-tiny.en"
    assert str(tiny_whisper) not in str(plan.resolved())
    with pytest.raises(InputError, match=r"No model at \./nowhere"):
        inputs_of(plan, corpus, tmp_path / "work", "./nowhere")
