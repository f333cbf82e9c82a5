"""Batch norm: torch's own in one process, that of the whole batch in several."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gandistill.batch_norm import BatchNorm


def test_it_is_torchs_and_counts_no_batch_that_is_merely_repeated():
    ours, torchs = BatchNorm(3), torch.nn.BatchNorm2d(3)
    for _ in range(2):
        maps = 2 + 3 * torch.randn(5, 3, 4, 2)
        assert torch.equal(ours(maps), torchs(maps))
    ours.counting = False
    ours(maps)
    assert torch.equal(ours.running_mean, torchs.running_mean)
    assert torch.equal(ours.running_var, torchs.running_var)
    assert torch.equal(ours.eval()(maps), torchs.eval()(maps))


@pytest.mark.parametrize("cut", [4, 3])
def test_batch_norm_of_a_split_batch_is_that_of_the_whole(tmp_path: Path, cut: int):
    """Outputs, running statistics and gradients; two processes hold the first ``cut`` of 8 maps, and the others."""
    torch.manual_seed(0)
    maps, slope = torch.randn(8, 3, 4, 2, dtype=torch.float64), torch.randn(8, 3, 4, 2, dtype=torch.float64)
    norm = BatchNorm(3).double()
    whole = maps.clone().requires_grad_()
    (norm(whole) * slope).sum().backward()
    torch.multiprocessing.spawn(half_norm, (tmp_path, maps, slope, cut), nprocs=2)
    halves = [load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1)]
    with torch.no_grad():
        expected = BatchNorm(3).double()(maps)
    torch.testing.assert_close(torch.cat([half["output"] for half in halves]), expected)
    torch.testing.assert_close(torch.cat([half["gradient"] for half in halves]), whole.grad)
    for half in halves:
        torch.testing.assert_close(half["mean"], norm.running_mean)
        torch.testing.assert_close(half["variance"], norm.running_var)
    torch.testing.assert_close(halves[0]["weight"] + halves[1]["weight"], norm.weight.grad)


def half_norm(rank: int, folder: Path, maps: torch.Tensor, slope: torch.Tensor, cut: int) -> None:
    """The body of a process."""
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    norm, half = BatchNorm(3).double(), slice(0, cut) if rank == 0 else slice(cut, None)
    mine = maps[half].clone().requires_grad_()
    output = norm(mine)
    (output * slope[half]).sum().backward()
    found = {"output": output.detach(), "gradient": mine.grad, "weight": norm.weight.grad}
    found |= {"mean": norm.running_mean, "variance": norm.running_var}
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, folder / f"{rank}.safetensors")
    torch.distributed.destroy_process_group()
