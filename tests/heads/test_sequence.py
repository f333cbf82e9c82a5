import pytest
import torch
from s3prl.downstream.emotion.model import DeepModel
from s3prl.downstream.model import UtteranceLevel

from gandistill.heads.sequence import Attentive, CNNAttention, Dropout, attend


def test_attentive_equals_s3prl_without_padding():
    torch.manual_seed(0)
    ours = Attentive(40, 4)
    theirs = UtteranceLevel(256, 4, pooling="AttentivePooling", post_net={"select": "FrameLevel"})
    ours.score[0].load_state_dict(theirs.pooling.sap_layer.W_a.state_dict())
    ours.score[2].load_state_dict(theirs.pooling.sap_layer.W.state_dict())
    ours.linear.load_state_dict(theirs.post_net.linear.state_dict())
    frames, lengths = torch.randn(3, 30, 40), torch.tensor([30, 30, 30])
    expected, _ = theirs(ours.projector(frames), lengths)
    torch.testing.assert_close(ours(frames, lengths), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 6, 37, 100])
def test_cnn_attention_equals_s3prl_without_padding(frames: int):
    torch.manual_seed(frames)
    sizes = {"hidden_dim": 80, "kernel_size": 5, "padding": 2, "dropout": 0.4}
    ours, theirs = CNNAttention(40, 4).eval(), DeepModel(256, 4, "CNNSelfAttention", pooling=5, **sizes).eval()
    sequence = theirs.model.model_seq
    for convolution, place in zip(ours.convolutions, (2, 5, 8), strict=True):
        convolution.load_state_dict(sequence[place].state_dict())
    ours.score.load_state_dict(theirs.model.pooling.W.state_dict())
    ours.classifier.load_state_dict(theirs.model.out_layer.state_dict())
    x, lengths = torch.randn(3, frames, 40), torch.full((3,), frames)
    expected, _ = theirs(ours.projector(x), lengths)
    torch.testing.assert_close(ours(x, lengths), expected, rtol=0, atol=1e-6)


def test_attend_by_hand():
    features = torch.tensor([[[1.0], [5.0], [100.0]]])
    scores = torch.tensor([[[0.0], [0.0], [9.0]]])
    valid = torch.tensor([[[True], [True], [False]]])
    assert attend(features, scores, valid).item() == pytest.approx(3.0)


def test_cnn_attention_depends_on_order():
    torch.manual_seed(0)
    head, frames, lengths = CNNAttention(8, 3).eval(), torch.randn(1, 60, 8), torch.tensor([60])
    assert (head(frames, lengths) - head(frames.flip(1), lengths)).abs().max() > 1e-4


def test_many_frames_and_few_are_scored_alike():
    """Where frames outnumber dims two layers are made one."""
    torch.manual_seed(0)
    head, frames = Attentive(40, 4), torch.randn(2, 30, 40)
    one_by_one = torch.stack([head.opened(frame[None, None])[0, 0] for frame in frames.flatten(0, 1)])
    torch.testing.assert_close(head.opened(frames).flatten(0, 1), one_by_one, rtol=0, atol=1e-6)


def test_dropout_leaves_the_mean_and_drops_its_share_by_the_seed():
    torch.manual_seed(0)
    drop, ones = Dropout(0.4), torch.ones(50, 40, 33)
    dropped = drop(ones)
    assert sorted({*dropped.flatten().tolist()}) == pytest.approx([0.0, 1 / 0.6])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    torch.manual_seed(0)
    assert torch.equal(drop(ones), dropped)
    assert not torch.equal(drop(ones), dropped)
    assert drop.eval()(ones) is ones
