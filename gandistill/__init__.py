"""gandistill: distil a labelled emotional-speech corpus into a small generator that replaces it."""

import os

__version__ = "0.1.0"

# Where oneDNN 3.12 (in torch 2.13) takes AMX for bfloat16, gradients of convolutions of a few channels hold NaN now and
# then; with the instructions before AMX they never did. float32 is computed as before.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
