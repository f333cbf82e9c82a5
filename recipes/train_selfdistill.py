"""Fine-tune a model with early exits: ``accelerate launch recipes/train_selfdistill.py``.

The same as ``gandistill selfdistill train``, with the same options.
"""

import sys

from gandistill.cli import main
from gandistill.processes import leaving

if __name__ == "__main__":
    with leaving():
        main(["selfdistill", "train", *sys.argv[1:]])
