"""Training a generator: exact repetition and resumption, what is kept, what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill import artifacts
from gandistill.errors import InputError, RunError
from gandistill.features.featureset import FeatureSet, HeldSet
from gandistill.gan import losses, training
from gandistill.gan.sampling import Sampler
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import prepared, train, untrained, with_frames
from gandistill.heads.bank import build_bank
from gandistill.run import CHECKPOINTS, CONFIG, METRICS, STATE
from gandistill.run import configured as load
from tests.gan.conftest import content, last, metrics


class TestRepetition:
    def test_the_same_config_gives_the_same_bytes(self, configured: Any, trained: Path, tmp_path: Path):
        torch.manual_seed(99)  # the global generator takes no part
        train(configured(), tmp_path / "again")
        assert content(tmp_path / "again") == content(trained)

    def test_another_seed_gives_others(self, configured: Any, trained: Path, tmp_path: Path):
        train(configured(training={"seed": 1}), tmp_path / "other")
        mine, other = content(trained), content(tmp_path / "other")
        differ = {Path(name).name for name, found in mine.items() if other[name] != found}
        assert differ >= {METRICS, STATE, "generator.safetensors"}

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
        for name in (METRICS, f"{CHECKPOINTS}/000000006/{STATE}"):
            assert (tmp_path / "run" / name).read_bytes() == (trained / name).read_bytes()
        assert GanConfig.load(tmp_path / "run" / CONFIG).training.updates == 6

    @pytest.mark.parametrize("off", ["class_real", "class_generated", "both"])
    def test_a_network_part_that_never_learns_is_no_hindrance(self, configured: Any, tmp_path: Path, off: str):
        terms = ("class_real", "class_generated") if off == "both" else (off,)
        config = configured(losses=dict.fromkeys(terms, 0), training={"updates": 2})
        train(config, tmp_path / "run")
        again = configured(losses=dict.fromkeys(terms, 0), training={"updates": 3})
        train(again, tmp_path / "run", resume=True)
        train(again, tmp_path / "whole")
        name = f"{CHECKPOINTS}/000000003/{STATE}"
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    def test_a_closed_form_run_killed_before_its_first_checkpoint(
        self, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Its start was scored already: the score is not told twice."""
        config = configured(architecture={"start": "closed-form"}, training={"updates": 3})
        train(config, tmp_path / "whole")
        whole = training.one_update
        monkeypatch.setattr(training, "one_update", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config, tmp_path / "run")
        monkeypatch.setattr(training, "one_update", whole)
        train(config, tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(tmp_path / "whole")
        assert [record["step"] for record in metrics(tmp_path / "run")][:2] == [0, 1]

    def test_the_last_generator_may_be_kept_and_is_scored_once(self, configured: Any, trained: Path, tmp_path: Path):
        config = configured(training={"keep": "last", "evaluate_seeds": 2}, architecture={"start": "closed-form"})
        train(config, tmp_path / "run")
        assert Sampler.open(tmp_path / "run").facts["trained"]["updates"] == 6
        scored = [record["step"] for record in metrics(tmp_path / "run") if "dev/superb" in record]
        assert scored == [6]
        assert "chosen by this score" not in (tmp_path / "run" / "generator" / "README.md").read_text()

    def test_a_decaying_run_does_not_go_on_to_more_updates(self, configured: Any, tmp_path: Path):
        train(configured(training={"updates": 2, "decay": "cosine"}), tmp_path / "run")
        with pytest.raises(InputError, match=r"training\.updates"):
            train(configured(training={"updates": 3, "decay": "cosine"}), tmp_path / "run", resume=True)

    def test_a_stopped_decaying_run_equals_an_uninterrupted_one(self, configured: Any, resumed: Any):
        resumed(configured(training={"decay": "cosine", "keep": "last"}))

    def test_a_kept_generator_from_beyond_the_end_is_noticed(self, configured: Any, trained: Path, tmp_path: Path):
        """Killed after an evaluation and before the checkpoint: asked to end sooner, it would keep what came later."""
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        shutil.rmtree(last(run))
        folder = run / "generator"
        facts = artifacts.read_json(folder / artifacts.CONFIG)
        facts["trained"]["updates"] = 6
        artifacts.write_json(folder / artifacts.CONFIG, facts)
        artifacts.write_sums(folder)
        with pytest.raises(InputError, match="has made 6 updates already"):
            train(configured(training={"updates": 5}), run, resume=True)

    def test_a_finished_run_stays_as_it_is(self, configured: Any, trained: Path, tmp_path: Path):
        shutil.copytree(trained, tmp_path / "run")
        train(configured(), tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(trained)

    @pytest.mark.parametrize("damage", ["gone", "cut"])
    @pytest.mark.parametrize("killed", [4, 6])
    def test_a_generator_that_was_lost_is_made_anew(
        self,
        configured: Any,
        trained: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        damage: str,
        killed: int,
    ):
        """Though none that comes later scores as high as it did: the run ends with what it says it ends with."""
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        if killed < 6:
            shutil.rmtree(last(run))
        if damage == "gone":
            shutil.rmtree(run / "generator")
        else:
            file = run / "generator" / "generator.safetensors"
            file.write_bytes(file.read_bytes()[:99])
        monkeypatch.setattr(training, "dev_scores", lambda *_: {"superb": 0.0})
        train(configured(), run, resume=True)
        assert f"the generator of update {killed} is kept" in capsys.readouterr().err
        assert Sampler.open(run / "generator").facts["trained"]["updates"] == killed


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
            load(GanConfig, None, [], tmp_path / "none", resume=True)
        assert not (tmp_path / "none").exists()

    def test_and_a_run_is_not_begun_twice(self, configured: Any, trained: Path):
        with pytest.raises(InputError, match="--resume continues it"):
            train(configured(), trained)

    def test_a_checkpoint_of_another_network(self, configured: Any, trained: Path, tmp_path: Path):
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        tensors = artifacts.load_tensors(last(run) / STATE)

        def stored(changed: dict[str, torch.Tensor]) -> None:
            artifacts.save_tensors(last(run) / STATE, changed)
            artifacts.write_sums(last(run))

        for part in ("critic.score.weight", "generator_optimiser.0.exp_avg", "memory.chunks"):
            stored({name: tensor for name, tensor in tensors.items() if name != part})
            with pytest.raises(InputError, match="missing"):
                train(configured(), run, resume=True)
            stored(tensors | {part: torch.zeros(7)})
            with pytest.raises(InputError, match=r"shape|bad"):
                train(configured(), run, resume=True)
        stored(tensors)
        train(configured(), run, resume=True)

    @pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
    def test_a_damaged_checkpoint_gives_way_to_the_one_before(
        self, configured: Any, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
    ):
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        file = last(run) / STATE
        good = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(good[: len(good) // 2] if damage == "cut" else good[:-1] + bytes([good[-1] ^ 1]))
        train(configured(), run, resume=True)
        said = capsys.readouterr().err
        assert "000000006/state.safetensors" in said
        assert "going on from the checkpoint before it" in said
        assert "after step 4" in said
        assert content(run) == content(trained)

    def test_only_damaged_checkpoints(self, configured: Any, trained: Path, tmp_path: Path):
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        for folder in (run / CHECKPOINTS).iterdir():
            (folder / artifacts.SUMS).unlink()
        with pytest.raises(InputError, match="has no whole checkpoint to resume from"):
            train(configured(), run, resume=True)

    @pytest.mark.parametrize(("key", "value"), [("random", None), ("random", {"seed": 5}), ("arithmetic", None)])
    def test_without_its_random_state_only_if_asked(
        self,
        configured: Any,
        trained: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        key: str,
        value: Any,
    ):
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        found = artifacts.read_json(last(run) / artifacts.CONFIG)
        artifacts.write_json(last(run) / artifacts.CONFIG, found | {key: value})
        artifacts.write_sums(last(run))
        with pytest.raises(InputError, match="--allow-inexact-resume goes on with other bits"):
            train(configured(), run, resume=True)
        train(configured(training={"updates": 7}), run, resume=True, inexact=True)
        assert "Resuming inexactly" in capsys.readouterr().err

    def test_with_other_threads_only_if_asked(self, configured: Any, trained: Path, tmp_path: Path):
        run = Path(shutil.copytree(trained, tmp_path / "run"))
        threads = torch.get_num_threads()
        torch.set_num_threads(threads + 1)
        try:
            with pytest.raises(InputError, match=rf"computed with threads {threads} \(now {threads + 1}\)"):
                train(configured(), run, resume=True)
        finally:
            torch.set_num_threads(threads)

    def test_settings_are_the_runs_own_unless_given(self, trained: Path):
        resumed = load(GanConfig, None, ["training.updates=7"], trained, resume=True)
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


class TestDivergence:
    def test_a_learning_rate_too_high_names_terms(self, configured: Any, tmp_path: Path):
        rates = {"learning_rate": 1e6, "critic_learning_rate": 1e6}
        with pytest.raises(RunError, match=r"diverged at step \d+: (critic|generator)/\w+ = .*learning rate"):
            train(configured(training=rates), tmp_path / "run")
        assert not (tmp_path / "run" / CHECKPOINTS).exists(), "nothing bad is kept"

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
        trained = Sampler.open(tmp_path / "run").facts["trained"]
        assert {key: trained[key] for key in ("updates", "dev_uar")} == {
            "updates": 3,
            "dev_uar": {"superb": 0.9},
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
        for name in (last(trained) / STATE, trained / "generator" / "generator.safetensors"):
            assert (tmp_path / "run" / name.relative_to(trained)).read_bytes() == name.read_bytes()

    def test_metrics_hold_every_term(self, trained: Path):
        records = [record for record in metrics(trained) if "dev/superb" not in record]
        assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
        critic = {f"critic/{term}" for term in ("adversarial", "gradient_penalty", "class_real", "class_generated")}
        others = ("adversarial", "class_generated", "feature_matching", "diversity", "softmax_matching")
        assert all({"step"} | critic | {f"generator/{term}" for term in others} == set(r) for r in records)


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

    @pytest.mark.parametrize("missing", ["features", "bank"])
    def test_both_inputs_are_needed(self, configured: Any, tmp_path: Path, missing: str):
        with pytest.raises(InputError, match="needs a feature set and a bank"):
            train(configured(**{missing: None}), tmp_path / "run")

    def test_a_batch_that_processes_cannot_share(self, configured: Any, monkeypatch: pytest.MonkeyPatch):
        import accelerate

        monkeypatch.setitem(accelerate.PartialState()._shared_state, "num_processes", 3)
        with pytest.raises(InputError, match=r"training\.batch 8 cannot be shared by 3 processes in whole pairs"):
            prepared(configured())


class TestFrames:
    """Whoever does not say how long samples are gets the median clip's length."""

    @pytest.fixture
    def settings(self, features: FeatureSet, bank: Path) -> list[str]:
        return [f"features={features.folder}", f"bank={bank}"]

    @pytest.mark.parametrize("kind", ["class-gaussian", "gan-att"])
    def test_as_long_as_the_median_clip(self, features: FeatureSet, settings: list[str], kind: str):
        lengths = sorted(features.training_part().lengths.tolist())
        expected = lengths[(len(lengths) - 1) // 2]
        config = GanConfig.load(None, [*settings, f"architecture.kind={kind}"])
        assert config.architecture.frames != expected
        assert with_frames(config).architecture.frames == expected
        assert untrained(config).generator.architecture.frames == expected
        assert with_frames(with_frames(config)) == with_frames(config)

    @pytest.mark.parametrize(("said", "frames"), [(["frames=112"], 112), (["kind=gan-att", "preset=paper"], 256)])
    def test_who_says_it_is_heard(self, settings: list[str], said: list[str], frames: int):
        config = GanConfig.load(None, [*settings, *(f"architecture.{setting}" for setting in said)])
        assert with_frames(config).architecture.frames == frames

    def test_a_run_keeps_what_it_took(self, settings: list[str], tmp_path: Path):
        config = GanConfig.load(None, [*settings, "architecture.kind=class-gaussian", "architecture.noise=4"])
        train(config, tmp_path / "run")
        kept = GanConfig.load(tmp_path / "run" / CONFIG).architecture
        assert "frames" in kept.model_fields_set
        assert kept == Sampler.open(tmp_path / "run").generator.architecture
        train(config, tmp_path / "run", resume=True)

    def test_lengths_are_private_too(self, features: FeatureSet, tmp_path: Path):
        longer = [replace(each, frames=each.frames.repeat(2, 1)) for each in features.utterances()]
        public = HeldSet.of("public", longer, features.config, "longer")
        public.save(tmp_path / "public")
        private = ["privacy.epsilon=4", f"privacy.public={tmp_path / 'public'}", "architecture.kind=class-gaussian"]
        config = GanConfig.load(None, [f"features={features.folder}", *private])
        assert with_frames(config).architecture.frames == public.median_length > features.training_part().median_length
