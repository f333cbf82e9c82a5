"""Training a generator: exact repetition and resumption, terms switched off, what is kept, what is refused."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gandistill import artifacts
from gandistill.errors import InputError, RunError
from gandistill.features.featureset import FeatureSet
from gandistill.gan import losses, training
from gandistill.gan.sampling import Sampler
from gandistill.gan.training import (
    CRITIC,
    GENERATOR,
    GanConfig,
    critic_step,
    generator_step,
    one_update,
    prepared,
    train,
    untrained,
)
from gandistill.gan.training import (
    configured as load,
)
from gandistill.heads.bank import build_bank
from gandistill.run import CHECKPOINT, CONFIG, METRICS

TERMS = {
    "gradient_penalty": ("critic/gradient_penalty",),
    "class_real": ("critic/class_real",),
    "class_generated": ("critic/class_generated", "generator/class_generated"),
    "feature_matching": ("generator/feature_matching",),
    "diversity": ("generator/diversity",),
    "softmax_matching": ("generator/softmax_matching",),
}


def content(run: Path) -> dict[str, bytes]:
    """Every file that a training leaves behind, but the config, which says where its inputs lie."""
    files = (run / METRICS, run / CHECKPOINT, *sorted((run / "generator").iterdir()))
    return {file.name: file.read_bytes() for file in files}


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / METRICS).read_text().splitlines()]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``interrupt(n)``: Ctrl-C comes during update n."""

    def after(update: int) -> None:
        made, whole = [0], training.one_update

        def counted(gan: Any, number: int) -> dict[str, float]:
            made[0] = number
            return whole(gan, number)

        class Asked(list[bool]):
            def __bool__(self) -> bool:
                return made[0] >= update

        @contextmanager
        def stop_asked() -> Iterator[list[bool]]:
            yield Asked()

        monkeypatch.setattr(training, "one_update", counted)
        monkeypatch.setattr(training, "stop_asked", stop_asked)

    return after


class TestRepetition:
    def test_the_same_config_gives_the_same_bytes(self, configured: Any, trained: Path, tmp_path: Path):
        torch.manual_seed(99)  # the global generator takes no part
        train(configured(), tmp_path / "again")
        assert content(tmp_path / "again") == content(trained)

    def test_another_seed_gives_others(self, configured: Any, trained: Path, tmp_path: Path):
        train(configured(training={"seed": 1}), tmp_path / "other")
        mine, other = content(trained), content(tmp_path / "other")
        assert all(mine[name] != other[name] for name in (METRICS, CHECKPOINT, "generator.safetensors"))

    @pytest.mark.parametrize("stopped", [1, 2, 3, 5])  # before, at and behind a checkpoint (2) and an evaluation (3)
    def test_a_resumed_run_equals_an_uninterrupted_one(
        self, configured: Any, trained: Path, tmp_path: Path, interrupt: Any, stopped: int
    ):
        interrupt(stopped)
        with pytest.raises(KeyboardInterrupt):
            train(configured(), tmp_path / "run")
        assert metrics(tmp_path / "run")[-1]["step"] == stopped
        interrupt(100)
        train(configured(), tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(trained)

    @pytest.mark.parametrize("killed", [1, 5])
    def test_so_does_one_that_was_killed(
        self, configured: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
    ):
        """Without a last checkpoint: it goes on from the one of update 4, or from the start, and repeats the rest."""
        whole = training.one_update

        def dies(gan: Any, update: int) -> dict[str, float]:
            if update > killed:
                raise MemoryError
            return whole(gan, update)

        monkeypatch.setattr(training, "one_update", dies)
        with pytest.raises(MemoryError):
            train(configured(), tmp_path / "run")
        with (tmp_path / "run" / METRICS).open("a") as file:
            file.write('{"step": 3, "cut sho')
        monkeypatch.setattr(training, "one_update", whole)
        train(configured(), tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(trained)

    def test_a_finished_run_goes_on_to_more_updates(self, configured: Any, trained: Path, tmp_path: Path):
        train(configured(training={"updates": 3}), tmp_path / "run")
        train(configured(training={"updates": 6}), tmp_path / "run", resume=True)
        mine, whole = content(tmp_path / "run"), content(trained)
        assert (mine[METRICS], mine[CHECKPOINT]) == (whole[METRICS], whole[CHECKPOINT])
        assert GanConfig.load(tmp_path / "run" / CONFIG).training.updates == 6

    def test_a_finished_run_stays_as_it_is(self, configured: Any, trained: Path, tmp_path: Path):
        shutil.copytree(trained, tmp_path / "run")
        train(configured(), tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(trained)


class TestResumeIsRefused:
    def test_with_changed_settings(self, configured: Any, trained: Path):
        for change, key in (
            ({"training": {"seed": 3}}, "training.seed"),
            ({"losses": {"diversity": 0.5}}, "losses.diversity"),
            ({"architecture": {"noise": 5}}, "architecture.noise"),
        ):
            with pytest.raises(InputError, match=rf"was started with other values of \[{key}\]"):
                train(configured(**change), trained, resume=True)

    def test_where_there_is_no_run(self, configured: Any, tmp_path: Path):
        with pytest.raises(InputError, match="holds no run to resume"):
            train(configured(), tmp_path / "none", resume=True)
        with pytest.raises(InputError, match="holds no run to resume"):
            load(None, [], tmp_path / "none", resume=True)
        assert not (tmp_path / "none").exists()

    def test_and_a_run_is_not_begun_twice(self, configured: Any, trained: Path):
        with pytest.raises(InputError, match="--resume continues it"):
            train(configured(), trained)

    def test_a_checkpoint_that_is_none(self, configured: Any, trained: Path, tmp_path: Path):
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        tensors = artifacts.load_tensors(run / CHECKPOINT)
        name = next(name for name in tensors if name.startswith("critic."))
        artifacts.save_tensors(run / CHECKPOINT, {k: v for k, v in tensors.items() if k != name})
        with pytest.raises(InputError, match="is missing"):
            train(configured(), run, resume=True)
        artifacts.save_tensors(run / CHECKPOINT, {"weights": torch.zeros(1)})
        with pytest.raises(InputError, match="not a checkpoint"):
            train(configured(), run, resume=True)
        (run / CHECKPOINT).write_bytes(b"half")
        with pytest.raises(InputError, match="not a readable safetensors file"):
            train(configured(), run, resume=True)

    def test_settings_are_the_runs_own_unless_given(self, trained: Path):
        resumed = load(None, ["training.updates=7"], trained, resume=True)
        before = GanConfig.load(trained / CONFIG)
        assert resumed.training.updates == 7
        assert resumed.architecture == before.architecture

    def test_fewer_updates_than_made_are_refused(self, configured: Any, trained: Path):
        with pytest.raises(InputError, match="has made 6 updates already"):
            train(configured(training={"updates": 5}), trained, resume=True)
        assert GanConfig.load(trained / CONFIG).training.updates == 6

    def test_a_closed_form_start_is_means_and_components(self, configured: Any):
        sampler = untrained(configured(architecture={"start": "closed-form"}))
        gan = prepared(configured(architecture={"start": "closed-form"}))[0]
        means, components = gan.closed_form()
        noise = torch.randn(2, sampler.generator.architecture.noise)
        expected = means[[0, 2]] + noise[:, : len(components)] @ components
        assert torch.allclose(sampler.generator(torch.tensor([0, 2]), noise).flatten(1), expected, atol=1e-5)
        raised = means.view(3, -1, gan.features.dims).mean(1)  # class c's features are raised in dimension c
        assert raised[:, :3].argmax(1).tolist() == [0, 1, 2]


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
        assert all(values[name] == 0 for name in off)
        assert all(values[name] != 0 for terms in TERMS.values() for name in terms if name not in off)
        assert computed == set(named) - {switched}

    def test_losses_are_the_weighted_sums_of_their_terms(self, configured: Any, monkeypatch: pytest.MonkeyPatch):
        """Eq. (4), (5) and (8), with weights that tell the terms apart."""
        w = {"gradient_penalty": 2.0, "class_real": 3.0, "class_generated": 5.0}
        w |= {"feature_matching": 7.0, "diversity": 11.0, "softmax_matching": 13.0}
        backward, totals = torch.Tensor.backward, []
        monkeypatch.setattr(torch.Tensor, "backward", lambda loss: (totals.append(loss.item()), backward(loss))[1])
        v = one_update(prepared(configured(losses=w))[0], 1)
        critic = v["critic/adversarial"] + 2 * v["critic/gradient_penalty"]
        critic += 3 * v["critic/class_real"] + 5 * v["critic/class_generated"]
        generator = v["generator/adversarial"] + 5 * v["generator/class_generated"]
        generator += 7 * v["generator/feature_matching"] + 11 * v["generator/diversity"]
        generator += 13 * v["generator/softmax_matching"]
        assert totals == pytest.approx([critic, generator], rel=1e-5)

    def test_each_step_moves_its_own_network_alone(self, configured: Any):
        gan, _ = prepared(configured())

        def weights(network: torch.nn.Module) -> torch.Tensor:
            return torch.cat([weight.detach().flatten().clone() for weight in network.parameters()])

        heads = [weights(head) for head in gan.bank.heads]
        generator, critic = weights(gan.generator), weights(gan.critic)
        critic_step(gan, gan.batch(CRITIC, 1, 0))
        assert torch.equal(weights(gan.generator), generator)
        assert not torch.equal(weights(gan.critic), critic)
        critic = weights(gan.critic)
        generator_step(gan, gan.batch(GENERATOR, 1))
        assert torch.equal(weights(gan.critic), critic)
        assert not torch.equal(weights(gan.generator), generator)
        assert all(torch.equal(weights(head), before) for head, before in zip(gan.bank.heads, heads, strict=True))

    def test_softmax_matching_pairs_real_and_generated_of_one_class(
        self, configured: Any, monkeypatch: pytest.MonkeyPatch
    ):
        """Heads get real clips and samples in the corpus's units, row by row of the same class, whole windows."""
        gan, _ = prepared(configured())
        batch = gan.batch(GENERATOR, 1)
        original, seen = losses.softmax_matching, []
        monkeypatch.setattr(losses, "softmax_matching", lambda *logits: (seen.append(logits), original(*logits))[1])
        with torch.no_grad():
            samples = gan.generator(batch.labels, batch.noise)
        generator_step(gan, batch)
        (target, made) = seen[0]
        lengths = torch.full((8,), 12)
        torch.testing.assert_close(target, batch.head(batch.real * gan.deviation + gan.mean, lengths))
        torch.testing.assert_close(made.detach(), batch.head(samples * gan.deviation + gan.mean, lengths))

    @pytest.mark.parametrize("steps", [1, 3])
    def test_critic_steps(self, configured: Any, monkeypatch: pytest.MonkeyPatch, steps: int):
        seen = []
        original = training.critic_step
        monkeypatch.setattr(training, "critic_step", lambda gan, batch: (seen.append(batch), original(gan, batch))[1])
        one_update(prepared(configured(training={"critic_steps": steps}))[0], 4)
        assert len({batch.noise.numpy().tobytes() for batch in seen}) == steps


class TestBatches:
    def test_pairs_of_each_class(self, configured: Any, features: FeatureSet, monkeypatch: pytest.MonkeyPatch):
        gan, _ = prepared(configured(training={"batch": 12}))
        read: list[np.ndarray] = []
        windows = FeatureSet.windows
        monkeypatch.setattr(
            FeatureSet, "windows", lambda self, rows, *rest: (read.append(rows), windows(self, rows, *rest))[1]
        )
        seen = set()
        for update in range(1, 30):
            batch = gan.batch(GENERATOR, update)
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
        real = gan.batch(GENERATOR, 1).real
        assert real.flatten(0, 1).std(0).tolist() == pytest.approx([1] * 6, abs=0.25)
        assert gan.units(real).flatten(0, 1).mean().item() == pytest.approx(3 + 4 / 6, abs=0.2)

    def test_a_batch_is_decided_by_seed_and_key(self, configured: Any):
        gan, other = (prepared(configured(training={"seed": seed}))[0] for seed in (0, 1))
        first, again = gan.batch(CRITIC, 3, 1), gan.batch(CRITIC, 3, 1)
        for name in ("labels", "real", "noise", "mix"):
            assert torch.equal(getattr(first, name), getattr(again, name))
        assert first.head is again.head
        others = gan.batch(CRITIC, 3, 0), gan.batch(CRITIC, 4, 1), gan.batch(GENERATOR, 3), other.batch(CRITIC, 3, 1)
        assert not any(torch.equal(first.noise, batch.noise) for batch in others)

    def test_heads_are_drawn_anew_from_the_whole_bank(self, configured: Any):
        gan, _ = prepared(configured())
        drawn = {id(gan.batch(GENERATOR, update).head) for update in range(60)}
        assert len(drawn) == len(gan.bank.heads) == 6

    @pytest.mark.parametrize("each", [5, 50])
    def test_only_the_windows_of_a_batch_are_read(
        self, make_features: Any, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: int
    ):
        """What a step reads from disk does not grow with the set."""
        counts = dict.fromkeys(["neutral", "happy", "sad"], each)
        features = make_features(tmp_path / "features", counts=counts, splits=("train",))
        gan, _ = prepared(configured(features=str(features.folder)))
        frames, read = FeatureSet.frames, []
        monkeypatch.setattr(FeatureSet, "frames", lambda *place: (read.append(frames(*place)), read[-1])[1])
        one_update(gan, 1)
        assert len(read) == 2 * 8, "a batch for the critic and one for the generator"
        assert all(7 <= len(window) <= 12 for window in read)


class TestAverage:
    def test_it_is_what_samples_are_drawn_from(self, configured: Any):
        gan, _ = prepared(configured(training={"average": 0}))
        one_update(gan, 1)
        for name, tensor in gan.generator.state_dict().items():
            torch.testing.assert_close(gan.average.state_dict()[name], tensor)
        gan, _ = prepared(configured(training={"average": 0.5}))
        weights = [gan.generator.state_dict()["leave.bias"].item()]
        for update in (1, 2):
            one_update(gan, update)
            weights.append(gan.generator.state_dict()["leave.bias"].item())
        # decays 1/11, then 2/12: early on the average forgets faster than the 0.5 asked for
        expected = weights[1] + (weights[0] - weights[1]) / 11
        expected = weights[2] + (expected - weights[2]) / 6
        assert gan.sampler(2).generator.state_dict()["leave.bias"].item() == pytest.approx(expected, rel=1e-5)
        assert not gan.sampler(2).generator.training

    def test_an_untrained_generator_has_the_initial_weights(self, configured: Any):
        sampler = untrained(configured())
        gan, _ = prepared(configured())
        for name, tensor in gan.generator.state_dict().items():
            assert torch.equal(sampler.generator.state_dict()[name], tensor)
        assert sampler.facts["trained"]["updates"] == 0
        one_update(gan, 1)
        assert not torch.equal(gan.generator.leave.weight, sampler.generator.leave.weight)


class TestDivergence:
    def test_a_learning_rate_too_high_names_terms(self, configured: Any, tmp_path: Path):
        rates = {"learning_rate": 1e6, "critic_learning_rate": 1e6}
        with pytest.raises(RunError, match=r"diverged at step \d+: (critic|generator)/\w+ = .*learning rate"):
            train(configured(training=rates), tmp_path / "run")
        assert not (tmp_path / "run" / CHECKPOINT).exists(), "nothing bad is kept"

    def test_nan_names_its_term(self, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(losses, "diversity", lambda *_, **__: torch.tensor(float("nan"), requires_grad=True))
        with pytest.raises(RunError, match="step 1: generator/diversity = nan;"):
            train(configured(), tmp_path / "run")

    def test_features_of_any_scale_train(self, make_features: Any, configured: Any, tmp_path: Path):
        for scale in (1e-3, 1e3):
            features = make_features(tmp_path / f"features{scale}", scale=scale, splits=("train",))
            config = configured(features=str(features.folder), training={"updates": 2})
            train(config, tmp_path / f"run{scale}")
            samples = torch.stack(list(Sampler.open(tmp_path / f"run{scale}").samples(0, 8, 0)))
            assert samples.mean().item() == pytest.approx(3.7 * scale, rel=0.6)


class TestWhatIsKept:
    def test_the_best_by_dev(self, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        scores = iter([0.3, 0.6, 0.5, 0.6, 0.1])
        monkeypatch.setattr(training, "dev_scores", lambda *_: {"superb": next(scores), "cnn": 0.1})
        train(configured(training={"updates": 9, "evaluate_every": 2}), tmp_path / "run")
        facts = Sampler.open(tmp_path / "run").facts
        assert facts["trained"]["updates"] == 4, "the first of the best"
        assert facts["trained"]["dev_uar"] == {"superb": 0.6, "cnn": 0.1}
        scored = {record["step"]: record["dev/superb"] for record in metrics(tmp_path / "run") if "dev/cnn" in record}
        assert scored == {2: 0.3, 4: 0.6, 6: 0.5, 8: 0.6, 9: 0.1}, "the last update is scored too"

    def test_a_resumed_run_knows_its_best(
        self, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupt: Any
    ):
        monkeypatch.setattr(training, "dev_scores", lambda *_: {"superb": 0.9})
        interrupt(3)
        with pytest.raises(KeyboardInterrupt):
            train(configured(), tmp_path / "run")
        monkeypatch.setattr(training, "dev_scores", lambda *_: {"superb": 0.4})
        interrupt(100)
        train(configured(), tmp_path / "run", resume=True)
        assert Sampler.open(tmp_path / "run").facts["trained"] | {"config": None} == {
            "updates": 3,
            "dev_uar": {"superb": 0.9},
            "config": None,
        }

    def test_the_last_without_a_dev_part(
        self, make_features: Any, configured: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        features = make_features(tmp_path / "features", splits=("train", "test"))
        train(configured(features=str(features.folder), training={"updates": 5}), tmp_path / "run")
        assert "has no dev part: the last generator is kept" in capsys.readouterr().err
        assert Sampler.open(tmp_path / "run").facts["trained"]["updates"] == 5
        assert "not measured" in (tmp_path / "run" / "generator" / "README.md").read_text()

    def test_test_speakers_take_no_part(self, make_features: Any, configured: Any, trained: Path, tmp_path: Path):
        """With a test part beside them, train and dev give the same weights."""
        features = make_features(tmp_path / "features", splits=("train", "dev", "test"))
        train(configured(features=str(features.folder)), tmp_path / "run")
        assert content(tmp_path / "run")[CHECKPOINT] == content(trained)[CHECKPOINT]
        assert content(tmp_path / "run")["generator.safetensors"] == content(trained)["generator.safetensors"]

    def test_metrics_hold_every_term(self, trained: Path):
        records = [record for record in metrics(trained) if "dev/superb" not in record]
        assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
        terms = {name for names in TERMS.values() for name in names}
        assert all(terms | {"step", "critic/adversarial", "generator/adversarial"} == set(r) for r in records)


class TestInput:
    def test_a_bank_of_other_labels_or_dims(self, make_features: Any, configured: Any, bank: Path, tmp_path: Path):
        from gandistill.heads.bank import BankConfig

        small = BankConfig(heads=("superb",), seeds=1, updates=2, half_trained=1, batch=4)
        other = make_features(tmp_path / "a", labels=["sad", "happy", "neutral"], splits=("train",))
        build_bank(other, small, tmp_path / "labels", {})
        build_bank(make_features(tmp_path / "b", dims=5, splits=("train",)), small, tmp_path / "dims", {})
        with pytest.raises(InputError, match=r"has labels \[.*\], but the bank expects \[sad, happy, neutral\]"):
            train(configured(bank=str(tmp_path / "labels")), tmp_path / "run")
        with pytest.raises(InputError, match="has 6 dims, but the bank expects 5"):
            train(configured(bank=str(tmp_path / "dims")), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_class_nobody_trains(self, make_features: Any, configured: Any, tmp_path: Path):
        features = make_features(tmp_path / "features", counts={"neutral": 3, "happy": 0, "sad": 2})
        with pytest.raises(InputError, match=r"has no training utterance of \[happy\]"):
            train(configured(features=str(features.folder)), tmp_path / "run")

    @pytest.mark.parametrize("missing", ["features", "bank"])
    def test_both_inputs_are_needed(self, configured: Any, tmp_path: Path, missing: str):
        with pytest.raises(InputError, match="needs a feature set and a bank"):
            train(configured(**{missing: None}), tmp_path / "run")

    def test_settings_are_checked_before_work(self, tmp_path: Path):
        for setting, message in (
            ("training.batch=7", "training.batch"),
            ("training.evaluate_heads=[superb, nobody]", r"expected some of \[superb, .*\]"),
            ("training.evaluate_heads=[]", "evaluate_heads"),
            ("training.average=1", "training.average"),
            ("training.lr=1", r"unknown key 'training.lr', expected one of \[updates, critic_steps"),
            ("losses.diversity=-1", "losses.diversity"),
            ("architecture.kernel=4", "kernel 4 is even, expected an odd number"),
        ):
            with pytest.raises(InputError, match=message):
                load(None, [setting], tmp_path / "run", resume=False)

    def test_several_processes_are_refused(self, configured: Any, monkeypatch: pytest.MonkeyPatch):
        import accelerate

        monkeypatch.setitem(accelerate.PartialState()._shared_state, "num_processes", 2)
        with pytest.raises(InputError, match="--num_processes 1"):
            prepared(configured())
