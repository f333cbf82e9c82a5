import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill import artifacts
from gandistill.errors import InputError, RunError
from gandistill.heads.head import (
    MODELS,
    PROJECTING,
    Head,
    batches_by_length,
    catalogue,
    load_head,
    pooled,
    posteriors,
    save_head,
    sees,
)

LABELS = ["neutral", "happy", "sad"]


def random_head(kind: str, dims: int = 8) -> Head:
    """A head whose every parameter and running statistic is far from its initial value."""
    torch.manual_seed(0)
    head = Head(kind, LABELS, dims, {"seed": 0})
    head.mean.normal_()
    head.deviation.uniform_(0.5, 2.0)
    head.train()(torch.randn(4, 30, dims), torch.tensor([30, 30, 20, 11]))
    return head.eval()


@pytest.mark.parametrize("kind", MODELS)
@given(lengths=st.lists(st.integers(1, 45), min_size=1, max_size=5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_padding_and_neighbours_change_nothing(kind: str, lengths: list[int], seed: int):
    head, generator = random_head(kind), torch.Generator().manual_seed(seed)
    sequences = [torch.randn(length, 8, generator=generator) for length in lengths]
    alone = torch.cat([head(s[None], torch.tensor([len(s)])) for s in sequences])
    padded = torch.full((len(sequences), 60, 8), float("nan"))
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    torch.testing.assert_close(head(padded, torch.tensor(lengths)), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_reach_valid_frames_alone(kind: str):
    head, frames = random_head(kind), torch.randn(2, 30, 8, requires_grad=True)
    head(frames, torch.tensor([30, 12]))[:, 0].sum().backward()
    assert frames.grad is not None
    assert frames.grad[1, 12:].abs().max() == 0
    assert (frames.grad[1, :12].abs().amax(-1) > 0).all()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("dims", "classes"), [(64, 7), (768, 4), (5, 2)])
def test_any_dims_and_classes(kind: str, dims: int, classes: int):
    head = Head(kind, [str(c) for c in range(classes)], dims).eval()
    assert head(torch.randn(2, 20, dims), torch.tensor([20, 3])).shape == (2, classes)


def test_standardisation_by_hand():
    head = Head("superb", LABELS, 2)
    frames, lengths = torch.tensor([[[3.0, 10.0], [5.0, 14.0]]]), torch.tensor([2])
    before = head.model(torch.tensor([[[1.0, -1.0], [2.0, 1.0]]]), lengths)
    head.mean.copy_(torch.tensor([1.0, 12.0]))
    head.deviation.copy_(torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(head(frames, lengths), before)


def test_catalogue():
    found = catalogue(768, 4)
    assert json.loads(json.dumps(found)) == found
    by_name = {head["name"]: head for head in found["heads"]}
    assert list(by_name) == list(MODELS)
    assert by_name["superb"] == {"name": "superb", "sees": "mean", "parameters": 197_892}
    assert {name: head["sees"] for name, head in by_name.items()} == {
        "superb": "mean",
        "attentive": "time",
        "cnn-attention": "time",
        "tdnn": "time",
        "cnn": "spectrogram",
        "cnn6": "spectrogram",
        "resnet9": "spectrogram",
        "vgg15": "spectrogram",
    }
    assert by_name["attentive"]["parameters"] == 197_892 + 256 * 256 + 256 + 256 + 1


@pytest.mark.parametrize("kind", MODELS)
def test_other_heads_than_superbs_have_no_projector(kind: str):
    head = Head(kind, LABELS, 8)
    if kind in PROJECTING:
        assert (head.projector.in_features, head.projector.out_features) == (8, 256)
        return
    words = rf"A {kind} head has no projector, only \[superb, attentive, cnn-attention\] begin with one"
    with pytest.raises(InputError, match=words):
        head.embed(torch.zeros(1, 8))


def test_unknown_kind():
    with pytest.raises(InputError, match=r"Bad head 'supreb', expected one of \[superb, attentive, .*cnn, .*vgg15\]"):
        sees("supreb")


@pytest.mark.parametrize("kind", MODELS)
def test_saved_and_loaded_it_is_the_same(kind: str, tmp_path: Path):
    head = random_head(kind)
    save_head(tmp_path / "head", head, {"command": "test"}, upstream="logmel")
    loaded = load_head(tmp_path / "head")
    assert (loaded.kind, loaded.labels, loaded.dims, loaded.trained) == (kind, LABELS, 8, {"seed": 0})
    assert not loaded.training
    frames, lengths = torch.randn(2, 30, 8), torch.tensor([30, 12])
    assert torch.equal(loaded(frames, lengths), head(frames, lengths))
    config = artifacts.read_json(tmp_path / "head" / artifacts.CONFIG)
    assert (config["head"], config["upstream"]) == (kind, "logmel")
    save_head(tmp_path / "again", head, {"command": "test"}, upstream="logmel")
    assert artifacts.fingerprint(tmp_path / "again") == artifacts.fingerprint(tmp_path / "head")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "unheard"}, "Bad head in .*'unheard', expected one of"),
        ({"head": ["superb"]}, r"Bad head in .*config\.json: \['superb'\], expected one of"),
        ({"labels": None}, "'labels' is missing or bad"),
        ({"dims": 0}, "'dims' is missing or bad"),
        ({"dims": 10**6}, r"'mean' has shape \[8\], expected \[1000000\]"),
        ({"trained": 3}, "does not say how its superb head was trained"),
        ({"dims": 9}, "has shape"),
        ({"labels": ["a", "b"]}, "has shape"),
    ],
)
def test_a_damaged_config_is_refused(change: dict[str, object], message: str, tmp_path: Path):
    save_head(tmp_path / "head", random_head("superb"), {})
    config = artifacts.read_json(tmp_path / "head" / artifacts.CONFIG)
    artifacts.write_json(tmp_path / "head" / artifacts.CONFIG, config | change)
    artifacts.write_sums(tmp_path / "head")
    with pytest.raises(InputError, match=message):
        load_head(tmp_path / "head")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": torch.zeros(8).double()}, "tensor 'mean' is float64, expected float32"),
        ({"mean": torch.full((8,), torch.nan)}, "'mean' holds NaN"),
        ({"deviation": torch.zeros(8)}, "a superb head's deviation is not above 0"),
        ({"more": torch.zeros(8)}, "tensor 'more' is not expected"),
    ],
)
def test_damaged_weights_are_refused(change: dict[str, torch.Tensor], message: str, tmp_path: Path):
    save_head(tmp_path / "head", random_head("superb"), {})
    path = tmp_path / "head" / "head.safetensors"
    artifacts.save_tensors(path, artifacts.load_tensors(path) | change)
    artifacts.write_sums(tmp_path / "head")
    with pytest.raises(InputError, match=message):
        load_head(tmp_path / "head")


def test_a_head_that_gives_nan_is_an_error(make_features):
    head = random_head("superb")
    head.mean.fill_(3e38)
    head.deviation.fill_(1e-30)
    with pytest.raises(RunError, match="This superb head gives NaN"):
        posteriors(head, make_features())


@pytest.mark.parametrize("kind", MODELS)
def test_posteriors(kind: str, make_features):
    features, head = make_features(), random_head(kind).train()
    found = posteriors(head, features, batch=7)
    assert head.training
    assert found.shape == (24, 3)
    torch.testing.assert_close(found.sum(1), torch.ones(24))
    head.eval()
    for row in range(24):
        frames = features.frames(row)
        alone = head(frames[None], torch.tensor([len(frames)])).softmax(-1)[0]
        torch.testing.assert_close(found[row], alone.detach(), rtol=0, atol=1e-6)
    order = np.random.default_rng(0).permutation(24)
    torch.testing.assert_close(
        posteriors(head, features.rows(order)), found[torch.from_numpy(order)], rtol=0, atol=1e-6
    )


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=30), batch=st.integers(1, 8), frames=st.integers(1, 120)
)
@settings(deadline=None, max_examples=60)
def test_a_batch_is_bounded_in_utterances_and_in_frames(lengths: list[int], batch: int, frames: int):
    of = np.array(lengths)
    parts = list(batches_by_length(of, batch, frames))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(of)))
    for rows in parts:
        assert len(rows) == 1 or (len(rows) <= batch and len(rows) * of[rows].max() <= frames)
    for rows, after in pairwise(parts):  # and no smaller than it must be
        assert len(rows) == batch or (len(rows) + 1) * of[after[0]] > frames


def test_a_head_is_never_given_more_values_than_the_bound(make_features, monkeypatch: pytest.MonkeyPatch):
    features, head, values = make_features(), random_head("cnn"), list[int]()
    expected = posteriors(head, features)
    monkeypatch.setattr("gandistill.heads.head.BATCH_VALUES", 400)
    head.model.register_forward_pre_hook(lambda _, given: values.append(given[0].numel()))
    torch.testing.assert_close(posteriors(head, features), expected, rtol=0, atol=1e-6)
    assert max(values) <= 400


def test_posteriors_refuse_other_features(make_features):
    with pytest.raises(InputError, match=r"other has 9 dims, but this superb head expects 8"):
        posteriors(random_head("superb"), make_features("other", dims=9))
    with pytest.raises(InputError, match=r"labels \[happy, neutral, sad\], but this superb head expects \[neutral, h"):
        posteriors(random_head("superb"), make_features("order", labels=["happy", "neutral", "sad"]))


def test_pooled_features_give_heads_that_see_means_the_same_logits_and_gradients(make_features):
    features = make_features()
    logits, gradients = [], []
    for frames, lengths in (features.padded(range(24)), pooled(features)):
        head = random_head("superb")
        found = head(frames, lengths)
        torch.nn.functional.cross_entropy(found, torch.from_numpy(features.targets)).backward()
        logits.append(found.detach())
        gradients.append([p.grad for p in head.parameters()])
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
