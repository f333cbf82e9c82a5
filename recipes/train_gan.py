"""Train a generator: ``accelerate launch recipes/train_gan.py``.

The same as ``gandistill train``, with the same options; without any, on the synthetic corpus.
"""

import sys

from gandistill.cli import main
from gandistill.processes import leaving

if __name__ == "__main__":
    with leaving():
        main(["train", *sys.argv[1:]])
