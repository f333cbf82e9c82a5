import torch
from s3prl.downstream.model import UtteranceLevel

from gandistill.heads.superb import Superb, valid_frames


def test_it_has_the_parameters_of_superb_emotion_head():
    assert sum(p.numel() for p in Superb(768, 4).parameters()) == 197_892


def twins(dims: int) -> tuple[Superb, torch.nn.Linear, UtteranceLevel]:
    """Our head, and s3prl's projector and downstream model of the same weights."""
    torch.manual_seed(0)
    ours, projector = Superb(dims, 4), torch.nn.Linear(dims, 256)
    theirs = UtteranceLevel(256, 4, pooling="MeanPooling", post_net={"select": "FrameLevel"})
    ours.projector.load_state_dict(projector.state_dict())
    ours.linear.load_state_dict(theirs.post_net.linear.state_dict())
    return ours, projector, theirs


def test_it_equals_s3prl_with_the_same_weights_on_a_padded_batch():
    ours, projector, theirs = twins(768)
    frames, lengths = torch.randn(3, 50, 768), torch.tensor([50, 31, 7])
    expected, _ = theirs(projector(frames), lengths)
    torch.testing.assert_close(ours(frames, lengths), expected, rtol=0, atol=1e-6)


def test_gradients_from_means_alone_equal_those_of_s3prl_from_every_frame():
    ours, projector, theirs = twins(12)
    frames, lengths, targets = torch.randn(3, 50, 12), torch.tensor([50, 31, 7]), torch.tensor([0, 3, 1])
    means = torch.stack([utterance[:length].mean(0) for utterance, length in zip(frames, lengths, strict=True)])
    torch.nn.functional.cross_entropy(ours(means[:, None], torch.ones(3)), targets).backward()
    torch.nn.functional.cross_entropy(theirs(projector(frames), lengths)[0], targets).backward()
    expected = [*projector.parameters(), *theirs.post_net.linear.parameters()]
    for one, other in zip(ours.parameters(), expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-6)


def test_it_sees_the_mean_alone():
    torch.manual_seed(0)
    head = Superb(5, 3)
    frames = torch.randn(2, 9, 5)
    shuffled = frames[:, torch.randperm(9)]
    lengths = torch.tensor([9, 9])
    torch.testing.assert_close(head(frames, lengths), head(shuffled, lengths), rtol=0, atol=1e-6)
    mean = frames.mean(1, keepdim=True)
    torch.testing.assert_close(head(frames, lengths), head(mean, torch.tensor([1, 1])), rtol=0, atol=1e-6)


def test_valid_frames_by_hand():
    expected = [[True, False, False], [True, True, True]]
    assert valid_frames(torch.tensor([1, 3]), 3).squeeze(-1).tolist() == expected
