"""Distil a set by trajectory matching: ``accelerate launch recipes/train_trajectory.py``.

The same as ``gandistill trajectory distil``, with the same options.
"""

import sys

from gandistill.cli import main
from gandistill.processes import leaving

if __name__ == "__main__":
    with leaving():
        main(["trajectory", "distil", *sys.argv[1:]])
