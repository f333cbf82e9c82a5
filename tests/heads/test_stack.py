"""A head is what it is alone, whatever it is stacked with; and the gradients without autograd are autograd's."""

import pytest
import torch

from gandistill.errors import InputError
from gandistill.heads.head import Head, posteriors
from gandistill.heads.stack import Stack, Superbs
from gandistill.heads.training import HeadConfig, descend, descend_together, score, train_head, train_heads, untrained
from gandistill.numerics import seeded

CONFIG = HeadConfig(updates=50, batch=8)


def same(one: Head, other: Head) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("dims", [8, 13])
def test_alone_and_in_any_stack_a_head_has_the_same_bits(make_features, dims: int):
    sets = [make_features(str(i), each=6 + i, seed=i, dims=dims) for i in range(3)]
    configs = [CONFIG.model_copy(update={"seed": seed}) for seed in (5, 6, 7)]
    alone = [train_head(features, config) for features, config in zip(sets, configs, strict=True)]
    assert all(map(same, train_heads(sets, configs), alone))
    assert all(map(same, train_heads(sets[1:], configs[1:]), alone[1:]))
    assert not same(alone[0], alone[1])


def test_members_that_differ_in_shape_are_split_and_come_in_order(make_features, monkeypatch: pytest.MonkeyPatch):
    narrow, wide = make_features("narrow"), make_features("wide", dims=9)
    other = CONFIG.model_copy(update={"seed": 1})
    slow = CONFIG.model_copy(update={"updates": 20})
    time = HeadConfig(head="attentive", updates=3, batch=4, window=8)
    sets, configs = [narrow, wide, narrow, narrow, narrow], [CONFIG, other, other, slow, time]
    alone = [train_head(features, config) for features, config in zip(sets, configs, strict=True)]
    sizes: list[int] = []
    whole = Stack.__init__

    def counted(stack: Stack, heads: list[Head]) -> None:
        sizes.append(len(heads))
        whole(stack, heads)

    monkeypatch.setattr(Stack, "__init__", counted)
    together = train_heads(sets, configs)
    assert sizes == [2, 1, 1, 1]
    assert all(map(same, together, alone))
    assert [head.trained["config"] for head in together] == [config.to_dict() for config in configs]


def test_each_member_keeps_its_own_best_update(make_features):
    features, dev = make_features(), make_features("dev", split="dev", seed=1)
    configs = [CONFIG.model_copy(update={"seed": s, "evaluate_every": 5, "learning_rate": 1e-2}) for s in range(3)]
    together = train_heads([features] * 3, configs, dev)
    for head, config in zip(together, configs, strict=True):
        alone = train_head(features, config, dev)
        assert same(head, alone)
        assert head.trained == alone.trained
        assert head.trained["dev"]["uar"] == score(head, dev)["uar"]


def test_a_set_of_one_class_is_refused_in_a_stack_too(make_features):
    sets = [make_features(), make_features("single", present=["sad"])]
    with pytest.raises(InputError, match="single has utterances of fewer than two classes"):
        train_heads(sets, [CONFIG, CONFIG])


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_are_those_of_autograd(frozen: bool):
    torch.manual_seed(0)
    heads = [Head("superb", ["a", "b", "c"], 6) for _ in range(2)]
    for head in heads:
        head.projector.requires_grad_(not frozen)
    means, targets = torch.randn(2, 5, 6), torch.rand(2, 5, 3)
    stack = Stack(heads)
    losses = Superbs(stack).add_gradients(means, targets, 0.5)
    found = [[weight.grad.clone() for weight in head.parameters() if weight.grad is not None] for head in heads]
    stack.gradients.zero_()
    for head, x, t, loss, gradients in zip(heads, means, targets, losses, found, strict=True):
        expected = torch.nn.functional.cross_entropy(head(x.unsqueeze(1), torch.ones(5)), t)
        torch.testing.assert_close(loss, expected.detach())
        trained = [weight for weight in head.parameters() if weight.requires_grad]
        torch.testing.assert_close(gradients, [*torch.autograd.grad(0.5 * expected, trained)])


def test_a_stack_clips_each_head_as_torch_does():
    torch.manual_seed(0)
    heads = [Head("superb", ["a", "b"], 5) for _ in range(2)]
    stack = Stack(heads)
    for head, size in zip(heads, (1e-4, 10.0), strict=True):
        for weight in head.parameters():
            assert weight.grad is not None
            weight.grad.copy_(size * torch.randn_like(weight))
    expected = [[weight.grad.clone() for weight in head.parameters() if weight.grad is not None] for head in heads]
    stack.clip(1.0)
    for head, gradients in zip(heads, expected, strict=True):
        torch.nn.utils.clip_grads_with_norm_(gradients_of(gradients), 1.0, torch.nn.utils.get_total_norm(gradients))
        torch.testing.assert_close([weight.grad for weight in head.parameters()], gradients)


def gradients_of(gradients: list[torch.Tensor]) -> list[torch.nn.Parameter]:
    """Weights that have these gradients."""
    weights = [torch.nn.Parameter(torch.empty_like(gradient)) for gradient in gradients]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    return weights


def test_weights_are_seen_at_every_update_and_are_the_heads_own_in_the_end(make_features):
    features = make_features()
    with seeded(0):
        heads = [untrained(features, "superb", CONFIG) for _ in range(2)]
        other = untrained(features, "superb", CONFIG)
    other.load_state_dict(heads[1].state_dict())
    for update in descend_together(heads, [features, features], CONFIG, [3, 4]):
        if update == 10:
            seen = posteriors(heads[1], features)
    assert all(weight.untyped_storage().nbytes() == weight.nbytes for head in heads for weight in head.parameters())
    for update in descend(other, features, CONFIG, 4):
        if update == 10:
            assert torch.equal(posteriors(other, features), seen)
    assert same(other, heads[1])
