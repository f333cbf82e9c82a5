"""A head that hears audio: recording in, emotion out, through the upstream that the head's features came from.

Shapes: C classes.
"""

from collections.abc import Collection, Generator, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandistill import artifacts, hub
from gandistill.corpora.audio import SAMPLE_RATE, SHORTEST_SECONDS, stream
from gandistill.corpora.windows import WINDOW, Answer, answers, averaged, windows
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.features.rebuild import rebuilt
from gandistill.features.upstreams import Upstream
from gandistill.heads.export import export
from gandistill.heads.head import DESCRIBED, KIND, Head, load_head, save_head
from gandistill.heads.training import HeadConfig, score, train_head, trained_on
from gandistill.metrics import say_absent
from gandistill.numerics import no_tf32, one_thread

SHORTEST = round(SHORTEST_SECONDS * SAMPLE_RATE)


class Recogniser(hub.Shared):
    """An emotion recogniser: a head and, as soon as audio is asked of, the upstream that its features came from.

    ``name`` is what errors call it, ``facts`` are what its folder says of the training set. ``settings`` say where a
    pretrained model lies, as for ``extract``: ``whisper.model=DIR``. It computes on ``device``. ``measured`` is what
    its folder says was measured of it.
    """

    def __init__(
        self,
        head: Head,
        name: str,
        facts: dict[str, Any],
        settings: Sequence[str] = (),
        device: torch.device | str = "cpu",
        measured: artifacts.Measured | None = None,
    ) -> None:
        self.head, self.name, self.facts = head.to(device).eval(), name, facts
        self.settings, self.device, self.measured = settings, device, measured

    @classmethod
    def load(
        cls,
        source: Path | str,
        settings: Sequence[str] = (),
        device: torch.device | str = "cpu",
        licences: Collection[str] | None = None,
    ) -> "Recogniser":
        """Read a head's folder, or where there is none here, a repository of the Hugging Face Hub, OWNER/NAME.

        ``licences`` are those that will do, such as ``cc-by-4.0``; None: any. Raises InputError naming what is missing,
        altered or unknown.
        """
        folder = hub.local_or_pulled(source, KIND, licences)
        head = load_head(folder)
        facts = {key: value for key, value in head.origin.items() if key not in DESCRIBED}
        return cls(head, str(source), facts, settings, device, artifacts.Measured.of(folder))

    def __repr__(self) -> str:
        return f"<Recogniser {self.head.kind}: {', '.join(self.labels)}>"

    @property
    def labels(self) -> list[str]:
        """Class names."""
        return self.head.labels

    @cached_property
    def upstream(self) -> Upstream:
        """What turns audio into the features that the head knows. Raises InputError as ``rebuilt`` does."""
        return rebuilt(self.name, self.head.origin.get("upstream"), self.settings, self.device)

    @cached_property
    def window(self) -> int:
        """Samples at 16 kHz that are heard at once: as many as each clip in training had, or 30 s if those differ."""
        return self.upstream.describe().get("clip", WINDOW)

    def predict(self, audio: Path | str | NDArray[Any] | Tensor, channel: int | None = None) -> Answer:
        """The emotion of an audio file, or of samples [samples], mono, at 16 kHz, about -1 to 1.

        Gives ``label``, ``probabilities`` by class and ``seconds``, of a file its ``path`` too. What is longer than a
        window is heard window by window: probabilities are means by their lengths. Of a file ``channel`` (1 is the
        first) is heard, or the average. Raises InputError for audio that cannot be used, RunError if the head gives
        NaN.
        """
        if isinstance(audio, Path | str):
            return answers([Path(audio)], partial(self.file, channel=channel), self.window)[0][0]
        samples = np.asarray(audio, dtype=np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise InputError(f"Bad audio of shape {list(samples.shape)}, expected finite samples [samples] at 16 kHz")
        heard = self._heard([samples], Path("the audio"))
        while True:
            try:
                next(heard)
            except StopIteration as end:
                return end.value

    def file(self, path: Path, channel: int | None = None) -> Generator[None, None, Answer]:
        """What ``predict`` gives of a file, passing once for each window; memory does not grow with the file."""
        return {"path": str(path)} | (yield from self._heard(stream(path, channel), path))

    def _heard(self, blocks: Iterable[NDArray[np.float32]], path: Path) -> Generator[None, None, Answer]:
        least = self.upstream.least()
        parts = windows(blocks, self.window, max(least, SHORTEST))

        def hear(part: NDArray[np.float32]) -> NDArray[np.float64]:
            return self.posterior(torch.from_numpy(part)).numpy()

        return (yield from averaged(parts, hear, self.labels, least, path, self.name))[0]

    @torch.no_grad()
    def posterior(self, audio: Tensor) -> Tensor:
        """Class probabilities [C] in float64 of audio [samples] at 16 kHz, heard at once."""
        with one_thread(), no_tf32():
            frames = self.upstream(audio).half().float()  # half floats, as features are stored
            logits = self.head(frames[None], torch.tensor([len(frames)], device=frames.device))
        return logits[0].double().softmax(-1).cpu()

    def evaluate(self, features: FeatureSet, split: str = "test") -> dict[str, float]:
        """``uar`` and ``accuracy`` on a part of a feature set. Raises InputError if it is for other features."""
        part = features.part(split)
        say_absent(part.targets, part.labels, split)
        return score(self.head, part)

    def save(self, folder: Path | str) -> None:
        """Write the head as an artifact; one that was loaded keeps its card. Raises InputError if ``folder`` holds
        something else."""
        save_head(Path(folder), self.head, {"command": "train-head"}, **self.facts)
        if self.measured is not None:
            self.measured.keep(Path(folder), KIND)

    def export(self, file: Path | str) -> dict[str, Any]:
        """Write it as one ONNX file, see ``heads.export``: behind log-Mels it hears audio, else it takes features."""
        return export(self.head, self.name, Path(file))


def train_recogniser(
    features: FeatureSet,
    head: str = "superb",
    *,
    dev: FeatureSet | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
    device: torch.device | str = "cpu",
) -> Recogniser:
    """Train a recogniser on the training part of a feature set, real or distilled, as ``gandistill train-head`` does.

    ``head`` is a kind that ``gandistill heads`` lists, ``settings`` are what ``--set`` takes, such as ``labels=soft``.
    With the ``dev`` part of real features the best update by it is kept, else the last. Raises InputError as
    ``train_head`` does.
    """
    config = HeadConfig.load(None, [f"head={head}", f"seed={seed}", *settings])
    trained = train_head(features, config, dev, device)
    return Recogniser(trained, "this recogniser", trained_on(features, dev), device=device)
