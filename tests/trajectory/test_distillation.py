"""Distilling: what a run keeps, how it goes on, how it survives a loss that is no number, what is refused."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill import artifacts
from gandistill.controls.select import select
from gandistill.errors import InputError, RunError
from gandistill.evaluate.predict import evaluate
from gandistill.features.featureset import FeatureSet
from gandistill.heads.training import HeadConfig, train_head_to
from gandistill.run import CHECKPOINTS, METRICS, STATE, Run
from gandistill.trajectory import distillation, matching
from gandistill.trajectory.distillation import Distillation, distil, kept_steps
from gandistill.trajectory.evaluation import Judged
from gandistill.trajectory.matching import Gradients
from gandistill.trajectory.settings import TrajectoryConfig
from tests.trajectory.conftest import LABELS, write_clips


def content(run: Path) -> dict[str, bytes]:
    """Every file that a distillation leaves behind, but the config, which says where its inputs lie."""
    last = max((run / CHECKPOINTS).iterdir())
    sets = [file for folder in run.glob("distilled*") for file in folder.iterdir()]
    return {str(file.relative_to(run)): file.read_bytes() for file in (run / METRICS, last / STATE, *sorted(sets))}


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / METRICS).read_text().splitlines()]


def frames(folder: Path) -> torch.Tensor:
    """All clips of a set [N, T, D]."""
    features = FeatureSet.open(folder)
    return features.padded(range(len(features)))[0]


def killed_distillation(config: TrajectoryConfig, out: Path) -> None:
    """The body of a process: a distillation that dies in its fifth step."""
    torch.set_num_threads(1)
    whole = Distillation.descend

    def dies(self: Distillation, found: Gradients) -> dict[str, float]:
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, found)

    Distillation.descend = dies
    distil(config, out)


class TestWhatIsKept:
    def test_the_sets(self, distilled: Path, clips: FeatureSet):
        assert sorted(kept_steps(distilled)) == [0, 3, 6]
        for step in (0, 3, 6):
            kept = FeatureSet.open(distilled / f"distilled-{step:04d}")
            assert kept.class_counts == dict.fromkeys(LABELS, 2)
            assert set(kept.lengths) == {16}
            assert set(kept.index["split"]) == {"train"}
            assert kept.index["id"].tolist()[:3] == ["neutral-000000", "neutral-000001", "happy-000000"]
            assert kept.soft is None
            facts = kept.config["distilled_by"]
            assert (facts["step"], facts["teachers"][0]["head"], facts["config"]["ppc"]) == (step, "cnn", 2)
            assert kept.config["source"]["fingerprint"] == clips.fingerprint
            assert "no privacy is\nclaimed" in (kept.folder / artifacts.CARD).read_text()
        assert torch.equal(frames(distilled / "distilled"), frames(distilled / "distilled-0006"))
        assert not torch.equal(frames(distilled / "distilled-0003"), frames(distilled / "distilled-0006"))

    @pytest.mark.parametrize("method", ["random", "real-recentred", "real-designed"])
    def test_step_0_is_the_control(self, method: str, configured: Any, clips: FeatureSet, tmp_path: Path):
        """As half floats to the bit, under the same seed: what distillation adds is the difference to it."""
        distil(configured(distil={"start": method, "steps": 1}), tmp_path / "run")
        control = select(clips, method, dict.fromkeys(LABELS, 2), 0, tmp_path / method)
        start = FeatureSet.open(tmp_path / "run" / "distilled-0000")
        assert torch.equal(frames(start.folder), frames(control.folder))
        assert start.config["distilled_by"]["started_from"] == control.index["id"].tolist()
        assert f"Real clips (`{method}`)" in (start.folder / artifacts.CARD).read_text()

    def test_metrics_and_the_learned_rate(self, distilled: Path):
        lines = metrics(distilled)
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
        assert lines[0]["match/rate"] == pytest.approx(1e-3)
        assert all(line["match/rate"] > 0 and line["match/loss"] > 0 for line in lines)
        learned = FeatureSet.open(distilled / "distilled-0003").config["distilled_by"]["rate"]
        assert learned == lines[3]["match/rate"]

    def test_heads_train_on_it_as_on_any(self, distilled: Path, clips: FeatureSet, tmp_path: Path):
        config = HeadConfig(head="superb", updates=20, batch=6, window=0)
        train_head_to(tmp_path / "head", FeatureSet.open(distilled / "distilled"), config, None, {})
        found = evaluate(tmp_path / "head", clips, "test")
        assert found["utterances"] == 9
        assert (tmp_path / "head" / "predictions.csv").is_file()

    def test_soft_labels(self, configured: Any, clips: FeatureSet, tmp_path: Path):
        distil(configured(distil={"labels": "soft", "smoothing": 0.3}), tmp_path / "run")
        first, last = (FeatureSet.open(tmp_path / "run" / name).soft for name in ("distilled-0000", "distilled"))
        assert first is not None
        assert last is not None
        assert first[0] == pytest.approx([0.8, 0.1, 0.1])
        assert last.sum(1) == pytest.approx(1.0)
        assert abs(last - first).max() > 1e-4
        assert "gradient/labels" in metrics(tmp_path / "run")[0]
        soft = HeadConfig(head="superb", updates=2, batch=6, window=0, labels="soft")
        train_head_to(tmp_path / "head", FeatureSet.open(tmp_path / "run" / "distilled"), soft, None, {})

    def test_the_best_on_dev_if_asked(self, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """Scores 0.4, 0.6 and 0.5 at steps 0, 3 and 6: step 3 is the result. The test part is never asked."""
        asked = []

        def scored(training: FeatureSet, _features: FeatureSet, config: TrajectoryConfig) -> list[Judged]:
            asked.append(config.evaluate.split)
            uar = {0: 0.4, 3: 0.6, 6: 0.5}[training.config["distilled_by"]["step"]]
            return [Judged("cnn", 1, (uar,), (uar,))]

        monkeypatch.setattr(distillation, "judged", scored)
        distil(configured(distil={"choose": "dev"}), tmp_path / "run")
        assert asked == ["dev"] * 3
        assert FeatureSet.open(tmp_path / "run" / "distilled").config["distilled_by"]["step"] == 3
        assert [line["dev/cnn"] for line in metrics(tmp_path / "run") if "dev/cnn" in line] == [0.4, 0.6, 0.5]

    def test_dev_is_really_measured(self, configured: Any, tmp_path: Path):
        distil(configured(distil={"choose": "dev", "steps": 1}), tmp_path / "run")
        assert all(0 <= line["dev/cnn"] <= 1 for line in metrics(tmp_path / "run")[::2])


class TestRepetition:
    def test_the_same_config_gives_the_same_bytes(self, configured: Any, distilled: Path, tmp_path: Path):
        torch.manual_seed(99)  # the global generator takes no part
        distil(configured(), tmp_path / "again")
        assert content(tmp_path / "again") == content(distilled)

    def test_another_seed_gives_others(self, configured: Any, distilled: Path, tmp_path: Path):
        distil(configured(distil={"seed": 1}), tmp_path / "other")
        assert not torch.equal(frames(tmp_path / "other" / "distilled-0000"), frames(distilled / "distilled-0000"))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("stopped", [1, 3, 4, 7])
    def test_a_resumed_run_equals_an_uninterrupted_one(
        self,
        configured: Any,
        distilled: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        stopped: int,
        number: int,
    ):
        whole = Distillation.gradients

        def signalled(work: Distillation) -> Gradients:
            if work.step + 1 == stopped:
                os.kill(os.getpid(), number)
            return whole(work)

        with monkeypatch.context() as patch:
            patch.setattr(Distillation, "gradients", signalled)
            if stopped == 7:  # all steps are made
                distil(configured(), tmp_path / "run")
            else:
                with pytest.raises(KeyboardInterrupt):
                    distil(configured(), tmp_path / "run")
        distil(configured(), tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(distilled)

    @pytest.mark.parametrize(
        ("owner", "moment", "at"),
        [(Distillation, "gradients", 1), (Distillation, "descend", 4), (Run, "log", 3), (Run, "checkpoint", 2)]
        + [(distillation, "write_distilled", at) for at in (1, 3, 5)],
    )
    def test_so_does_one_that_was_killed(
        self,
        configured: Any,
        distilled: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        owner: Any,
        moment: str,
        at: int,
    ):
        calls, whole = [0], getattr(owner, moment)

        def dies(*given: Any) -> Any:
            found = whole(*given)
            calls[0] += 1
            if calls[0] == at:
                raise MemoryError
            return found

        with monkeypatch.context() as patch:
            patch.setattr(owner, moment, dies)
            with pytest.raises(MemoryError):
                distil(configured(), tmp_path / "run")
        distil(configured(), tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(distilled)

    def test_so_does_one_that_was_really_killed(self, configured: Any, distilled: Path, tmp_path: Path):
        """SIGKILL, which nothing in the process can answer."""
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=killed_distillation, args=(configured(), tmp_path / "run"))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        distil(configured(), tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(distilled)

    def test_a_finished_run_goes_on_to_more_steps(self, configured: Any, distilled: Path, tmp_path: Path):
        """With other settings of evaluation too, which are none of its business."""
        distil(configured(distil={"steps": 3}), tmp_path / "run")
        distil(configured(evaluate={"seeds": 5}), tmp_path / "run", resume=True)
        assert content(tmp_path / "run") == content(distilled)
        with pytest.raises(InputError, match=r"has made 6 steps already, more than distil\.steps asks for"):
            distil(configured(distil={"steps": 5}), tmp_path / "run", resume=True)

    def test_what_may_not_change(self, configured: Any, distilled: Path):
        with pytest.raises(InputError, match=r"other values of \[distil.updates\]"):
            distil(configured(distil={"updates": 4}), distilled, resume=True)
        with pytest.raises(InputError, match="holds a run already"):
            distil(configured(), distilled)


class TestSteps:
    def test_the_methods_agree(self, configured: Any, distilled: Path, tmp_path: Path):
        distil(configured(distil={"method": "unroll"}), tmp_path / "run")
        exact, unrolled = metrics(distilled)[0], metrics(tmp_path / "run")[0]
        assert unrolled == pytest.approx(exact, rel=1e-3)
        torch.testing.assert_close(
            frames(tmp_path / "run" / "distilled-0003"), frames(distilled / "distilled-0003"), atol=1e-2, rtol=1e-2
        )

    def test_matches_are_averaged(self, configured: Any):
        work = Distillation(configured(distil={"matches": 2}))
        found, each = work.gradients(), [work._match(number) for number in (0, 1)]
        torch.testing.assert_close(found.loss, (each[0].loss + each[1].loss) / 2)
        torch.testing.assert_close(found.clips, (each[0].clips + each[1].clips) / 2)
        assert float(each[0].loss) != float(each[1].loss), "each draws its own"

    def test_a_step_draws_by_the_papers_rules(self, configured: Any, monkeypatch: pytest.MonkeyPatch):
        """Starts 0 to ``latest_start`` and goals ``ahead`` on; Q batches, in which no clip comes twice before all."""
        drawn = []
        work = Distillation(configured(distil={"steps": 60}))
        of = {work.pool[0].snapshot(t, e).sum().item(): (t, e) for t in range(2) for e in range(5)}

        def looked(
            _network: Any, start: Any, goal: Any, clips: Any, targets: Any, rate: Any, batches: Any
        ) -> Gradients:
            drawn.append((of[start.sum().item()], of[goal.sum().item()], torch.cat(batches).tolist()))
            return Gradients(torch.tensor(1.0), clips, targets, rate)

        monkeypatch.setitem(distillation.METHODS, "adjoint", looked)
        for work.step in range(60):
            work.gradients()
        assert {start for start, _, _ in drawn} == {(t, e) for t in range(2) for e in range(3)}
        assert all(goal == (t, e + 2) for (t, e), goal, _ in drawn)
        assert all(len(rows) == 3 * 4 and sorted(rows[:6]) == sorted(rows[6:]) == [*range(6)] for _, _, rows in drawn)

    def test_a_pool_draws_every_architecture(
        self, configured: Any, pool: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        work, seen = Distillation(configured(teachers=pool)), []
        assert [teachers.kind for teachers in work.pool] == ["cnn", "cnn-attention"]
        assert work.networks[0].size != work.networks[1].size

        def looked(network: Any, *given: Any) -> Gradients:
            seen.append(network.size)
            return matching.adjoint(network, *given)

        monkeypatch.setitem(distillation.METHODS, "adjoint", looked)
        distil(configured(teachers=pool), tmp_path / "run")
        assert set(seen) == {network.size for network in work.networks}
        made = FeatureSet.open(tmp_path / "run" / "distilled").config["distilled_by"]["teachers"]
        assert [each["head"] for each in made] == ["cnn", "cnn-attention"]

    def test_matching_gets_better(self, configured: Any, tmp_path: Path):
        """The loss of one and the same match, after forty steps and before."""
        work = Distillation(configured(distil={"latest_start": 0, "clips_learning_rate": 10.0, "steps": 40}))
        for _ in range(40):
            work.advance()
        fresh = Distillation(work.config)
        fresh.step = work.step
        assert float(work.gradients().loss) < float(fresh.gradients().loss)


class TestRollback:
    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        """Losses that are NaN while alpha is above a limit."""

        def above(limit: float) -> None:
            def method(
                network: Any, start: Any, goal: Any, clips: Any, targets: Any, rate: Any, rows: Any
            ) -> Gradients:
                found = matching.adjoint(network, start, goal, clips, targets, rate, rows)
                return replace(found, loss=found.loss * float("nan")) if float(rate) > limit else found

            monkeypatch.setitem(distillation.METHODS, "adjoint", method)

        return above

    def test_back_to_the_last_good_step_with_half_the_rates(
        self, configured: Any, tmp_path: Path, broken: Callable[[float], None], capsys: pytest.CaptureFixture[str]
    ):
        broken(5e-3)
        distil(configured(distil={"momentum": 0.0}), tmp_path / "run")
        said = capsys.readouterr().err
        assert "Step 2: a matching loss is above 2, or a gradient is not a number" in said
        halved = said.count("back to after step 0 with half the rates")
        assert halved >= 1
        lines = metrics(tmp_path / "run")
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6], "what is undone is not logged"
        assert lines[0]["match/rate"] == pytest.approx(configured().distil.rate / 2**halved)
        assert all(line["match/rate"] <= 5e-3 for line in lines)
        facts = FeatureSet.open(tmp_path / "run" / "distilled").config["distilled_by"]
        assert facts["step"] == 6
        assert facts["halvings"] >= 1
        assert frames(tmp_path / "run" / "distilled").isfinite().all()

    def test_one_student_of_several_that_is_thrown_off_is_enough(
        self, configured: Any, monkeypatch: pytest.MonkeyPatch
    ):
        """Losses 5 and 0.5 twice: their mean of 2 would pass."""
        losses = iter([5.0, 0.5, 0.5, 1.9, 1.9, 1.9])
        whole = Distillation._match

        def match(work: Distillation, number: int) -> Gradients:
            return replace(whole(work, number), loss=torch.tensor(next(losses)))

        monkeypatch.setattr(Distillation, "_match", match)
        work = Distillation(configured(distil={"matches": 3}))
        assert work.gradients() is None
        found = work.gradients()
        assert found is not None
        assert float(found.loss) == pytest.approx(1.9)

    def test_no_set_that_is_rolled_back_is_the_best(
        self, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Step 3's set scores best, and no step can be made from it: what is made in its place scores lower."""
        whole, broken = Distillation.gradients, [True]

        def gradients(work: Distillation) -> Gradients | None:
            found = whole(work)
            return None if work.step == 3 and broken.pop() else found

        def scored(training: FeatureSet, _features: FeatureSet, _config: TrajectoryConfig) -> list[Judged]:
            facts = training.config["distilled_by"]
            uar = {0: 0.4, 3: 0.5 if facts["halvings"] else 0.9, 6: 0.6}[facts["step"]]
            return [Judged("cnn", 1, (uar,), (uar,))]

        monkeypatch.setattr(Distillation, "gradients", gradients)
        monkeypatch.setattr(distillation, "judged", scored)
        broken.insert(0, False)
        distil(configured(distil={"choose": "dev"}), tmp_path / "run")
        assert [line["dev/cnn"] for line in metrics(tmp_path / "run") if "dev/cnn" in line] == [0.4, 0.5, 0.6]
        chosen = FeatureSet.open(tmp_path / "run" / "distilled")
        assert chosen.config["distilled_by"]["step"] == 6
        assert chosen.fingerprint == FeatureSet.open(tmp_path / "run" / "distilled-0006").fingerprint

    def test_a_longer_run_chooses_among_its_own(self, configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """Step 4 is kept only where a run ends there: one that goes on chooses as if it never had."""

        def scored(training: FeatureSet, _features: FeatureSet, _config: TrajectoryConfig) -> list[Judged]:
            uar = {0: 0.4, 3: 0.6, 4: 0.9, 6: 0.5}[training.config["distilled_by"]["step"]]
            return [Judged("cnn", 1, (uar,), (uar,))]

        monkeypatch.setattr(distillation, "judged", scored)
        distil(configured(distil={"choose": "dev", "steps": 4}), tmp_path / "run")
        assert FeatureSet.open(tmp_path / "run" / "distilled").config["distilled_by"]["step"] == 4
        distil(configured(distil={"choose": "dev"}), tmp_path / "run", resume=True)
        assert FeatureSet.open(tmp_path / "run" / "distilled").config["distilled_by"]["step"] == 3

    def test_resumed_it_ends_the_same(self, configured: Any, tmp_path: Path, broken: Callable[[float], None]):
        broken(5e-3)
        distil(configured(), tmp_path / "whole")
        assert FeatureSet.open(tmp_path / "whole" / "distilled").config["distilled_by"]["halvings"] >= 1
        distil(configured(distil={"steps": 4}), tmp_path / "run")
        distil(configured(), tmp_path / "run", resume=True)
        ended, whole = content(tmp_path / "run"), content(tmp_path / "whole")
        assert whole.items() <= ended.items(), "beside the last set of the shorter run"

    def test_given_up_after_several(self, configured: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        """A start that no halving helps: weights overflow."""
        with pytest.raises(RunError, match=r"Distillation diverged at step 1: .* rates halved 8 times"):
            distil(configured(distil={"rate": 1e36}), tmp_path / "run")
        assert capsys.readouterr().err.count("with half the rates") == 8
        assert kept_steps(tmp_path / "run") == [0]


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"features": None}, "Distilling needs a feature set and teachers"),
            ({"teachers": []}, "Distilling needs a feature set and teachers"),
            ({"distil": {"ppc": 7}}, "has 6 clips of 'neutral', fewer than distil.ppc 7"),
            ({"distil": {"latest_start": 3}}, r"has 4 epochs, but distil.latest_start 3 \+ distil.ahead 2 asks for 5"),
            ({"teachers": ["nowhere"]}, "No trajectories at nowhere"),
        ],
    )
    def test_settings(self, configured: Any, tmp_path: Path, changes: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            distil(configured(**changes), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({"frames": 12}, "learned from clips of 16 frames"),
            ({"dims": 6}, "has 6 dims, but .* the teachers, expects 8"),
            ({"seed": 1}, "learned from another feature set"),
        ],
    )
    def test_features_of_other_teachers(self, configured: Any, tmp_path: Path, facts: dict[str, Any], message: str):
        other = write_clips(tmp_path / "other", **facts)
        with pytest.raises(InputError, match=message):
            distil(configured(features=str(other.folder)), tmp_path / "run")

    def test_dev_where_there_is_none(self, configured: Any, tmp_path: Path):
        other = write_clips(tmp_path / "other", each={"train": 6})
        with pytest.raises(InputError, match="has no 'dev' part"):
            distil(configured(features=str(other.folder), distil={"choose": "dev"}), tmp_path / "run")
