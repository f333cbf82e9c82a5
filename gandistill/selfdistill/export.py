"""One exit in a folder of its own, for a device: with what it needs and no more, as a network or as ONNX.

Shapes: S samples, F frames, R dims of a hidden state, C classes.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gandistill import artifacts, onnx
from gandistill.console import say
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.errors import InputError, choices
from gandistill.features.pretrained import normalised
from gandistill.precision import FULL, PRECISIONS
from gandistill.selfdistill.model import (
    KIND,
    PRECISION,
    Network,
    Recurrence,
    load_network,
    network_folder,
    save_network,
)
from gandistill.selfdistill.windows import shortest_of

ONNX_KIND = "self-distilled network in ONNX"
ONNX_FILE = "model.onnx"
OUTPUTS = ("logits", "probabilities")
FORMATS = ("safetensors", "onnx")
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""ONNX's order of gates in torch's numbers: i o f c of i f g o, and z r h of r z n."""


def export(folder: Path, exit: int, out: Path, precision: str = FULL, form: str = "safetensors") -> dict[str, Any]:
    """Write one exit of a network, without the layers above it and the other exits; gives exit, bytes and share.

    ``folder`` may be that of its run. As ``safetensors`` it is a network like any other: with ``precision`` float32 its
    weights are to the byte those of the whole; with float16 or int8 they are rounded on disk, and read back as float32.
    As ``onnx`` see ``write_onnx``. ``bytes`` and ``share`` are of the artifacts alone, not of what else lies in their
    folders. Raises InputError for an exit that it does not have, another precision or format, an ``out`` that is taken
    or lies in the network's folder or around it, a network whose weights were rounded already, or where ``[edge]`` is
    not installed.
    """
    if form not in FORMATS:
        raise choices("format", form, FORMATS)
    if precision not in PRECISIONS:
        raise choices("precision", precision, PRECISIONS)
    if form == "onnx" and precision != FULL:
        raise InputError(
            f"ONNX is written in float32 alone: {precision} is how safetensors store weights, which are read back as "
            f"float32, while ONNX Runtime must compute in it: choose --precision {FULL}, or --format safetensors"
        )
    folder = network_folder(folder)
    source, target = folder.resolve(), out.resolve()
    if target == source:
        raise InputError(f"{out} is the network to export, which must stay: choose another --out")
    if source in target.parents or target in source.parents:
        raise InputError(f"{out} and the network {folder} lie one inside the other: choose an --out beside it")
    artifacts.check_free(out, ONNX_KIND if form == "onnx" else KIND)
    network = load_network(folder, [exit])
    stored_in = network.facts.get(PRECISION, FULL)
    if precision not in (FULL, stored_in) and stored_in != FULL:
        raise InputError(f"{folder} is stored in {stored_in} already: export from the network that it was made from")
    exported = {"network": folder.resolve().name, "fingerprint": artifacts.fingerprint(folder)}
    network.facts = {key: fact for key, fact in network.facts.items() if key != "calibration"} | {"exported": exported}
    if precision != FULL:
        network.facts[PRECISION] = precision
    made_by = {"command": "selfdistill export", "exit": exit, "precision": network.facts.get(PRECISION, FULL)}
    if form == "onnx":
        write_onnx(out, network, made_by)
    else:
        save_network(out, network, made_by)
    before, after = artifacts.bytes_on_disk(folder), artifacts.bytes_on_disk(out)
    say(f"{out}: {after:,} bytes, {after / before:.1%} of {before:,}")
    return {"exit": exit, "bytes": after, "share": after / before}


def write_onnx(out: Path, network: Network, made_by: dict[str, Any]) -> None:
    """Write the deepest exit of a network as an artifact with ``model.onnx``, checked against torch and run once.

    Its input ``audio`` [1, S] is mono at 16 kHz, of any length that the convolutions make a frame of, for Whisper of
    29.5 s at most; to zero mean and unit variance it is brought inside, where the network wants it. Its outputs are
    ``logits`` and ``probabilities`` [1, C]. Raises InputError where ``[edge]`` is not installed, RunError where ONNX
    Runtime computes other numbers.
    """
    classifier = AudioClassifier(network).eval().requires_grad_(False)
    length = network.clip or SAMPLE_RATE
    draws = torch.Generator().manual_seed(0)
    uneven = max(shortest_of(network), length * 2 // 3)  # no whole number of frames
    audios = [{"audio": 0.1 * torch.randn(1, samples, generator=draws)} for samples in (length, uneven)]
    with torch.inference_mode():
        expected = [classifier(**example) for example in audios]
    described = {
        "labels": network.labels,
        "exit": network.depths[-1],
        "normalise": network.normalise,
        "clip": network.clip,
        "sample_rate": SAMPLE_RATE,
    }
    facts = {key: fact for key, fact in network.facts.items() if key != PRECISION}
    with artifacts.new_artifact(out, ONNX_KIND) as folder:
        model = _program(classifier, audios[0])
        onnx.write(folder / ONNX_FILE, model, audios, expected, described | onnx.origin(facts))
        artifacts.write_json(folder / artifacts.CONFIG, artifacts.describe(ONNX_KIND, made_by, **described, **facts))
        artifacts.write_text(folder / artifacts.CARD, _card(network))


class AudioClassifier(nn.Module):
    """A network's deepest exit as one function: audio [1, S] to logits and probabilities [1, C]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        clips = normalised(audio) if self.network.normalise else audio
        ((_, answer),) = self.network.answers(clips, depths=self.network.depths[-1:])
        return answer.logits, answer.logits.softmax(-1)


class OnnxRecurrence(nn.Module):
    """An LSTM or GRU as ONNX's operator of that name, which torch's exporter would take apart, step by step."""

    def __init__(self, recurrence: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.operator = recurrence.mode
        self.dims = recurrence.hidden_size
        (weights,) = recurrence.all_weights
        of_input, of_state, *biases = (self._ordered(weight.detach()) for weight in weights)
        self.of_input, self.of_state = nn.Parameter(of_input[None]), nn.Parameter(of_state[None])
        self.biases = nn.Parameter(torch.cat(biases)[None])

    def _ordered(self, weight: Tensor) -> Tensor:
        gates = weight.chunk(len(GATES[self.operator]))
        return torch.cat([gates[number] for number in GATES[self.operator]])

    def forward(self, hidden: Tensor) -> tuple[Tensor]:
        """Frames [B, F, R] to frames, in a tuple as torch's own gives them. Only an exporter can call it."""
        frames = hidden.transpose(0, 1)
        attributes: dict[str, Any] = {"hidden_size": self.dims}
        if self.operator == "GRU":
            attributes["linear_before_reset"] = 1
        states = torch.onnx.ops.symbolic(
            self.operator,
            (frames, self.of_input, self.of_state, self.biases),
            attributes,
            dtype=hidden.dtype,
            shape=(frames.shape[0], 1, frames.shape[1], self.dims),
            version=onnx.OPSET,
        )
        return (states[:, 0].transpose(0, 1),)


def _program(classifier: AudioClassifier, example: onnx.Example) -> Any:
    """The ONNX model of what is heard, recurrences as ONNX's own."""
    for block in [module for module in classifier.modules() if isinstance(module, Recurrence)]:
        setattr(block, "recurrence", OnnxRecurrence(block.recurrence))  # noqa: B010 (of another type)
    samples = torch.export.Dim("samples", min=2, max=classifier.network.backbone.longest)
    return onnx.program(classifier, example, OUTPUTS, {"audio": {1: samples}})


def _card(network: Network) -> str:
    if network.clip:
        samples = f"{network.clip:,} samples, which a shorter clip reaches by self-repetition"
    else:
        longest = network.backbone.longest
        samples = "any length" if longest is None else f"at most {longest:,} samples"
    return (
        f"# Emotion recogniser: layer {network.depths[-1]} of a {network.backbone.config.model_type} in ONNX\n\n"
        f"`{ONNX_FILE}` takes `audio` [1, samples], mono at {SAMPLE_RATE:,} Hz between -1 and 1, in float32 "
        f"({samples}), and gives `logits` and `probabilities` [1, {len(network.labels)}] of the classes "
        f"{', '.join(network.labels)}.\n\n```python\nimport onnxruntime\n\nsession = onnxruntime.InferenceSession("
        f'"{ONNX_FILE}")\nlogits, probabilities = session.run(None, {{"audio": audio}})\n```\n\nIt was trained on real '
        "speech, and nothing was measured here that would show it keeps speakers private.\n"
    )
