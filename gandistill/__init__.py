"""gandistill: distil a labelled emotional-speech corpus into a small generator that replaces it.

from gandistill import Bank, FeatureSet, Generator, Recogniser, train_bank, train_recogniser
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gandistill.api import Generator
    from gandistill.errors import InputError
    from gandistill.features.featureset import FeatureSet
    from gandistill.heads.bank import Bank, train_bank
    from gandistill.heads.recogniser import Recogniser, train_recogniser

__all__ = [
    "Bank",
    "FeatureSet",
    "Generator",
    "InputError",
    "Recogniser",
    "__version__",
    "train_bank",
    "train_recogniser",
]
__version__ = "0.1.0"

# Where oneDNN 3.12 (in torch 2.13) takes AMX for bfloat16, gradients of convolutions of a few channels hold NaN now and
# then; with the instructions before AMX they never did. float32 is computed as before.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

_ROOMS = {
    "Bank": "gandistill.heads.bank",
    "FeatureSet": "gandistill.features.featureset",
    "Generator": "gandistill.api",
    "InputError": "gandistill.errors",
    "Recogniser": "gandistill.heads.recogniser",
    "train_bank": "gandistill.heads.bank",
    "train_recogniser": "gandistill.heads.recogniser",
}


def __getattr__(name: str) -> Any:
    """What Python users need, imported when it is asked for: the command line answers before torch is loaded."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'gandistill' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    """What is for users."""
    return __all__
