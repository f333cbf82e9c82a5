"""``python -m gandistill``: the commands, in several processes by ``accelerate launch -m gandistill train``."""

import os
from contextlib import nullcontext

from gandistill.cli import main

if __name__ == "__main__":
    parting = nullcontext()
    if "LOCAL_RANK" in os.environ:  # of several: only they part from each other, and only they wait here for torch
        from gandistill.processes import leaving

        parting = leaving()
    with parting:
        main()
