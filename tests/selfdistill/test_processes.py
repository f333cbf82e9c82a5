"""Two processes train the network that one would, where there is no dropout: losses, batch statistics, checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from gandistill.run import CHECKPOINTS, METRICS, STATE
from gandistill.selfdistill.random_upstream import make_upstream
from gandistill.selfdistill.training import train
from tests.gan.test_processes import finished, machines
from tests.selfdistill.conftest import TINY

SURE = dict.fromkeys(("activation_dropout", "attention_dropout", "hidden_dropout", "feat_proj_dropout"), 0.0)
WITHOUT_GRADIENT = ("convolution.bias", "k_proj.bias", "norm.running_mean")
"""What batch norm and softmax take out again, where Adam follows rounding a whole step at a time; and its mean."""


def test_two_processes_equal_one(configured: Any, tmp_path: Path):
    """With the block whose batch norm must be that of both, in a run of two stages."""
    make_upstream(tmp_path / "upstream", TINY | SURE, seed=0)
    network = {"upstream": str(tmp_path / "upstream"), "block": "cnn", "exits": [], "depth": 2}
    config = configured(network=network, layerwise={"layers": [2, 4], "epochs": 1})
    train(config, tmp_path / "one")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    arguments = ("--config", tmp_path / "config.yaml", "--out", tmp_path / "two")
    said = finished(machines("cpu.yaml", *arguments, script="train_selfdistill.py"))
    assert said.count("Network: ") == 1, "one speaks for both"
    for stage in ("", "layerwise"):
        one, two = tmp_path / "one" / stage, tmp_path / "two" / stage
        lines = [[json.loads(line) for line in (run / METRICS).read_text().splitlines()] for run in (one, two)]
        for mine, theirs in zip(*lines, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)
        last = [max((run / CHECKPOINTS).iterdir()) for run in (one, two)]
        assert json.loads((last[1] / "config.json").read_text())["arithmetic"]["processes"] == 2
        states = [load_file(folder / STATE) for folder in last]
        assert states[0].keys() == states[1].keys()
        for name, tensor in states[0].items():
            if name.startswith("module/") and not name.endswith(WITHOUT_GRADIENT):
                assert (states[1][name] - tensor).abs().double().mean() < 2e-5, name
