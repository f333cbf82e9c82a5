"""A pretrained transformer, one layer at a time, so that layers above the one that answers are never run.

Shapes: B batch, S samples, F frames, R dims of a hidden state.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from transformers.masking_utils import create_bidirectional_mask

from gandistill.errors import InputError
from gandistill.features.pretrained import PREPROCESSOR, least_samples, load_pretrained, normalisation
from gandistill.features.whisper import SILENCE, Entrance, LogMels, log_mels_of

WHISPER = "whisper"
MODEL_TYPES = ("hubert", "wav2vec2", "wavlm", WHISPER)
FRAMING = (400, 160)
"""Window and hop of the log-Mels of every Whisper, in samples."""


class Backbone(nn.Module, ABC):
    """What a pretrained model has before its transformer layers, and the first ``depth`` of these.

    Its hidden states are those of transformers' own ``forward``. Neither SpecAugment nor LayerDrop is applied: the
    paper names neither, and a layer that is dropped could not answer. ``saving``: compute again in the backward pass
    what is within a layer, which saves memory. ``longest`` says how many samples can be heard at once, None: any
    number. Raises InputError for a depth that the model does not have.
    """

    saving = False
    longest: int | None = None

    def __init__(self, model: Any, depth: int | None = None) -> None:
        super().__init__()
        layers = len(model.encoder.layers)
        if depth is not None and not 1 <= depth <= layers:
            raise InputError(f"Bad depth {depth}, expected 1 to {layers}, the model's transformer layers")
        self.config = model.config
        self.layers = nn.ModuleList(model.encoder.layers[:depth])

    @property
    def depth(self) -> int:
        """How many transformer layers there are."""
        return len(self.layers)

    @property
    def dims(self) -> int:
        """R, dims of a hidden state."""
        return self.config.hidden_size

    @property
    @abstractmethod
    def least(self) -> int:
        """The fewest samples that make a frame."""

    @abstractmethod
    def before(self) -> dict[str, nn.Module]:
        """What every layer needs beside the layers below it, by name."""

    @abstractmethod
    def frames_of(self, samples: Tensor) -> Tensor:
        """How many frames F are made of so many samples (whole numbers, any shape)."""

    @abstractmethod
    def states(self, clips: Tensor, lengths: Tensor | None = None) -> Iterator[Tensor]:
        """The hidden states [B, F, R] behind layer 1, 2, ... A layer is run when its states are asked for.

        ``lengths`` [B] in samples says where clips [B, S] end, None that none is padded. What lies behind a clip's end
        changes nothing before it.
        """

    def mask(self, lengths: Tensor | None) -> Tensor | None:
        """Which frames are of clips with these lengths [B] in samples: bool [B, F], None where ``lengths`` are."""
        if lengths is None:
            return None
        counts = self.frames_of(lengths)
        return torch.arange(int(counts.max()), device=lengths.device) < counts[:, None]

    def _run(self, layer: nn.Module, hidden: Tensor, **settings: Any) -> Any:
        if self.saving and self.training:
            return checkpoint(layer, hidden, use_reentrant=False, **settings)
        return layer(hidden, **settings)


class WaveBackbone(Backbone):
    """That of a wav2vec 2.0, HuBERT or WavLM.

    In the large models (``do_stable_layer_norm``) the norm that transformers puts behind the last layer is put behind
    each layer that is heard, since without it hidden states grow from layer to layer.
    """

    def __init__(self, model: Any, depth: int | None = None) -> None:
        super().__init__(model, depth)
        self.encoder = model.feature_extractor
        self.projection = model.feature_projection
        self.positions = model.encoder.pos_conv_embed
        self.norm = model.encoder.layer_norm
        self.dropout = model.encoder.dropout
        if self.config.model_type == "wavlm":
            for layer in model.encoder.layers[:depth]:
                layer.attention.torch_multi_head_self_attention = MethodType(_attend_with_one_mask, layer.attention)

    @property
    def least(self) -> int:
        return least_samples(self.config)

    def before(self) -> dict[str, nn.Module]:
        return {
            "encoder": self.encoder,
            "projection": self.projection,
            "positions": self.positions,
            "norm": self.norm,
        }

    def frames_of(self, samples: Tensor) -> Tensor:
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def frames(self, clips: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What enters the first layer but for positions [B, F, R]."""
        mask = self.mask(lengths)
        if lengths is None or mask is None:
            return self._projected(self.encoder(clips).transpose(1, 2))
        if self.config.feat_extract_norm == "group":  # its norm goes over time: padding would change every frame
            per_clip = [self.encoder(clip[None, : int(n)])[0].T for clip, n in zip(clips, lengths, strict=True)]
            features = pad_sequence(per_clip, batch_first=True)
        else:
            features = self.encoder(clips[:, : int(lengths.max())]).transpose(1, 2)
        return self._projected(features) * mask[..., None]

    def _projected(self, features: Tensor) -> Tensor:
        projected = self.projection(features)
        return projected[0] if isinstance(projected, tuple) else projected

    def states(self, clips: Tensor, lengths: Tensor | None = None) -> Iterator[Tensor]:
        frames, mask = self.frames(clips, lengths), self.mask(lengths)
        stable = self.config.do_stable_layer_norm
        hidden = frames + self.positions(frames)
        hidden = self.dropout(hidden if stable else self.norm(hidden))
        if self.config.model_type == "wavlm":
            bias = None
            for number, layer in enumerate(self.layers):
                settings = {} if stable else {"index": number}
                hidden, bias = self._run(layer, hidden, attention_mask=mask, position_bias=bias, **settings)
                yield self.norm(hidden) if stable else hidden
            return
        attention_mask = create_bidirectional_mask(config=self.config, inputs_embeds=frames, attention_mask=mask)
        for layer in self.layers:
            hidden = self._run(layer, hidden, attention_mask=attention_mask)
            yield self.norm(hidden) if stable else hidden


class WhisperBackbone(Backbone):
    """That of a Whisper's encoder, in the context ``clip`` of ``features/whisper.py``, log-Mels included.

    It hears a clip and half a second of silence, whose frames are attended to and then left out. The final layer norm
    belongs to the model's last layer alone.
    """

    def __init__(self, model: Any, depth: int | None = None) -> None:
        super().__init__(model, depth)
        self.encoder: Entrance = Entrance(model.encoder, LogMels(self.config.num_mel_bins, *FRAMING))
        self.longest = self.encoder.span - SILENCE
        if self.depth == self.config.encoder_layers:
            self.layers[-1] = Last(self.layers[-1], model.encoder.layer_norm)

    @property
    def least(self) -> int:
        return 1

    def before(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder}

    def frames_of(self, samples: Tensor) -> Tensor:
        return (samples + self.encoder.stride - 1) // self.encoder.stride

    def states(self, clips: Tensor, lengths: Tensor | None = None) -> Iterator[Tensor]:
        ends = heard = None
        if lengths is not None:
            clips = clips[:, : int(lengths.max())]
            clips = clips * (torch.arange(clips.shape[1], device=clips.device) < lengths[:, None])
            ends = lengths + SILENCE
        hidden = self.encoder(pad(clips, (0, SILENCE)), ends)
        if ends is not None:
            heard = torch.arange(hidden.shape[1], device=clips.device) < self.encoder.frames_of(ends)[:, None]
        attention_mask = create_bidirectional_mask(config=self.config, inputs_embeds=hidden, attention_mask=heard)
        own = (clips.shape[1] + self.encoder.stride - 1) // self.encoder.stride  # ONNX divides towards 0: no -(-a // b)
        for layer in self.layers:
            hidden = self._run(layer, hidden, attention_mask=attention_mask)
            yield hidden[:, :own]


class Last(nn.Module):
    """The last layer of a Whisper's encoder, with the norm behind it."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        return self.norm(self.layer(hidden, attention_mask))


def backbone_of(model: Any, depth: int | None = None) -> Backbone:
    """That of a model of transformers, of one of the ``MODEL_TYPES``, with ``depth`` layers, None: all."""
    return (WhisperBackbone if model.config.model_type == WHISPER else WaveBackbone)(model, depth)


def load_upstream(name: str) -> tuple[Any, bool]:
    """A pretrained model by its name on the Hub or a folder, and whether it hears clips ``normalised``.

    Raises InputError if it cannot be loaded, or is a Whisper that hears other log-Mels than all others do.
    """
    model, preprocessor = load_pretrained(name, "network.upstream", MODEL_TYPES)
    if model.config.model_type != WHISPER:
        return model, normalisation(preprocessor)[0]
    log_mels = log_mels_of(name, model, preprocessor)
    if (log_mels.window, log_mels.hop) != FRAMING:
        raise InputError(
            f"{name}: its {PREPROCESSOR} has windows of {log_mels.window} samples every {log_mels.hop}, expected "
            f"{FRAMING[0]} every {FRAMING[1]}, as all Whispers have"
        )
    return model, False


def encoder_of(model: Any) -> Any:
    """What of a model of transformers hears: all of it, or of a Whisper its encoder without the decoder."""
    return model.encoder if model.config.model_type == WHISPER else model


def _attend_with_one_mask(attention: Any, hidden: Tensor, mask: Tensor | None, bias: Tensor) -> tuple[Tensor, Tensor]:
    """WavLM's attention, its mask of frames [B, F] first merged into its bias [B heads, F, F].

    transformers hands torch a mask of truth values beside a bias of numbers, which torch warns will not be allowed.
    """
    if mask is not None:
        bias = bias.masked_fill(~mask.repeat_interleave(attention.num_heads, 0)[:, None], -math.inf)
    return type(attention).torch_multi_head_self_attention(attention, hidden, None, bias)
