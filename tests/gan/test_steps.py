"""One update: its terms, its batches, its average, and the same result in less memory."""

import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gandistill.errors import InputError, RunError
from gandistill.features import featureset
from gandistill.features.featureset import FeatureSet, HeldSet
from gandistill.gan import losses, steps
from gandistill.gan.steps import critic_step, generator_step
from gandistill.gan.training import one_update, prepared

TERMS = {
    "gradient_penalty": ("critic/gradient_penalty",),
    "class_real": ("critic/class_real",),
    "class_generated": ("critic/class_generated", "generator/class_generated"),
    "feature_matching": ("generator/feature_matching",),
    "diversity": ("generator/diversity",),
    "softmax_matching": ("generator/softmax_matching",),
}


class TestTerms:
    @pytest.mark.parametrize("switched", TERMS)
    def test_weight_zero_switches_a_term_off(
        self, configured: Any, switched: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        """It is not computed, its value is 0, and every other term is computed."""
        computed = set()

        def counted(name: str) -> Any:
            original = getattr(losses, name)

            def call(*args: Any, **kwargs: Any) -> torch.Tensor:
                computed.add(name)
                return original(*args, **kwargs)

            return call

        named = ("gradient_penalty", "feature_matching", "diversity", "softmax_matching")
        for name in named:
            monkeypatch.setattr(losses, name, counted(name))
        values = one_update(prepared(configured(losses={switched: 0}))[0], 1)
        off = TERMS[switched]
        assert all(values.get(name, 0) == 0 for name in off)
        assert all(values[name] != 0 for terms in TERMS.values() for name in terms if name not in off)
        assert computed == set(named) - {switched}

    def test_losses_are_the_weighted_sums_of_their_terms(self, configured: Any, monkeypatch: pytest.MonkeyPatch):
        """Eq. (4), (5) and (8), with weights that tell the terms apart."""
        w = {"gradient_penalty": 2.0, "class_real": 3.0, "class_generated": 5.0}
        w |= {"feature_matching": 7.0, "diversity": 11.0, "softmax_matching": 13.0}
        totals = []
        for name in ("critic_loss", "distillation_loss"):
            whole = getattr(losses, name)
            record = lambda *terms, whole=whole: (totals.append(whole(*terms)), totals[-1])[1]  # noqa: E731
            monkeypatch.setattr(losses, name, record)
        v = one_update(prepared(configured(losses=w, training={"penalty_every": 3}))[0], 3)
        critic = v["critic/adversarial"] + 3 * 2 * v["critic/gradient_penalty"]
        critic += 3 * v["critic/class_real"] + 5 * v["critic/class_generated"]
        generator = v["generator/adversarial"] + 5 * v["generator/class_generated"]
        generator += 7 * v["generator/feature_matching"] + 11 * v["generator/diversity"]
        generator += 13 * v["generator/softmax_matching"]
        assert [total.item() for total in totals] == pytest.approx([critic, generator], rel=1e-5)

    def test_each_step_moves_its_own_network_alone(self, configured: Any):
        gan, _ = prepared(configured())

        def weights(network: torch.nn.Module) -> torch.Tensor:
            return torch.cat([weight.detach().flatten().clone() for weight in network.parameters()])

        heads = [weights(head) for head in gan.bank.heads]
        generator, critic = weights(gan.generator), weights(gan.critic)
        batch, before = gan.batch(1, 0), steps._statistics(gan.generator)
        samples = gan.generate(batch)
        critic_step(gan, batch, samples.detach(), penalised=True)
        assert torch.equal(weights(gan.generator), generator)
        assert not torch.equal(weights(gan.critic), critic)
        critic = weights(gan.critic)
        generator_step(gan, batch, [samples], before)
        assert torch.equal(weights(gan.critic), critic)
        assert not torch.equal(weights(gan.generator), generator)
        assert all(torch.equal(weights(head), before) for head, before in zip(gan.bank.heads, heads, strict=True))

    def test_softmax_matching_pairs_real_and_generated_of_one_class(
        self, configured: Any, monkeypatch: pytest.MonkeyPatch
    ):
        """Heads get real clips and samples in the corpus's units, row by row of the same class, whole windows."""
        gan, _ = prepared(configured())
        batch = gan.batch(1, 0)
        original, seen = losses.softmax_matching, []
        monkeypatch.setattr(losses, "softmax_matching", lambda *logits: (seen.append(logits), original(*logits))[1])
        samples = gan.generate(batch)
        generator_step(gan, batch, [samples], {})
        (target, made) = seen[0]
        lengths = torch.full((8,), 12)
        torch.testing.assert_close(target, batch.head(batch.real * gan.deviation + gan.mean, lengths))
        torch.testing.assert_close(made.detach(), batch.head(samples * gan.deviation + gan.mean, lengths))

    @pytest.mark.parametrize("count", [1, 3])
    def test_critic_steps(self, configured: Any, monkeypatch: pytest.MonkeyPatch, count: int):
        seen = []
        monkeypatch.setattr(steps, "critic_step", lambda *given: (seen.append(given), critic_step(*given))[1])
        gan, _ = prepared(configured(training={"critic_steps": count, "penalty_every": 2}))
        for update in (1, 2, 3, 4):
            one_update(gan, update)
        assert len({batch.noise.numpy().tobytes() for _, batch, _, _ in seen}) == 4 * count
        assert [penalised for *_, penalised in seen] == [False, True] * (2 * count), "every second one"


class TestBatches:
    def test_pairs_of_each_class(self, configured: Any, features: FeatureSet, monkeypatch: pytest.MonkeyPatch):
        gan, _ = prepared(configured(training={"batch": 12}))
        read: list[np.ndarray] = []
        windows = HeldSet.windows
        monkeypatch.setattr(
            HeldSet, "windows", lambda self, rows, *rest: (read.append(rows), windows(self, rows, *rest))[1]
        )
        seen = set()
        for update in range(1, 30):
            batch = gan.batch(update, 0)
            assert batch.real.shape == (12, 12, 6)
            assert batch.noise.shape == (12, 4)
            assert batch.labels[0::2].tolist() == batch.labels[1::2].tolist()
            assert batch.labels.bincount().tolist() == [4, 4, 4], "balanced, whatever the corpus's class counts"
            assert gan.features.targets[read[-1]].tolist() == batch.labels.tolist(), "real clips have the labels"
            assert not torch.equal(batch.noise[0], batch.noise[1])
            assert ((batch.mix >= 0) & (batch.mix <= 1)).all()
            seen |= set(read[-1].tolist())
        assert seen == set(range(19)), "all of the training part"

    def test_real_samples_are_standardised_by_the_training_part(self, configured: Any):
        gan, _ = prepared(configured(training={"batch": 600}))
        mean, deviation = gan.features.moments()
        torch.testing.assert_close((gan.mean, gan.deviation), (mean, deviation))
        real = gan.batch(1, 0).real
        assert real.flatten(0, 1).std(0).tolist() == pytest.approx([1] * 6, abs=0.25)
        assert gan.units(real).flatten(0, 1).mean().item() == pytest.approx(3 + 4 / 6, abs=0.2)

    def test_a_batch_is_decided_by_seed_and_key(self, configured: Any):
        gan, other = (prepared(configured(training={"seed": seed}))[0] for seed in (0, 1))
        first, again = gan.batch(3, 1), gan.batch(3, 1)
        for name in ("labels", "real", "noise", "mix"):
            assert torch.equal(getattr(first, name), getattr(again, name))
        assert first.head is again.head
        others = gan.batch(3, 0), gan.batch(4, 1), other.batch(3, 1)
        assert not any(torch.equal(first.noise, batch.noise) for batch in others)

    def test_heads_are_drawn_anew_from_the_whole_bank(self, configured: Any):
        gan, _ = prepared(configured())
        drawn = {id(gan.batch(update, 0).head) for update in range(60)}
        assert len(drawn) == len(gan.bank.heads) == 6

    @pytest.mark.parametrize("each", [5, 50])
    def test_only_the_windows_of_a_batch_are_read(
        self, make_features: Any, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: int
    ):
        """What a step reads of a set that is too large for memory does not grow with it."""
        monkeypatch.setattr(featureset, "HELD_BYTES", 0)
        counts = dict.fromkeys(["neutral", "happy", "sad"], each)
        features = make_features(tmp_path / "features", counts=counts, splits=("train",))
        gan, _ = prepared(configured(features=str(features.folder)))
        frames, read = FeatureSet.frames, []
        monkeypatch.setattr(FeatureSet, "frames", lambda *place: (read.append(frames(*place)), read[-1])[1])
        one_update(gan, 1)
        assert len(read) == 8, "one batch, for the critic and the generator"
        assert all(7 <= len(window) <= 12 for window in read)


class TestMemory:
    """A batch in chunks: the same update, but for rounding, in less memory."""

    def test_chunks_change_nothing_but_rounding(self, configured: Any):
        whole, parts = (
            prepared(configured(training={"precision": "float64", "chunks": chunks}))[0] for chunks in (1, 3)
        )
        for update in (1, 2, 3):
            expected, values = one_update(whole, update), one_update(parts, update)
            assert values == pytest.approx(expected, rel=1e-9, abs=1e-12)
        for (name, tensor), other in zip(whole.state().items(), parts.state().values(), strict=True):
            if name != "memory.chunks":
                torch.testing.assert_close(other, tensor, rtol=1e-7, atol=1e-9, msg=name)

    @pytest.mark.parametrize("where", ["generate", "critic_terms", "generator_terms", "backward"])
    def test_out_of_memory_means_smaller_chunks(
        self, configured: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
    ):
        """Wherever memory runs out, nothing of the failed attempt is left: the update is that of a whole batch."""
        wide, narrow = (prepared(configured(training={"precision": "float64"}))[0] for _ in range(2))

        def scarce(original: Any) -> Any:
            def call(*given: Any, **named: Any) -> Any:
                result = original(*given, **named)
                if narrow.chunks < 4:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 bytes")
                return result

            return call

        expected = [one_update(wide, update) for update in (1, 2)]
        owner = {"generate": narrow, "backward": torch.Tensor}.get(where, steps)
        monkeypatch.setattr(owner, where, scarce(getattr(owner, where)))
        values = [one_update(narrow, update) for update in (1, 2)]
        assert capsys.readouterr().err.splitlines()[-1].startswith("Out of memory: batches are computed in 4 chunks")
        for before, after in zip(expected, values, strict=True):
            assert after == pytest.approx(before, rel=1e-9, abs=1e-12)
        for (name, tensor), other in zip(wide.state().items(), narrow.state().values(), strict=True):
            if name != "memory.chunks":
                torch.testing.assert_close(other, tensor, rtol=1e-7, atol=1e-9, msg=name)
        assert narrow.state()["memory.chunks"] == 4, "a resumed run goes on in as many"

    def test_the_graph_that_was_too_large_is_let_go_of(self, configured: Any, monkeypatch: pytest.MonkeyPatch):
        gan, _ = prepared(configured())
        made: list[Any] = []
        generate, terms = gan.generate, steps.generator_terms

        def watched(batch: Any) -> torch.Tensor:
            samples = generate(batch)
            made.append(weakref.ref(samples))
            return samples

        def scarce(*given: Any) -> Any:
            if gan.chunks == 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 bytes")
            assert [made_before() is None for made_before in made] == [True, False]
            return terms(*given)

        monkeypatch.setattr(gan, "generate", watched)
        monkeypatch.setattr(steps, "generator_terms", scarce)
        one_update(gan, 1)
        assert len(made) == 2

    def test_with_one_pair_at_a_time_it_gives_up(self, configured: Any, monkeypatch: pytest.MonkeyPatch):
        def never(*_: Any) -> Any:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

        monkeypatch.setattr(steps, "generator_terms", never)
        with pytest.raises(RunError, match=r"Out of memory with one pair of samples at a time \(4 chunks\)"):
            one_update(prepared(configured())[0], 1)

    @pytest.mark.parametrize("which", ["critic", "generator"])
    def test_memory_for_the_moments_is_asked_for_in_one_line(
        self, configured: Any, monkeypatch: pytest.MonkeyPatch, which: str
    ):
        def never() -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 bytes")

        gan, _ = prepared(configured())
        monkeypatch.setattr(getattr(gan, f"{which}_optimiser"), "step", never)
        weights = sum(weight.nbytes for weight in getattr(gan, which).parameters())
        with pytest.raises(RunError, match=f"Out of memory for Adam's moments, {2 * weights:,} bytes: a smaller"):
            one_update(gan, 1)

    def test_other_errors_are_not_taken_for_it(self, configured: Any, monkeypatch: pytest.MonkeyPatch):
        def wrong(*_: Any) -> Any:
            raise RuntimeError("shapes differ")

        monkeypatch.setattr(steps, "critic_terms", wrong)
        with pytest.raises(RuntimeError, match="shapes differ"):
            one_update(prepared(configured())[0], 1)

    def test_a_saving_generator_keeps_less_for_its_backward_pass(self, configured: Any):
        gan, _ = prepared(configured())
        batch, kept = gan.batch(1, 0), {}
        for chunks in (1, 2):
            gan.chunks, sizes = chunks, []
            with torch.autograd.graph.saved_tensors_hooks(
                lambda t, sizes=sizes: (sizes.append(t.numel()), t)[1], lambda t: t
            ):
                gan.generate(batch)
            kept[chunks] = sum(sizes)
        assert kept[2] < kept[1] / 2


class TestPrecision:
    def test_bfloat16_is_close_and_keeps_float32_weights(self, configured: Any):
        exact, mixed = (prepared(configured(training={"precision": p}))[0] for p in ("float32", "bfloat16"))
        expected, values = one_update(exact, 1), one_update(mixed, 1)
        assert values == pytest.approx(expected, rel=0.1, abs=0.05)
        assert values != expected
        assert {tensor.dtype for tensor in mixed.generator.parameters()} == {torch.float32}
        assert values["critic/gradient_penalty"] == pytest.approx(expected["critic/gradient_penalty"], rel=0.02)


class TestDiversityBound:
    def test_it_is_what_real_clips_have_unless_given(self, configured: Any):
        gan, _ = prepared(configured())
        clips, classes = gan.start_clips()
        ratios = []
        for c in classes.unique():
            of_class = clips[classes == c]
            ratios += [(a - b).abs().mean() for a, b in zip(of_class[0::2], of_class[1::2], strict=False)]
        assert gan.diversity_bound == pytest.approx(
            float(torch.stack(ratios).mean()) * math.sqrt(math.pi) / 2, rel=1e-5
        )
        assert gan.sampler(0).facts["trained"]["diversity_bound"] == gan.diversity_bound
        assert prepared(configured(losses={"diversity_bound": 0.3}))[0].diversity_bound == 0.3

    def test_clips_that_are_all_the_same_are_refused(self, configured: Any, make_features: Any, tmp_path: Path):
        counts = dict.fromkeys(["neutral", "happy", "sad"], 1)
        features = make_features(tmp_path / "features", counts=counts, splits=("train",))
        with pytest.raises(InputError, match=r"no two different clips of a class: set losses\.diversity_bound"):
            prepared(configured(features=str(features.folder)))
        prepared(configured(features=str(features.folder), losses={"diversity_bound": 0.3}))
        prepared(configured(features=str(features.folder), losses={"diversity": 0}))
