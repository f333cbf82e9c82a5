"""The time-delay head: its pooling and its reach."""

import torch

from gandistill.heads.tdnn import TDNN


def test_it_pools_mean_and_deviation_over_time():
    torch.manual_seed(0)
    head, frames = TDNN(6, 3).eval(), torch.randn(1, 11, 6)
    maps = head.entry(frames).mT
    for convolution in head.convolutions:
        maps = convolution(maps).relu()
    pooled = torch.cat([maps.mean(2), (maps.var(2, correction=0) + 1e-6).sqrt()], dim=1)
    torch.testing.assert_close(head(frames, torch.tensor([11])), head.linear(pooled))


def test_the_order_of_frames_counts():
    torch.manual_seed(0)
    head, frames, lengths = TDNN(6, 3).eval(), torch.randn(1, 9, 6), torch.tensor([9])
    assert (head(frames, lengths) - head(frames[:, torch.randperm(9)], lengths)).abs().max() > 1e-4


def test_a_frame_reaches_seven_frames_each_way():
    """2 of the first convolution, 2 of the second, 3 of the third."""
    torch.manual_seed(0)
    head, frames = TDNN(4, 3).eval(), torch.zeros(1, 31, 4, requires_grad=True)
    maps = head.entry(frames).mT
    for convolution in head.convolutions:
        maps = convolution(maps)
    (gradient,) = torch.autograd.grad(maps[0, :, 15].sum(), frames)
    reached = torch.nonzero(gradient[0].abs().sum(1)).flatten()
    assert (reached.min(), reached.max()) == (15 - 7, 15 + 7)
