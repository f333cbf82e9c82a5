"""A pretrained transformer, one layer at a time, so that layers above the one that answers are never run.

Shapes: B batch, S samples, F frames, R dims of a hidden state.
"""

import math
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from transformers.masking_utils import create_bidirectional_mask

from gandistill.errors import InputError

MODEL_TYPES = ("hubert", "wav2vec2", "wavlm")


class Backbone(nn.Module):
    """Convolutional encoder and the first ``depth`` transformer layers of a wav2vec 2.0, HuBERT or WavLM.

    Its hidden states are those of transformers' own ``forward``; in the large models (``do_stable_layer_norm``) the
    norm that transformers puts behind the last layer is put behind each layer that is heard, since without it hidden
    states grow from layer to layer. Neither SpecAugment nor LayerDrop is applied: the paper names neither, and a layer
    that is dropped could not answer. ``saving``: compute again in the backward pass what is within a layer, which saves
    memory. Raises InputError for a depth that the model does not have.
    """

    saving = False

    def __init__(self, model: Any, depth: int | None = None) -> None:
        super().__init__()
        layers = len(model.encoder.layers)
        if depth is not None and not 1 <= depth <= layers:
            raise InputError(f"Bad depth {depth}, expected 1 to {layers}, the model's transformer layers")
        self.config = model.config
        self.encoder = model.feature_extractor
        self.projection = model.feature_projection
        self.positions = model.encoder.pos_conv_embed
        self.norm = model.encoder.layer_norm
        self.dropout = model.encoder.dropout
        self.layers = nn.ModuleList(model.encoder.layers[:depth])
        if self.config.model_type == "wavlm":
            for layer in model.encoder.layers[:depth]:
                layer.attention.torch_multi_head_self_attention = MethodType(_attend_with_one_mask, layer.attention)

    @property
    def depth(self) -> int:
        """How many transformer layers there are."""
        return len(self.layers)

    @property
    def dims(self) -> int:
        """R, dims of a hidden state."""
        return self.config.hidden_size

    def frames_of(self, samples: Tensor) -> Tensor:
        """How many frames F the convolutions make of so many samples (whole numbers, any shape)."""
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def frames(self, clips: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What enters the first layer but for positions [B, F, R], and which frames are of the clips (bool [B, F]).

        ``lengths`` [B] in samples says where clips [B, S] end, None that none is padded, for which the second is None.
        What lies behind a clip's end changes nothing before it.
        """
        if lengths is None:
            return self._projected(self.encoder(clips).transpose(1, 2)), None
        mask = torch.arange(int(self.frames_of(lengths.max())), device=clips.device) < self.frames_of(lengths)[:, None]
        if self.config.feat_extract_norm == "group":  # its norm goes over time: padding would change every frame
            per_clip = [self.encoder(clip[None, : int(n)])[0].T for clip, n in zip(clips, lengths, strict=True)]
            features = pad_sequence(per_clip, batch_first=True)
        else:
            features = self.encoder(clips[:, : int(lengths.max())]).transpose(1, 2)
        return self._projected(features) * mask[..., None], mask

    def _projected(self, features: Tensor) -> Tensor:
        projected = self.projection(features)
        return projected[0] if isinstance(projected, tuple) else projected

    def states(self, frames: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """The hidden states [B, F, R] behind layer 1, 2, ... A layer is run when its states are asked for."""
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

    def _run(self, layer: nn.Module, hidden: Tensor, **settings: Any) -> Any:
        if self.saving and self.training:
            return checkpoint(layer, hidden, use_reentrant=False, **settings)
        return layer(hidden, **settings)


def _attend_with_one_mask(attention: Any, hidden: Tensor, mask: Tensor | None, bias: Tensor) -> tuple[Tensor, Tensor]:
    """WavLM's attention, its mask of frames [B, F] first merged into its bias [B heads, F, F].

    transformers hands torch a mask of truth values beside a bias of numbers, which torch warns will not be allowed.
    """
    if mask is not None:
        bias = bias.masked_fill(~mask.repeat_interleave(attention.num_heads, 0)[:, None], -math.inf)
    return type(attention).torch_multi_head_self_attention(attention, hidden, None, bias)
