"""On the path of a rank, makes each of its steps take a while without computing, as if a GPU did it.

A test on a cluster waits for Slurm most of the time: a training that computes all the while takes the machine from all
other tests. The bits are the same.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from importlib.machinery import ModuleSpec
from typing import Any

STEP_S = float(os.environ.get("SLOW_STEP_S", "0.2"))
LOOP = "medtrain.training.loop"


class SlowSteps:
    """Finds the module of the training loop, once, and has its step sleep first."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != LOOP:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(LOOP)
        assert spec is not None and spec.loader is not None
        load = spec.loader.exec_module

        def load_and_slow(module: Any) -> None:
            load(module)
            step = module.optimizer_step
            module.optimizer_step = lambda *arguments: (time.sleep(STEP_S), step(*arguments))[1]

        spec.loader.exec_module = load_and_slow  # type: ignore[method-assign]
        return spec


if "medtrain.launch.rank_main" in sys.orig_argv:
    sys.meta_path.insert(0, SlowSteps())
