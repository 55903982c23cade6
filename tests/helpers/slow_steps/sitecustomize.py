"""On the path of a rank, makes each of its steps take a while without computing, as if a GPU did it.

A test on a cluster waits for Slurm most of the time: a training that computes all the while takes the machine from all
other tests. The bits are the same.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

STEP_S = float(os.environ.get("SLOW_STEP_S", "0.2"))


def slow(loop: Any) -> None:
    """Have a step sleep first."""
    step = loop.optimizer_step
    loop.optimizer_step = lambda *arguments: (time.sleep(STEP_S), step(*arguments))[1]


if "medtrain.launch.rank_main" in sys.orig_argv:
    sys.path.insert(0, str(Path(__file__).parents[1]))  # for this import alone
    from at_import import AtImport

    del sys.path[0]
    sys.meta_path.insert(0, AtImport("medtrain.training.loop", slow))
