import torch

from gandistill.heads.spectrogram import CNN, FrameNorm


def test_norm_takes_its_statistics_from_valid_frames_alone():
    torch.manual_seed(0)
    norm, picture = FrameNorm(3), torch.randn(2, 3, 6, 4)
    valid = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    kept = torch.cat([picture[0], picture[1, :, :2]], dim=1)  # [3, 8, 4]: all valid frames end to end
    mean, variance = kept.mean((1, 2)), kept.var((1, 2), unbiased=False)
    expected = (picture - mean[:, None, None]) / (variance[:, None, None] + norm.norm.eps).sqrt()
    expected = expected.relu() * valid[:, None, :, None]
    torch.testing.assert_close(norm(picture, torch.tensor([6, 2])), expected, rtol=0, atol=1e-5)


def test_norm_without_padding_is_batch_norm():
    torch.manual_seed(0)
    picture = torch.randn(2, 3, 6, 4)
    expected = torch.nn.BatchNorm2d(3)(picture).relu()
    torch.testing.assert_close(FrameNorm(3)(picture, torch.tensor([6, 6])), expected)


def test_training_does_not_depend_on_padding():
    torch.manual_seed(0)
    head, frames, lengths = CNN(16, 3).train(), torch.randn(3, 40, 16), torch.tensor([40, 23, 9])
    wider = torch.nn.functional.pad(frames, (0, 0, 0, 17), value=5.0)
    torch.testing.assert_close(head(frames, lengths), head(wider, lengths), rtol=0, atol=1e-5)
