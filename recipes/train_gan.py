"""Train a GAN: ``accelerate launch recipes/train_gan.py``.

The same as ``gandistill train``, with the same options; without a config it is GAN-ATT, without features on the
synthetic corpus.
"""

import sys

from gandistill.cli import main
from gandistill.processes import leaving

if __name__ == "__main__":
    words = sys.argv[1:]
    is_said = any(word.startswith(("--config", "--resume")) for word in words)
    with leaving():
        main(["train", *([] if is_said else ["--set", "architecture.kind=gan-att"]), *words])
