"""A network that can answer after some of its layers: a backbone, an exit behind each of those, and where it is kept.

Shapes: B batch, S samples, F frames, R dims of a hidden state, C classes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import selu

from gandistill import artifacts
from gandistill.batch_norm import BatchNorm
from gandistill.errors import InputError, choices
from gandistill.features.clips import to_length
from gandistill.features.featureset import labels_and_dims
from gandistill.features.pretrained import normalised
from gandistill.precision import FULL, PRECISIONS, load_weights, save_weights
from gandistill.selfdistill.backbone import MODEL_TYPES, Backbone, backbone_of

KIND = "self-distilled network"
NETWORK = "network"
"""Folder of a run that holds the network it has trained."""
BLOCKS = ("cnn", "lstm", "gru")
LINEAR = 256
"""Outputs of an exit's first linear layer, D_1 of the paper."""
MOST_LAYERS = 99
PRECISION = "precision"
FACTS = ("trained", "calibration", "source", "corpus", "licence", "exported", PRECISION)
"""What a network's config may say of it beside what it is."""


class Answer(NamedTuple):
    """What an exit makes of clips: ``embedding`` [B, R], ``linear`` [B, 256], ``logits`` [B, C].

    H_M (H_N for the deepest), H_L and O of the paper, the last before the softmax.
    """

    embedding: Tensor
    linear: Tensor
    logits: Tensor


class Convolution(nn.Module):
    """A 1 x 1 convolution with one channel over frames [B, F, R] as a picture, batch norm, ReLU: four parameters.

    The statistics of the norm are those of the frames of the clips alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1)
        self.norm = BatchNorm(1)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return self.norm(self.convolution(hidden[:, None])).relu()[:, 0]
        frames = self.norm(self.convolution(hidden[mask][None, None])).relu()[0, 0]
        return torch.zeros_like(hidden).masked_scatter(mask[..., None], frames)


class Recurrence(nn.Module):
    """An LSTM or GRU over frames [B, F, R] from a state of zeros, with as many outputs; layer norm, SELU."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], dims: int) -> None:
        super().__init__()
        self.recurrence = kind(dims, dims, batch_first=True)
        self.norm = nn.LayerNorm(dims)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        return selu(self.norm(self.recurrence(hidden)[0]))


class Exit(nn.Module):
    """What answers behind a layer: a block, the mean over time, and two linear layers, as in section 2.2.1.

    The deepest exit, the paper's teacher, has no block.
    """

    def __init__(self, dims: int, block: str | None, classes: int) -> None:
        super().__init__()
        self.block = None if block is None else make_block(block, dims)
        self.linear = nn.Linear(dims, LINEAR)
        self.classify = nn.Linear(LINEAR, classes)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Answer:
        if self.block is not None:
            hidden = self.block(hidden, mask)
        embedding = hidden.mean(1) if mask is None else _mean_of_clips(hidden, mask)
        linear = self.linear(embedding)
        return Answer(embedding, linear, self.classify(linear))


def make_block(kind: str, dims: int) -> nn.Module:
    """A block of one of the ``BLOCKS``: frames [B, F, R] and mask [B, F] or None to frames [B, F, R]."""
    if kind == "cnn":
        return Convolution()
    return Recurrence(nn.LSTM if kind == "lstm" else nn.GRU, dims)


def _mean_of_clips(hidden: Tensor, mask: Tensor) -> Tensor:
    valid = mask[..., None].to(hidden.dtype)
    return (hidden * valid).sum(1) / valid.sum(1)


class Network(nn.Module):
    """A backbone with an exit behind each of some of its layers, the last among them.

    ``exits`` says the block of each, by the layer's number: in training those of the paper's students, and None for the
    last layer's, its teacher. A plain fine-tuned model has that one alone. ``normalise`` says whether clips are brought
    to zero mean and unit variance first, ``clip`` to how many samples before that (0: they keep their lengths).
    ``facts`` is what else is known of it, as plain JSON values.

    Section 2.2.1 of Ren et al. 2023, "Fast Yet Effective Speech Emotion Recognition with Self-Distillation". Paper:
    what lies between the two linear layers is not said. Here: nothing.
    Raises InputError unless exits lie behind layers, the last of them behind the last layer.
    """

    def __init__(
        self,
        backbone: Backbone,
        exits: Mapping[int, str | None],
        labels: list[str],
        normalise: bool = True,
        clip: int = 0,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if min(exits) < 1 or max(exits) != backbone.depth:
            raise InputError(f"Bad exits {sorted(exits)}, expected layers of 1 to {backbone.depth}, the last too")
        self.backbone, self.labels = backbone, labels
        self.normalise, self.clip, self.facts = normalise, clip, facts or {}
        self.blocks = dict(sorted(exits.items()))
        by_depth = {str(depth): Exit(backbone.dims, block, len(labels)) for depth, block in self.blocks.items()}
        self.exits = nn.ModuleDict(by_depth)

    @property
    def depths(self) -> list[int]:
        """The layers behind which it can answer, the deepest last."""
        return list(self.blocks)

    def answers(
        self, clips: Tensor, lengths: Tensor | None = None, depths: Collection[int] | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """Depth and answer of one exit after another, of all or of ``depths``: whoever stops asking stops the layers.

        ``clips`` [B, S] as ``prepared`` makes them; ``lengths`` [B] in samples, None if none is padded. Raises
        InputError for a depth that has no exit.
        """
        exit_depths = self.depths if depths is None else sorted(depths)
        self.check(exit_depths)
        mask = self.backbone.mask(lengths)
        for depth, hidden in enumerate(self.backbone.states(clips, lengths), 1):
            if depth in exit_depths:
                yield depth, self.exits[str(depth)](hidden, mask)
            if depth == exit_depths[-1]:
                return

    def forward(self, clips: Tensor, lengths: Tensor | None = None) -> dict[int, Answer]:
        """Answers of all exits."""
        return dict(self.answers(clips, lengths))

    def check(self, depths: Collection[int]) -> None:
        """Raise InputError unless it can answer behind these layers."""
        for depth in depths:
            if depth not in self.blocks:
                raise choices("exit", depth, list(map(str, self.depths)))

    def prepared(self, audio: Tensor) -> Tensor:
        """Audio [samples] of one utterance as this network was trained to hear it: its length, then its scale.

        Paper: how clips of 95,744 samples are made is not said. Here, as in its public code: by self-repetition, or the
        end is cut off.
        """
        clip = to_length(audio, self.clip) if self.clip else audio
        return normalised(clip) if self.normalise else clip


def exits_of(layers: int, exits: Sequence[int], block: str, depth: int | None = None) -> dict[int, str | None]:
    """The exits of a network for training: blocks behind some layers, none behind the last, ``depth`` or all there are.

    Raises InputError for an exit that the model does not have, or that is its last layer.
    """
    last = layers if depth is None else depth
    if not 1 <= last <= layers:
        raise InputError(f"Bad depth {depth}, expected 1 to {layers}, the model's transformer layers")
    wrong = [number for number in exits if not 1 <= number < last]
    if wrong:
        raise InputError(f"Bad exits {wrong}, the model has layers 1 to {last}, of which the last is the teacher's")
    return dict.fromkeys(exits, block) | {last: None}


def parts_of(network: Network) -> dict[str, nn.Module]:
    """The modules of a network by the files of its folder: what comes before the layers, each layer, each exit."""
    backbone = network.backbone
    parts: dict[str, nn.Module] = {"encoder": nn.ModuleDict(backbone.before())}
    parts |= {f"layer-{number:02d}": layer for number, layer in enumerate(backbone.layers, 1)}
    parts |= {f"exit-{int(depth):02d}": module for depth, module in network.exits.items()}
    return {f"{name}.safetensors": part for name, part in parts.items()}


def save_network(out: Path, network: Network, made_by: dict[str, Any]) -> None:
    """Write a network as an artifact, its weights in the precision that its facts name, float32 if they name none.

    Raises InputError if ``out`` holds something else, or for a weight beyond float16 in that precision.
    """
    with artifacts.new_artifact(out, KIND) as folder:
        for name, part in parts_of(network).items():
            save_weights(folder / name, part.state_dict(), network.facts.get(PRECISION, FULL))
        described = {
            "labels": network.labels,
            "exits": {str(depth): block for depth, block in network.blocks.items()},
            "normalise": network.normalise,
            "clip": network.clip,
            "architecture": network.backbone.config.to_diff_dict(),
        }
        artifacts.write_json(folder / artifacts.CONFIG, artifacts.describe(KIND, made_by, **described, **network.facts))
        artifacts.write_text(folder / artifacts.CARD, card(network))


def network_folder(folder: Path) -> Path:
    """The folder itself, or the network inside it where it is a run folder."""
    return artifacts.of_run(folder, NETWORK)


def load_network(folder: Path, depths: Collection[int] | None = None) -> Network:
    """Read a network, in evaluation mode and float32; with ``depths``, no more of it than these exits need.

    Raises InputError naming what is missing, altered or unknown, or an exit that it does not have.
    """
    config = artifacts.open_artifact(folder, KIND, verify=(artifacts.CONFIG, artifacts.CARD))
    network = described_network(config, folder / artifacts.CONFIG, depths)
    for name, part in parts_of(network).items():
        weights = load_weights(folder / name, part.state_dict(), network.facts.get(PRECISION, FULL))
        artifacts.load_module(part, weights, folder / name)
    return network.eval()


def described_network(config: dict[str, Any], where: Path, depths: Collection[int] | None = None) -> Network:
    """A network as a config says, on the meta device: no weights, and no memory however large it claims to be.

    Raises InputError naming ``where``.
    """
    architecture = config.get("architecture")
    if not isinstance(architecture, dict):
        raise InputError(f"{where}: 'architecture' is missing or bad, expected the settings of a transformers model")
    dims = architecture.get("hidden_size", architecture.get("d_model"))
    labels, _ = labels_and_dims(config | {"dims": dims}, where)
    exits, normalise, clip = config.get("exits"), config.get("normalise"), config.get("clip")
    if not isinstance(exits, dict) or not exits or not all(map(_is_exit, exits.items())):
        raise InputError(f"{where}: 'exits' is missing or bad, expected a layer and its block, or null, for each")
    if type(normalise) is not bool or type(clip) is not int or clip < 0:
        raise InputError(f"{where}: 'normalise' or 'clip' is missing or bad")
    if config.get(PRECISION, FULL) not in PRECISIONS:
        raise choices(f"precision in {where}:", config[PRECISION], PRECISIONS)
    blocks = {int(depth): block for depth, block in exits.items()}
    for depth in depths or ():
        if depth not in blocks:
            raise choices(f"exit of {where.parent}:", depth, sorted(map(str, blocks), key=int))
    needed = {depth: block for depth, block in blocks.items() if depths is None or depth in depths}
    facts = {key: config[key] for key in FACTS if key in config}
    with torch.device("meta"):
        backbone = backbone_of(transformer(architecture, max(needed), where))
        return Network(backbone, needed, labels, normalise, clip, facts)


def transformer(architecture: dict[str, Any], layers: int | None, where: Path | str) -> Any:
    """A transformers model without weights, its first ``layers`` layers, in float32 whatever it was saved in.

    ``layers`` None: all. Its config says how many there are in all. Raises InputError naming ``where``.
    """
    from transformers import AutoConfig, AutoModel

    kind = architecture.get("model_type")
    if kind not in MODEL_TYPES:
        raise choices(f"model type in {where}:", kind, MODEL_TYPES)
    try:
        defaults = AutoConfig.for_model(kind).to_dict()
        settings = {key: value for key, value in architecture.items() if key in defaults and key != "model_type"}
        config = AutoConfig.for_model(kind, **settings)
        in_all = config.num_hidden_layers
        config.num_hidden_layers = in_all if layers is None else layers
        model = AutoModel.from_config(config, dtype=torch.float32)
        model.config.num_hidden_layers = in_all
        return model
    except Exception as error:  # transformers raises anything for settings that do not fit together
        raise InputError(f"{where}: not the settings of a {kind} ({' '.join(str(error).split())})") from None


def _is_exit(entry: tuple[str, Any]) -> bool:
    depth, block = entry
    return depth.isdecimal() and 1 <= int(depth) <= MOST_LAYERS and (block is None or block in BLOCKS)


def card(network: Network) -> str:
    """The README of a network's folder."""
    listed = ", ".join(f"{depth} ({block or 'no block'})" for depth, block in network.blocks.items())
    return (
        f"# Emotion recogniser that answers after some of its layers\n\nA {network.backbone.config.model_type} "
        f"with exits behind the layers {listed}; classes {', '.join(network.labels)}.\n\nUse it by `gandistill "
        f"selfdistill predict`. What it was trained on and how is in `{artifacts.CONFIG}`. It was trained on real "
        "speech, and nothing was measured here that would show it keeps speakers private.\n"
    )
