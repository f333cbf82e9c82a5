"""What trajectory matching is told: how teachers learn, how a set is distilled from them, how it is judged."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from gandistill.config import Config
from gandistill.heads.head import MODELS
from gandistill.trajectory.teachers import TeachConfig

Share = Annotated[float, Field(gt=0, lt=1)]


class DistilConfig(Config):
    """How a set is distilled. Values are the paper's but where it gives none, which is said there."""

    ppc: PositiveInt = 10
    """Clips of each class, the paper's IPC; they start as real ones."""
    start: Literal["random", "real-recentred", "real-designed"] = Field(
        default="random", exclude_if=lambda start: start == "random"
    )
    """Which real clips, named as ``gandistill select --method`` names them. The paper's are random ones."""
    steps: PositiveInt = 60
    """Distillation steps."""
    updates: PositiveInt = 20
    """Q, the student's updates in each step."""
    ahead: PositiveInt = 3
    """P, epochs from where a student starts on its teacher's trajectory to its goal there."""
    latest_start: NonNegativeInt = 30
    """The last epoch that a student starts at; the first is 0, the teacher's initial weights."""
    batch: PositiveInt = 32
    """B, clips in each update of the student, all of them where there are fewer. Not in the paper."""
    matches: PositiveInt = 1
    """Students in a step, each on a trajectory of its own, whose gradients are averaged. Several processes share them.
    """
    method: Literal["adjoint", "unroll", "tesla"] = "adjoint"
    """How the gradient through the student's updates is found: exact in flat memory, exact by one graph of them all, or
    biased in flat memory. The paper's is the second, as MTT's."""
    labels: Literal["hard", "soft"] = "hard"
    """Keep each clip's class, or learn a distribution for each. The paper's are hard."""
    smoothing: Share = 0.1
    """Of soft labels: the share of a clip's label that all classes have alike at the start."""
    rate: PositiveFloat = 1e-3
    """alpha, the student's learning rate, at the start. It is learned."""
    clips_learning_rate: NonNegativeFloat = 1000.0
    """SGD's learning rate of the clips, in units of each dim's deviation over the corpus. The paper does not say its
    units."""
    rate_learning_rate: NonNegativeFloat = 1e-3
    """SGD's learning rate of alpha."""
    labels_learning_rate: NonNegativeFloat = 10.0
    """SGD's learning rate of soft labels' logits. Ours."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """SGD's momentum of all three. Not in the paper: that of MTT's public code."""
    clip: PositiveFloat = 10.0
    """Largest norm of alpha's gradient, and of that of soft labels. Ours: where alpha throws a student about, they are
    far larger."""
    farthest: PositiveFloat = 0.1
    """Farthest that one gradient may move the clips, in deviations (root mean square over all of them); a rollback
    halves it, and by momentum m steps come to reach 1 / (1 - m) times as far. Ours. A clips_learning_rate so large that
    every gradient is cut to this makes it normalised gradient descent."""
    keep_every: PositiveInt = 10
    """Steps between two distilled sets that are kept; steps 0 and the last are kept too."""
    choose: Literal["last", "dev"] = "last"
    """Which of them is the result: the last, or the best by the students of ``evaluate`` on the dev part."""
    checkpoint_every: PositiveInt = 10
    """Steps between two checkpoints."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides the first clips, and trajectory, start and batches of each step."""

    def shaping(self) -> dict[str, Any]:
        """The settings that shaped a set at some step, without those of how long the run was and what it kept."""
        return self.model_dump(mode="json", exclude={"steps", "keep_every", "checkpoint_every", "choose"})


class EvaluateConfig(Config):
    """How a training set is judged: by students trained on it alone, by the paper's schedule."""

    students: tuple[str, ...] = Field(default=("cnn6",), min_length=1)
    """Kinds of network that are trained, as ``gandistill heads`` lists them."""
    start: Literal["scratch", "teacher"] = "scratch"
    """Initial weights: a student's own, or those that the teacher of the same number started from."""
    seeds: PositiveInt = 3
    """Students of each kind."""
    seed: int = Field(default=0, ge=0, lt=2**62)
    """The first of their consecutive seeds; with teachers' weights also the number of the first teacher."""
    epochs: PositiveInt = 30
    """Epochs of their training, by Adam, on batches as large as the teachers'."""
    learning_rate: PositiveFloat = 1e-3
    """Adam's learning rate in the first epochs."""
    decay: float = Field(default=0.7, gt=0, le=1)
    """What the learning rate is multiplied by after every ``decay_every`` epochs."""
    decay_every: PositiveInt = 5
    """Epochs of one learning rate."""
    epoch_updates: PositiveInt | None = None
    """Updates that count as an epoch, so that sets of any size give students the same budget; none: a whole pass."""
    split: Literal["dev", "test"] = "test"
    """The part of real clips that students are scored on."""

    @field_validator("students")
    @classmethod
    def _known(cls, students: tuple[str, ...]) -> tuple[str, ...]:
        if not set(students) <= MODELS.keys():
            raise ValueError(f"expected some of [{', '.join(MODELS)}]")
        return students


class TrajectoryConfig(Config):
    """Trajectory matching, whole: one file serves teaching, distillation and evaluation."""

    features: Path | None = None
    """Feature set to distil: clips of one length."""
    teachers: tuple[Path, ...] = ()
    """Folders of trajectories; several make a pool of architectures, of which each step draws one."""
    teach: TeachConfig = TeachConfig()
    """How teachers learn; students that judge have batches as large."""
    distil: DistilConfig = DistilConfig()
    """How the set is distilled."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How it is judged."""

    def teaching(self) -> TeachConfig:
        """The settings of the teachers, who learn from ``features`` unless ``teach`` names its own."""
        return self.teach.model_copy(update={"features": self.teach.features or self.features})
