"""On the path of a rank, makes each of its steps take a while without computing, as if a GPU did it.

A test on a cluster waits for Slurm most of the time: a training that computes all the while takes the machine from all
other tests. The bits are the same.
"""

from __future__ import annotations

import importlib
import sys
import time
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

STEP_S = 0.1
LOOP = "medtrain.training.loop"


class SlowSteps:
    """Finds the module of the training loop, once, with a step that sleeps first."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != LOOP:
            return None
        sys.meta_path.remove(self)
        module = importlib.import_module(LOOP)
        step = module.optimizer_step

        def slow_step(*arguments: Any) -> Any:
            time.sleep(STEP_S)
            return step(*arguments)

        module.optimizer_step = slow_step  # type: ignore[attr-defined]
        return ModuleSpec(name, AsItIs(module))  # type: ignore[arg-type]


class AsItIs:
    """Loads what is loaded."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__
        module.__spec__ = None  # importlib would take this one, and load the module again

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


if "medtrain.launch.rank_main" in sys.orig_argv:
    sys.meta_path.insert(0, SlowSteps())
