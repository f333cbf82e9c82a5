"""A head in ONNX hears what its recogniser hears, whatever its kind, its log-Mels, and the length of a clip."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gandistill.features.extract import ExtractConfig, load_upstream
from gandistill.heads.head import MODELS, Head
from gandistill.heads.recogniser import Recogniser
from gandistill.numerics import seeded
from gandistill.onnx import OPSET, TOLERANCE

LABELS = ["angry", "happy", "sad"]
LOGMEL = ("logmel.bands=20", "logmel.window=512", "logmel.hop=256")


def made(kind: str, *settings: str) -> Recogniser:
    """A recogniser of random weights; statistics are those of noise, so that what it hears makes a difference."""
    upstream = load_upstream(ExtractConfig.load(None, [*LOGMEL, *settings]))
    origin = {"upstream": upstream.describe(), "corpus": "test", "licence": "CC0-1.0"}
    with seeded(0):
        head = Head(kind, LABELS, upstream.dims, {}, origin)
        frames = upstream(noise(40_000))
        head.mean.copy_(frames.mean(0))
        head.deviation.copy_(frames.std(0))
        norms = [module for module in head.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the average over all batches: this one's
        head.train()(frames[None], torch.tensor([len(frames)]))
        for norm in norms:  # what hardly varied in one clip would magnify rounding, which differs by processor
            norm.get_buffer("running_var").clamp_(min=0.1)
    return Recogniser(head, "this head", {})


def noise(samples: int) -> torch.Tensor:
    """Like speech 60 dB lower at 8 kHz than at 0, and louder and louder, so that no two clips sound alike."""
    drawn = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    falling = torch.logspace(0, -3, samples // 2 + 1)
    return torch.fft.irfft(torch.fft.rfft(drawn) * falling, samples) * torch.linspace(0.1, 1, samples)


@pytest.mark.parametrize(
    ("kind", "settings", "lengths"),
    [
        ("superb", (), (1, 500, 513, 16_000, 40_001)),
        ("attentive", ("pool=2",), (768, 16_000, 40_001)),
        ("cnn-attention", ("clip=9000",), (1, 8_999, 9_000, 40_001)),
        ("tdnn", (), (1, 500, 16_000, 40_001)),
        ("cnn", ("logmel.centre=true",), (1, 500, 16_000, 40_001)),
        ("cnn6", ("logmel.window=400", "logmel.hop=160"), (1, 5_000, 20_001)),
        ("resnet9", ("logmel.centre=true", "pool=3"), (600, 5_000, 20_001)),
        ("vgg15", (), (300, 5_000, 20_001)),
    ],
)
def test_clips_of_any_length_are_heard_alike(
    kind: str, settings: tuple[str, ...], lengths: tuple[int, ...], tmp_path: Path
):
    import onnxruntime

    recogniser, file = made(kind, *settings), tmp_path / "head.onnx"
    told = recogniser.export(file)
    assert told["inputs"] == {"audio": [1, "samples"]}
    assert told["outputs"] == {"logits": [1, 3], "probabilities": [1, 3]}
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    answers = []
    for length in lengths:
        logits, probabilities = session.run(None, {"audio": noise(length)[None].numpy()})
        answers.append(recogniser.posterior(noise(length)).numpy())
        np.testing.assert_allclose(probabilities[0], answers[-1], atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(torch.from_numpy(logits).softmax(-1)[0], probabilities[0], atol=1e-6)
    assert np.ptp(answers, axis=0).max() > 100 * TOLERANCE, "the answer hangs on what is heard"


def test_every_kind_of_head_is_tried():
    (mark,) = (each for each in test_clips_of_any_length_are_heard_alike.pytestmark if each.name == "parametrize")
    assert [kind for kind, *_ in mark.args[1]] == [*MODELS]


def test_it_says_what_it_is(tmp_path: Path):
    import onnxruntime
    from onnx import load

    recogniser, file = made("superb", "clip=9000"), tmp_path / "head.onnx"
    recogniser.export(str(file))
    told = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    assert json.loads(told["labels"]) == LABELS
    assert json.loads(told["upstream"]) == recogniser.upstream.describe()
    assert (told["kind"], told["head"], told["corpus"], told["licence"]) == ("head", "superb", "test", "CC0-1.0")
    assert (told["sample_rate"], told["window"]) == ("16000", "9000")
    assert [opset.version for opset in load(str(file)).opset_import if not opset.domain] == [OPSET]


def test_behind_a_pretrained_model_it_takes_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import onnxruntime

    head, file = made("attentive").head, tmp_path / "head.onnx"
    head.origin = {"upstream": {"name": "hubert", "layer": 1}}
    told = Recogniser(head, "my-head", {}).export(file)
    assert told["inputs"] == {"features": [1, "frames", 20]}
    assert "my-head: its upstream is no part of" in capsys.readouterr().err
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for frames in (1, 30):
        features = 3 * torch.randn(1, frames, 20, generator=torch.Generator().manual_seed(frames))
        logits, probabilities = session.run(None, {"features": features.numpy()})
        with torch.no_grad():
            expected = head(features, torch.tensor([frames])).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        np.testing.assert_allclose(probabilities, torch.from_numpy(expected).softmax(-1), atol=1e-5)
