"""Two processes train the network that one would, where there is no dropout: losses, batch statistics, checkpoints."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gandistill import processes
from gandistill.features.pretrained import load_pretrained
from gandistill.run import CHECKPOINTS, METRICS, STATE
from gandistill.selfdistill.backbone import MODEL_TYPES, backbone_of
from gandistill.selfdistill.layerwise import LayerwiseStudent, layerwise_loss
from gandistill.selfdistill.random_upstream import make_upstream
from gandistill.selfdistill.training import train
from tests.gan.test_processes import ROOT, finished, machines
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
    said = finished(machines("cpu.yaml", *arguments, start=[f"{ROOT}/recipes/train_selfdistill.py"]))
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


def test_processes_that_hold_unequally_many_frames_learn_what_one_would(upstream: Path, tmp_path: Path):
    """Loss, gradients and statistics of the block with batch norm, in float64; the second process pads nothing."""
    learnt(upstream, tmp_path / "whole.safetensors", slice(None))
    torch.multiprocessing.spawn(half, (upstream, tmp_path), nprocs=2)
    whole, *halves = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "0", "1"))
    for mine in halves:
        assert mine.keys() == whole.keys()
        for name, tensor in whole.items():
            torch.testing.assert_close(mine[name], tensor, rtol=1e-6, atol=1e-10, msg=name)
            assert torch.equal(mine[name], halves[0][name]), f"{name} has not drifted apart"


def half(rank: int, upstream: Path, folder: Path) -> None:
    """The body of a process."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    learnt(upstream, folder / f"{rank}.safetensors", slice(2 * rank, 2 * rank + 2))
    torch.distributed.destroy_process_group()


def learnt(upstream: Path, file: Path, rows: slice) -> None:
    """Write what a student learns from its share of four clips of other lengths: loss, gradients, batch statistics."""
    torch.manual_seed(0)
    samples = torch.tensor([3200, 6400, 4800, 4800])
    clips = torch.randn(4, 6400, dtype=torch.float64)[rows, : int(samples[rows].max())]
    model, _ = load_pretrained(str(upstream), "upstream", MODEL_TYPES)
    teacher = backbone_of(deepcopy(model), 4).double().eval().requires_grad_(False)
    student = LayerwiseStudent(backbone_of(model, 2), (2, 4), "cnn").double().eval()  # without dropout
    student.blocks.train()
    lengths = None if len(set(samples[rows].tolist())) == 1 else samples[rows]
    terms = layerwise_loss(teacher, student, clips, lengths, 1.0)
    terms["loss"].backward()
    parameters = {name: each for name, each in student.named_parameters() if each.grad is not None}
    processes.average_gradients(parameters.values())
    found = {name: processes.mean(term.detach()) for name, term in terms.items()}
    found |= {name: each.grad for name, each in parameters.items() if each.grad is not None}
    save_file({name: each.contiguous() for name, each in (found | dict(student.blocks.named_buffers())).items()}, file)
