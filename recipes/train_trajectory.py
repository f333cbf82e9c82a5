"""Distil a set by trajectory matching: ``accelerate launch recipes/train_trajectory.py``.

The same as ``gandistill trajectory distil``, with the same options.
"""

import sys

from gandistill.cli import main
from gandistill.processes import leave

if __name__ == "__main__":
    try:
        main(["trajectory", "distil", *sys.argv[1:]])
    finally:
        leave()
