"""What each exit costs, from the architecture alone: parameters, multiply-accumulates, bytes. No weights are needed.

A network hears clips of one length, to which shorter audio is repeated: multiply-accumulates are those per second that
is heard, and a clip shorter than that costs as much as a whole one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gandistill import artifacts
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.errors import InputError, choices
from gandistill.precision import FULL, REDUCED, stored
from gandistill.selfdistill.backbone import backbone_of, encoder_of
from gandistill.selfdistill.model import BLOCKS, Exit, Network, exits_of, make_block, transformer
from gandistill.selfdistill.settings import TrainingConfig, rising

CLIP = TrainingConfig().clip
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
_WIDE = {"codevector_dim": 768, "proj_codevector_dim": 768}
_WHISPERS = [
    (("tiny", "tiny.en"), 384, 4, 80),
    (("base", "base.en"), 512, 6, 80),
    (("small", "small.en"), 768, 12, 80),
    (("medium", "medium.en"), 1024, 24, 80),
    (("large", "large-v2"), 1280, 32, 80),
    (("large-v3", "large-v3-turbo"), 1280, 32, 128),
]
"""Names, dims, layers and Mel bands."""
UPSTREAMS: dict[str, dict[str, Any]] = {
    "wav2vec2-base": {"model_type": "wav2vec2"},
    "wav2vec2-large": {"model_type": "wav2vec2"} | _LARGE | _WIDE,
    "wav2vec2-large-lv60": {"model_type": "wav2vec2", "conv_bias": True} | _LARGE | _STABLE | _WIDE,
    "hubert-base-ls960": {"model_type": "hubert"},
    "hubert-large-ll60k": {"model_type": "hubert", "conv_bias": True} | _LARGE | _STABLE,
    "wavlm-base": {"model_type": "wavlm"},
    "wavlm-base-plus": {"model_type": "wavlm"},
    "wavlm-large": {"model_type": "wavlm"} | _LARGE | _STABLE,
    **{
        f"whisper-{name}": {
            "model_type": "whisper",
            "d_model": dims,
            "encoder_layers": layers,
            "encoder_attention_heads": dims // 64,
            "decoder_attention_heads": dims // 64,
            "encoder_ffn_dim": 4 * dims,
            "num_mel_bins": bands,
        }
        for names, dims, layers, bands in _WHISPERS
        for name in names
    },
}
"""Architectures by their names on the Hub, as far as they differ from transformers' defaults, which are the bases."""
SHORT = {"hubert-base": "hubert-base-ls960", "hubert-large": "hubert-large-ll60k"}
LAYERWISE_LAYERS, LAYERWISE_BLOCKS = 2, 3
"""Of the students of layer-wise distillation in Table 2: their layers, and those of the teacher that they predict."""


def describe(upstream: str, exits: Sequence[int], block: str, classes: int, depth: int | None = None) -> dict[str, Any]:
    """What a network of the paper's kind costs, as plain values: of the whole, and in ``exits`` of each exit.

    ``upstream`` is a name of a known model or a local folder with a transformers ``config.json``; ``depth`` the layers
    that are kept, None: all. Of each exit:

    - ``parameters_paper``, as Table 2 counts them: the pretraining model up to that layer, wav2vec 2.0's quantiser
      included, one block and one head, even behind the last layer, where there is no block;
    - ``parameters_finetuned``, without a block: plain fine-tuning of the first layers, counted likewise;
    - ``parameters_deployed``, those that are loaded to answer there, and that ``export`` writes;
    - ``multiply_accumulates_per_second`` heard, to answer there alone in clips of ``clip_samples``, the paper's (the
      share of attention grows with the clip): a network that makes its clips so long spends as much on shorter audio
      as on a whole clip;
    - ``bytes`` of those parameters, and in float16 and int8 ``bytes_float16`` and ``bytes_int8``.

    Of the whole: ``parameters_training`` with all blocks and heads, counted as the paper does, and
    ``parameters_training_held`` without what only pretraining uses; ``parameters_layerwise`` of a student of layer-wise
    distillation. All but wav2vec 2.0 have no quantiser (``parameters_quantiser`` 0): the paper's count is plain there,
    and of Whisper that of the encoder alone.

    Raises InputError for an unknown upstream or block, an exit that it does not have, exits that do not rise, or fewer
    than two classes.
    """
    if block not in BLOCKS:
        raise choices("block", block, BLOCKS)
    if classes < 2:
        raise InputError(f"Bad number of classes {classes}, expected 2 or more")
    try:
        rising(tuple(exits))
    except ValueError as error:
        raise InputError(f"Bad exits {list(exits)}, {error}") from None
    settings = architecture(upstream)
    with torch.device("meta"):
        model = transformer(settings, None, upstream)
        quantiser, encoder = _quantiser(model), encoder_of(model)
        blocks = exits_of(len(model.encoder.layers), exits, block, depth)
        network = Network(backbone_of(model, depth), blocks, [str(number) for number in range(classes)]).eval()
        one_block, head = make_block(block, network.backbone.dims), Exit(network.backbone.dims, None, classes)

    def plain(layers: int) -> int:
        return quantiser + count(encoder) - count(*model.encoder.layers[layers:]) + count(head)

    samples = samples_of(network)
    products = multiply_accumulates(network, samples)
    rows = [
        {
            "exit": exit,
            "block": kind,
            "parameters_paper": plain(exit) + count(one_block),
            "parameters_finetuned": plain(exit),
            "parameters_deployed": count(*needed(network, exit)),
            "multiply_accumulates_per_second": round(products[exit] * SAMPLE_RATE / samples),
            "bytes": weight_bytes(network, exit),
            **{f"bytes_{precision}": weight_bytes(network, exit, precision) for precision in REDUCED},
        }
        for exit, kind in network.blocks.items()
    ]
    return {
        "upstream": upstream,
        "layers": network.backbone.depth,
        "classes": classes,
        "clip_samples": samples,
        "parameters_quantiser": quantiser,
        "parameters_training": plain(network.backbone.depth) - count(head) + count(network.exits),
        "parameters_training_held": count(network),
        "parameters_layerwise": plain(LAYERWISE_LAYERS) + LAYERWISE_BLOCKS * count(one_block),
        "exits": rows,
    }


def architecture(upstream: str) -> dict[str, Any]:
    """Settings of a transformers model, by its name, its owner's before it or not, or from a local folder.

    Raises InputError for another name, or a folder without a readable ``config.json``.
    """
    folder = Path(upstream)
    if folder.is_dir():
        return artifacts.read_json(folder / artifacts.CONFIG)
    name = upstream.rpartition("/")[2]
    name = SHORT.get(name, name)
    if name not in UPSTREAMS:
        raise choices("upstream", upstream, [*sorted({*UPSTREAMS, *SHORT}), "a local model folder"])
    return UPSTREAMS[name]


def needed(network: Network, exit: int) -> list[nn.Module]:
    """The modules that answer behind layer ``exit``, and no others."""
    backbone = network.backbone
    return [*backbone.before().values(), *backbone.layers[:exit], network.exits[str(exit)]]


def samples_of(network: Network) -> int:
    """How long the clips are by which a network's work is counted and timed.

    Its own; if they differ the paper's, or the longest that it hears.
    """
    return network.clip or min(CLIP, network.backbone.longest or CLIP)


def count(*modules: nn.Module) -> int:
    """How many parameters some modules have."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def weight_bytes(network: Network, exit: int, precision: str = FULL) -> int:
    """What the weights of one exit, and of all that comes before it, weigh on disk, headers of files not counted."""
    weights = [stored(module.state_dict(), precision).values() for module in needed(network, exit)]
    return sum(tensor.nbytes for tensors in weights for tensor in tensors)


def multiply_accumulates(network: Network, samples: int) -> dict[int, int]:
    """How many multiply-accumulates each exit takes, by depth, to answer alone on a clip of so many samples."""
    return {depth: sum(products) for depth, products in products_of(network, samples).items()}


@torch.no_grad()
def products_of(network: Network, samples: int) -> dict[int, tuple[int, int]]:
    """Multiply-accumulates on a clip of so many samples, by depth: of all that lies before an exit, and of the exit.

    What counts is products of matrices: convolutions, linear layers, attention, recurrences; not norms, activations and
    sums. The layers are run for it: on the meta device, as ``described_network`` gives a network, that takes no time.
    """
    backbone, before = network.backbone, dict[int, tuple[int, Tensor]]()
    clip = torch.empty(1, samples, device=next(network.parameters()).device)
    # Other kernels of attention are one operation each, and on a CPU one whose products are not counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for depth, hidden in enumerate(backbone.states(clip), 1):
            if depth in network.depths:
                before[depth] = counter.get_total_flops() // 2, hidden
    return {d: (products, _of_exit(network.exits[str(d)], hidden)) for d, (products, hidden) in before.items()}


def _of_exit(exit: Any, hidden: Tensor) -> int:
    """A block takes as much for every frame: one is counted."""
    with FlopCounterMode(display=False) as counter:
        if exit.block is not None:
            exit.block(hidden[:, :1], None)
    return counter.get_total_flops() // 2 * hidden.shape[1] + exit.linear.weight.numel() + exit.classify.weight.numel()


def _quantiser(model: nn.Module) -> int:
    """Parameters that wav2vec 2.0 has in pretraining alone: codebooks and projections into their space."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

    config = model.config
    return count(Wav2Vec2ForPreTraining(config)) - count(model) if isinstance(config, Wav2Vec2Config) else 0
